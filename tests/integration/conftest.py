"""Everything here builds, installs or kills for real: minutes, not seconds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from targets import RELEASE, Target

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session")
def cache(shared: Path) -> Path:
    """One cache for all tests: what one built the others find."""
    folder = Path(os.environ.get("SIMDINSTALL_TEST_CACHE") or shared / "cache")
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def target(tmp_path: Path, cache: Path) -> Target:
    """An environment without Pillow."""
    return Target(tmp_path / "env", cache)


@pytest.fixture(scope="session")
def fast(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Target:
    """An environment that stock Pillow was made fast in. Tests look at it and change nothing."""
    made = Target(tmp_path_factory.mktemp("fast") / "env", cache)
    made.pip("install", "-q", f"pillow=={RELEASE}")
    made.simdinstall("--march", "auto", "--pillow", RELEASE, "--yes")
    return made
