"""``simdinstall bench`` as a user runs it, in a real environment."""

from __future__ import annotations

import json
import os
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
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=300)


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
    stdout, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in stdout
    assert "crop RGB" in stdout
