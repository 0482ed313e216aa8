"""measure.py: the statistics on recorded samples, and the conversation with real builds."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import builds
from simdinstall import measure
from simdinstall.measure import (
    Build,
    Effort,
    Probe,
    ProbeDied,
    ProbeError,
)

PYTHON = Path(sys.executable)


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


def test_what_the_starting_program_holds_is_not_counted(stock: Path, tmp_path: Path) -> None:
    # It would be in ru_maxrss, so the tests before could make the ones after fail.
    held = bytearray(b"\1") * (400 << 20)
    with Probe(Build(label="stock", python=PYTHON, path=stock), folder=tmp_path) as running:
        assert running.ask("usage")["memory"] < len(held) // 2


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
        assert all(2 <= len(one.seconds) <= 6 and one.median > 0 for one in found.values())


class Scripted(Probe):
    """A build that answers at once: so many seconds for a call, then it ends.

    In every turn of which ``shared`` says so, other programs have the core for as long again.
    """

    def __init__(
        self,
        label: str,
        seconds: float,
        told: list[str],
        *,
        lives: int = 1000,
        shared: Callable[[int], bool] = lambda turn: False,
    ) -> None:
        super().__init__(Build(label=label, python=PYTHON), folder=Path())
        self.seconds, self.told, self.lives, self.shared = seconds, told, lives, shared
        self.turn = 0

    def ask(self, what: str, **fields: Any) -> dict[str, Any]:
        assert what == "time"
        self.told.append(self.build.label)
        self.lives -= 1
        if self.lives < 0:
            raise ProbeDied("SIGSEGV", "")
        shared = self.shared(self.turn)
        self.turn += 1
        spent = self.seconds * fields["calls"] * (1.5 if shared else 1)
        return {"seconds": spent, "wall": 2 * spent if shared else spent, "faults": 7.0}


def test_every_build_is_first_and_last_equally_often() -> None:
    told: list[str] = []
    probes = [Scripted("a", 0.5, told), Scripted("b", 0.25, told)]
    found = measure.time_interleaved(probes, Effort(rounds=2, budget=9), first={"a": 0.5, "b": 0.25})
    assert "".join(told) == "abbabaab"
    assert {label: one.seconds for label, one in found.items()} == {"a": (0.5, 0.5), "b": (0.25, 0.25)}
    told.clear()
    measure.time_interleaved(probes, Effort(rounds=2, budget=9), calls={"a": 1, "b": 2}, shift=1)
    assert "".join(told) == "baababba"
    told.clear()
    three = [*probes, Scripted("c", 0.25, told)]
    measure.time_interleaved(three, Effort(rounds=3, budget=90), calls={"a": 1, "b": 1, "c": 1})
    assert "".join(told) == "abccbabcaacbcabbac"


def test_long_calls_are_timed_once_in_a_round() -> None:
    told: list[str] = []
    probes = [Scripted("a", 0.5, told), Scripted("b", 0.25, told)]
    seconds = {"a": 0.5, "b": 0.25}
    found = measure.time_interleaved(probes, Effort(rounds=2, budget=9, long=0.4), first=seconds)
    assert "".join(told) == "abba"
    assert found["a"].seconds == (0.5, 0.5)
    told.clear()
    measure.time_interleaved(probes, Effort(rounds=1, least=1, long=0.6), first=seconds)
    assert "".join(told) == "abba"


def test_calls_fill_the_slice_and_rounds_the_budget() -> None:
    told: list[str] = []
    probes = [Scripted("a", 0.001, told), Scripted("b", 0.004, told)]
    found = measure.time_interleaved(probes, Effort(rounds=5, least=2, budget=0.1, slice=0.02))
    assert {label: one.calls for label, one in found.items()} == {"a": 20, "b": 5}
    assert {label: len(one.seconds) for label, one in found.items()} == {"a": 2, "b": 2}
    assert found["a"].shared == 0.0
    assert found["a"].faults == 7.0
    found = measure.time_interleaved(probes, Effort(rounds=5, least=2, budget=9, slice=0.02))
    assert {label: len(one.seconds) for label, one in found.items()} == {"a": 5, "b": 5}


def test_rounds_in_which_another_program_had_the_core_do_not_count() -> None:
    told: list[str] = []
    calls = {"a": 1, "b": 1}
    probes = [Scripted("a", 0.5, told), Scripted("b", 0.5, told, shared=lambda turn: turn in (1, 4))]
    found = measure.time_interleaved(probes, Effort(rounds=3, budget=99), calls=calls)
    assert len(told) == 5 * 4
    assert {label: one.seconds for label, one in found.items()} == {"a": (0.5,) * 3, "b": (0.5,) * 3}
    assert found["b"].shared == pytest.approx(1 - 5.5 / 7)
    # Where it always has it, there is nothing better.
    probes = [Scripted("a", 0.5, told), Scripted("b", 0.5, told, shared=lambda turn: True)]
    found = measure.time_interleaved(probes, Effort(rounds=3, budget=99), calls=calls)
    assert {label: one.seconds for label, one in found.items()} == {"a": (0.5,) * 6, "b": (0.75,) * 6}


def test_a_build_that_ends_is_missing_and_the_others_go_on() -> None:
    told: list[str] = []
    probes = [Scripted("a", 0.5, told), Scripted("b", 0.5, told, lives=3), Scripted("c", 0.5, told, lives=0)]
    found = measure.time_interleaved(probes, Effort(rounds=2, budget=99, slice=1))
    assert {label: len(one.seconds) for label, one in found.items()} == {"a": 2}


def test_an_outcome_is_told_once(probe: Probe) -> None:
    assert measure.prepare(probe, "speed", "speed/3x3 filter").made > 0
    assert measure.prepare(probe, "speed", "speed/3x3 filter", again=True).made == 0


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
