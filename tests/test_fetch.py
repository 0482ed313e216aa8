"""Fetching from a real HTTP server on 127.0.0.1 that misbehaves on purpose."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import ssl
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from packaging.tags import sys_tags

from index_server import File, Index, serving
from simdinstall.errors import FetchError, NoSpaceError, UsageError
from simdinstall.fetch import Fetcher
from simdinstall.indexes import Indexes
from simdinstall.run import run

TAGS = ["cp311-cp311-manylinux_2_28_x86_64", "cp311-cp311-manylinux_2_17_x86_64", "py3-none-any"]
WHEEL = os.urandom(300_000)
SDIST = os.urandom(100_000)


def wheel(version: str, tag: str = TAGS[0], content: bytes = WHEEL, **more: Any) -> File:
    return File(f"pillow-{version}-{tag}.whl", content, **more)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def index() -> Iterator[Index]:
    pillow = [
        wheel("12.3.0"),
        wheel("13.0.0", "cp311-cp311-manylinux_2_17_x86_64", b"old"),
        wheel("13.0.0"),
        wheel("13.0.0", "cp312-cp312-manylinux_2_28_x86_64", b"other"),
        wheel("13.0.0", "cp311-cp311-win_amd64", b"win"),
        File("pillow-13.0.0.tar.gz", SDIST),
        wheel("13.0.1", content=b"bad", yanked="broken resize"),
        wheel("13.1.0rc1", content=b"rc"),
        wheel("13.1.0.dev3", content=b"dev"),
        wheel("13.0.0+simd.v3", content=b"ours"),
        File("pillow-14.0.0.tar.gz", b"sdist only"),
        File("README.txt", b"not a distribution"),
        File("pillow_tools-99.0-py3-none-any.whl", b"another project"),
    ]
    simd = [File("pillow_simd-12.1.1.post0.tar.gz", SDIST), File("Pillow-SIMD-9.0.0.post1.tar.gz", b"old")]
    with serving(Index(projects={"pillow": pillow, "pillow-simd": simd})) as running:
        yield running


class Clock:
    """Time that passes only when it is told to."""

    def __init__(self) -> None:
        self.time = 1_000_000.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Make:
    """Fetchers over one cache, closed at the end."""

    def __init__(self, cache: Path, clock: Clock) -> None:
        self.cache = cache
        self.clock = clock
        self.made: list[Fetcher] = []

    def __call__(self, *urls: str, **options: Any) -> Fetcher:
        config = {k: options.pop(k) for k in list(options) if k in Indexes.__dataclass_fields__}
        config = {"timeout": 5.0, "retries": 3, "index_urls": urls, **config}
        fetcher = Fetcher(
            cache=self.cache,
            indexes=Indexes(**config),
            now=self.clock.now,
            sleep=self.clock.sleep,
            **options,
        )
        self.made.append(fetcher)
        return fetcher


@pytest.fixture
def make(tmp_path: Path, clock: Clock) -> Iterator[Make]:
    maker = Make(tmp_path / "cache", clock)
    yield maker
    for fetcher in maker.made:
        fetcher.close()


# --- what is chosen ---


@pytest.mark.parametrize("style", ["json", "html"])
def test_newest_and_best(style: str, index: Index, make: Make) -> None:
    index.style = style
    fetcher = make(index.url)
    assert fetcher.newest("pillow", tags=TAGS) == "13.0.0"
    assert fetcher.newest("Pillow", tags=TAGS) == "13.0.0"
    found = fetcher.wheel("pillow", "13.0.0", TAGS)
    assert found.filename == f"pillow-13.0.0-{TAGS[0]}.whl"
    assert (found.name, found.version, found.checked) == ("pillow", "13.0.0", True)
    assert found.sha256 == sha256(WHEEL)
    assert found.path.read_bytes() == WHEEL
    assert found.path.name == found.filename
    assert found.url == f"http://127.0.0.1:{index.port}/files/{found.filename}"
    assert fetcher.notes == ()


def test_versions_are_final_and_not_yanked(index: Index, make: Make) -> None:
    assert make(index.url).versions("pillow") == ("14.0.0", "13.0.0", "12.3.0")


def test_newest_sdist(index: Index, make: Make) -> None:
    fetcher = make(index.url)
    assert fetcher.newest("pillow-simd") == "12.1.1.post0"
    found = fetcher.sdist("pillow_simd")
    assert (found.name, found.version) == ("pillow-simd", "12.1.1.post0")
    assert found.path.read_bytes() == SDIST
    assert fetcher.sdist("pillow-simd", "9.0.0.post1").path.read_bytes() == b"old"


def test_build_number_wins_among_equal_tags(index: Index, make: Make) -> None:
    index.projects["pillow"] += [
        File(f"pillow-13.0.0-{build}-{TAGS[0]}.whl", build.encode()) for build in ("1", "10", "2")
    ]
    assert make(index.url).wheel("pillow", "13.0.0", TAGS).path.read_bytes() == b"10"


def test_requires_python(index: Index, make: Make) -> None:
    index.projects["pillow"] += [wheel("13.2.0", "py3-none-any", b"new", requires_python=">=3.12")]
    fetcher = make(index.url)
    assert fetcher.newest("pillow", tags=TAGS, python="3.11.7") == "13.0.0"
    assert fetcher.newest("pillow", tags=TAGS, python="3.12.0") == "13.2.0"
    with pytest.raises(FetchError) as caught:
        fetcher.wheel("pillow", "13.2.0", TAGS, python="3.11.7")
    assert "needs Python >=3.12" in caught.value.why


def test_yanked_only_by_name(index: Index, make: Make) -> None:
    fetcher = make(index.url)
    assert fetcher.wheel("pillow", "13.0.1", TAGS).path.read_bytes() == b"bad"
    assert fetcher.notes == ("pillow 13.0.1 was yanked: broken resize",)


def test_no_such_release(index: Index, make: Make) -> None:
    with pytest.raises(FetchError, match=r"there is no pillow 12\.9\.9") as caught:
        make(index.url).wheel("pillow", "12.9.9", TAGS)
    assert "14.0.0, 13.0.0, 12.3.0" in caught.value.why


@pytest.mark.parametrize("version", ["", "latest", "13.x"])
def test_what_is_no_version(version: str, index: Index, make: Make) -> None:
    with pytest.raises(UsageError):
        make(index.url).wheel("pillow", version, TAGS)


def test_no_wheel_for_the_target(index: Index, make: Make) -> None:
    fetcher = make(index.url)
    with pytest.raises(FetchError, match="no wheel for this Python") as caught:
        fetcher.wheel("pillow", "13.0.0", ["cp310-cp310-manylinux_2_28_x86_64"])
    assert "cp311, cp312 on manylinux_2_17_x86_64, manylinux_2_28_x86_64" in caught.value.why
    with pytest.raises(FetchError) as caught:
        fetcher.wheel("pillow", "14.0.0", TAGS)
    assert "without wheels" in caught.value.why
    with pytest.raises(FetchError, match=r"pillow 14\.0\.0 has no wheel"):
        fetcher.newest("pillow", tags=["cp36-cp36m-linux_mips"])


def test_no_such_project(index: Index, make: Make) -> None:
    with pytest.raises(FetchError) as caught:
        make(index.url).newest("nothing-here", tags=TAGS)
    assert index.url in caught.value.why
    with pytest.raises(FetchError, match="no sdist"):
        make(index.url).sdist("pillow", "12.3.0")


# --- where from ---


def test_all_indexes_are_asked(index: Index, make: Make) -> None:
    with serving(Index(projects={"pillow": [wheel("13.5.0", content=b"extra")]})) as extra:
        fetcher = make(index.url, extra.url)
        assert fetcher.newest("pillow", tags=TAGS) == "13.5.0"
        assert fetcher.wheel("pillow", "12.3.0", TAGS).path.read_bytes() == WHEEL


def test_entries_that_do_not_exist_are_passed_over(index: Index, make: Make, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    fetcher = make(index.url, gone.as_uri(), find_links=(gone.as_uri(), f"{index.url}../nowhere.html"))
    assert fetcher.newest("pillow", tags=TAGS) == "13.0.0"
    assert sum(str(gone) in note for note in fetcher.notes) == 2


def test_one_broken_index_among_good_ones(index: Index, make: Make) -> None:
    fetcher = make(index.url, "http://127.0.0.1:9/simple/")
    assert fetcher.newest("pillow", tags=TAGS) == "13.0.0"
    assert any("127.0.0.1:9" in note for note in fetcher.notes)
    with pytest.raises(FetchError) as caught:
        fetcher.wheel("pillow", "99", TAGS)
    assert "cannot reach 127.0.0.1" in caught.value.why
    # What could not be asked is asked again next time.
    before = len(index.requests)
    make(index.url, "http://127.0.0.1:9/simple/").newest("pillow", tags=TAGS)
    assert len(index.requests) > before


def test_find_links_directory_and_page(index: Index, make: Make, tmp_path: Path) -> None:
    links = tmp_path / "links"
    links.mkdir()
    (links / f"pillow-13.7.0-{TAGS[0]}.whl").write_bytes(b"local")
    (links / "torch-2.0-py3-none-any.whl").write_bytes(b"")
    (links / "more.html").write_text(
        f'<a href="http://127.0.0.1:{index.port}/files/pillow-12.3.0-{TAGS[0]}.whl#sha256={sha256(WHEEL)}">x</a>'
    )
    fetcher = make(find_links=(links.as_uri(),))
    assert fetcher.versions("pillow") == ("13.7.0", "12.3.0")
    found = fetcher.wheel("pillow", "13.7.0", TAGS)
    assert (found.path.read_bytes(), found.checked) == (b"local", False)
    assert fetcher.wheel("pillow", "12.3.0", TAGS).path.read_bytes() == WHEEL
    # The file may be replaced in place: it is read anew.
    (links / f"pillow-13.7.0-{TAGS[0]}.whl").write_bytes(b"changed")
    assert make(find_links=(links.as_uri(),)).wheel("pillow", "13.7.0", TAGS).path.read_bytes() == b"changed"


def test_remote_find_links(index: Index, make: Make) -> None:
    fetcher = make(find_links=(f"{index.url}pillow/",))
    assert fetcher.wheel("pillow", "13.0.0", TAGS).path.read_bytes() == WHEEL


def test_local_index(make: Make, tmp_path: Path) -> None:
    page = tmp_path / "simple/pillow/index.html"
    page.parent.mkdir(parents=True)
    name = f"pillow-13.0.0-{TAGS[0]}.whl"
    (tmp_path / name).write_bytes(WHEEL)
    page.write_text(f'<a href="../../{name}#sha256={sha256(WHEEL)}">{name}</a>')
    root = (tmp_path / "simple").as_uri()
    found = make(root).wheel("pillow", "13.0.0", TAGS)
    assert (found.path.read_bytes(), found.checked) == (WHEEL, True)
    (tmp_path / name).write_bytes(b"altered")
    shutil.rmtree(make.cache)
    with pytest.raises(FetchError, match="not the file that the index promises"):
        make(root).wheel("pillow", "13.0.0", TAGS)


def test_no_index_at_all(make: Make) -> None:
    with pytest.raises(FetchError) as caught:
        make().newest("pillow", tags=TAGS)
    assert "no index is configured" in caught.value.why


def test_a_page_cannot_point_at_local_files(index: Index, make: Make, tmp_path: Path) -> None:
    secret = tmp_path / f"pillow-15.0-{TAGS[0]}.whl"
    secret.write_bytes(b"secret")
    index.projects["pillow"].append(wheel("15.0", url=secret.as_uri()))
    assert make(index.url).newest("pillow", tags=TAGS) == "13.0.0"
    name = f"/files/pillow-12.3.0-{TAGS[0]}.whl"
    index.always[name] = f"redirect {secret.as_uri()}"
    with pytest.raises(FetchError) as caught:
        make(index.url).wheel("pillow", "12.3.0", TAGS)
    assert "local file" in caught.value.why


def test_plain_http_needs_trust(make: Make) -> None:
    with pytest.raises(FetchError, match="was not asked") as caught:
        make("http://packages.invalid/simple/").newest("pillow", tags=TAGS)
    assert "trusted-host" in caught.value.hint


@pytest.mark.parametrize("trouble", ["login", "garbage"])
def test_what_is_no_index(trouble: str, index: Index, make: Make) -> None:
    index.always["/simple/pillow/"] = trouble
    with pytest.raises(FetchError, match="is no index"):
        make(index.url).newest("pillow", tags=TAGS)


# --- the second time ---


def test_second_run_asks_nobody(index: Index, make: Make) -> None:
    first = make(index.url).wheel("pillow", "13.0.0", TAGS)
    before = len(index.requests)
    again = make(index.url)
    assert again.newest("pillow", tags=TAGS) == "13.0.0"
    assert again.wheel("pillow", "13.0.0", TAGS) == first
    assert len(index.requests) == before


def test_second_run_needs_no_http_client(index: Index, make: Make) -> None:
    make(index.url).wheel("pillow", "13.0.0", TAGS)
    script = f"""
import sys
from pathlib import Path
from simdinstall.fetch import Fetcher
from simdinstall.indexes import Indexes
fetcher = Fetcher(cache=Path({str(make.cache)!r}), indexes=Indexes(index_urls=({index.url!r},)),
                  now=lambda: {make.clock.time})
fetcher.wheel("pillow", fetcher.newest("pillow", tags={TAGS!r}), {TAGS!r})
sys.exit("httpx2" in sys.modules)
"""
    assert run([sys.executable, "-c", script], check=False).returncode == 0


def test_stale_listing_is_asked_for_by_validator(index: Index, make: Make, clock: Clock) -> None:
    make(index.url).newest("pillow", tags=TAGS)
    clock.time += 601
    assert make(index.url).newest("pillow", tags=TAGS) == "13.0.0"
    assert len(index.asked("/simple/pillow/")) == 2
    assert "If-None-Match" in index.headers_of("/simple/pillow/")[1]
    # Confirmed, it is fresh again.
    clock.time += 599
    make(index.url).newest("pillow", tags=TAGS)
    assert len(index.asked("/simple/pillow/")) == 2
    index.projects["pillow"].append(wheel("13.9.0"))
    clock.time += 2
    assert make(index.url).newest("pillow", tags=TAGS) == "13.9.0"


def test_clock_that_went_back(index: Index, make: Make, clock: Clock) -> None:
    make(index.url).newest("pillow", tags=TAGS)
    clock.time -= 10_000
    make(index.url).newest("pillow", tags=TAGS)
    assert len(index.asked("/simple/pillow/")) == 2


def test_lifetime_can_be_chosen(index: Index, make: Make) -> None:
    for _ in range(2):
        make(index.url, lifetime=0.0).newest("pillow", tags=TAGS)
    assert len(index.asked("/simple/pillow/")) == 2


def test_other_indexes_other_listing(index: Index, make: Make) -> None:
    make(index.url).newest("pillow", tags=TAGS)
    with serving(Index(projects={"pillow": [wheel("1.0")]})) as other:
        assert make(other.url).newest("pillow", tags=TAGS) == "1.0"


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b'{"schema": 1}', b"\xff", b'{"schema": 9, "pages": {}}']
)
def test_damaged_listing_is_asked_for_again(content: bytes, index: Index, make: Make) -> None:
    make(index.url).newest("pillow", tags=TAGS)
    (listing,) = (make.cache / "listings").glob("*.json")
    listing.write_bytes(content)
    assert make(index.url).newest("pillow", tags=TAGS) == "13.0.0"


# --- offline ---


def test_offline_from_the_cache(index: Index, make: Make) -> None:
    online = make(index.url)
    wanted = online.wheel("pillow", "12.3.0", TAGS)
    online.sdist("pillow-simd")
    before = len(index.requests)
    offline = make(index.url, offline=True)
    assert offline.newest("pillow", tags=TAGS) == "12.3.0"  # what is not here does not count
    assert offline.wheel("pillow", "12.3.0", TAGS) == wanted
    assert offline.sdist("pillow-simd").version == "12.1.1.post0"
    assert offline.versions("pillow") == ("12.3.0",)
    assert len(index.requests) == before


def test_offline_without_it(index: Index, make: Make) -> None:
    make(index.url).wheel("pillow", "12.3.0", TAGS)
    offline = make(index.url, offline=True)
    with pytest.raises(FetchError, match=r"no pillow 13\.0\.0 in the cache") as caught:
        offline.wheel("pillow", "13.0.0", TAGS)
    assert "without it" in caught.value.hint
    for wrong in (lambda: offline.sdist("pillow-simd"), offline.ziglang):
        with pytest.raises(FetchError) as caught:
            wrong()
        assert "cache" in caught.value.why


def test_offline_uses_local_directories(make: Make, tmp_path: Path) -> None:
    (tmp_path / f"pillow-13.7.0-{TAGS[0]}.whl").write_bytes(b"local")
    offline = make("http://127.0.0.1:9/simple/", find_links=(tmp_path.as_uri(),), offline=True)
    assert offline.wheel("pillow", offline.newest("pillow", tags=TAGS), TAGS).path.read_bytes() == b"local"


def test_damaged_records_are_not_used(index: Index, make: Make) -> None:
    make(index.url).wheel("pillow", "13.0.0", TAGS)
    (record,) = (make.cache / "downloads").glob("*/record.json")
    record.write_text("{")
    offline = make(index.url, offline=True)
    assert offline.versions("pillow") == ()
    assert any("damaged" in note for note in offline.notes)


# --- downloads that go wrong ---


def test_damaged_cache_entry_is_fetched_again(index: Index, make: Make) -> None:
    found = make(index.url).wheel("pillow", "13.0.0", TAGS)
    found.path.write_bytes(b"damaged" + WHEEL[7:])
    with pytest.raises(FetchError):
        make(index.url, offline=True).wheel("pillow", "13.0.0", TAGS)
    again = make(index.url)
    assert again.wheel("pillow", "13.0.0", TAGS).path.read_bytes() == WHEEL


def test_damaged_cache_entry_is_told(index: Index, make: Make) -> None:
    found = make(index.url).wheel("pillow", "13.0.0", TAGS)
    found.path.write_bytes(WHEEL[:-1])
    again = make(index.url)
    assert again.wheel("pillow", "13.0.0", TAGS).path.read_bytes() == WHEEL
    assert any("was damaged" in note for note in again.notes)


NAME = f"/files/pillow-13.0.0-{TAGS[0]}.whl"


def test_progress_in_bytes(index: Index, make: Make) -> None:
    told: list[tuple[str, int, int | None]] = []
    fetcher = make(index.url, progress=lambda step, done=0, total=None: told.append((step, done, total)))
    fetcher.wheel("pillow", "13.0.0", TAGS)
    assert told[-1] == (f"downloading {NAME.removeprefix('/files/')}", len(WHEEL), len(WHEEL))
    done = [d for step, d, _ in told if step.startswith("downloading")]
    assert done == sorted(done)


def test_cut_off_and_gone_on_with(index: Index, make: Make) -> None:
    index.faults[NAME] = ["cut 100000", "cut 50000"]
    assert make(index.url).wheel("pillow", "13.0.0", TAGS).path.read_bytes() == WHEEL
    ranges = [headers.get("Range") for headers in index.headers_of(NAME)]
    assert ranges == [None, "bytes=100000-", "bytes=150000-"]
    assert not list((make.cache / "partial").glob("*.part*"))


def test_cut_off_where_the_server_knows_no_ranges(index: Index, make: Make) -> None:
    index.ranges = False
    index.faults[NAME] = ["cut 100000", "cut 250000"]
    assert make(index.url).wheel("pillow", "13.0.0", TAGS).path.read_bytes() == WHEEL
    assert len(index.asked(NAME)) == 3


def test_wrong_range(index: Index, make: Make) -> None:
    index.faults[NAME] = ["cut 100000", "wrong range"]
    assert make(index.url).wheel("pillow", "13.0.0", TAGS).path.read_bytes() == WHEEL
    assert [h.get("Range") for h in index.headers_of(NAME)] == [None, "bytes=100000-", None]


def test_always_cut_off(index: Index, make: Make) -> None:
    index.always[NAME] = "cut 10"
    with pytest.raises(FetchError, match=r"cannot reach 127\.0\.0\.1") as caught:
        make(index.url).wheel("pillow", "13.0.0", TAGS)
    assert "--offline" in caught.value.hint
    assert len(index.asked(NAME)) == 4


def test_interrupt_leaves_the_part_and_the_next_run_goes_on(index: Index, make: Make) -> None:
    def interrupt(step: str, done: int = 0, total: int | None = None) -> None:
        if step.startswith("downloading") and done > 100_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(index.url, progress=interrupt).wheel("pillow", "13.0.0", TAGS)
    (part,) = (make.cache / "partial").glob("*.part")
    size = part.stat().st_size
    assert not list((make.cache / "downloads").glob("*/*.whl"))
    # However much of it was there, it is the start of the file.
    assert WHEEL.startswith(part.read_bytes())
    assert make(index.url).wheel("pillow", "13.0.0", TAGS).path.read_bytes() == WHEEL
    expected = f"bytes={size}-" if size else None
    assert index.headers_of(NAME)[-1].get("Range") == expected


def test_part_that_is_whole_already(index: Index, make: Make) -> None:
    partial = make.cache / "partial"
    partial.mkdir(parents=True)
    (partial / f"{sha256(WHEEL)}.part").write_bytes(WHEEL)
    assert make(index.url).wheel("pillow", "13.0.0", TAGS).path.read_bytes() == WHEEL
    assert index.headers_of(NAME)[0]["Range"] == f"bytes={len(WHEEL)}-"
    assert len(index.asked(NAME)) == 1


@pytest.mark.parametrize("content", [os.urandom(1000), os.urandom(len(WHEEL) + 5)])
def test_part_of_something_else(content: bytes, index: Index, make: Make) -> None:
    partial = make.cache / "partial"
    partial.mkdir(parents=True)
    (partial / f"{sha256(WHEEL)}.part").write_bytes(content)
    assert make(index.url).wheel("pillow", "13.0.0", TAGS).path.read_bytes() == WHEEL


def test_altered_once(index: Index, make: Make) -> None:
    index.faults[NAME] = ["altered"]
    assert make(index.url).wheel("pillow", "13.0.0", TAGS).path.read_bytes() == WHEEL
    assert len(index.asked(NAME)) == 2


def test_altered_always(index: Index, make: Make) -> None:
    index.always[NAME] = "altered"
    with pytest.raises(FetchError, match="not the file that the index promises") as caught:
        make(index.url).wheel("pillow", "13.0.0", TAGS)
    assert sha256(WHEEL) in caught.value.why
    assert len(index.asked(NAME)) == 2
    left = [p for p in make.cache.rglob("*") if p.is_file() and WHEEL[1:1000] in p.read_bytes()]
    assert left == []


def test_index_with_a_wrong_hash(index: Index, make: Make) -> None:
    index.projects["pillow"].append(wheel("13.8.0", hashes={"sha256": "0" * 64}))
    with pytest.raises(FetchError, match="not the file"):
        make(index.url).wheel("pillow", "13.8.0", TAGS)


@pytest.mark.parametrize("style", ["json", "html"])
def test_no_hash(style: str, index: Index, make: Make) -> None:
    index.style = style
    index.projects["pillow"].append(wheel("13.8.0", hashes={}))
    fetcher = make(index.url)
    found = fetcher.wheel("pillow", "13.8.0", TAGS)
    assert (found.sha256, found.checked) == (sha256(WHEEL), False)
    assert any("no hash" in note and sha256(WHEEL) in note for note in fetcher.notes)
    # It is not downloaded again for that.
    before = len(index.asked("/files/"))
    assert make(index.url).wheel("pillow", "13.8.0", TAGS) == found
    assert make(index.url, offline=True).wheel("pillow", "13.8.0", TAGS) == found
    assert len(index.asked("/files/")) == before


def test_another_hash_is_checked_too(index: Index, make: Make) -> None:
    index.projects["pillow"] += [
        wheel("13.8.0", hashes={"sha512": hashlib.sha512(WHEEL).hexdigest()}),
        wheel("13.9.0", hashes={"md5": hashlib.md5(SDIST).hexdigest()}),
    ]
    fetcher = make(index.url)
    assert fetcher.wheel("pillow", "13.8.0", TAGS).sha256 == sha256(WHEEL)
    assert any("only sha512" in note for note in fetcher.notes)
    with pytest.raises(FetchError) as caught:
        fetcher.wheel("pillow", "13.9.0", TAGS)
    assert "md5" in caught.value.why


def test_temporary_trouble_is_waited_out(index: Index, make: Make, clock: Clock) -> None:
    index.faults["/simple/pillow/"] = ["503", "500"]
    index.faults[NAME] = ["502", "hang up", "429"]
    assert make(index.url).wheel("pillow", "13.0.0", TAGS).path.read_bytes() == WHEEL
    assert clock.slept == [0.25, 0.5, 0.25, 0.5, 1.0]


@pytest.mark.parametrize(("status", "says"), [("500", "500"), ("401", "credentials"), ("403", "credentials")])
def test_index_that_does_not_work(status: str, says: str, index: Index, make: Make) -> None:
    index.always["/simple/pillow/"] = status
    with pytest.raises(FetchError) as caught:
        make(index.url).newest("pillow", tags=TAGS)
    assert says in caught.value.why + caught.value.hint


@pytest.mark.parametrize("status", ["404", "403", "410"])
def test_file_that_is_not_there(status: str, index: Index, make: Make) -> None:
    index.always[NAME] = status
    with pytest.raises(FetchError, match="cannot download") as caught:
        make(index.url).wheel("pillow", "13.0.0", TAGS)
    assert status in caught.value.why
    assert len(index.asked(NAME)) == 1


def test_redirects(index: Index, make: Make) -> None:
    index.faults[NAME] = [f"redirect {NAME}?again"]
    index.faults["/simple/pillow/"] = ["redirect /simple/pillow/?page"]
    index.always[f"{NAME}?again"] = f"redirect {NAME}"
    assert make(index.url).wheel("pillow", "13.0.0", TAGS).path.read_bytes() == WHEEL


def test_redirects_in_a_circle(index: Index, make: Make) -> None:
    index.always[NAME] = f"redirect {NAME}"
    with pytest.raises(FetchError):
        make(index.url).wheel("pillow", "13.0.0", TAGS)


def test_no_network(make: Make) -> None:
    for url in ("http://127.0.0.1:9/simple/", "https://nowhere.invalid/simple/"):
        with pytest.raises(FetchError, match="cannot reach") as caught:
            make(url).newest("pillow", tags=TAGS)
        assert "--offline" in caught.value.hint


def test_no_space(index: Index, make: Make) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full")
    partial = make.cache / "partial"
    partial.mkdir(parents=True)
    (partial / f"{sha256(WHEEL)}.part").symlink_to(full)
    with pytest.raises(NoSpaceError):
        make(index.url).wheel("pillow", "13.0.0", TAGS)
    assert not list(partial.glob("*.part"))
    assert make(index.url).wheel("pillow", "13.0.0", TAGS).path.read_bytes() == WHEEL


def test_cache_that_cannot_be_made(index: Index, make: Make) -> None:
    make.cache.write_text("a file where the cache should be")
    with pytest.raises(FetchError, match="cannot store"):
        make(index.url).wheel("pillow", "13.0.0", TAGS)


def test_two_at_once_download_once(index: Index, make: Make) -> None:
    fetchers = [make(index.url) for _ in range(8)]
    found: list[bytes] = []
    together = threading.Barrier(len(fetchers))

    def fetch(fetcher: Fetcher) -> None:
        together.wait()
        found.append(fetcher.wheel("pillow", "13.0.0", TAGS).path.read_bytes())

    threads = [threading.Thread(target=fetch, args=(fetcher,)) for fetcher in fetchers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [WHEEL] * len(fetchers)
    assert len(index.asked(NAME)) == 1


# --- credentials, proxies, certificates ---


def test_credentials_are_used_and_kept_nowhere(index: Index, make: Make) -> None:
    index.user = ("me", "hunter2")
    told: list[str] = []
    fetcher = make(
        index.with_credentials("me", "hunter2"),
        progress=lambda step, done=0, total=None: told.append(step),
    )
    found = fetcher.wheel("pillow", fetcher.newest("pillow", tags=TAGS), TAGS)
    assert found.path.read_bytes() == WHEEL
    shown = json.dumps([told, fetcher.notes, found.url, repr(found)])
    assert "hunter2" not in shown
    for path in make.cache.rglob("*"):
        assert "hunter2" not in str(path)
        assert not path.is_file() or b"hunter2" not in path.read_bytes()


def test_wrong_credentials(index: Index, make: Make) -> None:
    index.user = ("me", "hunter2")
    with pytest.raises(FetchError) as caught:
        make(index.with_credentials("me", "wrong-secret")).newest("pillow", tags=TAGS)
    everything = f"{caught.value} {caught.value.why} {caught.value.hint} {caught.value.__cause__!r}"
    assert "credentials" in caught.value.hint
    assert "wrong-secret" not in everything


def test_configured_proxy(index: Index, make: Make) -> None:
    """The index server is asked as a proxy for a host that does not exist."""
    config: dict[str, Any] = {
        "proxy": f"127.0.0.1:{index.port}",
        "trusted_hosts": ("packages.invalid",),
    }
    found = make("http://packages.invalid/simple/", **config).wheel("pillow", "13.0.0", TAGS)
    assert found.path.read_bytes() == WHEEL
    assert index.asked("http://packages.invalid/simple/pillow/")
    with pytest.raises(FetchError):
        make("http://packages.invalid/simple/", no_proxy=("invalid",), lifetime=0.0, **config).newest(
            "pillow"
        )


def test_proxy_from_the_environment(index: Index, make: Make) -> None:
    script = f"""
from pathlib import Path
from simdinstall.fetch import Fetcher
from simdinstall.indexes import Indexes
indexes = Indexes(index_urls=("http://packages.invalid/simple/",), trusted_hosts=("packages.invalid",))
print(Fetcher(cache=Path({str(make.cache)!r}), indexes=indexes).newest("pillow", tags={TAGS!r}))
"""
    environ = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    environ["HTTP_PROXY"] = f"http://127.0.0.1:{index.port}"
    assert run([sys.executable, "-c", script], env=environ).stdout.strip() == "13.0.0"


@pytest.mark.parametrize(
    "config",
    [
        {"cert": Path("/nowhere/ca.pem")},
        {"client_cert": Path("/nowhere/me.pem")},
        {"proxy": "ftp://me:hunter2@proxy:1"},
    ],
    ids=["cert", "client cert", "proxy"],
)
def test_configuration_that_cannot_be_used(config: dict[str, Any], index: Index, make: Make) -> None:
    with pytest.raises(FetchError) as caught:
        make(index.url, **config).newest("pillow", tags=TAGS)
    assert caught.value.hint
    assert "hunter2" not in f"{caught.value} {caught.value.why}"


@contextmanager
def encrypted(index: Index, directory: Path) -> Iterator[tuple[str, Path]]:
    """The same index over TLS, and the certificate to believe it by."""
    key, cert = directory / "key.pem", directory / "cert.pem"
    new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    run(["openssl", *new.split(), *names, "-keyout", key, "-out", cert])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with serving(index, context) as running:
        yield f"https://127.0.0.1:{running.port}/simple/", cert


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_certificates(make: Make, tmp_path: Path) -> None:
    with encrypted(Index(projects={"pillow": [wheel("13.0.0")]}), tmp_path) as (url, cert):
        with pytest.raises(FetchError, match="cannot reach") as caught:
            make(url).newest("pillow", tags=TAGS)
        assert "certificate" in caught.value.why.lower()
        assert make(url, cert=cert).newest("pillow", tags=TAGS) == "13.0.0"
        host = url.split("/")[2]
        assert make(url, trusted_hosts=(host,), lifetime=0.0).newest("pillow", tags=TAGS) == "13.0.0"


# --- zig ---


def zig_wheel(directory: Path, version: str, *, program: bool = True) -> File:
    path = directory / f"ziglang-{version}-py3-none-{next(iter(sys_tags())).platform}.whl"
    with zipfile.ZipFile(path, "w") as out:
        if program:
            info = zipfile.ZipInfo("ziglang/zig")
            info.external_attr = 0o100644 << 16  # as if the mark had been lost
            out.writestr(info, "#!/bin/sh\necho zig " + version)
        out.writestr("ziglang/lib/std/std.zig", "")
        out.writestr("ziglang/lib/libc/include/generic-glibc/stdio.h", "")
        out.writestr("ziglang/lib/libc/include/any-windows-any/stdio.h", "")
        out.writestr("ziglang/lib/libcxx/vector", "")
    return File(path.name, path.read_bytes())


def test_zig_is_unpacked_once(index: Index, make: Make, tmp_path: Path) -> None:
    index.projects["ziglang"] = [zig_wheel(tmp_path, "0.14.0"), zig_wheel(tmp_path, "0.15.1")]
    zig = make(index.url).ziglang()
    assert run([zig]).stdout == "zig 0.15.1\n"
    assert (zig.parent / "lib/libc/include/generic-glibc/stdio.h").exists()
    assert not (zig.parent / "lib/libc/include/any-windows-any").exists()
    assert not (zig.parent / "lib/libcxx").exists()
    # The wheel itself is not kept beside it.
    assert not list((make.cache / "downloads").glob("*/*"))
    before = len(index.requests)
    assert make(index.url).ziglang() == make(index.url, offline=True).ziglang() == zig
    assert len(index.requests) == before


def test_zig_half_unpacked_does_not_count(index: Index, make: Make, tmp_path: Path) -> None:
    index.projects["ziglang"] = [zig_wheel(tmp_path, "0.15.1")]
    half = make.cache / "zig/abc.tmp/ziglang"
    half.mkdir(parents=True)
    (half / "zig").write_text("half")
    assert run([make(index.url).ziglang()]).stdout == "zig 0.15.1\n"
    assert not half.exists()


def test_zig_wheel_without_zig(index: Index, make: Make, tmp_path: Path) -> None:
    index.projects["ziglang"] = [zig_wheel(tmp_path, "0.15.1", program=False)]
    with pytest.raises(FetchError, match="holds no zig"):
        make(index.url).ziglang()
    assert [p.name for p in (make.cache / "zig").iterdir()] == [".lock"]
