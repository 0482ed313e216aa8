from __future__ import annotations

import platform
from types import SimpleNamespace
from typing import cast

from simdinstall import cpu, cross, graft, pipeline
from simdinstall.abi import Abi
from simdinstall.cpu import March
from simdinstall.environment import Environment
from simdinstall.fetch import _zig_needs
from simdinstall.plan import Plan
from simdinstall.toolchain import Toolchain

HERE = platform.machine()


def test_the_other_machine_has_no_kernels() -> None:
    march = cpu.resolve_march("auto", cross.cpu_of("aarch64"))
    assert (march.architecture, march.isas) == ("aarch64", ())


def test_tags_are_those_of_the_other_machine() -> None:
    tags = (f"cp311-cp311-manylinux_2_28_{HERE}", f"cp311-cp311-linux_{HERE}", "py3-none-any")
    env = Environment.__new__(Environment)
    for name in Environment.__dataclass_fields__:
        object.__setattr__(env, name, tags if name == "tags" else None)
    there = cross.environment_for(env, "aarch64")
    assert there.tags == ("cp311-cp311-manylinux_2_28_aarch64", "cp311-cp311-linux_aarch64")


def test_products_are_rounded_as_the_official_wheel_of_the_machine_has_it() -> None:
    def flags(machine: str) -> tuple[str, ...]:
        official = cast("Abi", SimpleNamespace(machine=machine, needed=()))
        march = cast("March", SimpleNamespace(architecture="aarch64"))
        zig = cast("Toolchain", SimpleNamespace(kind="zig", version="0.15.1"))
        return graft.core_flags(official, march, zig)

    assert "-ffp-contract=off" in flags("x86_64")
    assert "-ffp-contract=fast" in flags("aarch64")
    assert "-fno-slp-vectorize" in flags("aarch64")


def test_zig_comes_with_the_headers_of_both_machines() -> None:
    there = "ziglang/lib/libc/include/aarch64-linux-any/asm/x.h"
    assert _zig_needs(there, {"x86_64", "aarch64"})
    assert not _zig_needs(there, {"x86_64"})


def test_what_cannot_be_run_here_is_said_to_be_unverified() -> None:
    plan = SimpleNamespace(march=SimpleNamespace(architecture="aarch64"), fidelity="exact", release="13.0.0")
    verdict = pipeline.unverified(cast("Plan", plan))
    assert verdict.ok
    assert not verdict.features_ok
    assert "nothing of it was run here" in verdict.limits[0]
