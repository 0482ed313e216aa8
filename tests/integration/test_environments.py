"""Environments made by the real tools, brought into their states by the real tools."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest
from uv import find_uv_bin

import small_pillow
from simdinstall import interpreter
from simdinstall.environment import Environment, State, inspect, require_supported
from simdinstall.errors import TargetError
from simdinstall.run import CommandFailed, Completed, run, start

pytestmark = pytest.mark.integration

SERIES = f"{sys.version_info[0]}.{sys.version_info[1]}"
BASE_PYTHON = Path(sys.base_prefix) / "bin" / f"python{SERIES}"
PYENV = Path.home() / ".pyenv" / "versions"
PYTHONS = sorted(PYENV.glob("*/bin/python")) if PYENV.is_dir() else []


def uv(*words: str | Path, **variables: str) -> Completed:
    environ = {**os.environ, "UV_OFFLINE": "1", **variables}
    return run([find_uv_bin(), *words], env=environ, timeout=900)


def make(maker: str, prefix: Path) -> Path:
    """An environment by one of the makers; returns its python."""
    if maker.startswith("venv"):
        bare = ["--without-pip"] if maker == "venv.bare" else []
        run([BASE_PYTHON, "-m", "venv", *bare, prefix], timeout=900)
    elif maker == "virtualenv":
        run([sys.executable, "-m", "virtualenv", "--quiet", "--no-periodic-update", prefix], timeout=900)
    else:
        uv("venv", "--quiet", "--python", str(BASE_PYTHON), prefix)
    return prefix / "bin" / "python"


class Tool:
    """pip or uv, at work on one environment."""

    def __init__(self, name: str, python: Path) -> None:
        self.name = name
        self.python = python

    def install(self, *words: str | Path) -> None:
        if self.name == "pip":
            run(
                [self.python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", *words],
                timeout=900,
            )
        else:
            uv("pip", "install", "--quiet", "--python", self.python, "--no-index", "--no-deps", *words)

    def uninstall(self, name: str) -> None:
        if self.name == "pip":
            run([self.python, "-m", "pip", "uninstall", "--quiet", "--yes", name], timeout=900)
        else:
            uv("pip", "uninstall", "--quiet", "--python", self.python, name)


@pytest.fixture(params=["venv-pip", "virtualenv-pip", "uv-uv", "venv.bare-uv"])
def tool(request: pytest.FixtureRequest, tmp_path: Path) -> Tool:
    maker, name = request.param.split("-")
    return Tool(name, make(maker, tmp_path / maker))


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    return tmp_path / "wheels"


def look(python: Path, **variables: str) -> Environment:
    """Inspect, and hold what was found against what an import finds."""
    environ = {"PATH": os.environ["PATH"], **variables}
    env = inspect(python, environ=environ)
    code = "import importlib.util as u; s = u.find_spec('PIL'); print(s and s.submodule_search_locations[0])"
    found = run([python, "-c", code], env=environ, cwd=Path("/")).stdout.strip()
    assert str(env.pil_path) == found
    return env


def importable(python: Path) -> bool:
    return run([python, "-c", "from PIL import Image"], cwd=Path("/"), check=False).returncode == 0


def test_the_life_of_an_environment(tool: Tool, wheels: Path) -> None:
    python = tool.python
    env = look(python)
    assert env.state == State.NONE
    assert env.kind == python.parent.parent.name.partition(".")[0]
    assert env.has_pip == (tool.name == "pip")

    tool.install(small_pillow.wheel(wheels, "pillow", "12.3.0"))
    env = look(python)
    assert env.state == State.STOCK
    assert env.findings == ()
    assert env.owners[0].installer == tool.name
    assert env.owners[0].has_record
    assert not env.owners[0].editable
    require_supported(env)

    tool.install(small_pillow.wheel(wheels, "pillow-simd", "12.1.1.post0"))
    env = look(python)
    assert env.state == State.MIXED
    assert "the files are those of pillow-simd" in env.problems[0]
    assert env.pil_version == "12.1.1.post0"
    require_supported(env)

    tool.uninstall("pillow")
    assert not importable(python)
    env = look(python)
    assert env.state == State.BROKEN
    assert [owner.name for owner in env.owners] == ["pillow-simd"]
    assert "files-missing" in [finding.code for finding in env.findings]

    tool.uninstall("pillow-simd")
    assert look(python).state == State.NONE
    assert look(python).owners == ()


def test_a_dependent_brings_stock_back(tmp_path: Path, wheels: Path) -> None:
    python = make("uv", tmp_path / "uv")
    Tool("uv", python).install(small_pillow.wheel(wheels, "pillow-simd", "12.1.1.post0"))
    small_pillow.wheel(wheels, "pillow", "12.3.0")
    small_pillow.wheel(wheels, "gallery", "1.0", content={"gallery.py": b""}, requires=("pillow>=12",))
    uv("pip", "install", "--quiet", "--python", python, "--no-index", "--find-links", wheels, "gallery")
    env = look(python)
    assert env.state == State.MIXED
    assert "the files are those of pillow 12.3.0" in env.problems[0]


BACKEND = """
import pathlib, zipfile
HERE = pathlib.Path(__file__).parent

def build_editable(folder, config_settings=None, metadata_directory=None):
    name = "pillow-12.3.0-py3-none-any.whl"
    info = "pillow-12.3.0.dist-info/"
    with zipfile.ZipFile(pathlib.Path(folder) / name, "w") as wheel:
        wheel.writestr("__editable__.pillow.pth", str(HERE / "src"))
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: pillow\\nVersion: 12.3.0\\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        names = ["__editable__.pillow.pth", info + "METADATA", info + "WHEEL", info + "RECORD"]
        wheel.writestr(info + "RECORD", "".join(name + ",,\\n" for name in names))
    return name
"""


def checkout(folder: Path) -> Path:
    for path, data in small_pillow.files("12.3.0").items():
        (folder / "src" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "src" / path).write_bytes(data)
    (folder / "backend.py").write_text(BACKEND)
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "pillow"\nversion = "12.3.0"\n'
    )
    return folder


@pytest.mark.parametrize("name", ["pip", "uv"])
def test_editable(tmp_path: Path, name: str) -> None:
    python = make("venv" if name == "pip" else "uv", tmp_path / "env")
    source = checkout(tmp_path / "checkout")
    Tool(name, python).install("--editable", source)
    assert importable(python)
    env = look(python)
    assert env.state == State.EDITABLE
    assert env.pil_path == source / "src" / "PIL"
    with pytest.raises(TargetError, match="editable"):
        require_supported(env)


@pytest.mark.parametrize("command", ["develop", "install"])
def test_the_commands_of_setup_py(tmp_path: Path, command: str) -> None:
    python = make("venv", tmp_path / "env")
    if run([python, "-c", "import setuptools"], check=False).returncode:
        pytest.skip("this Python's venvs come without setuptools")
    source = checkout(tmp_path / "checkout")
    for file in ("pyproject.toml", "backend.py"):
        (source / file).unlink()
    (source / "setup.py").write_text(
        "from setuptools import setup\n"
        "setup(name='Pillow', version='12.3.0', packages=['PIL'], package_dir={'': 'src'},\n"
        "      package_data={'PIL': ['*.so']}, zip_safe=False)\n"
    )
    run([python, "setup.py", "-q", command], cwd=source, timeout=900)
    assert importable(python)
    env = look(python)
    if command == "develop":
        assert env.state == State.EDITABLE
        assert env.owners[0].location.name == "Pillow.egg-link"
    else:
        assert env.state == State.STOCK
        assert env.owners[0].location.suffix == ".egg"
        assert env.pil_path is not None
        assert str((env.pil_path / "Image.py").relative_to(env.site)) in env.owners[0].files
    assert len(env.owners) == 1


def test_user_scope_by_pip(tmp_path: Path, wheels: Path) -> None:
    if inspect(BASE_PYTHON).externally_managed:
        pytest.skip("pip may not install for a user of this Python")
    variables = {"PATH": os.environ["PATH"], "PYTHONUSERBASE": str(tmp_path / "user")}
    wheel = small_pillow.wheel(wheels)
    argv = [BASE_PYTHON, "-m", "pip", "install", "-q", "--user", "--no-index", "--no-deps", wheel]
    try:
        run([*argv, "--force-reinstall"], env=variables, timeout=900)
    except CommandFailed as failure:
        pytest.skip(f"pip cannot install for a user here: {failure.why}")
    env = look(BASE_PYTHON, PYTHONUSERBASE=str(tmp_path / "user"))
    assert (env.scope, env.state) == ("user", State.STOCK)
    assert env.site.is_relative_to(tmp_path / "user")
    require_supported(env)


# Environments of one program ------------------------------------------------------------

SHOW = b"""
import json, os, sys
def main():
    print(json.dumps({"prefix": sys.prefix, "environ": dict(os.environ)}), flush=True)
    sys.stdin.read()
"""


def show_wheel(folder: Path) -> Path:
    """A program that shows the surroundings that simdinstall would be called in."""
    info = "showsurroundings-1.dist-info"
    content = {
        "showsurroundings.py": SHOW,
        f"{info}/entry_points.txt": b"[console_scripts]\nshowsurroundings = showsurroundings:main\n",
    }
    return small_pillow.wheel(folder, "showsurroundings", "1", content=content)


def chosen(surroundings: str, path: str | None = None) -> interpreter.Facts:
    shown = json.loads(surroundings)
    environ = shown["environ"] | ({"PATH": path} if path else {})
    return interpreter.choose(
        None,
        environ=environ,
        own_prefix=Path(shown["prefix"]),
        question=lambda python: interpreter.ask(python, run=run, environ=environ),
    )


def test_uvx_puts_its_environment_on_path(tmp_path: Path, wheels: Path) -> None:
    python = make("uv", tmp_path / "active")
    wheel = show_wheel(wheels)
    variables = {"UV_CACHE_DIR": str(tmp_path / "cache"), "PATH": f"{python.parent}:{os.environ['PATH']}"}
    words = ("tool", "run", "--quiet", "--python", str(BASE_PYTHON), "--from", wheel, "showsurroundings")
    environ = {k: v for k, v in os.environ.items() if k != "VIRTUAL_ENV"} | variables | {"UV_OFFLINE": "1"}
    shown = run([find_uv_bin(), *words], env=environ, timeout=900).stdout
    assert json.loads(shown)["prefix"].startswith(str(tmp_path / "cache"))
    assert chosen(shown).prefix == tmp_path / "active"


def test_uv_tool(tmp_path: Path, wheels: Path) -> None:
    wheel = show_wheel(wheels)
    variables = {"UV_TOOL_DIR": str(tmp_path / "tools"), "UV_TOOL_BIN_DIR": str(tmp_path / "bin")}
    uv("tool", "install", "--quiet", "--python", str(BASE_PYTHON), wheel, **variables)
    active = make("uv", tmp_path / "active")
    environ = {"PATH": f"{tmp_path / 'bin'}:{active.parent}:/usr/bin:/bin"}
    shown = run([tmp_path / "bin" / "showsurroundings"], env=environ).stdout
    private = tmp_path / "tools" / "showsurroundings"
    assert json.loads(shown)["prefix"] == str(private)
    assert chosen(shown).prefix == tmp_path / "active"
    assert chosen(shown, path=f"{private / 'bin'}:{active.parent}").prefix == tmp_path / "active"
    # Named, it is a target like any other.
    assert look(private / "bin" / "python").kind == "uv-tool"
    require_supported(inspect(private))


def test_uv_run_with_lies_over_the_project(tmp_path: Path, wheels: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text('[project]\nname = "p"\nversion = "1"\n')
    # The throwaway is gone when the program ends: it has to be looked at while it runs.
    environ = {**os.environ, "UV_OFFLINE": "1", "UV_CACHE_DIR": str(tmp_path / "cache"), "VIRTUAL_ENV": ""}
    words = ("run", "--quiet", "--project", project, "--python", BASE_PYTHON, "--with", show_wheel(wheels))
    program = start([find_uv_bin(), *words, "showsurroundings"], env=environ)
    shown = program.receive(120)
    assert Path(json.loads(shown)["prefix"]).is_relative_to(tmp_path / "cache")
    assert chosen(shown).prefix == project / ".venv"
    assert program.close() == 0


@pytest.mark.network
def test_pipx(tmp_path: Path, wheels: Path) -> None:
    own = make("venv", tmp_path / "pipx")
    run([own, "-m", "pip", "install", "--quiet", "pipx"], timeout=900)
    active = make("uv", tmp_path / "active")
    environ = {**os.environ, "PIPX_HOME": str(tmp_path / "home"), "PIPX_BIN_DIR": str(tmp_path / "bin")}
    run([own, "-m", "pipx", "install", "--python", BASE_PYTHON, show_wheel(wheels)], env=environ, timeout=900)
    path = {"PATH": f"{tmp_path / 'bin'}:{active.parent}:/usr/bin:/bin"}
    shown = run([tmp_path / "bin" / "showsurroundings"], env=path).stdout
    private = Path(json.loads(shown)["prefix"])
    assert private.is_relative_to(tmp_path / "home")
    assert chosen(shown).prefix == tmp_path / "active"
    assert look(private / "bin" / "python").kind == "pipx"


# Real Pythons and a real Pillow -----------------------------------------------------------


@pytest.mark.parametrize("python", PYTHONS, ids=lambda path: path.parent.parent.name)
def test_every_python_here_says_its_version(python: Path) -> None:
    env = inspect(python)
    assert re.fullmatch(r"\d+\.\d+\.\d+", env.release)
    assert env.release == python.parent.parent.name
    if (3, 11) <= env.version[:2] <= (3, 14):
        minor = env.version[1]
        assert env.tags[0].startswith(f"cp3{minor}-cp3{minor}")
        assert env.has_ensurepip
        require_supported(env)
    else:
        with pytest.raises(TargetError, match=f"{env.version[0]}.{env.version[1]} is too old") as caught:
            require_supported(env)
        assert "-m venv" in caught.value.hint


@pytest.mark.network
@pytest.mark.parametrize("version", ["13.0.0", "12.1.1"])
def test_an_official_pillow(tmp_path: Path, version: str) -> None:
    python = make("venv", tmp_path / "env")
    run([python, "-m", "pip", "install", "-q", "--only-binary", ":all:", f"pillow=={version}"], timeout=900)
    env = look(python)
    assert (env.state, env.pil_version, env.findings) == (State.STOCK, version, ())
    assert env.owners[0].installer == "pip"
    # A core of another release, as an update that was interrupted would leave it.
    (core,) = env.site.glob("PIL/_imaging.cpython*.so")
    other = version.replace("1", "2", 1)
    marked = core.read_bytes().replace(f"{version}\0PILLOW".encode(), f"{other}\0PILLOW".encode())
    core.write_bytes(marked)
    env = look(python)
    assert env.state == State.BROKEN
    assert "core-differs" in [finding.code for finding in env.findings]
    assert not importable(python)


@pytest.mark.network
def test_a_loaded_pillow_is_noticed(tmp_path: Path) -> None:
    python = make("venv", tmp_path / "env")
    run([python, "-m", "pip", "install", "-q", "--only-binary", ":all:", "pillow"], timeout=900)
    code = "from PIL import Image; print('ready', flush=True); input()"
    user = start([python, "-c", code])
    assert user.receive(60) == "ready"
    env = look(python)
    user.close()
    (finding,) = env.findings
    assert finding.code == "in-use"
    assert re.search(r"python\S* \(\d+\)", finding.text)
