"""bench.py: whole small benchmarks of real builds, saved reports, and comparing them."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

import builds
from reports import cell, report, row
from simdinstall import bench, measure
from simdinstall.bench import Options, floor, in_order, run_bench
from simdinstall.bench_changes import compare_reports
from simdinstall.bench_report import BenchReport, duration, load, save
from simdinstall.errors import TargetError, UsageError
from simdinstall.measure import Build, Difference, Effort, Operation
from simdinstall.peers import INSTALLED, STOCK, Participant
from simdinstall.samples import Comparison

PYTHON = Path(sys.executable)


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Path:
    return builds.stock(tmp_path_factory.mktemp("stock"), pytestconfig)


def participant(label: str, path: Path | None, **changes: str) -> Participant:
    return Participant(
        label=label, title=f"{label} Pillow", build=Build(label=label, python=PYTHON, path=path), **changes
    )


def quickly(ops: str) -> Options:
    return Options(ops=ops, quick=True)


# --- whole benchmarks


def test_two_builds_and_what_is_told_on_the_way(stock: Path, tmp_path: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    found = run_bench(
        [participant(STOCK, stock), participant(INSTALLED, stock)],
        quickly("resize/L down, b|draw/polygon|memory/copy"),
        folder=tmp_path,
        cpu="a CPU",
        command="simdinstall bench --quick",
        progress=lambda step, done=0, total=None: told.append((step, done, total)),
        now=lambda: datetime(2026, 11, 20, tzinfo=UTC),
    )
    assert [one.title for one in found.rows] == [
        "L down, box",
        "L down, bilinear",
        "L down, bicubic",
        "copy RGB",
        "polygon, ellipse, rounded box",
    ]
    assert found.created == "2026-11-20T00:00:00+00:00"
    assert not found.interrupted
    assert found.machine.fault > 0
    assert found.machine.core is not None
    for one in found.rows:
        own = one.cell(INSTALLED)
        assert own is not None
        assert own.status == "ok"
        assert own.difference == Difference()
        assert own.comparison is not None
        assert own.seconds
    assert found.rows[0].floor is not None
    assert found.rows[0].floor < found.rows[0].cells[0].median
    assert found.rows[-1].floor is None
    assert told[-1][1] == told[-1][2] >= 5
    assert any("left" in step for step, _, _ in told)


@dataclass(frozen=True, kw_only=True)
class Doubting(Options):
    """One round in each pass, and nothing that is ever known well enough."""

    doubts: bool = True
    limit: float = 1000

    @property
    def effort(self) -> Effort:
        return Effort(rounds=1, least=1, budget=0, slice=0.0005)

    def settles(self, found: Comparison) -> bool:
        return not self.doubts


@pytest.mark.parametrize(
    ("options", "rounds"),
    [
        (Doubting(ops="memory/copy", quick=True), 3),
        (Doubting(ops="memory/copy", quick=True, limit=0), 1),
        (Doubting(ops="memory/copy", quick=True, doubts=False), 1),
        (Doubting(ops="memory/copy"), 10),
        (Doubting(ops="memory/copy", doubts=False), 3),
    ],
)
def test_rows_that_are_not_known_well_enough_are_measured_on(
    options: Options, rounds: int, stock: Path, tmp_path: Path
) -> None:
    participants = [participant(STOCK, stock), participant(INSTALLED, stock)]
    found = run_bench(participants, options, folder=tmp_path)
    assert [len(one.seconds) for one in found.rows[0].cells] == [rounds, rounds]


@pytest.mark.parametrize(
    ("ratio", "low", "high", "settled"),
    [
        (1.0, 0.98, 1.02, True),
        (1.0, 0.95, 1.05, False),
        (8.0, 5.0, 11.0, True),
        (1.1, 1.0, 1.2, False),
        (0.5, 0.42, 0.58, True),
        (1.05, 1.05, 1.05, True),
        (1.12, 1.12, 1.12, False),
        (0.79, 0.79, 0.79, False),
        (1.6, 1.6, 1.6, True),
    ],
)
def test_the_further_from_one_the_less_exactly(ratio: float, low: float, high: float, settled: bool) -> None:
    found = Comparison(ratio=ratio, low=low, high=high, spread=0, verdict="")
    assert Options().settles(found) is settled


def test_the_kernels_that_ran_are_named_and_a_difference_is_measured(
    stock: Path, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    if not shutil.which("gcc"):
        pytest.skip("needs gcc")
    front = builds.fronted(tmp_path / "front", pytestconfig, "WRONG_BY=1")
    found = run_bench(
        [participant(STOCK, stock), participant(INSTALLED, front)], quickly("L down, bil"), folder=tmp_path
    )
    own = found.rows[0].cell(INSTALLED)
    assert own is not None
    assert own.kernels == ("forward (avx2)",)
    assert own.difference is not None
    assert own.difference.largest == 1
    assert 0 < own.difference.share < 0.001
    assert found.builds[1].kernels == "a fake for tests"


def test_a_crash_costs_a_row_and_not_the_run(
    stock: Path, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    if not shutil.which("gcc"):
        pytest.skip("needs gcc")
    front = builds.fronted(tmp_path / "front", pytestconfig, "CRASH_WIDTH=256")
    found = run_bench(
        [participant(STOCK, stock), participant(INSTALLED, front)],
        quickly("L (down|up), bil"),
        folder=tmp_path,
    )
    states = {one.title: one.cell(INSTALLED) for one in found.rows}
    crashed, fine = states["L down, bilinear"], states["L up, bilinear"]
    assert crashed is not None
    assert (crashed.status, crashed.why, crashed.comparison) == ("crashed", "SIGABRT", None)
    assert fine is not None
    assert fine.status == "ok"


def test_a_peer_that_is_missing_and_one_that_does_not_start(stock: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    (broken / "PIL").mkdir(parents=True)
    (broken / "PIL" / "__init__.py").write_text("raise ImportError('half removed')")
    found = run_bench(
        [
            participant(STOCK, stock),
            Participant(label="pillow-simd", title="Pillow-SIMD", why="no compiler"),
            participant("python1", broken),
        ],
        quickly("memory/copy"),
        folder=tmp_path,
    )
    assert [build.why for build in found.builds][:2] == ["", "no compiler"]
    assert "half removed" in found.builds[2].why
    assert [build.label for build in found.measured] == [STOCK]


def test_an_operation_that_a_build_lacks_is_a_row(stock: Path, tmp_path: Path) -> None:
    lesser = tmp_path / "lesser"
    shutil.copytree(stock, lesser)
    for path in (lesser / "PIL").glob("_webp*.so"):
        path.unlink()
    found = run_bench(
        [participant(STOCK, stock), participant(INSTALLED, lesser)],
        quickly("save/webp|load/webp, lossless"),
        folder=tmp_path / "lesser",
    )
    load_cell, save_cell = (one.cell(INSTALLED) for one in found.rows)
    assert save_cell is not None
    assert (save_cell.status, save_cell.why) == ("unavailable", "this build cannot write WEBP")
    assert load_cell is not None
    assert load_cell.status in ("failed", "unavailable")


def test_without_stock_the_first_that_runs_is_compared_with(stock: Path, tmp_path: Path) -> None:
    found = run_bench(
        [Participant(label=STOCK, title="stock", why="no network"), participant(INSTALLED, stock)],
        quickly("memory/copy"),
        folder=tmp_path,
    )
    assert "no network" in found.notes[0]
    assert found.rows[0].cells[0].status == "ok"


def test_an_installed_pillow_that_does_not_run_is_refused(stock: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    (broken / "PIL").mkdir(parents=True)
    (broken / "PIL" / "__init__.py").write_text("raise ImportError('half removed')")
    with pytest.raises(TargetError, match="does not run") as refusal:
        run_bench(
            [participant(STOCK, stock), participant(INSTALLED, broken)], quickly("copy"), folder=tmp_path
        )
    assert "half removed" in refusal.value.why


def test_ctrl_c_keeps_what_was_measured(stock: Path, tmp_path: Path) -> None:
    def interrupt(step: str, done: int = 0, total: int | None = None) -> None:
        if done == 2:
            raise KeyboardInterrupt

    found = run_bench(
        [participant(STOCK, stock), participant(INSTALLED, stock)],
        quickly("memory/(copy|crop|split)"),
        folder=tmp_path,
        progress=interrupt,
    )
    assert found.interrupted
    assert len(found.rows) == 2
    assert all(one.cell(INSTALLED) for one in found.rows)


def test_ctrl_c_before_anything_was_measured_is_one(stock: Path, tmp_path: Path) -> None:
    def interrupt(step: str, done: int = 0, total: int | None = None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_bench([participant(STOCK, stock)], quickly("copy"), folder=tmp_path, progress=interrupt)


def test_no_permission_to_pin_is_said(stock: Path, tmp_path: Path) -> None:
    options = replace(quickly("memory/copy"), core=4095)
    found = run_bench([participant(STOCK, stock)], options, folder=tmp_path)
    assert found.machine.core is None
    assert found.machine.unpinned


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(ops="no such row"), "no row fits"),
        (Options(ops="("), "no regular expression"),
        (Options(suites=("fast",)), "no suite 'fast'"),
    ],
)
def test_wrong_options(options: Options, message: str, stock: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        run_bench([participant(STOCK, stock)], options, folder=tmp_path)


def test_the_wide_suite_covers_what_it_promises(stock: Path, tmp_path: Path) -> None:
    with measure.Probe(Build(label="stock", python=PYTHON, path=stock), folder=tmp_path) as probe:
        rows = measure.catalogue(probe, "wide")
    names = [one.name for one in rows]
    assert len(names) == len(set(names)) >= 120
    for mode in ("L", "LA", "RGB", "RGBA", "I;16", "F"):
        for way in ("up", "down"):
            for kind in ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"):
                assert f"wide/resize/{mode} {way}, {kind}" in names
    groups = {one.group for one in rows}
    assert {
        "Reduce", "Blur", "Filter", "Rank filter", "Composite", "ImageChops", "Convert", "Quantize", "Point",
        "ImageOps", "ImageEnhance", "Transform", "Rotate", "Transpose", "Memory", "NumPy", "Statistics",
        "Draw", "Load", "Save", "Pipeline",
    } <= groups  # fmt: skip
    assert {one.pixels for one in rows} >= {32 * 32, 6000 * 4000}


# --- reports


def test_a_report_survives_the_file(tmp_path: Path) -> None:
    one = report(row("resize/a", stock=2.0, installed=1.0), row("blur/b", stock=3.0, installed=3.0))
    save(one, tmp_path / "report.json")
    assert load(tmp_path / "report.json") == one
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


NO_REPORTS = ["", "{ half", "[]", '{"schema": 99}', '{"schema": 1}', '{"schema": 1, "rows": 3}']


@pytest.mark.parametrize("content", NO_REPORTS)
def test_what_is_no_report_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text(content)
    with pytest.raises(UsageError, match=r"old\.json"):
        load(tmp_path / "old.json")


def test_a_report_that_is_not_there_or_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load(tmp_path / "none.json")
    with pytest.raises(UsageError, match="cannot be written"):
        save(report(), tmp_path / "none" / "new.json")


def test_means_and_noise() -> None:
    one = report(row("a/a", stock=2.0, installed=1.0), row("a/b", stock=8.0, installed=1.0))
    assert one.mean(INSTALLED) == pytest.approx(4.0)
    assert one.mean("opencv") is None
    assert one.noisy == ()


def test_a_regression_is_found_and_an_improvement(tmp_path: Path) -> None:
    old = report(
        row("a/slower", stock=4, installed=1), row("a/faster", stock=4, installed=2), row("a/gone", stock=1)
    )
    new = report(
        row("a/slower", stock=4, installed=2), row("a/faster", stock=4, installed=1), row("a/added", stock=1)
    )
    changes = compare_reports(old, new)
    assert changes.unit == "times stock"
    assert [(one.name, one.factor) for one in changes.slower] == [("wide/a/slower", pytest.approx(0.5))]
    assert [(one.name, one.factor) for one in changes.faster] == [("wide/a/faster", pytest.approx(2.0))]
    assert changes.missing == ("wide/a/gone",)
    assert changes.added == ("wide/a/added",)
    assert json.dumps(changes.to_json())


def test_a_slower_machine_is_no_regression() -> None:
    old = report(row("a/a", stock=4, installed=1))
    new = report(row("a/a", stock=8, installed=2))
    assert compare_reports(old, new).slower == ()


def test_what_noise_or_tolerance_explains_is_none() -> None:
    old = report(row("a/a", stock=4, installed=1))
    assert compare_reports(old, report(row("a/a", stock=4, installed=1.08))).slower == ()
    scattered = report(
        replace(
            row("a/a", stock=4, installed=1.2),
            cells=(cell(STOCK, 4), cell(INSTALLED, 1.2, against=4, scatter=0.5)),
        )
    )
    assert compare_reports(old, scattered).slower == ()
    assert len(compare_reports(old, report(row("a/a", stock=4, installed=1.2))).slower) == 1


def test_a_quick_run_tells_large_changes_only() -> None:
    old = report(row("a/a", stock=4, installed=1), row("a/b", stock=4, installed=1))
    new = report(row("a/a", stock=4, installed=1.3), row("a/b", stock=4, installed=2))
    assert [one.name for one in compare_reports(old, new).slower] == ["wide/a/b", "wide/a/a"]
    changes = compare_reports(replace(old, quick=True), new)
    assert [one.name for one in changes.slower] == ["wide/a/b"]
    assert changes.notes == ("a quick run does not see changes below 30%",)


def test_reports_of_different_stock_releases_are_compared_by_time() -> None:
    old = report(row("a/a", stock=4, installed=1), version="12.3.0")
    changes = compare_reports(old, report(row("a/a", stock=8, installed=2)))
    assert changes.unit == "seconds"
    assert {one.label for one in changes.slower} == {STOCK, INSTALLED}
    assert "stock release" in changes.notes[0]


def test_another_cpu_is_noted() -> None:
    old = report(row("a/a", stock=4, installed=1))
    old = replace(old, machine=replace(old.machine, cpu="another"))
    assert "another CPU" in compare_reports(old, report(row("a/a", stock=4, installed=1))).notes[0]


def test_the_floor_depends_on_the_cache_that_holds_the_bytes() -> None:
    rates = [(10000, 1000.0), (100, 4000.0)]
    assert floor(100, 0, rates, 0.5) == pytest.approx(0.025)
    assert floor(10, 0, rates, 0.5) == pytest.approx(0.0025)
    assert floor(1000, 0, rates, 0.5) == pytest.approx(0.5)
    assert floor(20000, 2, rates, 0.5) == pytest.approx(21.0)
    assert floor(1, 0, [], 0.5) is None


def test_each_pass_has_an_order_of_its_own() -> None:
    rows = [("wide", Operation(name=str(n), group="", title="", pixels=1, assets=())) for n in range(20)]
    orders = [[one.name for _, one in in_order(rows, number)] for number in range(4)]
    assert orders[0] == orders[1][::-1] == [str(n) for n in range(20)]
    assert len({tuple(order) for order in orders}) == 4
    assert all(sorted(order) == sorted(orders[0]) for order in orders)
    assert in_order(rows, 2) == in_order(rows, 2)


def test_the_time_left_is_told_in_words() -> None:
    assert bench.time_left({"a": 1.0}, ["b"]) == ""
    spent = {"a": 10.0, "b": 20.0, "c": 60.0}
    assert bench.time_left(spent, ["c", "d", "a"]) == "  about 2 min left"
    assert bench.time_left(spent, ["a"], ["b", "c"]) == "  about 2 min left"
    assert bench.time_left(spent, ["a"], ["b", "c"], 40.0) == "  about 40 s left"
    assert bench.time_left(spent, ["a"], ["b", "c"], 5.0) == "  about 10 s left"
    assert duration(12) == "15 s"
    assert duration(200) == "3 min"


def test_every_field_of_a_report_is_plain_data() -> None:
    data = report(row("a/a", stock=4, installed=1)).to_json()
    assert BenchReport.from_json(json.loads(json.dumps(data))).to_json() == data
