"""The kernels that come compiled, against the real index: layouts, wheels, installs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from simdinstall import abi, kernels, layouts, prebuilt, wheel
from simdinstall.fetch import Fetcher

pytestmark = pytest.mark.network

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("layout", layouts.load(), ids=lambda layout: layout.name)
def test_a_layout_is_what_the_official_wheel_has(layout: layouts.Layout, tmp_path: Path) -> None:
    python, python_abi, machines = layout.wheel.removesuffix(".whl").split("-")[2:]
    fetcher = Fetcher(cache=tmp_path / "cache")
    try:
        tags = [f"{python}-{python_abi}-{machine}" for machine in machines.split(".")]
        official = fetcher.wheel("pillow", layout.release, tags, python=f"3.{python.removeprefix('cp3')}")
    finally:
        fetcher.close()
    assert official.filename == layout.wheel
    name, content = wheel.extension(official.path)
    assert abi.read(content, name=Path(name).name) == layout.abi


def built(tmp_path: Path, **environment: str) -> Path:
    """A wheel of the project, from a copy of what git would have."""
    copy = tmp_path / "project"
    names = ("src", "patches", "tools", "pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE")
    copy.mkdir()
    for name in names:
        subprocess.run(["cp", "-r", ROOT / name, copy / name], check=True)
    for left in [*(copy / "src/simdinstall/prebuilt").glob("*.so"), *copy.glob("src/**/*.egg-info")]:
        subprocess.run(["rm", "-r", left], check=True)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path / "dist", copy]
    env = {**os.environ, "SIMDINSTALL_CACHE_DIR": str(tmp_path / "cache"), **environment}
    subprocess.run(command, check=True, env=env)
    [found] = (tmp_path / "dist").iterdir()
    return found


def libraries(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return [name for name in archive.namelist() if name.startswith("simdinstall/prebuilt/")]


def test_without_kernels_the_wheel_is_for_every_machine(tmp_path: Path) -> None:
    made = built(tmp_path, SIMDINSTALL_PREBUILT="none")
    assert made.name.endswith("-py3-none-any.whl")
    assert all(name.endswith(".py") for name in libraries(made))


def test_a_compiler_that_fails_costs_only_the_kernels(tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("gcc", "clang", "cc"):
        (folder / name).write_text("#!/bin/sh\nexit 1\n")
        (folder / name).chmod(0o755)
    # The folders of real compilers must not be on the path: only what pip needs is.
    made = built(tmp_path, PATH=str(folder))
    assert made.name.endswith("-py3-none-any.whl")
    assert all(name.endswith(".py") for name in libraries(made))


_INSTALL = [sys.executable, "-m", "simdinstall", "--yes", "--json", "--march", "portable"]


def came_with_kernels() -> bool:
    """Whether there is a library for the newest layout and the sources as they are."""
    newest = layouts.load()[0]
    key = prebuilt.key(kernels.load(), newest.abi, newest.release)
    return (prebuilt.folder() / f"{key}.so").exists()


@pytest.mark.skipif(not came_with_kernels(), reason="this simdinstall came without kernels")
def test_an_install_without_any_compiler(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    (tmp_path / "empty").mkdir()
    env = {
        **os.environ,
        "PATH": str(tmp_path / "empty"),
        "SIMDINSTALL_CACHE_DIR": str(tmp_path / "cache"),
    }
    done = subprocess.run(
        [*_INSTALL, "--python", tmp_path / "venv", "--kernels", "prebuilt"],
        check=True,
        env=env,
        stdout=subprocess.PIPE,
        text=True,
    )
    told = json.loads(done.stdout)
    assert told["plan"]["kernel_library"] == "prebuilt"
    assert not (tmp_path / "cache" / "zig").exists()
    python = tmp_path / "venv" / "bin" / "python"
    said = subprocess.run([python, "-m", "PIL._simd"], check=True, stdout=subprocess.PIPE, text=True).stdout
    assert said.startswith("prebuilt for the structs of Pillow")
    [provenance] = (tmp_path / "venv").glob("lib/python*/site-packages/pillow-*/simdinstall.json")
    kept = json.loads(provenance.read_text())
    assert kept["prebuilt"]["key"]
    assert kept["compiler"]["kind"] in ("zig", "gcc", "clang")
