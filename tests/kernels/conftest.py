"""One fronted Pillow per test session, imported into this very process."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fronted
import pytest
from filelock import FileLock
from packaging.tags import sys_tags

from simdinstall import kernels as catalogue_of_kernels
from simdinstall.fetch import Download, Fetcher
from simdinstall.kernels import Catalogue, Fidelity
from simdinstall.tree import lay_out

#: The Pillow under test; set the variable to test the kernels in front of another release.
RELEASE = os.environ.get("SIMDINSTALL_TEST_PILLOW", "13.0.0")
PILLOW_SIMD = "12.1.1.post0"
FIDELITY: Fidelity = "exact" if os.environ.get("SIMDINSTALL_TEST_FIDELITY") == "exact" else "bounded"
#: Set by test_sanitizers.py, which runs all this once more with libasan loaded, and by
#: test_threads.py, to "thread", with libtsan.
SANITIZER = os.environ.get("SIMDINSTALL_TEST_SANITIZE", "")
SANITIZED = bool(SANITIZER)
SANITIZE = (
    *(
        ("-fsanitize=thread",)
        if SANITIZER == "thread"
        else ("-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all")
    ),
    *("-fno-omit-frame-pointer", "-g1", "-O1", "-Wno-error"),
)
if SANITIZED:
    # It has done its work; compilers need not be slowed down by it.
    os.environ.pop("LD_PRELOAD", None)


def sources(cache: Path) -> tuple[Download, Download]:
    """The official wheel of the release under test for this interpreter, and Pillow-SIMD's sdist.

    From the index that pip is configured for, or from the folder that
    ``SIMDINSTALL_TEST_WHEELS`` names if they are there.
    """
    environ = dict(os.environ)
    if given := environ.get("SIMDINSTALL_TEST_WHEELS"):
        environ |= {"PIP_FIND_LINKS": given, "PIP_NO_INDEX": "1"}
    fetcher = Fetcher(cache=cache, environ=environ)
    tags = [str(tag) for tag in sys_tags()]
    try:
        return fetcher.wheel("pillow", RELEASE, tags), fetcher.sdist("pillow-simd", PILLOW_SIMD)
    finally:
        fetcher.close()


def every_kernel(catalogue: Catalogue) -> Catalogue:
    """The catalogue with the kernels in it, too, that others supersede: they have tests as well."""
    return replace(catalogue, kernels=tuple(replace(k, supersedes=()) for k in catalogue.kernels))


def made(shared: Path, config: pytest.Config) -> Path:
    """A folder with the kernels in front of an official Pillow, made by whoever comes first."""
    folder = shared / f"fronted-{SANITIZER or 'plain'}"
    with FileLock(shared / f"{folder.name}.lock"):
        if folder.exists():
            return folder
        assert config.cache is not None
        cache = Path(config.cache.mkdir("pillow"))
        wheel, sdist = sources(cache)
        new = shared / f"{folder.name}.new"
        catalogue = every_kernel(catalogue_of_kernels.load())
        isas = catalogue_of_kernels.ISAS
        tree = lay_out(
            sdist, release=RELEASE, catalogue=catalogue, fidelity=FIDELITY, isas=isas, into=new / "tree"
        )
        assert not tree.left_out
        compiler = os.environ.get("SIMDINSTALL_TEST_CC", "gcc")
        library = fronted.compile_library(
            new / "build",
            header=fronted.abi_header(wheel.path, RELEASE, catalogue),
            tree=tree,
            catalogue=catalogue,
            fidelity=FIDELITY,
            release=RELEASE,
            compiler=(compiler,),
            extra=SANITIZE if SANITIZED else (),
            cache=cache,
        )
        fronted.lay_out(new, wheel.path, library)
        shutil.copy(new / "build" / "libpeek.so", new / "PIL")
        new.rename(folder)
    return folder


@pytest.fixture(scope="session")
def simd(
    shared: Path, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[fronted.Simd]:
    """The kernels in front of an official Pillow, ready to be compared with it."""
    if platform.machine() != "x86_64" or not shutil.which("gcc"):
        pytest.skip("needs x86-64 and gcc")
    folder = tmp_path_factory.mktemp("fronted") / "pillow"
    shutil.copytree(made(shared, pytestconfig), folder, copy_function=os.link)
    assert "PIL" not in sys.modules, "a test imported PIL before the kernels were in front of it"
    sys.path.insert(0, str(folder))
    loaded = fronted.Simd(folder)
    # Every test is also a test that no kernel leaves its rows: beside them are pages that
    # cannot be touched, or the red zones of AddressSanitizer.
    with loaded.rows("heap" if SANITIZED else "pages"):
        yield loaded
    sys.path.remove(str(folder))
