"""All tests of kernels once more, the library under AddressSanitizer and UBSan.

Each row of an image is an allocation of its own, so that a read or write beside it is
found, to the byte.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MODULES = sorted(path.name for path in HERE.glob("test_*.py") if path.name != Path(__file__).name)


def runtime() -> Path | None:
    """Where gcc keeps libasan, which has to be loaded before Python."""
    if not shutil.which("gcc"):
        return None
    asked = subprocess.run(["gcc", "-print-file-name=libasan.so"], check=True, capture_output=True, text=True)
    path = Path(asked.stdout.strip())
    return path if path.is_absolute() and path.exists() else None


@pytest.mark.sanitizer
@pytest.mark.parametrize("module", MODULES)
def test_under_address_sanitizer(module: str, shared: Path) -> None:
    asan = runtime()
    if asan is None:
        pytest.skip("needs gcc with libasan")
    environ = os.environ | {
        "LD_PRELOAD": str(asan),
        # Python keeps much until it ends; that is not what is looked for.
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "SIMDINSTALL_TEST_SANITIZE": "1",
        "SIMDINSTALL_TEST_SHARED": str(shared),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "not sanitizer", str(HERE / module)]
    ran = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-8000:]
