from __future__ import annotations

import errno
import json
import os
import threading
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from filelock import FileLock

import cache_parts
from simdinstall.cache import simple_index
from simdinstall.cache.catalogue import NAME, SCHEMA, Catalogue, House, parse, signature_path
from simdinstall.errors import BusyError, NoSpaceError, StateError


class Links(HTMLParser):
    """The links of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[dict[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found.append(dict(attrs))


def complete(root: Path) -> int:
    """Every file that the catalogue and the pages name is there; how many the catalogue names."""
    listed = parse((root / NAME).read_bytes(), where="here")
    for entry in listed.entries:
        assert (root / entry.path).stat().st_size == entry.size
    for page in root.glob("simple/*/pillow/index.html"):
        text = page.read_text()
        assert text.endswith("</html>\n")
        for link in Links(text).found:
            where = urlsplit(str(link["href"]))
            assert (page.parent / unquote(where.path)).is_file()
            assert where.fragment.startswith("sha256=")
        as_json = json.loads(page.with_suffix(".json").read_text())
        for file in as_json["files"]:
            assert (page.parent / unquote(file["url"])).is_file()
    return len(listed.entries)


def test_what_was_published_is_read_again(tmp_path: Path) -> None:
    made = [cache_parts.cell(level=level) for level in ("portable", "v2", "v3")]
    house = cache_parts.filled(tmp_path / "wh", tmp_path / "s", *made)
    listed = house.read()
    assert set(listed.by_cell()) == {cell.key for cell in made}
    assert parse(listed.to_bytes(), where="here") == listed
    assert complete(house.root) == 3


def test_an_index_has_the_best_that_its_level_can_run(tmp_path: Path) -> None:
    made = [
        cache_parts.cell(level="portable"),
        cache_parts.cell(level="v3"),
        cache_parts.cell(level="portable", py="3.12"),
        cache_parts.cell(level="v2", py="3.12"),
        cache_parts.cell(level="portable", py="3.13"),
        cache_parts.cell(level="v4", release="12.3.0", py="3.13"),
    ]
    listed = cache_parts.filled(tmp_path / "wh", tmp_path / "s", *made).read()

    def shown(level: str) -> set[tuple[str, str, str]]:
        return {(e.release, e.abi, e.level) for e in simple_index.of_level(listed, level)}

    assert shown("portable") == {("13.0.0", f"cp31{minor}", "portable") for minor in (1, 2, 3)}
    assert shown("v2") == {
        ("13.0.0", "cp311", "portable"),
        ("13.0.0", "cp312", "v2"),
        ("13.0.0", "cp313", "portable"),
    }
    assert ("13.0.0", "cp311", "v3") in shown("v3")
    # The portable library has AVX2 kernels too, the v2 library has not.
    assert ("13.0.0", "cp312", "portable") in shown("v3")
    # On a v4 machine portable runs AVX-512, v3 does not.
    assert ("13.0.0", "cp311", "portable") in shown("v4")
    assert ("12.3.0", "cp313", "v4") in shown("v4")
    assert ("12.3.0", "cp313", "v4") not in shown("v3")


def test_pages_say_what_installers_need(tmp_path: Path) -> None:
    house = cache_parts.filled(tmp_path / "wh", tmp_path / "s", cache_parts.cell())
    [entry] = house.read().entries
    entry = replace(entry, requires_python=">=3.11")
    [link] = Links(simple_index.project_page([entry], up="../").decode()).found
    assert "%2Bsimd.v3" in str(link["href"])
    assert link["data-requires-python"] == ">=3.11"
    assert link["data-core-metadata"] == f"sha256={entry.metadata_sha256}"
    told = json.loads(simple_index.project_json([entry], up="../"))
    assert told["meta"]["api-version"] == "1.1"
    assert told["versions"] == ["13.0.0+simd.v3"]
    assert told["files"][0]["hashes"] == {"sha256": entry.sha256}
    assert told["files"][0]["requires-python"] == ">=3.11"


def test_a_reader_never_sees_half_a_state(tmp_path: Path) -> None:
    """Files are put into place one by one; after each, everything that is named is there."""
    steps = 0
    root = tmp_path / "wh"

    def rename(old: Path, new: Path) -> None:
        nonlocal steps
        old.replace(new)
        steps += 1
        if (root / NAME).exists():
            complete(root)

    house = cache_parts.house(root, rename=rename)
    for round_ in range(3):
        made = [cache_parts.cell(level=level, py=f"3.1{round_ + 1}") for level in ("portable", "v3")]
        entries = [cache_parts.entry(house, cell, tmp_path / "s") for cell in made]
        house.publish(lambda catalogue, entries=entries: catalogue.with_entries(entries))  # type: ignore[misc]
    again = cache_parts.entry(house, cache_parts.cell(level="v3"), tmp_path / "s", mark="anew")
    house.publish(lambda catalogue: catalogue.with_entries([again]))
    house.publish(lambda catalogue: catalogue.without([again.cell]), clean=True)
    assert steps > 20
    assert complete(root) == 5


def test_readers_and_builders_at_once(tmp_path: Path) -> None:
    root = tmp_path / "wh"
    house = cache_parts.filled(root, tmp_path / "s", cache_parts.cell(level="portable"))
    stop = threading.Event()
    seen: list[int] = []
    wrong: list[BaseException] = []

    def poll() -> None:
        try:
            while not stop.is_set():
                seen.append(complete(root))
        except BaseException as error:
            wrong.append(error)

    def build(minor: int) -> None:
        try:
            own = cache_parts.house(root)
            for level in ("v2", "v3", "v4"):
                made = cache_parts.cell(level=level, py=f"3.{minor}")
                added = cache_parts.entry(own, made, tmp_path / f"s{minor}")
                own.publish(lambda catalogue, added=added: catalogue.with_entries([added]))  # type: ignore[misc]
        except BaseException as error:
            wrong.append(error)

    reader = threading.Thread(target=poll)
    builders = [threading.Thread(target=build, args=(minor,)) for minor in (11, 12)]
    for thread in (reader, *builders):
        thread.start()
    for thread in builders:
        thread.join()
    stop.set()
    reader.join()
    assert not wrong
    # Neither builder lost what the other had published.
    assert complete(root) == 7
    assert seen == sorted(seen)
    assert house.read().generation == 7


def test_what_nobody_names_goes_when_it_is_cleaned(tmp_path: Path) -> None:
    house = cache_parts.filled(
        tmp_path / "wh", tmp_path / "s", cache_parts.cell(), cache_parts.cell(level="v2")
    )
    gone = house.read().by_cell()[cache_parts.cell(level="v2").key]
    house.publish(lambda catalogue: catalogue.without([gone.cell]))
    assert (house.root / gone.path).is_file()
    left = house.root / ".building" / "part-of-one-who-died"
    left.write_text("")
    house.publish(lambda catalogue: catalogue, clean=True)
    assert not (house.root / gone.path).parent.exists()
    assert not (house.root / "simple" / "v2").exists()
    assert not left.exists()
    assert complete(house.root) == 1


def test_a_newer_catalogue_is_refused(tmp_path: Path) -> None:
    text = json.dumps({"schema": SCHEMA + 1, "tool": {"version": "9.9"}})
    with pytest.raises(StateError, match="newer simdinstall") as caught:
        parse(text.encode(), where="here")
    assert "9.9" in caught.value.why
    assert "pip install -U" in caught.value.hint


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b'{"schema": "1"}', b'{"schema": 1, "generation": 1, "wheels": [{}]}']
)
def test_a_damaged_catalogue_is_refused(text: bytes) -> None:
    with pytest.raises(StateError, match="cannot be read"):
        parse(text, where="here")


@pytest.mark.parametrize(
    "path", ["../../etc/x.whl", "wheels/../x.whl", "/x.whl", "wheels//x.whl", "other/x.whl"]
)
def test_a_catalogue_cannot_point_out_of_the_cache(tmp_path: Path, path: str) -> None:
    house = cache_parts.filled(tmp_path / "wh", tmp_path / "s", cache_parts.cell())
    told = json.loads((house.root / NAME).read_bytes())
    told["wheels"][0] |= {"path": path, "file": "x.whl"}
    with pytest.raises(StateError, match="cannot be read"):
        parse(json.dumps(told).encode(), where="here")


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    house = cache_parts.filled(tmp_path / "wh", tmp_path / "s", cache_parts.cell())
    before = (house.root / NAME).read_bytes()

    def full(old: Path, new: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(new))

    broken = cache_parts.house(house.root, rename=full)
    with pytest.raises(NoSpaceError):
        broken.publish(lambda catalogue: replace(catalogue, variants=True))
    with pytest.raises(NoSpaceError):
        cache_parts.entry(broken, cache_parts.cell(py="3.12"), tmp_path / "s")
    assert (house.root / NAME).read_bytes() == before
    assert not list((house.root / ".building").glob("part-*"))
    assert complete(house.root) == 1


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(StateError, match="cannot be written") as caught:
        cache_parts.house(file / "wh").require_fit()
    assert "--cache" in caught.value.hint


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_only_to_be_read(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(StateError, match="cannot be written"):
            cache_parts.house(tmp_path).require_fit()
    finally:
        tmp_path.chmod(0o755)


def test_a_file_system_without_atomic_exchange(tmp_path: Path) -> None:
    def refuse(old: Path, new: Path) -> None:
        raise OSError(errno.EEXIST, os.strerror(errno.EEXIST), str(new))

    with pytest.raises(StateError, match="cannot exchange") as caught:
        cache_parts.house(tmp_path, rename=refuse).require_fit()
    assert "rsync" in caught.value.hint


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOLCK, "No locks available"), NotImplementedError("no flock")]
)
def test_a_file_system_without_locks(tmp_path: Path, error: Exception) -> None:
    class Without(FileLock):
        def acquire(self, *arguments: Any, **options: Any) -> Any:
            raise error

    with pytest.raises(StateError, match="no locks") as caught:
        cache_parts.house(tmp_path, lock=Without).require_fit()
    assert "rsync" in caught.value.hint


def test_a_builder_that_publishes_for_ever_is_not_waited_for(tmp_path: Path) -> None:
    house = cache_parts.house(tmp_path, patience=0.1)
    with house.locked("publish"), pytest.raises(BusyError, match="another builder"):
        cache_parts.house(tmp_path, patience=0.1).publish(lambda catalogue: catalogue)


def test_a_wheel_that_changed_on_the_way_is_refused(tmp_path: Path) -> None:
    house = cache_parts.house(tmp_path / "wh")
    (tmp_path / "s").mkdir()
    wheel = cache_parts.our_wheel(tmp_path / "s", cache_parts.cell())
    with pytest.raises(StateError, match="did not arrive"):
        house.take_in(wheel, "0" * 64)
    assert not list(house.root.rglob("*.whl"))


class Pen:
    """Signs by saying so."""

    fingerprint = "SHA256:pen"

    def sign(self, content: bytes) -> str:
        return "signed"


def test_a_signed_cache_stays_signed(tmp_path: Path) -> None:
    house = cache_parts.house(tmp_path / "wh")
    house.publish(lambda catalogue: catalogue, signer=Pen())
    text = (house.root / NAME).read_bytes()
    assert (house.root / signature_path(text)).read_text() == "signed"
    with pytest.raises(StateError, match="is signed by SHA256:pen"):
        house.publish(lambda catalogue: catalogue)
    assert (house.root / NAME).read_bytes() == text
    assert house.publish(lambda catalogue: catalogue, unsigned=True).signer == ""


def test_clocks_do_not_matter(tmp_path: Path) -> None:
    """A builder whose clock is years ahead; then one whose is behind."""
    house = cache_parts.filled(tmp_path / "wh", tmp_path / "s", cache_parts.cell())
    for stamp in (4e9, 1e8):
        for path in house.root.rglob("*"):
            os.utime(path, (stamp, stamp))
        added = cache_parts.entry(house, cache_parts.cell(py="3.12"), tmp_path / "s", mark=str(stamp))
        added = replace(
            added, built="2099-01-01T00:00:00+00:00" if stamp > 1e9 else "1999-01-01T00:00:00+00:00"
        )
        house.publish(lambda catalogue, added=added: catalogue.with_entries([added]), clean=True)  # type: ignore[misc]
        assert house.read().by_cell()[added.cell] == added
        assert complete(house.root) == 2


def test_a_thousand_wheels(tmp_path: Path) -> None:
    listed = cache_parts.paper(1000)
    house = House(tmp_path, pages=simple_index.pages)
    house.publish(lambda catalogue: replace(listed, generation=catalogue.generation))
    assert len(house.read().entries) == 1000
    assert Catalogue().entries == ()
