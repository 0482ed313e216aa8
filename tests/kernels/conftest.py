"""One fronted Pillow per test session, imported into this very process."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import fronted
import pytest

from simdinstall import kernels as catalogue_of_kernels

#: The Pillow under test; set the variable to test the kernels in front of another release.
RELEASE = os.environ.get("SIMDINSTALL_TEST_PILLOW", "13.0.0")


@pytest.fixture(scope="session")
def simd(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[fronted.Simd]:
    """The kernels in front of an official Pillow, ready to be compared with it."""
    if platform.machine() != "x86_64" or not shutil.which("gcc"):
        pytest.skip("needs x86-64 and gcc")
    assert request.config.cache is not None
    cache = Path(request.config.cache.mkdir("pillow"))
    folder = tmp_path_factory.mktemp("fronted")
    catalogue = catalogue_of_kernels.load()
    kernels = catalogue_of_kernels.select(
        catalogue, fidelity="bounded", isas=catalogue_of_kernels.ISAS, origins=["simdinstall"]
    )
    library = fronted.compile_library(folder / "build", release=RELEASE, catalogue=catalogue, kernels=kernels)
    fronted.lay_out(folder, fronted.official_wheel(RELEASE, cache), library)
    shutil.copy(folder / "build" / "libpeek.so", folder / "PIL")
    assert "PIL" not in sys.modules, "a test imported PIL before the kernels were in front of it"
    sys.path.insert(0, str(folder))
    yield fronted.Simd(folder)
    sys.path.remove(str(folder))
