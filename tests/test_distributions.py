from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

import small_pillow
from simdinstall.distributions import Recorded, find, is_pillow, leftovers, read_record, wrong_hashes
from small_pillow import install


@pytest.mark.parametrize(
    ("name", "pillow"),
    [
        ("pillow", True),
        ("Pillow", True),
        ("PIL", True),
        ("pillow_simd", True),
        ("Pillow-SIMD", True),
        ("pillow-simd-avx2", True),
        ("pillow-allsimd", True),
        ("pillow-heif", False),
        ("pillow-simdx", False),
        ("pilkit", False),
    ],
)
def test_names(name: str, pillow: bool) -> None:
    assert is_pillow(name) == pillow


def test_the_record(tmp_path: Path) -> None:
    install(tmp_path, content={"PIL/a,b.py": b"x"})
    (owner,) = find(tmp_path)
    (owner.location / "RECORD").write_text(
        small_pillow.record_line('"PIL/a,b.py"', b"x") + "PIL/../PIL/c.py,md5=xx,many\n"
        "../../../bin/tool,,\n"
        "\n"
        "PIL/odd.py,sha256=A,\n"
    )
    (owner,) = find(tmp_path)
    assert read_record(owner)[:3] == (
        Recorded(path="PIL/a,b.py", sha256=read_record(owner)[0].sha256, size=1),
        Recorded(path="PIL/c.py", sha256=None, size=None),
        Recorded(path="../../../bin/tool", sha256=None, size=None),
    )
    assert read_record(owner)[0].sha256 == hashlib.sha256(b"x").hexdigest()
    assert read_record(owner)[3].sha256 is None
    assert owner.missing == ("PIL/c.py", "PIL/odd.py")
    assert wrong_hashes(owner, frozenset({"PIL/a,b.py"})) == ()
    (tmp_path / "PIL" / "a,b.py").write_bytes(b"y")
    assert wrong_hashes(owner, frozenset({"PIL/a,b.py"})) == ("PIL/a,b.py",)
    assert wrong_hashes(owner, frozenset()) == ()


def test_a_record_that_is_not_text(tmp_path: Path) -> None:
    dist = install(tmp_path)
    (dist / "RECORD").write_bytes(b"\xff\xfe\0PIL/x,,\nPIL/\xe9.py,,\n")
    (owner,) = find(tmp_path)
    assert len(owner.files) == 2
    assert owner.missing == ("PIL/\udce9.py",)


def test_no_folder() -> None:
    assert find(Path("/nonexistent")) == ()
    assert leftovers(Path("/nonexistent")) == ()


@pytest.mark.parametrize(
    ("folder", "name", "version"),
    [
        ("pillow-12.3.0.dist-info", "pillow", "12.3.0"),
        ("Pillow_SIMD-9.5.0.post2.dist-info", "Pillow_SIMD", "9.5.0.post2"),
        ("pillow-simd-9.5.0.dist-info", "pillow-simd", "9.5.0"),
        ("pillow.dist-info", "pillow", ""),
        ("Pillow-9.0-py3.11.egg-info", "Pillow", "9.0"),
    ],
)
def test_a_husks_name_is_its_folders(tmp_path: Path, folder: str, name: str, version: str) -> None:
    (tmp_path / folder).mkdir()
    (owner,) = find(tmp_path)
    assert (owner.name, owner.version, owner.has_metadata) == (name, version, False)


def test_metadata_ends_at_the_blank_line(tmp_path: Path) -> None:
    install(tmp_path)
    assert b"Name: not this" in small_pillow.metadata("pillow", "1")
    assert find(tmp_path)[0].name == "pillow"
