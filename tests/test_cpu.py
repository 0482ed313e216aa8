"""CPUs come from tests/hosts/: what each source said there, and what follows from it."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from simdinstall import cpu
from simdinstall.cpu import LEVELS, Cpu, Cpuid, compiler_flags, detect, isa_flags, resolve_march
from simdinstall.errors import CpuError
from simdinstall.run import Completed, Runner, run

HOSTS = sorted((Path(__file__).parent / "hosts").glob("*.json"))


def answering(text: str | None) -> Runner:
    """A stand-in for the loader's ``--help``."""

    def fake(
        argv: Sequence[str | Path],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
        input: str | None = None,
        log: Path | None = None,
        check: bool = True,
    ) -> Completed:
        assert [str(a) for a in argv][1:] == ["--help"]
        return Completed(
            argv=tuple(map(str, argv)), returncode=0, stdout=text or "", stderr="", cpu_seconds=0.0
        )

    return fake


def host(name: str, tmp_path: Path, *, override: str | None = None) -> tuple[Cpu, dict[str, Any]]:
    data = json.loads((Path(__file__).parent / "hosts" / f"{name}.json").read_text())
    info = tmp_path / "cpuinfo"
    if not (len(data["cpuinfo"]) and data["cpuinfo"][-1] == "flags: "):
        info.write_text("\n".join(["processor: 0", *data["cpuinfo"], "", "processor: 1", "flags: wrong"]))
    raw = data["cpuid"]
    asked = Cpuid(**{**raw, "features": frozenset(raw["features"])}) if raw else None
    help_text = "\n".join(data["loader_help"]) if data["loader_help"] else None
    found = detect(
        run=answering(help_text),
        proc_cpuinfo=info,
        override=override,
        cpuid=lambda: asked,
        machine=data["machine"],
        loader=lambda: Path("/") if help_text else None,
    )
    return found, data["expect"]


@pytest.mark.parametrize("name", [p.stem for p in HOSTS])
def test_host(name: str, tmp_path: Path) -> None:
    found, expect = host(name, tmp_path)
    assert found.level == expect["level"]
    assert found.microarchitecture == expect["microarchitecture"]
    assert list(found.isas()) == expect["isas"]
    for pattern in expect["notes"]:
        assert any(re.search(pattern, note) for note in found.notes), (pattern, found.notes)
    if not expect["notes"]:
        assert found.notes == ()
    assert Cpu.from_json(json.loads(json.dumps(found.to_json()))) == found


@pytest.mark.parametrize("name", [p.stem for p in HOSTS])
def test_auto_and_native_always_run_where_they_were_resolved(name: str, tmp_path: Path) -> None:
    found, expect = host(name, tmp_path)
    for asked in ("auto", "portable", "native"):
        march = resolve_march(asked, found)
        cpu.require_runnable(march, found)
        assert march.requested == asked
        assert march.reason
        assert not any("native" in flag for flag in march.cflags)
    auto = resolve_march("auto", found)
    if found.architecture == "x86_64":
        assert auto.level == (None if found.level == "x86-64" else found.level)
        # Every kernel that runs here is in it. The level may hold one that needs more
        # (VNNI): that one chooses at run time.
        assert set(expect["isas"]) <= set(auto.isas)
    else:
        assert (auto.name, auto.isas, auto.cflags) == (found.architecture, (), ())
        assert "no kernels" in auto.reason


def test_levels_are_cumulative_and_complete() -> None:
    names = list(LEVELS)
    assert names == ["x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4"]
    for lower, upper in itertools.pairwise(names):
        assert LEVELS[lower] < LEVELS[upper]
    # From the psABI's table, in the kernel's spelling.
    assert LEVELS["x86-64-v2"] - LEVELS["x86-64"] == {
        *("cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3")
    }
    assert LEVELS["x86-64-v3"] - LEVELS["x86-64-v2"] == {
        *("avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave")
    }
    assert LEVELS["x86-64-v4"] - LEVELS["x86-64-v3"] == {
        *("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")
    }


@pytest.mark.parametrize("level", list(LEVELS)[1:])
def test_one_missing_feature_lowers_the_level(level: str) -> None:
    below = list(LEVELS)[list(LEVELS).index(level) - 1]
    for feature in LEVELS[level] - LEVELS[below]:
        assert cpu.level_of(LEVELS["x86-64-v4"] - {feature}) == below


def test_missing_and_can_run(tmp_path: Path) -> None:
    found, _ = host("nehalem", tmp_path)
    assert found.missing("x86-64-v2") == frozenset()
    assert {"avx2", "fma", "abm"} <= found.missing("x86-64-v3")
    assert found.can_run(frozenset({"sse4_2"}))
    assert not found.can_run(frozenset({"sse4_2", "avx"}))
    with pytest.raises(CpuError):
        found.missing("x86-64-v9")


# --- this machine, for real ---


def test_this_machine_matches_its_own_sources() -> None:
    found = detect()
    assert found.name
    if found.architecture != "x86_64":
        assert found.level == found.architecture
        return
    shown = re.search(r"^flags\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    assert shown is not None
    assert found.features <= set(shown[1].split())
    assert found.level in LEVELS
    assert LEVELS[found.level] <= found.features


def test_loader_is_found_without_a_shell(tmp_path: Path) -> None:
    loader = cpu.program_interpreter()
    assert loader is not None
    assert loader.exists()
    assert "ld" in loader.name
    assert cpu.program_interpreter(tmp_path / "none") is None
    for junk in (b"", b"#!/bin/sh\n", b"\x7fELF\x02\x01" + b"\xff" * 90, b"\x7fELF\x02\x01" + bytes(90)):
        (tmp_path / "junk").write_bytes(junk)
        assert cpu.program_interpreter(tmp_path / "junk") is None


def test_a_loader_that_cannot_be_started_is_no_source(tmp_path: Path) -> None:
    broken = tmp_path / "ld.so"
    broken.write_text("not a program")
    found = detect(run=run, loader=lambda: broken)
    assert not any("glibc" in note for note in found.notes)


def test_marketing_name_is_looked_for_only_when_asked(tmp_path: Path) -> None:
    nowhere = tmp_path / "none"
    plain = detect(proc_cpuinfo=nowhere, cpuid=lambda: None, machine="x86_64")
    assert plain.level == "x86-64"
    assert plain.name == plain.microarchitecture == "x86_64"
    assert any("only the baseline" in note for note in plain.notes)
    asked = detect(proc_cpuinfo=nowhere, cpuid=lambda: None, machine="x86_64", want_name=True)
    assert asked.name
    assert asked.features == plain.features


@pytest.mark.skipif(cpu._glibc_levels(run, cpu.program_interpreter()) is None, reason="needs glibc 2.33")
def test_glibc_tunables_are_seen() -> None:
    if "avx2" not in detect().features:
        pytest.skip("no AVX2 to mask")
    script = "from simdinstall import cpu; found = cpu.detect(); print(found.level, found.notes)"
    done = run(
        [sys.executable, "-c", script],
        env={**os.environ, "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-AVX2_Usable"},
    )
    assert done.stdout.startswith("x86-64-v2 ")
    assert "glibc runs x86-64-v2 only" in done.stdout


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="Linux only")
def test_cpuid_agrees_with_the_kernel_on_registers() -> None:
    asked = cpu.read_cpuid()
    if asked is None:
        pytest.skip("no CPUID here")
    assert asked.vendor
    if "osxsave" in asked.features:
        assert asked.xcr0 is not None
        assert asked.xcr0 & 3 == 3  # x87 and SSE state are always saved


# --- overrides ---


@pytest.mark.parametrize(
    ("told", "level"),
    [("x86-64-v3", "x86-64-v3"), ("v2", "x86-64-v2"), ("haswell", "x86-64-v3"), ("x86-64", "x86-64")],
)
def test_told_level(told: str, level: str, tmp_path: Path) -> None:
    found, _ = host("masked_container", tmp_path, override=told)
    assert found.level == level
    assert any(f"told by {told}" in note for note in found.notes)
    unseen = any("not seen on this machine" in note for note in found.notes)
    assert unseen == (level == "x86-64-v3")


def test_told_file(tmp_path: Path) -> None:
    zen, _ = host("zen4", tmp_path)
    path = tmp_path / "node.json"
    path.write_text(json.dumps(zen.to_json()))
    found, _ = host("haswell", tmp_path, override=str(path))
    assert (found.microarchitecture, found.level, found.features) == ("zen4", "x86-64-v4", zen.features)
    assert any("avx512f" in note for note in found.notes)


def test_told_file_of_another_architecture(tmp_path: Path) -> None:
    arm, _ = host("graviton3", tmp_path)
    path = tmp_path / "node.json"
    path.write_text(json.dumps(arm.to_json()))
    found, _ = host("haswell", tmp_path, override=str(path))
    assert found.level == "aarch64"


def test_edited_file_cannot_contradict_itself(tmp_path: Path) -> None:
    data = host("haswell", tmp_path)[0].to_json()
    data["level"] = "x86-64-v4"
    assert Cpu.from_json(data).level == "x86-64-v3"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"schema": 2}',
        '{"schema": 1, "architecture": "x86_64"}',
        '{"schema": 1, "architecture": "x86_64", "vendor": "", "name": "", "microarchitecture": "",'
        ' "features": "avx2"}',
        '{"schema": 1, "architecture": 1, "vendor": "", "name": "", "microarchitecture": "", "features": []}',
        "\x00\xff",
    ],
)
def test_bad_file(content: str, tmp_path: Path) -> None:
    path = tmp_path / "cpu.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(CpuError) as caught:
        detect(override=str(path))
    assert caught.value.hint


def test_neither_level_nor_file() -> None:
    with pytest.raises(CpuError, match="neither") as caught:
        detect(override="x86-64-v33")
    assert "x86-64-v3" in caught.value.hint


# --- --march ---


@pytest.fixture
def haswell(tmp_path: Path) -> Cpu:
    return host("haswell", tmp_path)[0]


@pytest.mark.parametrize(
    ("asked", "name", "level", "isas"),
    [
        ("auto", "v3", "x86-64-v3", "sse4 avx2"),
        ("portable", "portable", None, "sse4 avx2 avx512"),
        ("native", "haswell", "x86-64-v3", "sse4 avx2"),
        ("x86-64", "v1", None, "sse4 avx2 avx512"),
        ("v1", "v1", None, "sse4 avx2 avx512"),
        ("x86-64-v2", "v2", "x86-64-v2", "sse4"),
        ("x86_64_v3", "v3", "x86-64-v3", "sse4 avx2"),
        ("V4", "v4", "x86-64-v4", "sse4 avx2 avx512"),
        ("-march=x86-64-v4", "v4", "x86-64-v4", "sse4 avx2 avx512"),
        ("sandybridge", "sandybridge", "x86-64-v2", "sse4"),
        ("core2", "core2", None, "sse4 avx2 avx512"),
        ("haswell", "haswell", "x86-64-v3", "sse4 avx2"),
        ("core-avx2", "haswell", "x86-64-v3", "sse4 avx2"),
        ("skylake-avx512", "skylake.avx512", "x86-64-v4", "sse4 avx2 avx512"),
        ("skylake_avx512", "skylake.avx512", "x86-64-v4", "sse4 avx2 avx512"),
        ("znver2", "zen2", "x86-64-v3", "sse4 avx2"),
        ("znver4", "zen4", "x86-64-v4", "sse4 avx2 avx512"),
        ("rocketlake", "rocketlake", "x86-64-v4", "sse4 avx2 avx512"),
        ("silvermont", "silvermont", "x86-64-v2", "sse4"),
        ("btver2", "btver2", "x86-64-v2", "sse4"),
    ],
)
def test_march(asked: str, name: str, level: str | None, isas: str, haswell: Cpu) -> None:
    march = resolve_march(asked, haswell)
    assert (march.name, march.level, " ".join(march.isas)) == (name, level, isas)
    assert march.requested == asked
    # A local version label of PEP 440.
    assert re.fullmatch(r"[a-z0-9]+(\.[a-z0-9]+)*", march.name)
    assert LEVELS[level or "x86-64"] <= march.features


def test_auto_on_a_cpu_that_no_kernel_fits(tmp_path: Path) -> None:
    found, _ = host("core2", tmp_path)
    march = resolve_march("auto", found)
    assert (march.name, march.isas) == ("v1", ())
    assert "sse4_1" in march.reason


@pytest.mark.parametrize(
    ("asked", "near"),
    [
        ("hasswell", "haswell"),
        ("x86-64-v5", "x86-64-v4"),
        ("znver", "znver4"),
        ("avx2", "x86-64-v3"),
        ("avx512", "x86-64-v4"),
        ("zzz", "portable"),
        ("", "portable"),
    ],
)
def test_unknown_march(asked: str, near: str, haswell: Cpu) -> None:
    with pytest.raises(CpuError, match="unknown") as caught:
        resolve_march(asked, haswell)
    assert near in caught.value.hint


@pytest.mark.parametrize("asked", ["neoverse_v1", "power9", "m1"])
def test_march_of_another_architecture_is_unknown_here(asked: str, haswell: Cpu) -> None:
    with pytest.raises(CpuError):
        resolve_march(asked, haswell)


@pytest.mark.parametrize("asked", ["x86-64-v3", "haswell", "nonsense"])
def test_x86_march_on_arm(asked: str, tmp_path: Path) -> None:
    with pytest.raises(CpuError) as caught:
        resolve_march(asked, host("graviton3", tmp_path)[0])
    assert "no kernels" in caught.value.why


@pytest.mark.parametrize(
    ("asked", "lacks"), [("x86-64-v4", "avx512f"), ("znver3", "sse4a"), ("cascadelake", "avx512_vnni")]
)
def test_not_runnable(asked: str, lacks: str, haswell: Cpu) -> None:
    with pytest.raises(CpuError, match="cannot run on this CPU") as caught:
        cpu.require_runnable(resolve_march(asked, haswell), haswell)
    assert lacks in caught.value.why
    assert "simdinstall wheel" in caught.value.hint


def test_runnable_below_the_host(haswell: Cpu) -> None:
    for asked in ("x86-64-v2", "x86-64-v3", "sandybridge", "core2", "silvermont"):
        cpu.require_runnable(resolve_march(asked, haswell), haswell)


# --- compilers ---


@pytest.mark.parametrize(
    ("asked", "kind", "version", "first"),
    [
        ("x86-64-v3", "gcc", "12.2.0", "-march=x86-64-v3"),
        ("x86-64-v3", "gcc", "10.2.1", "-march=x86-64"),  # spelled out in single flags
        ("znver4", "gcc", "13.1.0", "-march=znver4"),
        ("znver4", "gcc", "12.2.0", "-march=znver3"),
        ("znver4", "gcc", "9.1", "-march=znver2"),
        ("znver5", "gcc", "8.3.0", "-march=znver1"),
        ("sapphirerapids", "gcc", "9.4.0", "-march=icelake-client"),
        ("rocketlake", "gcc", "12.2.0", "-march=rocketlake"),
        ("rocketlake", "gcc", "9.4.0", "-march=icelake-client"),
        ("rocketlake", "clang", "14.0.6", "-march=icelake-client"),
        ("haswell", "gcc", "4.2.0", "-march=nocona"),
        ("skylake-avx512", "clang", "19.1.0", "-march=skylake-avx512"),
        ("skylake-avx512", "zig", "0.15.1", "-mcpu=skylake_avx512"),
        ("x86-64-v4", "zig", "0.15.1", "-mcpu=x86_64_v4"),
        ("znver4", "zig", "0.11.0", "-mcpu=znver4"),
        ("portable", "zig", "0.15.1", "-mcpu=x86_64"),
        ("portable", "gcc", "12.2.0", "-march=x86-64"),
        ("haswell", "gcc", "unknown", "-march=x86-64"),
    ],
)
def test_compiler_flags(asked: str, kind: str, version: str, first: str, haswell: Cpu) -> None:
    flags = compiler_flags(resolve_march(asked, haswell), kind, version)
    assert flags[0] == first
    if kind == "zig":
        assert len(flags) == 1


def test_old_gcc_gets_the_level_in_single_flags(haswell: Cpu) -> None:
    flags = compiler_flags(resolve_march("v3", haswell), "gcc", "10.2.1")
    assert {"-mavx2", "-mfma", "-mbmi2"} <= set(flags)


def test_isa_flags() -> None:
    assert isa_flags("sse4", "gcc", "12.2.0")[0] == "-march=x86-64-v2"
    assert isa_flags("avx2", "gcc", "12.2.0")[0] == "-march=x86-64-v3"
    assert isa_flags("avx512", "gcc", "12.2.0")[0] == "-march=x86-64-v4"
    assert isa_flags("avx512", "gcc", "12.2.0")[-1] == "-mavx512vnni"
    assert isa_flags("avx512", "zig", "0.15.1") == ("-mcpu=x86_64_v4+avx512vnni",)


def every_name(choose: Callable[[str], bool] = lambda n: True) -> list[str]:
    return [n for n in dict.fromkeys(cpu._names()) if choose(n) and n not in ("auto", "native")]


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_gcc_accepts_every_name_and_means_the_same_features(haswell: Cpu) -> None:
    """What gcc switches on for vectors is what the march says that it needs."""
    version = run(["gcc", "-dumpfullversion"]).stdout.strip()
    # Not __AVX512VP2INTERSECT__: gcc 11 and 12 give it to Sapphire Rapids by mistake.
    macros = {
        "__SSE3__": "pni",
        "__SSSE3__": "ssse3",
        "__SSE4A__": "sse4a",
        "__SSE4_2__": "sse4_2",
        "__POPCNT__": "popcnt",
        "__LZCNT__": "abm",
        "__MOVBE__": "movbe",
        "__LAHF_SAHF__": "lahf_lm",
        "__GCC_HAVE_SYNC_COMPARE_AND_SWAP_16": "cx16",
        "__AES__": "aes",
        "__PCLMUL__": "pclmulqdq",
        "__SHA__": "sha_ni",
        "__3dNOW__": "3dnow",
        "__XOP__": "xop",
        "__FMA4__": "fma4",
        "__TBM__": "tbm",
        "__AVX__": "avx",
        "__AVX2__": "avx2",
        "__FMA__": "fma",
        "__F16C__": "f16c",
        "__BMI__": "bmi1",
        "__BMI2__": "bmi2",
        "__GFNI__": "gfni",
        "__VAES__": "vaes",
        "__AVXVNNI__": "avx_vnni",
        "__AVX512F__": "avx512f",
        "__AVX512CD__": "avx512cd",
        "__AVX512ER__": "avx512er",
        "__AVX512PF__": "avx512pf",
        "__AVX512VNNI__": "avx512_vnni",
        "__AVX512BF16__": "avx512_bf16",
        "__AVX512FP16__": "avx512_fp16",
        "__AVX512VBMI__": "avx512vbmi",
        "__AVX512IFMA__": "avx512ifma",
        "__AVX512VBMI2__": "avx512_vbmi2",
        "__AVX512BITALG__": "avx512_bitalg",
        "__AVX512VPOPCNTDQ__": "avx512_vpopcntdq",
    }
    for name in every_name():
        march = resolve_march(name, haswell)
        flags = compiler_flags(march, "gcc", version)
        defined = run(["gcc", *flags, "-dM", "-E", "-x", "c", "/dev/null"]).stdout
        enabled = {
            f for macro, f in macros.items() if re.search(rf"^#define {macro} ", defined, re.MULTILINE)
        }
        assert enabled <= march.features, (name, flags, enabled - march.features)


# --- emulated CPUs ---


@pytest.mark.emulator
@pytest.mark.skipif(shutil.which("qemu-x86_64-static") is None, reason="needs qemu-user")
@pytest.mark.parametrize(
    ("model", "level", "isas"),
    [
        ("Nehalem", "x86-64-v2", ["sse4"]),
        ("Haswell", "x86-64-v3", ["sse4", "avx2"]),
        ("Conroe", "x86-64", []),
        ("EPYC-Rome", "x86-64-v3", ["sse4", "avx2"]),
    ],
)
def test_emulated(model: str, level: str, isas: list[str]) -> None:
    script = (
        "import json; from simdinstall import cpu; found = cpu.detect();"
        "print(json.dumps([found.level, found.isas(), cpu.resolve_march('auto', found).name]))"
    )
    done = subprocess.run(
        ["qemu-x86_64-static", "-cpu", model, sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(cpu.__file__).parents[1])},
    )
    assert json.loads(done.stdout) == [level, isas, "v1" if level == "x86-64" else level[-2:]]
