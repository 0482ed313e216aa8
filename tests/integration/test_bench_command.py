"""``simdinstall bench`` as a user runs it, in a real environment."""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import builds

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Path:
    """A virtual environment with stock Pillow."""
    place = tmp_path_factory.mktemp("bench") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    builds.stock(next((place / "lib").glob("python*")) / "site-packages", pytestconfig)
    return place


@pytest.fixture(scope="module")
def environ(place: Path, pytestconfig: pytest.Config) -> dict[str, str]:
    """An index that holds one wheel of Pillow and nothing else."""
    wheels = place.parent / "wheels"
    wheels.mkdir()
    wheel = builds.official_wheel(pytestconfig)
    (wheels / wheel.name).write_bytes(wheel.read_bytes())
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "UV_"))},
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels),
        "XDG_CACHE_HOME": str(place.parent / "cache"),
        "VIRTUAL_ENV": str(place),
        "COLUMNS": "100",
    }


def bench(environ: dict[str, str], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "simdinstall", "bench", "--quick", *map(str, arguments)]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=900)


def test_table_page_chart_and_saved_report(environ: dict[str, str], tmp_path: Path) -> None:
    done = bench(
        environ, "--ops", "memory/copy|draw/poly", "--save", tmp_path / "old.json",
        "--html", tmp_path / "page.html", "--chart", tmp_path / "chart.svg",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "copy RGB" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert (tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")
    assert "<svg" in (tmp_path / "chart.svg").read_text()
    saved = json.loads((tmp_path / "old.json").read_text())
    assert [row["title"] for row in saved["rows"]] == ["copy RGB", "polygon, ellipse, rounded box"]


def test_a_regression_is_exit_1(environ: dict[str, str], tmp_path: Path) -> None:
    old = tmp_path / "old.json"
    assert bench(environ, "--ops", "draw/poly", "--save", old).returncode == 0
    data = json.loads(old.read_text())
    for row in data["rows"]:
        for cell in row["cells"]:
            if cell["comparison"]:
                for key in ("ratio", "low", "high"):
                    cell["comparison"][key] *= 9
    old.write_text(json.dumps(data))
    done = bench(environ, "--ops", "draw/poly", "--compare", old)
    assert done.returncode == 1
    assert "1 slower than before" in done.stdout


def test_json_is_one_document(environ: dict[str, str]) -> None:
    done = bench(environ, "--ops", "draw/poly", "--json", "--against", "stock,opencv")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["report"]
    assert [build["label"] for build in found["builds"]] == ["stock", "installed", "opencv"]
    assert found["builds"][2]["why"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--ops", "("), "no regular expression"),
        (("--core", "4095"), "none of the cores here"),
        (("--tolerance", "-1"), "no share"),
        (("--tolerance", "nan"), "no share"),
        (("--save", "none/new.json"), "cannot be written"),
        (("--html", "."), "it is a folder"),
        (("--against", "gimp"), "no peer 'gimp'"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_measured(
    environ: dict[str, str], arguments: tuple[str, str], message: str
) -> None:
    done = bench(environ, *arguments)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
    assert "starting" not in done.stderr


def test_one_core_and_other_environments_that_cannot_be_measured(
    place: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "empty"], check=True)
    core = max(os.sched_getaffinity(0))
    command = ["taskset", "-c", str(core), sys.executable, "-m", "simdinstall", "bench", "--quick", "--json"]
    command += ["--ops", "draw/poly", "--python", str(tmp_path / "empty" / "bin" / "python")]
    command += ["--python", "/bin/ls", "--python", str(place / "bin" / "python")]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["report"]
    assert (found["machine"]["cores"], found["machine"]["core"]) == (1, core)
    whys = {build["title"]: build["why"] for build in found["builds"]}
    assert "no Pillow" in whys[str(tmp_path / "empty")]
    assert "not a working Python" in whys["/bin/ls"]
    (row,) = found["rows"]
    assert [cell["status"] for cell in row["cells"]] == ["ok", "ok", "ok"]


def test_an_environment_without_pillow_and_a_broken_one(
    place: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    for name, message in (("empty", "there is no Pillow"), ("broken", "does not run")):
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / name], check=True)
        if name == "broken":
            site = next((tmp_path / name / "lib").glob("python*")) / "site-packages"
            shutil.copytree(next((place / "lib").glob("python*")) / "site-packages", site, dirs_exist_ok=True)
            (site / "PIL" / builds.EXTENSION).unlink()
        done = bench({**environ, "VIRTUAL_ENV": str(tmp_path / name)}, "--ops", "draw/poly")
        assert done.returncode == 4
        assert message in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("content", ["no JSON", '{"schema": 99}'])
def test_an_old_report_that_is_none(environ: dict[str, str], tmp_path: Path, content: str) -> None:
    (tmp_path / "old.json").write_text(content)
    done = bench(environ, "--ops", "draw/poly", "--compare", tmp_path / "old.json")
    assert done.returncode == 2
    assert "old.json" in done.stderr


def test_ctrl_c_shows_what_there_is(environ: dict[str, str]) -> None:
    command = [sys.executable, "-m", "simdinstall", "bench", "--ops", "memory|draw|convert"]
    process = subprocess.Popen(
        command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "copy RGB" in line:
            break
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    stdout, _ = process.communicate(timeout=900)
    assert process.returncode == 130
    assert "interrupted" in stdout
    assert "crop RGB" in stdout


#: Runs a command in which the system call ``argv[1]`` fails with EPERM, as a container's filter does.
REFUSING = """
import ctypes, errno, os, struct, sys
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD_NUMBER, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
statements = [
    (LOAD_NUMBER, 0, 0, 0),
    (JUMP_IF_EQUAL, 0, 1, int(sys.argv[1])),
    (RETURN, 0, 0, ERRNO | errno.EPERM),
    (RETURN, 0, 0, ALLOW),
]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in statements))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(statements), ctypes.addressof(code)))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
assert libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0) == 0, ctypes.get_errno()
os.execv(sys.argv[2], sys.argv[2:])
"""
#: x86-64's number of sched_setaffinity.
SCHED_SETAFFINITY = 203


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the number of the system call is x86-64's")
def test_no_permission_to_pin(environ: dict[str, str]) -> None:
    command = [sys.executable, "-c", REFUSING, str(SCHED_SETAFFINITY)]
    command += [sys.executable, "-m", "simdinstall", "bench", "--quick", "--ops", "draw/poly"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "could not be pinned to one core" in said
    assert "Operation not permitted" in said
    assert "polygon, ellipse, rounded box" in said
