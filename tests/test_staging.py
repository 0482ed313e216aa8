from __future__ import annotations

import csv
import errno
import importlib.util
import os
import stat
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import small_pillow
from install_parts import PYTHON, content, our_wheel, stock_wheel
from simdinstall.errors import InstallError
from simdinstall.exchange import digest
from simdinstall.journal import Place
from simdinstall.run import Completed, run
from simdinstall.staging import make_bridge, make_union, needs_bridge, try_import, unpack

HERE = Path(sys.executable)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    site = tmp_path / "venv" / "lib" / PYTHON / "site-packages"
    site.mkdir(parents=True)
    return Place.of(site)


def unpacked(place: Place, wheel: Path) -> Path:
    return unpack(wheel, place=place, root=place.staging / "in", python=HERE, run=run)


def rows(site: Path) -> dict[str, tuple[str, str]]:
    record = next(site.glob("*.dist-info")) / "RECORD"
    return {row[0]: (row[1], row[2]) for row in csv.reader(record.read_text().splitlines())}


def test_record_names_every_file_and_only_those(place: Place, tmp_path: Path) -> None:
    site = unpacked(place, our_wheel(tmp_path).path)
    assert site == place.staging / "in" / "lib" / PYTHON / "site-packages"
    present = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    recorded = rows(site)
    assert set(recorded) == present
    info = "pillow-13.0.0+simd.v3.dist-info"
    assert (site / info / "INSTALLER").read_text() == "simdinstall\n"
    assert (site / info / "REQUESTED").read_bytes() == b""
    assert not (site / info / "direct_url.json").exists()
    unhashed = {name for name, (value, _) in recorded.items() if not value}
    assert unhashed == {f"{info}/RECORD"} | {name for name in recorded if "__pycache__" in name}
    assert any("__pycache__" in name for name in recorded)


def test_bytecode_is_valid_and_names_the_final_place(place: Place, tmp_path: Path) -> None:
    site = unpacked(place, stock_wheel(tmp_path))
    source = site / "PIL" / "Image.py"
    compiled = Path(importlib.util.cache_from_source(str(source))).read_bytes()
    assert str(place.site / "PIL" / "Image.py").encode() in compiled
    assert str(site).encode() not in compiled
    # Flags 0: checked against the time of the source, which moving does not change.
    assert compiled[4:8] == bytes(4)
    assert int.from_bytes(compiled[8:12], "little") == int(source.stat().st_mtime)


def test_other_schemes_go_below_the_base(place: Place, tmp_path: Path) -> None:
    data = "pillow-13.0.0.data"
    payload = content("13.0.0") | {
        f"{data}/scripts/pilconvert": b"#!python\nprint(1)\n",
        f"{data}/headers/Imaging.h": b"/* */",
        f"{data}/data/share/doc/pillow.txt": b"text",
        f"{data}/purelib/PIL/extra.py": b"",
        "pillow-13.0.0.dist-info/entry_points.txt": b"[console_scripts]\npil = PIL.Image:new\n",
    }
    site = unpacked(place, small_pillow.wheel(tmp_path, version="13.0.0", content=payload))
    root = place.staging / "in"
    script = root / "bin" / "pilconvert"
    assert script.read_text().startswith(f"#!{HERE}\n")
    assert "PIL.Image" in (root / "bin" / "pil").read_text()
    assert (root / "bin" / "pil").stat().st_mode & stat.S_IXUSR
    assert (root / "include" / "site" / PYTHON / "pillow" / "Imaging.h").is_file()
    assert (root / "share" / "doc" / "pillow.txt").is_file()
    assert (site / "PIL" / "extra.py").is_file()
    recorded = rows(site)
    assert "../../../bin/pilconvert" in recorded
    assert f"../../../include/site/{PYTHON}/pillow/Imaging.h" in recorded


def test_a_module_that_does_not_compile_does_not_matter_here(place: Place, tmp_path: Path) -> None:
    payload = content("13.0.0") | {"PIL/strange.py": b"this is no Python\n"}
    site = unpacked(place, small_pillow.wheel(tmp_path, version="13.0.0", content=payload))
    assert "PIL/strange.py" in rows(site)
    assert not any("strange" in name for name in rows(site) if name.endswith(".pyc"))


def test_a_full_device_while_compiling_is_said(place: Place, tmp_path: Path) -> None:
    def full(argv: Sequence[str | Path], **_: Any) -> Completed:
        return Completed(
            argv=tuple(map(str, argv)),
            returncode=1,
            stdout="*** OSError: [Errno 28] No space left on device\n",
            stderr="",
            cpu_seconds=0,
        )

    with pytest.raises(OSError, match="No space left") as caught:
        unpack(stock_wheel(tmp_path), place=place, root=place.staging / "in", python=HERE, run=full)
    assert caught.value.errno == errno.ENOSPC


def rewrite(path: Path, change: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in (members | change).items():
            archive.writestr(name, data)
    return path


def test_wheels_that_are_not_well_formed_are_refused(place: Place, tmp_path: Path) -> None:
    altered = rewrite(stock_wheel(tmp_path / "a"), {"PIL/Image.py": b"altered"})
    unrecorded = rewrite(stock_wheel(tmp_path / "b"), {"PIL/unrecorded.py": b""})
    cut = stock_wheel(tmp_path / "c")
    cut.write_bytes(cut.read_bytes()[:-100])
    data = "pillow-13.0.0.data"
    climbing = small_pillow.wheel(
        tmp_path / "d", version="13.0.0", content=content("13.0.0") | {f"{data}/purelib/../../../../x": b""}
    )
    for number, wheel in enumerate((altered, unrecorded, cut, climbing)):
        with pytest.raises(InstallError, match="not a well-formed wheel"):
            unpack(wheel, place=place, root=place.staging / str(number), python=HERE, run=run)
    assert not list(tmp_path.rglob("x"))


def lay_out(root: Path, release: str, **options: Any) -> Path:
    for name, data in content(release, **options).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def test_union_has_all_files_of_both_and_the_new_ones_first(tmp_path: Path) -> None:
    for name, text in (("old/both", "old"), ("old/a", "a"), ("new/both", "new"), ("new/b", "b")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    make_union(tmp_path / "old", tmp_path / "new", tmp_path / "union")
    found = {path.name: path.read_text() for path in (tmp_path / "union").iterdir()}
    assert found == {"both": "new", "a": "a", "b": "b"}


FOLLOW = """
import sys
sys.path.insert(0, sys.argv[1])
import PIL
print(PIL.__version__, flush=True)
sys.stdin.readline()
import PIL.Image
print(PIL.Image.core.PILLOW_VERSION, PIL.Image.__file__)
"""


def test_the_bridge_keeps_an_import_to_the_kept_package(tmp_path: Path) -> None:
    from simdinstall.run import start

    site, kept = lay_out(tmp_path / "site", "12.1.1"), tmp_path / "kept"
    lay_out(tmp_path / "new", "13.0.0")
    kept.mkdir()
    make_union(site / "pillow.libs", tmp_path / "new" / "pillow.libs", kept / "pillow.libs")
    make_bridge(site / "PIL", kept / "PIL", tmp_path / "bridge")
    old = digest(site / "PIL")
    before = start([HERE, "-I", "-c", FOLLOW, str(site)])
    assert before.receive(600) == "12.1.1"
    (site / "PIL").rename(kept / "PIL")
    (tmp_path / "bridge").rename(site / "PIL")
    during = start([HERE, "-I", "-c", FOLLOW, str(site)])
    assert during.receive(600) == "12.1.1"
    # One that had begun before finds what it needs in the bridge, in its grace period.
    before.send("")
    assert before.receive(600) == f"12.1.1 {site / 'PIL' / 'Image.py'}"
    (site / "PIL").rename(tmp_path / "bridge")
    (tmp_path / "new" / "PIL").rename(site / "PIL")
    during.send("")
    assert during.receive(600) == f"12.1.1 {kept / 'PIL' / 'Image.py'}"
    assert before.close() == during.close() == 0
    assert digest(kept / "PIL") == old


def test_a_bridge_is_needed_where_python_code_or_libraries_differ(tmp_path: Path) -> None:
    stock = lay_out(tmp_path / "stock", "13.0.0") / "PIL"
    same = lay_out(tmp_path / "same", "13.0.0") / "PIL"
    other = lay_out(tmp_path / "other", "12.1.1") / "PIL"
    for package in (stock, same):
        (package / "_imaging.so").write_text(str(package))
    (same / "libpillow_simd.so").write_text("kernels")
    assert not needs_bridge(stock, same)
    assert needs_bridge(same, stock)
    assert needs_bridge(stock, other)
    assert not needs_bridge(tmp_path / "nothing", stock)
    (other / "__init__.py").unlink()
    assert not needs_bridge(other, stock)


def check(site: Path, **changes: Any) -> None:
    options: dict[str, Any] = {
        "staged": site,
        "user": False,
        "run": run,
        "site": site,
        "release": "13.0.0",
        "version": "13.0.0+simd.v3",
    }
    try_import(HERE, **(options | changes))


def test_the_import_check_tells_what_is_wrong(place: Place, tmp_path: Path) -> None:
    site = unpacked(place, our_wheel(tmp_path).path)
    before = digest(place.staging, bytecode=True)
    os.environ["PYTHONPATH"] = str(lay_out(tmp_path / "shadow", "9.9"))
    try:
        check(site)
    finally:
        del os.environ["PYTHONPATH"]
    assert digest(place.staging, bytecode=True) == before
    for changes, message in (
        ({"release": "12.0"}, "release is 13.0.0, not 12.0"),
        ({"version": "13.0.0"}, r"version is 13.0.0\+simd.v3"),
    ):
        with pytest.raises(InstallError) as caught:
            check(site, **changes)
        assert caught.match("not what it must be")
        assert __import__("re").search(message, caught.value.why)
    (site / "PIL" / "Image.py").write_text("print('chatter')\ndef new(*_): raise OSError('broken')\n")
    with pytest.raises(InstallError, match="cannot be imported") as caught:
        check(site)
    assert "broken" in caught.value.why
    (site / "PIL" / "Image.py").write_text("raise SystemExit(0)\n")
    with pytest.raises(InstallError, match="cannot be tried out"):
        check(site)
