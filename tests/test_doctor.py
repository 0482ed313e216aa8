"""Findings from facts: each state of a real, small environment, and each thing that can be wrong."""

from __future__ import annotations

import platform
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import small_pillow
from simdinstall import doctor, install
from simdinstall.cpu import LEVELS, Cpu
from simdinstall.doctor import Facts, Finding, Severity, diagnose, exit_code
from simdinstall.environment import Environment, inspect
from simdinstall.health import Health, Library, Speed, Torch

CPU = Cpu(
    architecture="x86_64",
    vendor="GenuineIntel",
    name="a CPU",
    microarchitecture="haswell",
    features=LEVELS["x86-64-v3"],
    level="x86-64-v3",
)
WEAK = replace(CPU, features=LEVELS["x86-64-v2"], level="x86-64-v2")
TURBO = Library(
    name="jpeg", path=Path("/x/pillow.libs/libjpeg.so"), make="libjpeg-turbo", version="3.2.0", bundled=True
)
HEALTH = Health(
    imported=True,
    file=Path("/x/PIL/__init__.py"),
    version="13.0.0",
    error="",
    signal="",
    broken=(),
    features=dict.fromkeys(doctor.STOCK_FEATURES, "1") | {"libjpeg_turbo": "3.2.0"},
    libraries=(TURBO,),
    level="avx2",
    build="a build",
    called=(("ImagingResample", "resample", "avx2", 3),),
    speeds=(Speed(operation="resize RGB", now=1.0, stock=9.0),),
    torch=None,
    flags=(),
)
STOCK_SPEEDS = (
    Speed(operation="resize RGB", now=9.0, stock=None),
    Speed(operation="resize L", now=3.6, stock=None),
)
STOCK = replace(HEALTH, build=None, level=None, called=(), speeds=STOCK_SPEEDS)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return small_pillow.make_venv(tmp_path / "env")


def look(site: Path) -> Environment:
    return inspect(site.parents[2], environ={}, proc=Path("/nowhere"))


def facts(env: Environment, health: Health = HEALTH, **more: Any) -> Facts:
    return Facts(env=env, health=health, status=install.status(env), cpu=CPU, **more)


def codes(found: Facts) -> dict[str, Finding]:
    return {finding.code: finding for finding in diagnose(found)}


def test_healthy(site: Path) -> None:
    small_pillow.install(site, version="13.0.0")
    findings = diagnose(facts(look(site), newest="13.0.0"))
    assert findings == ()
    assert exit_code(findings) == 0


def test_worst_first_and_the_exit_code_is_the_worsts(site: Path) -> None:
    small_pillow.install(site, version="12.3.0")
    small_pillow.install(site, "pillow-simd", "12.1.1.post0")
    findings = diagnose(facts(look(site), newest="13.0.0"))
    assert [f.severity for f in findings] == sorted((f.severity for f in findings), reverse=True)
    assert findings[0].code == "mixed"
    assert exit_code(findings) == 2
    assert findings[0].fixable
    assert findings[0].command == f"simdinstall --python {site.parents[2] / 'bin' / 'python'}"


def test_none(site: Path) -> None:
    found = codes(facts(look(site), replace(STOCK, imported=False, version=None, error="no PIL")))
    assert found["none"].severity == Severity.ADVICE
    assert "import-fails" not in found


@pytest.mark.parametrize(
    ("harm", "code"),
    [
        ("PIL/__init__.py", "namespace"),
        (f"PIL/_imaging{small_pillow.SUFFIX}", "core-missing"),
        ("pillow-12.3.0.dist-info/METADATA", "metadata-missing"),
        ("pillow-12.3.0.dist-info/RECORD", "record-missing"),
    ],
)
def test_what_was_removed(site: Path, harm: str, code: str) -> None:
    small_pillow.install(site)
    (site / harm).unlink()
    found = codes(facts(look(site), replace(STOCK, version="12.3.0")))
    assert found[code].fixable
    assert found[code].command.startswith("simdinstall --python")


def test_leftovers(site: Path) -> None:
    small_pillow.install(site)
    (site / "~illow-12.0.dist-info").mkdir()
    assert codes(facts(look(site), STOCK))["leftovers"].fixable


def test_an_import_that_kills(site: Path) -> None:
    small_pillow.install(site)
    found = codes(facts(look(site), replace(STOCK, imported=False, signal="SIGILL", error="SIGILL")))
    assert found["import-fails"].severity == Severity.BROKEN
    assert "instructions that this CPU does not have" in found["import-fails"].why


def test_an_older_release(site: Path) -> None:
    small_pillow.install(site, version="12.3.0")
    found = codes(facts(look(site), replace(HEALTH, version="12.3.0"), newest="13.0.0"))
    assert found["older"].severity == Severity.ADVICE
    assert "older" not in codes(facts(look(site), replace(HEALTH, version="12.3.0"), newest=None))
    assert "older" not in codes(facts(look(site), newest="13.0.0"))


def test_stock_code_is_told_by_its_speed(site: Path) -> None:
    small_pillow.install(site)
    env = look(site)
    assert codes(facts(env, STOCK))["no-kernels"].fixable
    fast = (replace(STOCK_SPEEDS[0], now=0.5), STOCK_SPEEDS[1])
    found = codes(facts(env, replace(STOCK, speeds=fast)))
    assert "no-kernels" not in found
    assert found["foreign-simd"].severity == Severity.NOTE


def test_a_simd_build_that_is_none(site: Path) -> None:
    small_pillow.install(site, "pillow-simd", "12.1.1.post0")
    found = codes(facts(look(site), replace(STOCK, version="12.1.1.post0")))
    assert "although it is a Pillow-SIMD" in found["no-kernels"].what


def test_kernels_that_do_not_run(site: Path) -> None:
    small_pillow.install(site, version="13.0.0")
    env = look(site)
    idle = replace(HEALTH, called=(("ImagingResample", "stock", "none", 9),))
    assert codes(facts(env, idle))["kernels-idle"].severity == Severity.BROKEN
    assert codes(facts(env, replace(HEALTH, level="sse4")))["level-low"].fixable
    slow = replace(HEALTH, speeds=(Speed(operation="resize RGB", now=1.0, stock=1.1),))
    assert codes(facts(env, slow))["slow"].severity == Severity.ADVICE
    assert codes(facts(env, HEALTH, lowered="none"))["lowered"].command == "unset PILLOW_SIMD"


def test_features_that_the_official_build_has(site: Path) -> None:
    small_pillow.install(site, version="13.0.0")
    lacking = replace(HEALTH, features={**HEALTH.features, "avif": None, "webp": None, "zlib_ng": None})
    found = codes(facts(look(site), lacking))
    assert found["features-lacking"].what.endswith("WebP, AVIF")
    assert found["features-minor"].severity == Severity.NOTE
    # Of an old release nobody expects what came later.
    old = codes(facts(look(site), replace(lacking, version="9.0")))
    assert old["features-lacking"].what.endswith("WebP")


def test_raqm_needs_the_systems_fribidi(site: Path) -> None:
    """In the official build it is switched off where there is none: another installation changes nothing."""
    small_pillow.install(site, version="13.0.0")
    env = replace(look(site), package_manager="apt")
    lacking = replace(HEALTH, features={**HEALTH.features, "raqm": None})
    found = codes(facts(env, lacking))
    assert "features-lacking" not in found
    assert found["fribidi"].command == "apt-get install -y --no-install-recommends libfribidi0"
    compiled_here = replace(lacking, libraries=(replace(TURBO, bundled=False),))
    assert "Raqm" in codes(facts(env, compiled_here))["features-lacking"].what


def test_the_jpeg_library_that_is_loaded(site: Path) -> None:
    small_pillow.install(site, version="13.0.0")
    env = look(site)
    ijg = Library(
        name="jpeg", path=Path("/usr/lib/libjpeg.so.62"), make="libjpeg", version="6b", bundled=False
    )
    found = codes(facts(env, replace(HEALTH, libraries=(ijg,))))
    assert "although features say libjpeg-turbo 3.2.0" in found["jpeg-slow"].what
    twice = codes(facts(env, replace(HEALTH, libraries=(TURBO, ijg))))
    assert twice["jpeg-twice"].severity == Severity.ADVICE
    assert "library-outside" in twice
    other = codes(facts(env, replace(HEALTH, libraries=(replace(TURBO, version="2.1.5"),))))
    assert other["jpeg-differs"].severity == Severity.NOTE


def test_zlib_ng_is_only_claimed(site: Path) -> None:
    small_pillow.install(site, version="13.0.0")
    zlib = Library(name="zlib", path=Path("/lib/libz.so.1"), make="zlib", version="1.2.13", bundled=False)
    health = replace(HEALTH, libraries=(TURBO, zlib), features={**HEALTH.features, "zlib_ng": "2.3.3"})
    found = codes(facts(look(site), health))["zlib-ng-claimed"]
    assert found.severity == Severity.NOTE
    assert found.command.endswith(" --zlib-ng") or platform.machine() != "x86_64"


def test_other_machines(site: Path) -> None:
    small_pillow.install(site, version="13.0.0")
    flags = replace(STOCK, flags=("-mavx2", "-mtune=generic", "-march=x86-64"))
    found = codes(facts(look(site), flags, machines=(("node7", WEAK),)))
    assert "node7" in found["cpu-other"].what
    assert "avx2" in found["cpu-other"].why
    assert found["cpu-other"].command.endswith("--march x86-64-v2")
    here = replace(facts(look(site), flags), cpu=WEAK)
    assert codes(here)["cpu-lacks"].severity == Severity.BROKEN
    assert "cpu-other" not in codes(facts(look(site), STOCK, machines=(("node7", WEAK),)))


def test_a_build_of_which_nobody_knows_what_it_needs(site: Path) -> None:
    small_pillow.install(site, "pillow-simd", "12.1.1.post0")
    found = codes(facts(look(site), replace(STOCK, version="12.1.1"), machines=(("amd", WEAK),)))
    assert found["cpu-unknown"].severity == Severity.ADVICE


@pytest.mark.parametrize(
    ("cuda", "driver", "code"),
    [
        ("12.8", "12.8", None),
        ("12.1", "12.8", None),
        ("12.8", "12.1", "torch-newer"),
        ("13.0", "12.8", "torch-driver"),
        ("10.2", "10.1", "torch-driver"),
        ("12.8", None, "torch-no-driver"),
        (None, "12.8", None),
    ],
)
def test_torch_and_the_driver(site: Path, cuda: str | None, driver: str | None, code: str | None) -> None:
    small_pillow.install(site, version="13.0.0")
    torch = Torch(version="2.9.0", cuda=cuda, hip=None, driver=driver)
    found = codes(facts(look(site), replace(HEALTH, torch=torch)))
    assert [name for name in found if name.startswith("torch")] == ([code] if code else [])


def test_what_belongs_to_others_is_left_alone(site: Path) -> None:
    small_pillow.install(site)
    (site.parents[2] / "conda-meta").mkdir()
    found = codes(facts(look(site), STOCK))
    assert not any(finding.fixable for finding in found.values())
    assert found["no-kernels"].command.endswith("--conda")
