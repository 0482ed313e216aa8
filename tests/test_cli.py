"""cli.py: exit codes, streams, and errors without tracebacks. Needs no network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from simdinstall.cpu import Cpu


def simdinstall(
    *argv: str | Path, variables: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("SIMDINSTALL_", "VIRTUAL_ENV"))}
    return subprocess.run(
        [sys.executable, "-m", "simdinstall", *argv],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environ | (variables or {}),
    )


def test_version_and_help_go_to_stdout() -> None:
    assert simdinstall("--version").stdout.startswith("simdinstall ")
    done = simdinstall("--help")
    assert done.returncode == 0
    assert "exit codes:" in done.stdout


@pytest.mark.parametrize(
    ("argv", "code", "says"),
    [
        (["frobnicate"], 2, "there is no command"),
        (["--fidelity", "vague"], 2, "invalid choice"),
        ([], 2, "--yes"),
        (["--json"], 2, "--yes"),
        (["--march", "pentium9", "--check"], 3, "unknown CPU level"),
        (["--cpu", "x86-64-v2", "--march", "x86-64-v3", "--check"], 3, "lacks"),
        (["--cpu", "/nonexistent.json", "--check"], 3, "/nonexistent.json"),
        (["--python", "/bin/ls", "--check"], 4, "not a working Python"),
        (["--python", "/nonexistent", "--check"], 4, "/nonexistent"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_mistakes_get_a_message_and_a_code_but_no_traceback(argv: list[str], code: int, says: str) -> None:
    done = simdinstall(*argv, variables={"COLUMNS": "400"})
    assert done.returncode == code
    shown = done.stderr + done.stdout
    assert says in shown
    assert "Traceback" not in shown
    assert len(shown.splitlines()) < 24


def test_an_error_is_json_on_stdout_when_json_is_wanted() -> None:
    done = simdinstall("--march", "pentium9", "--check", "--json")
    error = json.loads(done.stdout)
    assert error["schema"] == "simdinstall.error/1"
    assert (error["kind"], error["exit_code"]) == ("CpuError", done.returncode)


def test_cpu_json_can_be_given_back(tmp_path: Path) -> None:
    done = simdinstall("cpu", "--json")
    file = tmp_path / "cpu.json"
    file.write_text(done.stdout)
    seen = Cpu.from_json(json.loads(done.stdout))
    again = simdinstall("cpu", "--json", "--cpu", file)
    assert json.loads(again.stdout)["level"] == seen.level


def test_no_colour_in_pipes_nor_with_no_color() -> None:
    for variables in ({}, {"NO_COLOR": "1", "FORCE_COLOR": ""}):
        done = simdinstall("--march", "pentium9", "--check", variables=variables)
        assert "\x1b[" not in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_knows_commands_and_options(shell: str) -> None:
    done = simdinstall("completion", shell)
    assert done.returncode == 0
    assert "rollback" in done.stdout
    assert "fidelity" in done.stdout


def test_a_reader_that_goes_away_is_no_failure() -> None:
    done = subprocess.run(
        f"{sys.executable} -m simdinstall cpu | true", shell=True, capture_output=True, text=True
    )
    assert "Traceback" not in done.stderr
