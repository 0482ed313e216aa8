"""Ctrl-C at many instants of the real command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from targets import RELEASE, Target

pytestmark = [pytest.mark.network, pytest.mark.integration]

#: Runs the command as ``python -m simdinstall`` does, and tells when its code has begun.
LAUNCH = """
import os, sys
from simdinstall import interrupt
interrupt.leave_at_once()
os.write(1, b".")
from simdinstall.__main__ import main
sys.exit(main())
"""
#: Seconds after the start: while modules are imported, closely; then through all stages.
INSTANTS = (*(n * 0.02 for n in range(30)), *(0.6 + n * 0.2 for n in range(15)))
STATE = "import PIL.Image, importlib.metadata as m; print(m.version('pillow'))"


def test_interrupted_anywhere_nothing_is_half_done(target: Target, tmp_path: Path) -> None:
    target.pip("install", "-q", f"pillow=={RELEASE}")
    # Built and verified once, so that each run comes as far as the exchange in a second or two.
    target.simdinstall("--pillow", RELEASE, "--yes")
    target.simdinstall("rollback", "--yes")
    (tmp_path / "launch.py").write_text(LAUNCH)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environ = target.environ | {"PYTHONPATH": str(tmp_path), "TMPDIR": str(scratch)}
    argv = [sys.executable, "-m", "launch", "--pillow", RELEASE, "--yes", "--python", target.python]
    interrupted = 0
    for instant in INSTANTS:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ
        )
        assert process.stdout is not None
        assert os.read(process.stdout.fileno(), 1) == b"."
        time.sleep(instant)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
        said = [line for line in errors.decode().splitlines() if not line.startswith("[")]
        where = f"after {instant:.2f} s: {errors.decode()}"
        assert process.returncode in (0, 130), where
        assert not list(scratch.iterdir()), where
        version = target.run(STATE)
        if process.returncode:
            interrupted += 1
            assert len(said) == 1, where
        else:
            assert said == [], where
        if process.returncode and said[0].startswith("interrupted; nothing"):
            assert version == RELEASE, where
        else:
            # Ctrl-C while the scratch folder went and the report came, if at all.
            assert not said or f" was already exchanged for pillow {version}: " in said[0], where
            assert version.startswith(f"{RELEASE}+simd."), where
            target.simdinstall("rollback", "--yes")
    assert interrupted > len(INSTANTS) // 3
    assert target.run(STATE) == RELEASE
