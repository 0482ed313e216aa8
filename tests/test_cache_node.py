from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import cache_parts
from cache_parts import BEST, cpu
from simdinstall.cache import check, node, simple_index, snippets
from simdinstall.cache.catalogue import NAME, Catalogue, House
from simdinstall.cli import main
from simdinstall.errors import CpuError, FetchError, StateError, UsageError

CP311 = ("cp311-cp311-manylinux_2_36_x86_64", "cp311-cp311-manylinux_2_28_x86_64", "py3-none-any")
ALL = ("portable", "v2", "v3", "v4")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def house(tmp_path: Path) -> House:
    made = [cache_parts.cell(level=level) for level in ALL]
    return cache_parts.filled(tmp_path / "wh", tmp_path / "s", *made)


def level(listed: Catalogue, **options: Any) -> str:
    given = {"cpu": BEST, "tags": CP311} | options
    return node.choose(listed, **given).entry.level


@pytest.mark.parametrize(
    ("seen", "chosen"),
    [
        (BEST, "v4"),
        (cpu("x86-64-v4"), "v4"),
        (cpu("x86-64-v3"), "v3"),
        (cpu("x86-64-v2"), "v2"),
        (cpu("x86-64"), "portable"),
    ],
)
def test_each_node_gets_its_best(house: House, seen: Any, chosen: str) -> None:
    assert level(house.read(), cpu=seen) == chosen
    assert node.best_level(house.read(), seen) == chosen


def test_portable_beats_a_level_that_leaves_kernels_out(tmp_path: Path) -> None:
    made = [cache_parts.cell(level=level) for level in ("portable", "v3")]
    listed = cache_parts.filled(tmp_path / "wh", tmp_path / "s", *made).read()
    assert level(listed, cpu=BEST) == "portable"
    assert node.best_level(listed, BEST) == "portable"
    # Without VNNI the AVX-512 kernels do not run: the level's own mark is worth more.
    assert level(listed, cpu=cpu("x86-64-v4")) == "v3"
    assert level(listed, cpu=cpu("x86-64-v3")) == "v3"


def test_the_newest_release_comes_before_the_best_level(tmp_path: Path) -> None:
    made = [cache_parts.cell(level="v4", release="9.5.0"), cache_parts.cell(level="v2", release="10.0.0")]
    listed = cache_parts.filled(tmp_path / "wh", tmp_path / "s", *made).read()
    assert level(listed) == "v2"
    assert level(listed, release="9.5") == "v4"
    with pytest.raises(FetchError, match=r"no Pillow 11\.0"):
        level(listed, release="11.0")


def test_a_level_that_was_asked_for(house: House) -> None:
    assert level(house.read(), march=cache_parts.march("v2")) == "v2"
    with pytest.raises(FetchError, match="no haswell"):
        level(house.read(), march=cache_parts.march("haswell"))


def test_bounded_builds_only_for_those_who_ask(tmp_path: Path) -> None:
    listed = cache_parts.filled(tmp_path / "wh", tmp_path / "s", cache_parts.cell(fidelity="bounded")).read()
    with pytest.raises(FetchError, match="no exact build"):
        level(listed)
    assert level(listed, fidelity="bounded") == "v3"


def test_no_build_for_this_python(house: House) -> None:
    with pytest.raises(FetchError, match="no build for this Python") as caught:
        level(house.read(), tags=("cp312-cp312-manylinux_2_28_x86_64",))
    assert "cp311 on manylinux_2_28_x86_64" in caught.value.why


def test_an_old_glibc_gets_only_what_it_can_load(house: House) -> None:
    old = ("cp311-cp311-manylinux_2_17_x86_64", "cp311-cp311-manylinux2014_x86_64")
    with pytest.raises(FetchError, match="no build for this Python"):
        level(house.read(), tags=old)
    listed = house.read()
    both = replace(
        listed,
        entries=tuple(
            replace(e, platforms=("manylinux_2_17_x86_64",)) if e.level == "v2" else e for e in listed.entries
        ),
    )
    assert level(both, tags=old) == "v2"
    assert level(both) == "v4"


def test_no_build_for_this_cpu(tmp_path: Path) -> None:
    listed = cache_parts.filled(tmp_path / "wh", tmp_path / "s", cache_parts.cell(level="v3")).read()
    with pytest.raises(CpuError, match="no build that this CPU can run") as caught:
        level(listed, cpu=cpu("x86-64-v2"))
    assert "avx2" in caught.value.why
    with pytest.raises(CpuError):
        node.best_level(listed, cpu("x86-64-v2"))
    with pytest.raises(FetchError, match="empty"):
        level(Catalogue())


def test_a_wheel_is_checked_before_it_is_used(house: House, tmp_path: Path) -> None:
    where = node.place(str(house.root))
    entry = node.choose(house.read(), cpu=BEST, tags=CP311).entry
    assert node.fetched(where, entry, tmp_path, cpu=BEST).sha256 == entry.sha256
    path = house.root / entry.path
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:100] + b"!" + whole[101:], b""):
        path.write_bytes(damaged)
        with pytest.raises(FetchError, match="damaged or was altered"):
            node.fetched(where, entry, tmp_path, cpu=BEST)
    path.unlink()
    with pytest.raises(FetchError, match="cannot be read"):
        node.fetched(where, entry, tmp_path, cpu=BEST)


def test_a_catalogue_that_lies_about_the_cpu_is_found_out(house: House, tmp_path: Path) -> None:
    """The wheel says itself what it needs; nothing that this CPU lacks is installed."""
    where = node.place(str(house.root))
    strong = house.read().by_cell()[cache_parts.cell(level="v4").key]
    forged = replace(strong, features=frozenset(), isas=("sse4",))
    with pytest.raises(CpuError, match="cannot run on this CPU") as caught:
        node.fetched(where, forged, tmp_path, cpu=cpu("x86-64-v2"))
    assert "avx512f" in caught.value.why
    renamed = replace(strong, level="v2", features=frozenset())
    with pytest.raises(FetchError, match="not what the catalogue says"):
        node.fetched(where, renamed, tmp_path, cpu=cpu("x86-64-v2"))


def test_over_the_web_as_from_a_folder(house: House, tmp_path: Path) -> None:
    with served(house.root) as url:
        where = node.place(url)
        listed = node.catalogue(where)
        assert listed == house.read()
        wheel = node.fetched(where, listed.entries[0], tmp_path, cpu=BEST)
        assert wheel.path.parent == tmp_path
        assert check.check(where).problems == ()
        assert where.url("simple/v3/") == f"{url}/simple/v3/"
        with pytest.raises(FetchError, match="nothing"):
            where.get("nothing")
        (house.root / listed.entries[0].path).write_bytes(b"")
        with pytest.raises(FetchError, match="altered"):
            node.fetched(where, listed.entries[0], tmp_path, cpu=BEST)
    with pytest.raises(FetchError, match="cannot be read"):
        node.catalogue(node.place("http://127.0.0.1:9/"))


def test_places() -> None:
    assert node.place("file:///srv/wheel%20house").address == "/srv/wheel house"
    with pytest.raises(UsageError, match="over s3"):
        node.place("s3://bucket/x")
    with pytest.raises(FetchError, match=r"catalogue\.json"):
        node.catalogue(node.place("/nowhere"))


def test_checking_finds_every_change(house: House) -> None:
    where = node.place(str(house.root))
    found = check.check(where)
    assert (found.wheels, found.problems) == (4, ())
    entry = house.read().entries[0]
    for path, change in (
        (house.root / entry.path, b"x"),
        (house.root / f"{entry.path}.metadata", b"Name: other\n"),
        (house.root / "simple/v3/pillow/index.html", b"<html>"),
        (house.root / "simple/v3/pillow/index.json", None),
    ):
        before = path.read_bytes()
        if change is None:
            path.unlink()
        else:
            path.write_bytes(change)
        [problem] = check.check(where).problems
        assert path.name.removesuffix(".metadata") in problem
        path.write_bytes(before)
    assert check.check(where).problems == ()
    (house.root / NAME).write_bytes(b"{}")
    with pytest.raises(StateError):
        check.check(where)


def test_lines_for_other_tools() -> None:
    for name, lines in snippets.FORMATS.items():
        text = lines("http://host/simple/v3/", "http://host")
        assert "http://host" in text, name


def test_the_commands(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    root = str(house.root)
    assert main(["cache", "url", root, "--cpu", "x86-64-v3"]) == 0
    assert capsys.readouterr().out == f"{house.root.as_uri()}/simple/v3/\n"
    assert main(["cache", "env", root, "--format", "pip", "--cpu", "x86-64-v2"]) == 0
    assert f"extra-index-url = {house.root.as_uri()}/simple/v2/" in capsys.readouterr().out
    assert main(["cache", "list", root]) == 0
    assert "4 wheels" in capsys.readouterr().out
    assert main(["cache", "verify", root]) == 0
    (house.root / house.read().entries[0].path).write_bytes(b"")
    assert main(["cache", "verify", root]) == 7
    assert main(["cache", "list", "/nowhere"]) == 5


def test_builds_of_another_kind_have_an_index_of_their_own_and_must_be_asked_for(tmp_path: Path) -> None:
    plain = [cache_parts.cell(level=level) for level in ("v2", "v3")]
    rebuilt = cache_parts.cell(level="v4", kind="rebuilt")
    listed = cache_parts.filled(tmp_path / "wh", tmp_path / "s", *plain, rebuilt).read()
    assert level(listed) == "v3"
    assert level(listed, kind="rebuilt") == "v4"
    assert node.best_level(listed, BEST) == "v3"
    assert node.best_level(listed, BEST, "rebuilt") == "v4"
    assert [e.version for e in simple_index.of_level(listed, "v4", "rebuilt")] == ["13.0.0+simd.v4.rebuilt"]
    assert {e.kind for e in simple_index.of_level(listed, "v3")} == {""}
    assert "simple/v4-rebuilt/pillow/index.html" in simple_index.pages(listed)
    assert "simple/v4/pillow/index.html" not in simple_index.pages(listed)
    with pytest.raises(FetchError, match=r"no rebuilt\.zlibng builds") as refusal:
        node.choose(listed, cpu=BEST, tags=CP311, kind="rebuilt.zlibng")
    assert refusal.value.why == "it has plain, rebuilt"


def test_a_cache_of_one_kind_gives_that_unasked(tmp_path: Path) -> None:
    made = cache_parts.cell(level="v3", kind="zlibng")
    listed = cache_parts.filled(tmp_path / "wh", tmp_path / "s", made).read()
    assert node.choose(listed, cpu=BEST, tags=CP311).entry.cell == made.key
    assert node.settled_kind(simple_index.kinds(listed), None) == "zlibng"
