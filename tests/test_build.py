from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any, cast

import pytest
from installer.sources import WheelFile

import small_kernels
import small_pillow
from extensions import compile_extension
from simdinstall import abi, build, toolchain, wheel
from simdinstall.errors import BuildError, UsageError
from simdinstall.fetch import Download, Sources
from simdinstall.kernels import Function
from simdinstall.plan import Plan
from simdinstall.run import Completed, run
from simdinstall.store import Store, file_digest
from simdinstall.toolchain import Toolchain
from simdinstall.tree import LeftOut

NAME = "_imaging.cpython-311-x86_64-linux-gnu.so"


def no_zig() -> Path:
    raise AssertionError("zig is not wanted here")


def download(path: Path, version: str = "13.0.0") -> Download:
    return Download(
        name="pillow",
        version=version,
        filename=path.name,
        url=f"https://index.example/{path.name}",
        sha256=file_digest(path),
        path=path,
        checked=True,
    )


@pytest.fixture(scope="module")
def gcc() -> Toolchain:
    return toolchain.find("gcc", zig=no_zig)


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("official")
    extension = compile_extension(folder, name=NAME)
    content = {"PIL/__init__.py": b"", f"PIL/{NAME}": extension.read_bytes()}
    made = small_pillow.wheel(folder, version="13.0.0", content=content)
    return made.rename(folder / "pillow-13.0.0-cp311-cp311-manylinux_2_28_x86_64.whl")


@pytest.fixture
def make_plan(official: Path, gcc: Toolchain, tmp_path: Path) -> Callable[..., Plan]:
    def make(**changes: Any) -> Plan:
        folder = tmp_path / f"tree-{len(list(tmp_path.iterdir()))}"
        _, extension = wheel.extension(official)
        parts = {
            "march": small_kernels.march("x86-64-v2"),
            "release": "13.0.0",
            "fidelity": "exact",
            "sources": Sources(pillow=download(official), pillow_simd=None),
            "toolchain": gcc,
            "abi": abi.read(extension, name=NAME),
            "tree": small_kernels.tree(folder),
            "prebuilt": None,
            "rebuild": None,
            "source_build": None,
        } | changes
        parts["maker"] = parts["prebuilt"] or parts["toolchain"]
        return cast("Plan", SimpleNamespace(**parts))

    return make


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


def counting(calls: list[Sequence[str | Path]]) -> Callable[..., Completed]:
    def count(argv: Sequence[str | Path], **options: Any) -> Completed:
        calls.append(argv)
        return run(argv, **options)

    return count


def make(plan: Plan, store: Store, **options: Any) -> wheel.Wheel:
    return build.build(plan, store=store, catalogue=small_kernels.catalogue(), **options)


def test_a_wheel_is_built_once(make_plan: Callable[..., Plan], store: Store) -> None:
    calls: list[Sequence[str | Path]] = []
    steps: list[str] = []
    plan = make_plan()
    first = make(plan, store, run=counting(calls), progress=lambda step, *_: steps.append(step))
    assert calls
    assert {"compiling", "linking", "packing"} <= set(steps)
    assert (first.cached, first.repaired, first.version) == (False, False, "13.0.0+simd.v2")
    assert first.log is not None
    assert "wide_negative" in first.log.read_text()
    calls.clear()
    # Elsewhere laid out, the same sources are the same.
    second = make(make_plan(), store, run=counting(calls))
    assert not calls
    assert (second.cached, second.sha256, second.path) == (True, first.sha256, first.path)


def test_it_is_the_same_when_built_twice(make_plan: Callable[..., Plan], tmp_path: Path) -> None:
    one = make(make_plan(), Store(tmp_path / "one"))
    two = make(make_plan(), Store(tmp_path / "a longer name"))
    assert one.path.read_bytes() == two.path.read_bytes()


def test_the_wheel_works(make_plan: Callable[..., Plan], store: Store, tmp_path: Path) -> None:
    made = make(make_plan(), store)
    with WheelFile.open(made.path) as source:
        source.validate_record()
    with zipfile.ZipFile(made.path) as archive:
        archive.extractall(tmp_path / "site")
    assert small_kernels.call(tmp_path / "site" / "PIL" / NAME, 7) == 1007


def test_provenance_says_what_went_in(make_plan: Callable[..., Plan], store: Store, official: Path) -> None:
    plan = make_plan()
    made = make(plan, store)
    told = made.provenance
    assert told["key"] == build.key(plan, small_kernels.catalogue())
    assert told["pillow"] == {
        "release": "13.0.0",
        "filename": official.name,
        "sha256": file_digest(official),
    }
    assert told["pillow_simd"] is None
    assert told["compiler"]["kind"] == "gcc"
    assert told["march"]["isas"] == ["sse4"]
    assert [(k["name"], k["functions"], k["isas"]) for k in told["kernels"]] == [
        ("wide_negative", ["ImagingNegative"], ["sse4"])
    ]
    assert "-ffp-contract=off" in told["flags"]["all"]
    assert "-march=x86-64-v2" in told["flags"]["units"]["wide_negative-sse4"]
    assert "-march=x86-64" in told["flags"]["units"]["dispatch"]
    assert json.loads(json.dumps(told)) == told


def test_everything_that_goes_in_changes_the_key(
    make_plan: Callable[..., Plan], gcc: Toolchain, tmp_path: Path, official: Path
) -> None:
    other = tmp_path / "copy" / official.name
    other.parent.mkdir()
    other.write_bytes(official.read_bytes() + b"\0")
    plan = make_plan()
    changed_kernel = small_kernels.tree(tmp_path / "other", kernel=small_kernels.KERNEL + "/* more */\n")
    plans = [
        plan,
        make_plan(march=small_kernels.march("x86-64-v3")),
        make_plan(march=small_kernels.march("portable")),
        make_plan(march=small_kernels.march("nehalem")),
        make_plan(fidelity="bounded"),
        make_plan(toolchain=replace(gcc, identity=gcc.identity + "1")),
        make_plan(toolchain=replace(gcc, target_args=("-mno-x",))),
        make_plan(sources=Sources(pillow=download(other), pillow_simd=None)),
        make_plan(sources=Sources(pillow=download(official), pillow_simd=download(other))),
        make_plan(tree=changed_kernel),
        make_plan(tree=replace(plan.tree, left_out=(LeftOut(kernel="x", reason="y"),))),
        make_plan(tree=replace(plan.tree, kernels=())),
        make_plan(release="13.0.1"),
    ]
    keys = [build.key(p, small_kernels.catalogue()) for p in plans]
    assert len(set(keys)) == len(keys)
    assert build.key(make_plan(), small_kernels.catalogue()) == keys[0]


@pytest.fixture
def epoch() -> Iterator[Callable[[str], None]]:
    before = os.environ.get("SOURCE_DATE_EPOCH")

    def change(text: str) -> None:
        os.environ["SOURCE_DATE_EPOCH"] = text

    yield change
    os.environ.pop("SOURCE_DATE_EPOCH", None)
    if before is not None:
        os.environ["SOURCE_DATE_EPOCH"] = before


def test_source_date_epoch_is_the_time_of_files(
    make_plan: Callable[..., Plan], store: Store, epoch: Callable[[str], None]
) -> None:
    before = build.key(make_plan(), small_kernels.catalogue())
    epoch("1700000000")
    plan = make_plan()
    assert build.key(plan, small_kernels.catalogue()) != before
    with zipfile.ZipFile(make(plan, store).path) as archive:
        assert {info.date_time for info in archive.infolist()} == {(2023, 11, 14, 22, 13, 20)}
    epoch("yesterday")
    with pytest.raises(UsageError, match="SOURCE_DATE_EPOCH is 'yesterday'"):
        make(plan, store)


def test_a_damaged_wheel_in_the_cache_is_built_again_and_said(
    make_plan: Callable[..., Plan], store: Store
) -> None:
    plan = make_plan()
    first = make(plan, store)
    content = bytearray(first.path.read_bytes())
    content[len(content) // 2] ^= 1
    first.path.write_bytes(content)
    second = make(plan, store)
    assert (second.cached, second.repaired, second.sha256) == (False, True, first.sha256)


def test_a_failed_build_keeps_its_log_and_nothing_else(
    make_plan: Callable[..., Plan], store: Store, tmp_path: Path
) -> None:
    broken = small_kernels.tree(tmp_path / "broken", kernel="#error this kernel is broken\n")
    with pytest.raises(BuildError) as caught:
        make(make_plan(tree=broken), store)
    assert caught.value.log is not None
    assert "this kernel is broken" in caught.value.log.read_text()
    assert not list((store.root / "wheels").iterdir())


def test_kernels_that_do_not_fit_are_left_out_and_named(
    make_plan: Callable[..., Plan], store: Store, tmp_path: Path
) -> None:
    plan = make_plan()
    catalogue = small_kernels.catalogue()
    known = MappingProxyType({"Imaging(Imaging, int)": 1})
    moved = replace(catalogue, functions=(replace(catalogue.functions[0], prototypes=known),))
    [left] = build.left_out(plan.tree, plan.abi, moved)
    assert left.kernel == "wide_negative"
    assert "no kernel knows: Imaging(Imaging)" in left.reason
    made = build.build(plan, store=store, catalogue=moved)
    assert made.left_out == (left,)
    assert made.provenance["left_out"] == [{"kernel": left.kernel, "reason": left.reason}]
    assert made.provenance["kernels"] == []
    with zipfile.ZipFile(made.path) as archive:
        archive.extractall(tmp_path / "site")
    assert small_kernels.call(tmp_path / "site" / "PIL" / NAME, 7) == 8


def test_a_kernel_keeps_the_functions_that_fit(make_plan: Callable[..., Plan]) -> None:
    plan = make_plan()
    catalogue = small_kernels.catalogue()
    absent = Function(
        name="ImagingAbsent", front="x.c", prototypes=catalogue.functions[0].prototypes, uses=()
    )
    kernel = replace(catalogue.kernels[0], functions=("ImagingNegative", "ImagingAbsent"))
    tree = replace(plan.tree, kernels=(kernel,))
    kept, left = build.fit(tree, plan.abi, replace(catalogue, functions=(*catalogue.functions, absent)))
    assert [k.functions for k in kept] == [("ImagingNegative",)]
    assert left == ()


_CONCURRENT = """
import sys
sys.path[:0] = sys.argv[1:3]
from pathlib import Path
import test_build as t, small_kernels
from simdinstall import abi, toolchain, wheel
from simdinstall.store import Store
from types import SimpleNamespace
official, folder, cache = map(Path, sys.argv[3:])
plan = SimpleNamespace(
    march=small_kernels.march("x86-64-v2"), release="13.0.0", fidelity="exact",
    sources=t.Sources(pillow=t.download(official), pillow_simd=None),
    toolchain=toolchain.find("gcc", zig=t.no_zig), prebuilt=None, rebuild=None, source_build=None,
    abi=abi.read(wheel.extension(official)[1], name=t.NAME), tree=small_kernels.tree(folder),
)
plan.maker = plan.toolchain
made = t.make(plan, Store(cache))
print(made.cached, made.sha256)
"""


def test_two_at_once_build_once(official: Path, tmp_path: Path) -> None:
    here = Path(__file__).parent
    source = Path(build.__file__).parent.parent
    started = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                _CONCURRENT,
                here,
                source,
                official,
                tmp_path / f"t{n}",
                tmp_path / "cache",
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(2)
    ]
    said = [process.communicate()[0].split() for process in started]
    assert [process.returncode for process in started] == [0, 0]
    assert sorted(words[0] for words in said) == ["False", "True"]
    assert said[0][1] == said[1][1]


def test_nothing_is_left_in_the_temporary_folder(
    make_plan: Callable[..., Plan], store: Store, tmp_path: Path
) -> None:
    def seen() -> set[str]:
        return {p.name for p in Path(os.environ.get("TMPDIR", "/tmp")).glob("simdinstall-build-*")}

    before = seen()
    make(make_plan(), store)
    assert seen() - before == set()


def test_flags_are_told_once() -> None:
    flags: Mapping[str, tuple[str, ...]] = {"a": ("-O3", "-Da", "-g0"), "b": ("-O3", "-g0", "-Db")}
    built = cast("Any", SimpleNamespace(flags=flags))
    assert build.told_flags(built) == {"all": ["-O3", "-g0"], "units": {"a": ["-Da"], "b": ["-Db"]}}


def test_wheels_of_other_pythons_share_the_library(
    make_plan: Callable[..., Plan], official: Path, store: Store, tmp_path: Path
) -> None:
    first = make(make_plan(), store)
    other = tmp_path / official.name.replace("cp311-cp311", "cp312-cp312")
    other.write_bytes(official.read_bytes() + b"\n")
    calls: list[Sequence[str | Path]] = []
    plan = make_plan(sources=Sources(pillow=download(other), pillow_simd=None))
    second = make(plan, store, run=counting(calls))
    assert not calls
    assert not second.cached
    assert second.provenance["added"] == first.provenance["added"]
    assert second.provenance["flags"] == first.provenance["flags"]
    assert second.log is not None
    assert "wide_negative" in second.log.read_text()
