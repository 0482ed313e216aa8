"""verify.py: grades, and whole verifications of builds that behave and that do not."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import builds
from simdinstall.checks import Group, Mismatch
from simdinstall.errors import VerifyError
from simdinstall.measure import Difference, Served
from simdinstall.verdict import Verdict, declared_bounds
from simdinstall.verify import grade, read_provenance, verify

PYTHON = Path(sys.executable)
QUICK = ("resize", "bands")


def group(
    *differences: Difference, mode: str = "RGB", level: int = 2, kernels: tuple[str, ...] = ("k",)
) -> Group:
    return Group(
        family="resize",
        mode=mode,
        level=2,
        cases=9,
        served=tuple(Served(function="F", kernel=name, level=2, calls=1) for name in kernels),
        mismatches=tuple(Mismatch(label="bicubic", size=(3, 4), difference=one) for one in differences),
    )


def off(by: float) -> Difference:
    return Difference(largest=by, share=0.25, visible=by)


def test_no_mismatch_is_exact() -> None:
    found = grade(group(), bounds={})
    assert (found.grade, found.largest_difference, found.level) == ("exact", 0, "avx2")


def test_within_what_the_kernels_declare_together_is_bounded() -> None:
    bounds = {"convert": 1.0, "resample": 2.0}
    found = grade(group(off(3), kernels=("convert", "resample")), bounds=bounds)
    assert (found.grade, found.bound, found.size) == ("bounded", 3, "3x4")
    assert grade(group(off(4), kernels=("convert", "resample")), bounds=bounds).grade == "failed"


def test_an_exact_kernel_may_not_differ_at_all() -> None:
    assert grade(group(off(1)), bounds={"k": 0}).grade == "failed"


def test_where_no_kernel_ran_nothing_may_differ() -> None:
    assert grade(group(off(1), kernels=()), bounds={}).grade == "failed"


def test_exact_fidelity_allows_nothing() -> None:
    assert grade(group(off(1)), bounds={"k": 4}, fidelity="exact").grade == "failed"


def test_what_cannot_be_compared_has_failed() -> None:
    found = grade(group(off(1), Difference(why="ended by SIGSEGV")), bounds={"k": 4})
    assert found.grade == "failed"
    assert "SIGSEGV" in found.detail
    assert found.different == 2


def test_colours_under_alpha_count_by_what_can_be_seen() -> None:
    invisible = Difference(largest=80, share=0.1, visible=2)
    found = grade(group(invisible, mode="RGBA"), bounds={"k": 1})
    assert (found.grade, found.largest_difference, found.raw_difference) == ("bounded", 2, 80)


def test_bounds_come_from_the_provenance(tmp_path: Path) -> None:
    info = tmp_path / "pillow-1.dist-info"
    info.mkdir()
    kernels = [
        {"name": "blur", "fidelity": "exact", "largest_difference": 0},
        {"name": "resize", "fidelity": "bounded", "largest_difference": 2},
    ]
    (info / "simdinstall.json").write_text(json.dumps({"kernels": kernels}))
    assert declared_bounds(read_provenance(tmp_path)) == {"blur": 0, "resize": 2}
    (info / "simdinstall.json").write_text("{ half")
    assert read_provenance(tmp_path) == {}


# --- whole verifications

Front = Callable[..., Path]


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Path:
    return builds.stock(tmp_path_factory.mktemp("stock"), pytestconfig)


@pytest.fixture
def front(tmp_path: Path, pytestconfig: pytest.Config) -> Front:
    if not shutil.which("gcc"):
        pytest.skip("needs gcc")
    return lambda *behaviour: builds.fronted(tmp_path / "front", pytestconfig, *behaviour)


def test_stock_against_itself_is_right_and_complete(stock: Path) -> None:
    told: list[tuple[str, float]] = []
    verdict = verify(
        stock, stock, python=PYTHON, quick=True, progress=lambda what, done: told.append((what, done))
    )
    assert verdict.ok, verdict.problems
    assert verdict.features_ok
    assert {row.grade for row in verdict.graded} == {"exact"}
    assert sum(row.cases for row in verdict.graded) > 8000
    assert {"resize", "convert", "codecs", "drawing"} <= set(verdict.exact)
    assert len(verdict.rows) == 12
    assert verdict.trace == ()
    assert 0 < verdict.memory < 300 << 20
    assert [done for _, done in told] == sorted(done for _, done in told)
    assert Verdict.from_json(json.loads(json.dumps(verdict.to_json()))) == verdict
    verdict.require_ok()


def test_a_good_front_is_exact_at_every_level(stock: Path, front: Front) -> None:
    verdict = verify(stock, front(), python=PYTHON, families=QUICK)
    assert verdict.ok, verdict.problems
    ran = {(entry.kernel, entry.level) for entry in verdict.trace if entry.calls}
    assert {("forward", "avx2"), ("forward", "sse4")} <= ran
    resized = [row for row in verdict.graded if row.operation == "resize" and row.mode == "RGB"]
    assert [row.level for row in resized] == ["avx2", "sse4"]
    # No kernel stands in front of these, so one level is enough.
    assert {row.level for row in verdict.graded if row.operation == "bands"} == {"avx2"}
    assert verdict.rows[0].kernels == ("forward (avx2)",)


def test_a_wrong_byte_is_found(stock: Path, front: Front) -> None:
    verdict = verify(stock, front("WRONG_BY=64"), python=PYTHON, quick=True, families=QUICK)
    assert not verdict.ok
    assert verdict.features_ok
    failed = {(row.operation, row.mode) for row in verdict.failed}
    assert ("resize", "L") in failed
    assert all(row.grade == "exact" for row in verdict.graded if row.operation == "bands")
    with pytest.raises(VerifyError, match="nothing was installed") as error:
        verdict.require_ok()
    assert "resize of L" in error.value.why


def test_a_small_difference_is_bounded_unless_exactness_was_asked_for(stock: Path, front: Front) -> None:
    built = front("WRONG_BY=1")
    verdict = verify(stock, built, python=PYTHON, quick=True, families=("resize",))
    assert verdict.ok, verdict.problems
    assert verdict.largest_difference == 1
    assert {row.mode for row in verdict.bounded} >= {"L", "I;16"}
    assert "resize" not in verdict.exact
    strict = verify(stock, built, python=PYTHON, quick=True, families=("resize",), fidelity="exact")
    assert not strict.ok


def test_a_crash_is_a_row_and_not_the_end(stock: Path, front: Front) -> None:
    verdict = verify(stock, front("CRASH_WIDTH=2051"), python=PYTHON, quick=True, families=QUICK)
    assert not verdict.ok
    crashed = [row for row in verdict.failed if "SIGABRT" in row.detail]
    assert {row.mode for row in crashed} == {"L", "RGB", "RGBA"}
    assert all(row.different == 1 for row in crashed)
    assert {row.operation for row in verdict.graded} == {"resize", "bands"}


def test_endless_crashes_are_given_up(stock: Path, front: Front) -> None:
    verdict = verify(stock, front("CRASH_WIDTH=16"), python=PYTHON, quick=True, families=QUICK)
    assert any("resize: the checks did not end: SIGABRT" in problem for problem in verdict.problems)
    assert {row.operation for row in verdict.graded} == {"bands"}


def test_a_kernel_that_never_ran_is_an_error(stock: Path, front: Front) -> None:
    verdict = verify(stock, front("IDLE"), python=PYTHON, quick=True)
    assert verdict.problems == ("the kernel idle for AVX2 never ran",)


def test_a_build_that_cannot_be_loaded(stock: Path, front: Front) -> None:
    verdict = verify(stock, front("NO_LOAD"), python=PYTHON, quick=True)
    assert not verdict.ok
    assert "cannot be imported" in verdict.problems[0]


def test_a_build_for_a_better_cpu_may_not_start(stock: Path, front: Front) -> None:
    verdict = verify(stock, front("NO_LOAD"), python=PYTHON, quick=True, runnable=False)
    assert verdict.ok
    assert "cannot load" in verdict.limits[0]


def test_a_library_for_a_better_cpu_is_a_limit_not_a_failure(stock: Path, tmp_path: Path) -> None:
    built = tmp_path / "built"
    (built / "PIL").mkdir(parents=True)
    (built / "PIL" / "__init__.py").write_text(
        "raise ImportError('libpillow_simd.so: CPU ISA level is lower than required')"
    )
    verdict = verify(stock, built, python=PYTHON, quick=True)
    assert verdict.ok
    assert "cannot load" in verdict.limits[0]
    assert verdict.rows == verdict.graded == ()


def test_missing_features_are_named(stock: Path, tmp_path: Path) -> None:
    built = tmp_path / "built"
    shutil.copytree(stock, built, symlinks=True)
    for path in (built / "PIL").glob("_webp*.so"):
        path.unlink()
    verdict = verify(stock, built, python=PYTHON, quick=True, families=("bands",))
    assert not verdict.features_ok
    assert "lacks the module webp" in verdict.problems
    assert "cannot save WEBP" in verdict.problems


def test_stock_that_does_not_run_is_told(tmp_path: Path) -> None:
    (tmp_path / "PIL").mkdir()
    (tmp_path / "PIL" / "__init__.py").write_text("raise ImportError('broken')")
    with pytest.raises(VerifyError, match="stock Pillow does not run"):
        verify(tmp_path, tmp_path, python=PYTHON)


def test_a_kept_verdict_of_another_shape_is_refused() -> None:
    with pytest.raises(VerifyError, match="cannot be read"):
        Verdict.from_json({"ok": True})
