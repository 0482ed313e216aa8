"""The library on emulated CPUs that have less: the right level, no illegal instruction, the same pixels."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fronted import HERE, Simd

from conftest import SANITIZED

QEMU = shutil.which("qemu-x86_64-static") or shutil.which("qemu-x86_64")

#: qemu's name of a CPU, what is switched off in it, and the level that remains.
CPUS = {
    "Penryn": "none",
    "Nehalem,-popcnt": "none",
    "Nehalem": "sse4",
    "SandyBridge": "sse4",
    "Haswell": "avx2",
    "Haswell,-fma": "sse4",
    "Haswell,-bmi2": "sse4",
    "Haswell,-abm": "sse4",
}


def run(folder: Path, *before: str, environ: dict[str, str] | None = None) -> dict[str, object]:
    command = [*before, sys.executable, "-S", "-E", str(HERE / "emulated.py"), str(folder)]
    ran = subprocess.run(command, capture_output=True, text=True, env=os.environ | (environ or {}))
    assert ran.returncode == 0, f"{ran.returncode}: {ran.stderr[-2000:]}"
    found: dict[str, object] = json.loads(ran.stdout)
    return found


@pytest.mark.emulator
@pytest.mark.skipif(SANITIZED, reason="AddressSanitizer does not work under qemu")
@pytest.mark.skipif(QEMU is None, reason="needs qemu-user")
@pytest.mark.parametrize("cpu", CPUS)
def test_cpu(simd: Simd, cpu: str) -> None:
    assert QEMU
    plain = run(simd.folder, environ={"PILLOW_SIMD": CPUS[cpu]})
    emulated = run(simd.folder, QEMU, "-cpu", cpu)
    assert emulated["level"] == CPUS[cpu]
    assert emulated == plain


@pytest.mark.skipif(SANITIZED, reason="needs libasan first in the child, too")
@pytest.mark.parametrize(
    ("wanted", "level"), [("none", "none"), ("SSE4", "sse4"), ("avx2", "avx2"), ("", ""), ("avx9000", "")]
)
def test_the_variable_lowers_the_level(simd: Simd, wanted: str, level: str) -> None:
    expected = level or simd.highest
    if expected not in ("none", *simd.levels):
        pytest.skip(f"no {expected} here")
    assert run(simd.folder, environ={"PILLOW_SIMD": wanted})["level"] == expected
