"""peers.py: what each peer is made of, and that a missing one is only missing."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

import builds
from simdinstall import environment, peers
from simdinstall.environment import Environment
from simdinstall.errors import FetchError, TargetError, UsageError
from simdinstall.fetch import Download, Fetcher
from simdinstall.measure import Build, Probe, catalogue
from simdinstall.peers import Participant, base_release, gather
from simdinstall.run import CommandFailed, Completed, run


class Shelf(Fetcher):
    """A fetcher that has one wheel of Pillow, perhaps an sdist, and nothing else."""

    def __init__(self, wheel: Path, sdist: Path | None = None) -> None:
        self._wheel = wheel
        self._sdist = sdist

    def newest(self, project: str, *, tags: Sequence[str] | None = None, python: str | None = None) -> str:
        if project != "pillow":
            raise FetchError(f"{project} is not there", why="no network")
        return builds.RELEASE

    def wheel(
        self, project: str, version: str, tags: Sequence[str], *, python: str | None = None
    ) -> Download:
        if (project, version) != ("pillow", builds.RELEASE):
            raise FetchError(f"there is no wheel of {project} {version}")
        return self._described("pillow", version, self._wheel)

    def sdist(self, project: str, version: str | None = None) -> Download:
        if self._sdist is None or project != "pillow-simd":
            raise FetchError(f"there is no sdist of {project}", why="no network\nsecond line")
        return self._described(project, "12.1.1.post0", self._sdist)

    @staticmethod
    def _described(name: str, version: str, path: Path) -> Download:
        return Download(
            name=name, version=version, filename=path.name, url="", sha256="0123456789abcdef", path=path
        )


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Environment:
    """A real virtual environment with stock Pillow in it."""
    place = tmp_path_factory.mktemp("environment") / "venv"
    run([sys.executable, "-m", "venv", "--without-pip", place])
    site = next((place / "lib").glob("python*")) / "site-packages"
    builds.stock(site, pytestconfig)
    return environment.inspect(place / "bin" / "python")


@pytest.fixture
def shelf(pytestconfig: pytest.Config) -> Shelf:
    return Shelf(builds.official_wheel(pytestconfig))


def by_label(found: Sequence[Participant]) -> dict[str, Participant]:
    return {one.label: one for one in found}


def test_stock_comes_first_and_the_environment_as_it_is(
    target: Environment, shelf: Shelf, tmp_path: Path
) -> None:
    found = gather(target, against=["stock"], cache=tmp_path, fetcher=shelf, environ={})
    assert [one.label for one in found] == ["stock", "installed"]
    assert found[0].title == "stock Pillow 13.0.0"
    for one in found:
        assert one.build is not None
        with Probe(one.build, folder=tmp_path) as probe:
            assert probe.hello["pil"] == "13.0.0"
            inside = Path(probe.hello["path"]).is_relative_to(target.prefix)
            assert inside == (one.label == "installed")


def test_a_second_time_nothing_is_unpacked(target: Environment, shelf: Shelf, tmp_path: Path) -> None:
    first = gather(target, against=[], cache=tmp_path, fetcher=shelf, environ={})[0]
    assert first.build is not None
    assert first.build.path is not None
    mark = first.build.path / "mark"
    mark.touch()
    again = gather(target, against=[], cache=tmp_path, fetcher=shelf, environ={})[0]
    assert again == first
    assert mark.exists()
    assert not list((tmp_path / "bench").glob(".*pillow*/"))


def test_what_cannot_be_had_is_told_and_the_rest_goes_on(
    target: Environment, shelf: Shelf, tmp_path: Path
) -> None:
    found = by_label(gather(target, against=peers.PEERS, cache=tmp_path, fetcher=shelf, environ={}))
    assert found["stock"].build is not None
    for label in ("pillow-simd", "pillow-simd-sse4", "opencv", "pyvips"):
        assert found[label].build is None
        assert "no network" in found[label].why
        assert "second line" not in found[label].why


def test_a_compilation_gets_its_flag_and_no_cache(
    target: Environment, pytestconfig: pytest.Config, tmp_path: Path
) -> None:
    sdist = tmp_path / "pillow_simd.tar.gz"
    sdist.touch()
    calls: list[tuple[tuple[str, ...], str]] = []

    def compile_(
        argv: Sequence[str | Path], *, env: Mapping[str, str] | None = None, **_: object
    ) -> Completed:
        assert env is not None
        calls.append((tuple(map(str, argv)), env["CC"]))
        into = Path(argv[list(argv).index("--target") + 1])
        (into / "PIL").mkdir(parents=True)
        return Completed(argv=(), returncode=0, stdout="", stderr="", cpu_seconds=0)

    shelf = Shelf(builds.official_wheel(pytestconfig), sdist)
    against = ["pillow-simd", "pillow-simd-sse4"]
    found = by_label(
        gather(target, against=against, cache=tmp_path, fetcher=shelf, run=compile_, environ={"CC": "gcc"})
    )
    assert [cc for _, cc in calls] == ["gcc -mavx2", "gcc -msse4"]
    assert all("--no-cache-dir" in argv and str(target.python) in argv for argv, _ in calls)
    one, two = found["pillow-simd"].build, found["pillow-simd-sse4"].build
    assert one is not None
    assert two is not None
    assert one.path != two.path
    assert found["pillow-simd"].title == "Pillow-SIMD 12.1.1.post0 (AVX2)"


def test_a_failed_compilation_says_the_telling_line(
    target: Environment, pytestconfig: pytest.Config, tmp_path: Path
) -> None:
    sdist = tmp_path / "pillow_simd.tar.gz"
    sdist.touch()

    def fail(argv: Sequence[str | Path], **_: object) -> Completed:
        output = "copying things\n  src/x.c:1: fatal error: Python.h: No such file\nERROR: it failed\n"
        raise CommandFailed(Completed(argv=("pip",), returncode=1, stdout=output, stderr="", cpu_seconds=0))

    shelf = Shelf(builds.official_wheel(pytestconfig), sdist)
    found = by_label(
        gather(target, against=["pillow-simd"], cache=tmp_path, fetcher=shelf, run=fail, environ={})
    )
    assert found["pillow-simd"].why == "src/x.c:1: fatal error: Python.h: No such file"
    assert not list((tmp_path / "bench").glob("*simd*/"))


def test_other_environments_are_peers_too(target: Environment, shelf: Shelf, tmp_path: Path) -> None:
    gone = Participant(label="/nowhere", title="/nowhere", why="it is no Python")
    found = gather(target, against=[], others=[target, gone], cache=tmp_path, fetcher=shelf, environ={})
    assert [one.label for one in found] == ["stock", "installed", "python1", "/nowhere"]
    assert str(target.prefix) in found[2].title


def test_pillow_simd_lowers_the_kernels_of_environments_only(
    target: Environment, shelf: Shelf, tmp_path: Path
) -> None:
    found = gather(target, against=[], cache=tmp_path, fetcher=shelf, environ={"PILLOW_SIMD": "avx2"})
    levels = [one.build.level for one in found if one.build is not None]
    assert levels == [None, "avx2"]
    assert found[1].title.endswith(" at avx2")


def test_unknown_peers_and_environments_without_pillow(
    target: Environment, shelf: Shelf, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="no peer 'skia'"):
        gather(target, against=["skia"], cache=tmp_path, fetcher=shelf, environ={})
    place = tmp_path / "empty"
    run([sys.executable, "-m", "venv", "--without-pip", place])
    empty = environment.inspect(place / "bin" / "python")
    with pytest.raises(TargetError, match="no Pillow"):
        gather(empty, against=[], cache=tmp_path, fetcher=shelf, environ={})


def test_releases() -> None:
    assert [base_release(v) for v in ("13.0.0+simd.v3", "12.1.1.post0", "nonsense")] == [
        "13.0.0",
        "12.1.1",
        "",
    ]


@pytest.mark.network
def test_the_real_opencv_and_vips_do_their_rows(target: Environment, tmp_path: Path) -> None:
    fetcher = Fetcher(cache=tmp_path, environ=os.environ)
    try:
        found = by_label(gather(target, against=["opencv", "pyvips"], cache=tmp_path, fetcher=fetcher))
    finally:
        fetcher.close()
    for label, fewest in (("opencv", 100), ("pyvips", 40)):
        build = found[label].build
        assert isinstance(build, Build), found[label].why
        with Probe(build, folder=tmp_path) as probe:
            rows = catalogue(probe, "wide")
            assert len(rows) >= fewest
            for name in ("wide/resize/RGB down, lanczos", "wide/blur/RGB gaussian, radius 2"):
                assert probe.ask("prepare", suite="wide", name=name)["digest"]
