"""pillow_source.py: setup.py is read, never run, and only believed when it is as known."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from simdinstall import pillow_source
from simdinstall.errors import BuildError
from simdinstall.fetch import Download
from simdinstall.store import file_digest

SETUP = """
raise SystemExit("nobody runs this")
_IMAGING = ("decode",)
_LIB_IMAGING = ("Storage", "Resample")
libraries: list = [("mode", {"sources": ["src/libImaging/Mode.c"]})]
class build:
    def extensions(self):
        defs = []
        defs.append(("HAVE_LIBJPEG", None))
        defs.append(("PILLOW_VERSION", f'"{VERSION}"'))
        self._update_extension("PIL._imaging", libs, defs)
        defs.append(("HAVE_RAQM", None))
        self._update_extension("PIL._imagingft", libs, defs)
"""
FILES = ["_imaging.c", "decode.c", "libImaging/Storage.c", "libImaging/Resample.c", "libImaging/Mode.c"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "pillow-1.2.3"
    (root / "src" / "libImaging").mkdir(parents=True)
    (root / "setup.py").write_text(SETUP)
    for name in FILES:
        (root / "src" / name).write_text("int x;\n")
    return root


def test_the_units_in_the_order_of_setup_py(tree: Path) -> None:
    source = pillow_source.read(tree, release="1.2.3")
    assert [str(unit) for unit in source.units] == [f"src/{name}" for name in FILES]


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ("_LIB_IMAGING", "_OTHER", "does not list its sources"),
        ("_IMAGING = (", "_IMAGING = glob(", "does not list its sources"),
        ("HAVE_LIBJPEG", "HAVE_JPEGLI", "HAVE_JPEGLI"),
        ('"Storage"', '"Memory"', "src/libImaging/Memory.c"),
        ("_IMAGING = (", "_IMAGING = ((", "cannot be read"),
        ('{"sources"', '{"files"', "cannot be read"),
    ],
)
def test_a_setup_py_that_has_changed_is_refused_and_the_front_offered(
    tree: Path, before: str, after: str, why: str
) -> None:
    (tree / "setup.py").write_text(SETUP.replace(before, after, 1))
    with pytest.raises(BuildError) as refusal:
        pillow_source.read(tree, release="1.2.3")
    assert why in refusal.value.why
    assert "--rebuild" in refusal.value.hint


def test_macros_of_other_extensions_are_their_own_business(tree: Path) -> None:
    (tree / "setup.py").write_text(SETUP.replace("HAVE_RAQM", "HAVE_SOMETHING_NEW"))
    assert pillow_source.read(tree, release="1.2.3").units


def test_only_what_is_compiled_is_unpacked(tree: Path, tmp_path: Path) -> None:
    sdist = tmp_path / "pillow-1.2.3.tar.gz"
    (tree / "Tests").mkdir()
    (tree / "Tests" / "big.png").write_bytes(b"image")
    with tarfile.open(sdist, "w:gz") as archive:
        archive.add(tree, tree.name)
        link = tarfile.TarInfo("pillow-1.2.3/Tests/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link, io.BytesIO())
    download = Download(
        name="pillow",
        version="1.2.3",
        filename=sdist.name,
        url="https://index/pillow.tar.gz",
        sha256=file_digest(sdist),
        path=sdist,
    )
    source = pillow_source.unpack(download, tmp_path / "out")
    assert source.release == "1.2.3"
    assert not list((tmp_path / "out").rglob("Tests"))
