"""measure.py: the statistics on recorded samples, and the conversation with real builds."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import builds
from simdinstall import measure
from simdinstall.measure import (
    Build,
    Effort,
    Probe,
    ProbeDied,
    ProbeError,
    Sample,
    compare_samples,
    geometric_mean,
    median_bounds,
    quantile,
)

PYTHON = Path(sys.executable)


def sample(label: str, *seconds: float) -> Sample:
    return Sample(label=label, seconds=seconds, calls=1)


# Seconds per call of one and the same build in two processes, seven rounds, taken on a
# loaded two-core machine; the third row has a round that a neighbour disturbed.
SAME_BUILD = [
    ((0.01396, 0.01398, 0.01391, 0.01402, 0.01399, 0.01393, 0.01397),
     (0.01398, 0.01397, 0.01394, 0.01389, 0.01404, 0.01395, 0.01396)),
    ((0.00961, 0.00968, 0.01012, 0.00975, 0.00970, 0.00963, 0.00969),
     (0.00982, 0.00957, 0.00987, 0.00990, 0.00961, 0.00978, 0.00958)),
    ((0.00581, 0.00575, 0.01094, 0.00579, 0.00584, 0.00573, 0.00580),
     (0.00578, 0.00572, 0.00581, 0.00583, 0.00577, 0.00579, 0.00571)),
]  # fmt: skip


@pytest.mark.parametrize(("first", "second"), SAME_BUILD)
def test_the_same_build_is_the_same(first: tuple[float, ...], second: tuple[float, ...]) -> None:
    found = compare_samples(sample("a", *first), sample("b", *second))
    assert found.verdict in ("same", "noisy")
    assert abs(found.ratio - 1) < 0.03


def test_a_clear_change_is_seen_through_noise() -> None:
    # The machine slows down by half in the middle; both builds suffer, the ratio does not.
    slow = [1.0, 1.02, 1.5, 1.55, 1.49, 1.01, 0.99]
    base = sample("stock", *(0.030 * factor for factor in slow))
    wobble = [1, 1.01, 0.99, 1, 1.02, 1, 1]
    fast = sample("new", *(0.010 * a * b for a, b in zip(slow, wobble, strict=True)))
    found = compare_samples(base, fast)
    assert found.verdict == "faster"
    assert found.ratio == pytest.approx(3.0, rel=0.02)
    assert compare_samples(fast, base).verdict == "slower"


def test_scattered_ratios_are_called_noisy() -> None:
    base = sample("a", 1.0, 1.4, 0.8, 1.1, 0.7, 1.3, 1.0)
    other = sample("b", 1.1, 1.0, 1.0, 0.8, 1.2, 0.9, 1.0)
    assert compare_samples(base, other).verdict == "noisy"


def test_small_changes_are_none() -> None:
    base = sample("a", *([1.0] * 9))
    assert compare_samples(base, sample("b", *([0.97] * 9))).verdict == "same"
    assert compare_samples(base, sample("b", *([0.90] * 9))).verdict == "faster"


def test_no_verdict_of_change_in_a_thousand_runs_of_nothing() -> None:
    draw = random.Random(3)
    for _ in range(1000):
        # One core, seven rounds, five per cent of noise with a heavy tail.
        rounds = [
            [draw.gauss(1, 0.02) + (draw.random() < 0.1) * draw.random() for _ in range(7)] for _ in range(2)
        ]
        found = compare_samples(sample("a", *rounds[0]), sample("b", *rounds[1]))
        assert found.verdict in ("same", "noisy"), rounds


def test_samples_without_a_common_round_are_refused() -> None:
    with pytest.raises(ValueError, match="no pair"):
        compare_samples(sample("a"), sample("b", 1.0))


def test_bounds_of_a_median() -> None:
    # Tables of the binomial give ranks 2 and 9 of 10, and 6 and 15 of 20, for 95 %.
    assert median_bounds(range(1, 11)) == (2, 9)
    assert median_bounds(range(1, 21)) == (6, 15)
    assert median_bounds([5.0]) == (5.0, 5.0)
    assert median_bounds([4.0, 5.0, 6.0]) == (4.0, 6.0)


def test_quantiles_lie_between_values() -> None:
    assert quantile([1.0, 2.0, 3.0, 4.0], 0.5) == 2.5
    assert quantile([1.0], 0.75) == 1.0
    assert geometric_mean([2.0, 8.0]) == pytest.approx(4.0)
    assert geometric_mean([]) == 1.0


# --- real builds


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Path:
    return builds.stock(tmp_path_factory.mktemp("stock"), pytestconfig)


@pytest.fixture
def probe(stock: Path, tmp_path: Path) -> Iterator[Probe]:
    with Probe(Build(label="stock", python=PYTHON, path=stock), folder=tmp_path) as running:
        yield running


def test_a_probe_runs_the_build_that_it_was_given(probe: Probe, stock: Path) -> None:
    assert probe.hello["pil"] == builds.RELEASE
    assert Path(probe.hello["path"]) == stock / "PIL"
    assert probe.hello["trace"] == {}


def test_the_users_environment_does_not_leak_in(stock: Path, tmp_path: Path) -> None:
    (tmp_path / "PIL.py").write_text("raise RuntimeError('the wrong PIL')")
    environ = {**os.environ, "PYTHONPATH": str(tmp_path), "PILLOW_BLOCKS_MAX": "nonsense"}
    build = Build(label="stock", python=PYTHON, path=stock)
    with Probe(build, folder=tmp_path, environ=environ) as running:
        assert running.hello["pil"] == builds.RELEASE


def test_errors_are_told_and_survived(probe: Probe) -> None:
    with pytest.raises(ProbeError, match="KeyError"):
        measure.prepare(probe, "perf", "perf/no/such row")
    with pytest.raises(ProbeError, match="nothing is prepared"):
        probe.ask("time", calls=1)
    assert probe.ask("usage")["memory"] > 0


def test_no_pil_is_told(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    (empty / "PIL").mkdir(parents=True)
    (empty / "PIL" / "__init__.py").write_text("raise ImportError('half removed')")
    with pytest.raises(ProbeError, match="half removed"):
        Probe(Build(label="x", python=PYTHON, path=empty), folder=tmp_path).start()


def test_no_interpreter_is_told(tmp_path: Path) -> None:
    with pytest.raises(ProbeDied, match=r"status 127"):
        Probe(Build(label="x", python=tmp_path / "python"), folder=tmp_path).start()


def test_timing_is_interleaved_and_pinned(probe: Probe, stock: Path, tmp_path: Path) -> None:
    with Probe(Build(label="again", python=PYTHON, path=stock), folder=tmp_path) as again:
        core, why = measure.pin((probe, again))
        assert core in os.sched_getaffinity(0)
        assert why == ""
        for one in (probe, again):
            measure.prepare(one, "speed", "speed/reduce RGB by 2")
        found = measure.time_interleaved((probe, again), Effort(rounds=3, slice=0.002))
        assert set(found) == {"stock", "again"}
        assert all(len(one.seconds) == 3 and one.median > 0 for one in found.values())


def test_rounds_go_on_until_the_ratio_is_known(probe: Probe, stock: Path, tmp_path: Path) -> None:
    with Probe(Build(label="again", python=PYTHON, path=stock), folder=tmp_path) as again:
        for one in (probe, again):
            measure.prepare(one, "speed", "speed/reduce RGB by 2")
        for effort, rounds in (
            (Effort(rounds=2, most=9, precision=0.0, slice=0.001), 9),
            (Effort(rounds=2, most=9, precision=9.0, slice=0.001), 2),
            (Effort(rounds=2, most=9, precision=0.0, slice=0.001, budget=0.0), 2),
        ):
            found = measure.time_interleaved((probe, again), effort)
            assert [len(one.seconds) for one in found.values()] == [rounds, rounds]


def test_pinning_may_be_refused(probe: Probe) -> None:
    core, why = measure.pin((probe,), core=4095)
    assert core is None
    assert why


def test_the_same_inputs_and_outcomes_in_both(probe: Probe, stock: Path, tmp_path: Path) -> None:
    with Probe(Build(label="again", python=PYTHON, path=stock), folder=tmp_path) as again:
        digests = {measure.prepare(one, "speed", "speed/3x3 filter").digest for one in (probe, again)}
        assert len(digests) == 1
        assert measure.difference(probe, again, referee=probe).exact


def test_a_build_that_hangs_is_ended(stock: Path, tmp_path: Path) -> None:
    with pytest.raises(ProbeDied, match=r"no answer within 0\.01 s"):
        Probe(Build(label="x", python=PYTHON, path=stock), folder=tmp_path, patience=0.01).start()


def test_the_pillow_perf_rows_are_its_own(probe: Probe) -> None:
    rows = measure.catalogue(probe, "perf")
    names = {(row.group, row.title) for row in rows}
    assert {("Scale", "to 320x200 lzs"), ("Scale", "to 5478x3424 bic"), ("Lut", "36³ table to 4D")} <= names
    assert len(names) == len(rows) == 64
    assert {row.pixels for row in rows} == {2560 * 1600}
