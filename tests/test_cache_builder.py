from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import cache_parts
from cache_parts import BEST, Shelf, Team
from simdinstall.cache import builder, cells
from simdinstall.cache.builder import Summary, Wanted
from simdinstall.cache.task import Task
from simdinstall.cpu import March
from simdinstall.errors import BusyError, StateError
from simdinstall.store import file_digest


def marches(*names: str) -> tuple[March, ...]:
    return tuple(cache_parts.march(name) for name in names)


def build(tmp_path: Path, team: Team, *levels: str, pythons: str = "3.11,3.12", **options: Any) -> Summary:
    chosen = marches(*(levels or ("portable", "v3")))
    matrix = cells.matrix(
        options.pop("releases", ["13.0.0"]),
        [cache_parts.python(p) for p in pythons.split(",")],
        chosen,
        kind=options.pop("kind", ""),
    )
    wanted = options.pop("wanted", Wanted())
    fetcher = options.pop("fetcher", None) or Shelf.fetcher(tmp_path / "shelf")
    return builder.build_matrix(
        matrix,
        chosen,
        house=options.pop("house", None) or cache_parts.house(tmp_path / "wh"),
        fetcher=fetcher,
        executor=team,
        wanted=wanted,
        **options,
    )


def test_every_cell_is_built_and_published(tmp_path: Path) -> None:
    team = Team(tmp_path / "team", BEST, BEST)
    done = build(tmp_path, team)
    assert {row.state for row in done.cells} == {"verified"}
    assert len(done.catalogue.entries) == 4
    assert team.closed
    assert {worker for worker, _ in team.built} == {"w0", "w1"}
    for entry in done.catalogue.entries:
        assert file_digest(tmp_path / "wh" / entry.path) == entry.sha256


def test_what_is_there_is_not_built_again(tmp_path: Path) -> None:
    build(tmp_path, Team(tmp_path / "one"))
    before = (tmp_path / "wh" / "catalogue.json").read_bytes()
    second = Team(tmp_path / "two")
    done = build(tmp_path, second)
    assert {row.state for row in done.cells} == {"unchanged"}
    assert not second.built
    assert (tmp_path / "wh" / "catalogue.json").read_bytes() == before


def test_only_what_is_missing_is_built(tmp_path: Path) -> None:
    build(tmp_path, Team(tmp_path / "one"), "portable")
    team = Team(tmp_path / "two")
    build(tmp_path, team, "portable", "v2")
    assert sorted(key for _, key in team.built) == [
        "13.0.0-cp311-v2-manylinux_x86_64-exact",
        "13.0.0-cp312-v2-manylinux_x86_64-exact",
    ]


def test_anew_is_everything(tmp_path: Path) -> None:
    build(tmp_path, Team(tmp_path / "one"), "v3")
    team = Team(tmp_path / "two")
    build(tmp_path, team, "v3", wanted=Wanted(anew=True))
    assert len(team.built) == 2


def test_a_rebuilt_core_and_zlib_ng_are_other_cells_with_their_sdists(tmp_path: Path) -> None:
    build(tmp_path, Team(tmp_path / "one"), "v3", pythons="3.11")
    tasks: list[Task] = []
    team = Team(tmp_path / "two", during=tasks.append)
    done = build(tmp_path, team, "v3", pythons="3.11", kind="rebuilt.zlibng")
    key = "13.0.0-cp311-v3-manylinux_x86_64-exact"
    assert sorted(entry.cell for entry in done.catalogue.entries) == [key, f"{key}-rebuilt.zlibng"]
    [task] = tasks
    assert [(one.name, one.version) for one in task.more] == [("pillow", "13.0.0"), ("zlib-ng", "1.1.0")]
    [made] = [entry for entry in done.catalogue.entries if entry.kind]
    assert made.sources["pillow_sdist"] == "1" * 64
    assert not build(tmp_path, Team(tmp_path / "three"), "v3", pythons="3.11").of("verified")


def test_another_compiler_is_another_wheel(tmp_path: Path) -> None:
    build(tmp_path, Team(tmp_path / "one"), "v3")
    team = Team(tmp_path / "two")
    build(tmp_path, team, "v3", wanted=Wanted(compiler="clang"))
    assert len(team.built) == 2


def test_one_that_fails_leaves_the_others(tmp_path: Path) -> None:
    team = Team(tmp_path / "team", fails=lambda task: "gcc failed" if task.cell.level == "v3" else "")
    done = build(tmp_path, team)
    failed = done.of("failed")
    assert [row.cell.level for row in failed] == ["v3", "v3"]
    assert all(row.why == "gcc failed" for row in failed)
    assert failed[0].log is not None
    assert "cc1: error" in failed[0].log.read_text()
    assert {entry.level for entry in done.catalogue.entries} == {"portable"}


def test_a_python_without_an_official_wheel(tmp_path: Path) -> None:
    fetcher = Shelf.fetcher(tmp_path / "shelf", without=["cp315"])
    done = build(tmp_path, Team(tmp_path / "team"), "v3", pythons="3.11,3.15", fetcher=fetcher)
    [failed] = done.of("failed")
    assert failed.cell.python.name == "3.15"
    assert "none was published" in failed.why
    assert len(done.catalogue.entries) == 1


def test_a_worker_that_dies_costs_a_repetition(tmp_path: Path) -> None:
    deaths = iter([True, False, True])
    team = Team(tmp_path / "team", BEST, BEST, dies=lambda task: next(deaths, False))
    done = build(tmp_path, team)
    assert {row.state for row in done.cells} == {"verified"}
    assert done.repeated == 2
    assert len(team.built) == 6


def test_a_cell_that_kills_its_workers_is_given_up(tmp_path: Path) -> None:
    team = Team(tmp_path / "team", dies=lambda task: task.cell.level == "v3")
    done = build(tmp_path, team, pythons="3.11")
    [failed] = done.of("failed")
    assert failed.why == "3 workers died while they built it"
    assert len(done.catalogue.entries) == 1


def test_each_cell_goes_to_someone_who_can_verify_it(tmp_path: Path) -> None:
    weak, strong = cache_parts.cpu("x86-64-v2"), BEST
    team = Team(tmp_path / "team", weak, strong)
    done = build(tmp_path, team, "portable", "v2", "v3", "v4")
    assert {row.state for row in done.cells} == {"verified"}
    assert {worker for worker, key in team.built if "-v4-" in key or "-v3-" in key} == {"w1"}
    assert any(worker == "w0" for worker, _ in team.built)


def test_what_nobody_can_verify_is_built_and_marked(tmp_path: Path) -> None:
    team = Team(tmp_path / "team", cache_parts.cpu("x86-64-v3"))
    done = build(tmp_path, team, "v3", "v4", pythons="3.11")
    assert {row.cell.level: row.state for row in done.cells} == {"v3": "verified", "v4": "unverified"}
    assert not done.catalogue.by_cell()[done.of("unverified")[0].cell.key].verified


def test_what_was_not_verified_is_not_tried_again_in_vain(tmp_path: Path) -> None:
    team = Team(tmp_path / "one")
    build(tmp_path, team, "v3", pythons="3.15", wanted=Wanted(verify=False))
    second = Team(tmp_path / "two")
    done = build(tmp_path, second, "v3", pythons="3.15")
    assert not second.built
    assert done.cells[0].why.startswith("not verified")


def test_a_cell_that_another_builder_is_at(tmp_path: Path) -> None:
    """He finishes while we build the rest: his wheel is taken, not built again."""
    house = cache_parts.house(tmp_path / "wh")
    chosen = marches("portable", "v3")
    theirs = cache_parts.cell(level="v3", py="3.11")
    lock = house.locked(f"cell-{theirs.key}")
    lock.__enter__()
    calls: list[str] = []

    def during(task: Task) -> None:
        calls.append(task.cell.key)
        if len(calls) == 1:
            # The other builder publishes, with the same inputs as ours would have.
            other = Team(tmp_path / "other")
            build(
                tmp_path / "elsewhere", other, "v3", pythons="3.11", fetcher=Shelf.fetcher(tmp_path / "shelf")
            )
            made = cache_parts.house(tmp_path / "elsewhere" / "wh").read().entries[0]
            wheel = tmp_path / "elsewhere" / "wh" / made.path
            assert house.take_in(wheel, made.sha256) == made.path
            house.publish(lambda catalogue: catalogue.with_entries([made]))
            lock.__exit__(None, None, None)

    ticks = iter(range(0, 100000, 2))
    team = Team(tmp_path / "team", during=during)
    done = build(tmp_path, team, house=house, clock=lambda: float(next(ticks)))
    assert theirs.key not in calls
    states = {row.cell.key: row.state for row in done.cells}
    assert states[theirs.key] == "unchanged"
    assert len(done.catalogue.entries) == 4
    assert chosen


def test_an_interrupted_build_goes_on(tmp_path: Path) -> None:
    def interrupt(task: Task) -> None:
        if len(team.built) == 3:
            raise KeyboardInterrupt

    team = Team(tmp_path / "team", during=interrupt)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, team)
    assert team.closed
    assert len(cache_parts.house(tmp_path / "wh").read().entries) == 2
    second = Team(tmp_path / "second")
    done = build(tmp_path, second)
    assert len(second.built) == 2
    assert len(done.catalogue.entries) == 4


def test_nobody_comes(tmp_path: Path) -> None:
    team = Team(tmp_path / "team")
    team._cpus = []
    team.complete = False
    ticks = iter(range(0, 10**6, 50))
    with pytest.raises(BusyError, match="no worker came within 600 s"):
        build(tmp_path, team, clock=lambda: float(next(ticks)))
    assert team.closed


def test_a_signed_cache_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    house = cache_parts.house(tmp_path / "wh")
    house.publish(lambda catalogue: catalogue)
    text = json.loads((house.root / "catalogue.json").read_text())
    (house.root / "catalogue.json").write_text(json.dumps(text | {"signer": "SHA256:x"}))
    team = Team(tmp_path / "team")
    with pytest.raises(StateError, match="signed by SHA256:x"):
        build(tmp_path, team)
    assert not team.built


def test_the_inputs_know_the_kernels_and_the_code() -> None:
    assert builder.code_digest() == builder.code_digest()
    assert len(builder.code_digest()) == 64


def test_named_interpreters_say_more_than_versions() -> None:
    import sys

    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    [found] = builder.resolve_pythons(f"{here},{sys.executable}")
    assert found.name == here
    assert found.path
    assert replace(found, path="") == cache_parts.python(here)
