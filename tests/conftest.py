"""What all tests rely on."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path

import pytest

# Shells start background commands with SIGINT ignored, and children inherit that: tests
# of Ctrl-C would then wait for something that cannot happen.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers() -> int:
    """What ``-n auto`` means: as many processes as cores that may be used, all kinds of them.

    Two at least, since many tests wait for an index or a disk; not many more than are of use.
    """
    return max(2, min(8, len(os.sched_getaffinity(0))))


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Path:
    """A folder that all processes of this test run have in common; lock what you make there.

    ``SIMDINSTALL_TEST_SHARED`` names it where one test run is part of another.
    """
    if given := os.environ.get("SIMDINSTALL_TEST_SHARED"):
        return Path(given)
    own = tmp_path_factory.getbasetemp()
    return own.parent if hasattr(pytestconfig, "workerinput") else own


@pytest.fixture
def reachable(tmp_path: Path) -> Path:
    """``tmp_path``, which every user may enter: pytest keeps its folders for the owner."""
    top = Path(tempfile.gettempdir())
    for folder in (tmp_path, *tmp_path.parents):
        if top not in folder.parents:
            break
        folder.chmod(0o755)
    return tmp_path
