from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from simdinstall import cpu, pipeline, tune, tuned
from simdinstall.cpu import Cpu
from simdinstall.errors import SimdinstallError, StateError
from simdinstall.plan import Request
from simdinstall.store import Store
from simdinstall.toolchain import Toolchain
from simdinstall.tune import Candidate, Result
from simdinstall.tuned import PREBUILT, Tuned

CHOICE = Tuned(label="gcc -O2", compiler="gcc", flags=("-O2",), why="the fastest of 3")


@pytest.fixture(scope="module")
def seen() -> Cpu:
    return cpu.detect(override="x86-64-v3", want_name=False)


def result(compiler: str, speed: float, why: str = "") -> Result:
    return Result(candidate=Candidate(compiler=compiler), speed=speed, why=why)


def test_what_was_chosen_is_found_again_for_this_cpu_alone(tmp_path: Path, seen: Cpu) -> None:
    store = Store(tmp_path)
    assert tuned.read(store, seen) is None
    tuned.keep(store, seen, CHOICE)
    assert tuned.read(store, seen) == CHOICE
    other = replace(seen, microarchitecture="another")
    assert tuned.read(store, other) is None
    tuned.keep(store, other, replace(CHOICE, compiler="zig"))
    assert tuned.read(store, seen) == CHOICE
    tuned.keep(store, seen, None)
    assert tuned.read(store, seen) is None
    assert tuned.read(store, other) is not None


def test_a_choice_for_the_core_is_another_than_the_kernels(tmp_path: Path, seen: Cpu) -> None:
    store = Store(tmp_path)
    tuned.keep(store, seen, CHOICE)
    core = replace(CHOICE, flags=(), trained=True)
    tuned.keep(store, seen, core, core=True)
    assert tuned.read(store, seen) == CHOICE
    assert tuned.read(store, seen, core=True) == core
    tuned.keep(store, seen, None, core=True)
    assert tuned.read(store, seen) == CHOICE
    assert tuned.read(store, seen, core=True) is None


def test_a_choice_of_before_there_was_training_still_counts(tmp_path: Path, seen: Cpu) -> None:
    tuned.keep(Store(tmp_path), seen, CHOICE)
    kept = json.loads((tmp_path / "tuned.json").read_text())
    [choice] = kept["choices"].values()
    del choice["trained"]
    (tmp_path / "tuned.json").write_text(json.dumps(kept))
    assert tuned.read(Store(tmp_path), seen) == CHOICE


@pytest.mark.parametrize("text", ["", "[]", "{", '{"schema": 1}', '{"schema": 9, "choices": {}}'])
def test_a_file_that_cannot_be_read_is_no_choice(tmp_path: Path, seen: Cpu, text: str) -> None:
    (tmp_path / "tuned.json").write_text(text)
    assert tuned.read(Store(tmp_path), seen) is None


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path, seen: Cpu) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateError):
        tuned.keep(Store(tmp_path / "file"), seen, CHOICE)


def test_the_default_is_the_first_candidate() -> None:
    found = tune.candidates(["gcc", "zig"], prebuilt=True)
    assert found[0] == Candidate(compiler=PREBUILT)
    assert len(found) == 1 + 2 * len(tune.FLAG_SETS)
    assert [one.label for one in tune.candidates(["gcc"], prebuilt=False, quick=True)] == ["gcc"]
    assert not any("512" in one.label for one in tune.candidates(["gcc"], prebuilt=True, wide=False))


def test_a_core_is_tried_with_each_compiler_and_trained_where_it_is_gcc() -> None:
    found = tune.core_candidates(["gcc", "/opt/clang/bin/clang-15", "zig", "/opt/clang/gcc-13"])
    assert [one.label for one in found if one.trained] == ["gcc trained", "/opt/clang/gcc-13 trained"]
    assert found[0] == Candidate(compiler="gcc")
    assert len(found) == 6


def test_the_default_stays_unless_another_is_well_faster() -> None:
    default = result(PREBUILT, 5.0)
    assert tune.winner([default, result("gcc", 5.05)]) is default
    better = result("gcc", 5.5)
    assert tune.winner([default, better, result("zig", 9.0, why="other pixels")]) is better
    with pytest.raises(SimdinstallError, match="no candidate"):
        tune.winner([result("gcc", 0, why="it crashed")])


@pytest.mark.parametrize(
    ("kind", "version", "bad"), [("gcc", "4.8.5", True), ("gcc", "4.9", False), ("clang", "3.4", False)]
)
def test_compilers_that_are_known_to_be_bad_are_warned_of(kind: str, version: str, bad: bool) -> None:
    assert bool(tune.warning(kind, version)) == bad


def test_flags_of_a_choice_come_after_all_others() -> None:
    compiler = Toolchain(
        kind="gcc",
        path=Path("gcc"),
        version="12",
        argv=("gcc",),
        target_args=("-m64",),
        identity="gcc",
        machine="x86_64",
        linker=("gcc",),
        tuning=("-O2",),
    )
    command = compiler.compile_argv("x.c", "x.o", ["-O3"])
    assert command[:4] == ["gcc", "-m64", "-O3", "-O2"]


@pytest.mark.parametrize(
    ("request_", "used"),
    [
        (Request(), True),
        (Request(march="native"), True),
        (Request(march="x86-64-v3"), False),
        (Request(compiler="gcc"), False),
        (Request(kernels="source"), False),
        (Request(cpu="x86-64-v2"), False),
        (Request(rebuild=True), False),
    ],
)
def test_a_choice_counts_where_the_user_leaves_it(
    tmp_path: Path, seen: Cpu, request_: Request, used: bool
) -> None:
    tuned.keep(Store(tmp_path), seen, CHOICE)
    assert (pipeline._tuned(request_, Store(tmp_path), seen) is not None) == used


@pytest.mark.parametrize(
    ("request_", "cc", "used"),
    [
        (Request(rebuild=True), "", True),
        (Request(rebuild=True, march="native"), "", True),
        (Request(), "", False),
        (Request(rebuild=True), "clang", False),
        (Request(rebuild=True, compiler="gcc"), "", False),
        (Request(rebuild=True, march="x86-64-v3"), "", False),
        (Request(rebuild=True, machine="aarch64"), "", False),
        (Request(rebuild=True, libs="system"), "", False),
    ],
)
def test_a_choice_for_the_core_counts_for_rebuilds_where_the_user_leaves_it(
    tmp_path: Path, seen: Cpu, request_: Request, cc: str, used: bool
) -> None:
    tuned.keep(Store(tmp_path), seen, CHOICE, core=True)
    found = pipeline._tuned_core(request_, Store(tmp_path), seen, {"CC": cc} if cc else {})
    assert (found is not None) == used
