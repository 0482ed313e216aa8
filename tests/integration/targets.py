"""Environments that the command is let loose on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

VERSION = "import PIL; print(PIL.__version__)"
#: The release that tests install where it does not matter which.
RELEASE = "13.0.0"


class Target:
    """A virtual environment, and simdinstall, pip and Python at work on it."""

    def __init__(self, prefix: Path, cache: Path, *, maker: Sequence[str | Path] = ()) -> None:
        self.prefix = prefix
        self.python = prefix / "bin/python"
        self.environ = {
            k: v for k, v in os.environ.items() if not k.startswith(("SIMDINSTALL_", "VIRTUAL_ENV"))
        } | {"SIMDINSTALL_CACHE_DIR": str(cache), "COLUMNS": "300"}
        subprocess.run([*(maker or (sys.executable, "-m", "venv")), prefix], check=True)

    @property
    def site(self) -> Path:
        return Path(self.run("import sysconfig; print(sysconfig.get_path('platlib'))"))

    def pip(self, *argv: str | Path) -> str:
        return self._call([self.python, "-m", "pip", "--disable-pip-version-check", *argv])

    def command(self, *argv: str | Path) -> list[str | Path]:
        return [sys.executable, "-m", "simdinstall", *argv, "--python", self.python]

    def simdinstall(self, *argv: str | Path, code: int = 0, **variables: str) -> str:
        """Its stdout; with another exit code than 0, stdout and stderr."""
        done = subprocess.run(
            self.command(*argv),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=self.environ | variables,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout if not code else done.stdout + done.stderr

    def run(self, code: str, **variables: str) -> str:
        return self._call([self.python, "-c", code], **variables).strip()

    def _call(self, argv: Sequence[str | Path], **variables: str) -> str:
        done = subprocess.run(argv, capture_output=True, text=True, env=self.environ | variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout
