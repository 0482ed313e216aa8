"""Archives, good and hostile, are real files made by the standard library."""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from simdinstall import archive
from simdinstall.archive import extract
from simdinstall.errors import FetchError

Entry = tuple[str, bytes]


def tar_of(path: Path, entries: list[tarfile.TarInfo | Entry]) -> Path:
    with tarfile.open(path, "w:gz") as out:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                out.addfile(entry)
            else:
                info = tarfile.TarInfo(entry[0])
                info.size = len(entry[1])
                out.addfile(info, io.BytesIO(entry[1]))
    return path


def zip_of(path: Path, entries: list[Entry], mode: int = 0o100644) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in entries:
            info = zipfile.ZipInfo("placeholder")
            # Set afterwards: the constructor would tidy the name.
            info.filename = info.orig_filename = name
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            out.writestr(info, content)
    return path


def make(kind: str, where: Path, entries: list[Entry]) -> Path:
    if kind == "tar":
        return tar_of(where / "thing-1.tar.gz", list(entries))
    return zip_of(where / "thing-1-py3-none-any.whl", entries)


both = pytest.mark.parametrize("kind", ["tar", "zip"])


@both
def test_content_names_and_order(kind: str, tmp_path: Path) -> None:
    packed = make(kind, tmp_path, [("t/b.c", b"two"), ("t/a/x.h", b"one"), ("t/empty", b"")])
    into = tmp_path / "out"
    paths = extract(packed, into)
    assert paths == (into / "t/a/x.h", into / "t/b.c", into / "t/empty")
    assert [p.read_bytes() for p in paths] == [b"one", b"two", b""]


@both
def test_keep_chooses(kind: str, tmp_path: Path) -> None:
    packed = make(kind, tmp_path, [("t/src/a.c", b"a"), ("t/Tests/big.png", b"b")])
    asked: list[str] = []

    def keep(name: str) -> bool:
        asked.append(name)
        return name.startswith("t/src/")

    into = tmp_path / "out"
    assert extract(packed, into, keep=keep) == (into / "t/src/a.c",)
    assert asked == ["t/src/a.c", "t/Tests/big.png"]
    assert not (into / "t/Tests").exists()


@both
@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../up",
        "t/../../up",
        "t/..",
        "t\\..\\up",
        "c:/x",
        "t/new\nline",
        "t/" + "n" * 300,
        "/".join("d" * 80),
        ".",
    ],
)
def test_names_refused_even_when_not_kept(kind: str, name: str, tmp_path: Path) -> None:
    packed = make(kind, tmp_path, [("t/good", b"x"), (name, b"evil")])
    into = tmp_path / "box" / "out"
    with pytest.raises(FetchError, match="refused to unpack"):
        extract(packed, into, keep=lambda n: n == "t/good")
    assert not into.exists()
    assert not (tmp_path / "box" / "up").exists()


@both
def test_same_name_twice(kind: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns while the archive is made
        packed = make(kind, tmp_path, [("t/a", b"first"), ("./t//a", b"x"), ("t/a", b"second")])
    with pytest.raises(FetchError) as caught:
        extract(packed, tmp_path / "out")
    assert "twice" in caught.value.why


@both
def test_file_that_is_also_a_directory(kind: str, tmp_path: Path) -> None:
    packed = make(kind, tmp_path, [("t/a", b"file"), ("t/a/b", b"below")])
    with pytest.raises(FetchError) as caught:
        extract(packed, tmp_path / "out")
    assert "directory at once" in caught.value.why


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = target
    return info


@pytest.mark.parametrize(
    "member",
    [
        special("t/link", tarfile.SYMTYPE, "/etc"),
        special("t/link", tarfile.SYMTYPE, "inside"),
        special("t/hard", tarfile.LNKTYPE, "t/a"),
        special("t/fifo", tarfile.FIFOTYPE),
        special("t/dev", tarfile.CHRTYPE),
        special("t/disk", tarfile.BLKTYPE),
    ],
    ids=lambda m: f"{m.name}-{m.type!r}",
)
def test_tar_links_and_devices(member: tarfile.TarInfo, tmp_path: Path) -> None:
    packed = tar_of(tmp_path / "t.tar.gz", [("t/a", b"x"), member])
    with pytest.raises(FetchError, match="refused") as caught:
        extract(packed, tmp_path / "out")
    assert "link or a special file" in caught.value.why
    # Not wanted, not written, no reason to refuse the rest.
    kept = extract(packed, tmp_path / "out", keep=lambda n: n == "t/a")
    assert [p.name for p in kept] == ["a"]


def test_link_then_write_through_it(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    packed = tar_of(
        tmp_path / "t.tar.gz",
        [special("t/link", tarfile.SYMTYPE, str(victim)), ("t/link/evil", b"x")],
    )
    extract(packed, tmp_path / "out", keep=lambda n: n.endswith("evil"))
    assert list(victim.iterdir()) == []


def test_zip_symlink(tmp_path: Path) -> None:
    packed = zip_of(tmp_path / "t.whl", [("t/link", b"/etc/passwd")], stat.S_IFLNK | 0o777)
    with pytest.raises(FetchError, match="refused"):
        extract(packed, tmp_path / "out")


def test_zip_name_hidden_behind_nul(tmp_path: Path) -> None:
    packed = zip_of(tmp_path / "t.whl", [("t/aXb", b"x")])
    packed.write_bytes(packed.read_bytes().replace(b"t/aXb", b"t/a\0b"))
    with pytest.raises(FetchError, match="refused"):
        extract(packed, tmp_path / "out")


def test_zip_encrypted(tmp_path: Path) -> None:
    packed = zip_of(tmp_path / "t.whl", [("t/a", b"x" * 100)])
    data = bytearray(packed.read_bytes())
    data[6] |= 1  # local header
    data[data.index(b"PK\x01\x02") + 8] |= 1  # central directory
    packed.write_bytes(data)
    with pytest.raises(FetchError, match="refused"):
        extract(packed, tmp_path / "out")


@both
def test_limit_bytes(kind: str, tmp_path: Path) -> None:
    packed = make(kind, tmp_path, [("t/a", os.urandom(6000)), ("t/b", os.urandom(6000))])
    assert len(extract(packed, tmp_path / "ok", limit_bytes=12_000)) == 2
    with pytest.raises(FetchError) as caught:
        extract(packed, tmp_path / "out", limit_bytes=11_999)
    assert "more than 11999 bytes" in caught.value.why
    assert not (tmp_path / "out").exists()


def test_tar_is_bounded_where_nothing_is_kept(tmp_path: Path) -> None:
    packed = tar_of(tmp_path / "t.tar.gz", [("t/big", os.urandom(300_000))])
    with pytest.raises(FetchError):
        extract(packed, tmp_path / "out", keep=lambda n: False, limit_bytes=1000, limit_members=10)


@both
def test_limit_members(kind: str, tmp_path: Path) -> None:
    packed = make(kind, tmp_path, [(f"t/{i}", b"") for i in range(11)])
    assert len(extract(packed, tmp_path / "ok", limit_members=11)) == 11
    with pytest.raises(FetchError) as caught:
        extract(packed, tmp_path / "out", limit_members=10)
    assert "10 members" in caught.value.why


@both
def test_bomb(kind: str, tmp_path: Path) -> None:
    packed = make(kind, tmp_path, [("t/zeros", bytes(archive.RATIO_FROM_BYTES + 1))])
    with pytest.raises(FetchError) as caught:
        extract(packed, tmp_path / "out")
    assert "expands" in caught.value.why


def test_zip_whose_header_lies_about_the_size(tmp_path: Path) -> None:
    packed = zip_of(tmp_path / "t.whl", [("t/a", b"x" * 5000)])
    data = packed.read_bytes().replace((5000).to_bytes(4, "little"), (50).to_bytes(4, "little"))
    packed.write_bytes(data)
    with pytest.raises(FetchError):
        extract(packed, tmp_path / "out", limit_bytes=1000)


def cut(data: bytes) -> bytes:
    return data[: len(data) * 2 // 3]


def flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0x55]) + data[middle + 1 :]


@both
@pytest.mark.parametrize("damage", [cut, flip])
def test_damage(kind: str, damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    packed = make(kind, tmp_path, [("t/a", os.urandom(50_000)), ("t/b", os.urandom(50_000))])
    packed.write_bytes(damage(packed.read_bytes()))
    with pytest.raises(FetchError) as caught:
        extract(packed, tmp_path / "out")
    assert "damaged" in caught.value.why
    assert caught.value.hint
    assert not (tmp_path / "out").exists()


def test_damage_behind_the_last_member(tmp_path: Path) -> None:
    packed = tar_of(tmp_path / "t.tar.gz", [("t/a", b"x")])
    data = packed.read_bytes()
    packed.write_bytes(data[:-8] + bytes([data[-8] ^ 1]) + data[-7:])  # gzip's CRC
    with pytest.raises(FetchError):
        extract(packed, tmp_path / "out")


@pytest.mark.parametrize("name", ["a.tar.gz", "a.whl", "a.zip"])
def test_not_an_archive(name: str, tmp_path: Path) -> None:
    packed = tmp_path / name
    packed.write_text("<html>login first</html>")
    with pytest.raises(FetchError):
        extract(packed, tmp_path / "out")


def test_gzip_of_something_else(tmp_path: Path) -> None:
    packed = tmp_path / "a.tar.gz"
    packed.write_bytes(gzip.compress(b"no tar at all" * 100))
    with pytest.raises(FetchError):
        extract(packed, tmp_path / "out")


def test_unknown_kind_and_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FetchError):
        extract(tmp_path / "missing.whl", tmp_path / "out")
    other = tmp_path / "a.rar"
    other.write_bytes(b"Rar!")
    with pytest.raises(FetchError) as caught:
        extract(other, tmp_path / "out")
    assert "neither" in caught.value.why


def test_modes_do_not_depend_on_umask(tmp_path: Path) -> None:
    info = tarfile.TarInfo("t/run")
    info.mode = 0o4711
    plain = tarfile.TarInfo("t/plain")
    plain.mode = 0o666
    packed = tar_of(tmp_path / "t.tar.gz", [info, plain])
    before = os.umask(0o077)
    try:
        extract(packed, tmp_path / "out")
    finally:
        os.umask(before)
    modes = {
        p.name: stat.S_IMODE(p.stat().st_mode) for p in [tmp_path / "out", *(tmp_path / "out").rglob("*")]
    }
    assert modes == {"out": 0o755, "t": 0o755, "run": 0o755, "plain": 0o644}


def test_not_into_something(tmp_path: Path) -> None:
    packed = tar_of(tmp_path / "t.tar.gz", [("t/a", b"x")])
    into = tmp_path / "out"
    into.mkdir()
    extract(packed, into)
    with pytest.raises(FetchError) as caught:
        extract(packed, into)
    assert "not empty" in caught.value.why
    assert (into / "t/a").read_bytes() == b"x"


def test_interrupt_leaves_nothing(tmp_path: Path) -> None:
    packed = tar_of(tmp_path / "t.tar.gz", [("t/a", b"x"), ("t/b", b"y")])

    def keep(name: str) -> bool:
        if name == "t/b":
            raise KeyboardInterrupt
        return True

    into = tmp_path / "out"
    into.mkdir()
    with pytest.raises(KeyboardInterrupt):
        extract(packed, into, keep=keep)
    assert list(into.iterdir()) == []
