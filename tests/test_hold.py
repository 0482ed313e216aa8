"""What is written for pip, uv and pip-tools, and that taking it back leaves no trace."""

from __future__ import annotations

import shlex
import tomllib
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

import small_pillow
from simdinstall import cli, dockerfile, hold
from simdinstall.distributions import find
from simdinstall.environment import Environment, inspect
from simdinstall.errors import InstallError, TargetError, UsageError
from simdinstall.run import run

VERSION = "13.0.0+simd.v3"
WHEEL_FILE = (
    b"Wheel-Version: 1.0\nTag: cp311-cp311-manylinux_2_27_x86_64\nTag: cp311-cp311-manylinux_2_28_x86_64\n"
)
NAME = f"pillow-{VERSION}-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl"


@pytest.fixture
def env(tmp_path: Path) -> Environment:
    site = small_pillow.make_venv(tmp_path / "env")
    small_pillow.install(site, version=VERSION, extra={"WHEEL": WHEEL_FILE})
    return inspect(tmp_path / "env", environ={}, proc=Path("/nowhere"))


@pytest.mark.parametrize("before", ["", "# mine\n[install]\nno-compile = yes\n", "[global]\ntimeout = 9"])
def test_pip_is_told_and_untold(env: Environment, before: str) -> None:
    config = env.prefix / "pip.conf"
    if before:
        config.write_text(before)
    held = hold.hold_environment(env, VERSION)
    assert hold.is_held(env, VERSION)
    assert not hold.is_held(env, "13.0.1+simd.v3")
    hold.hold_environment(env, VERSION)
    assert config.read_text().count("constraint = ") == 1
    assert (env.prefix / hold.CONSTRAINTS).read_text().splitlines()[1] == f"pillow=={VERSION}"
    assert set(hold.release(env.prefix)) == set(held.files)
    if before:
        assert config.read_text().strip() == before.strip()
    else:
        assert not config.exists()
    assert not (env.prefix / hold.CONSTRAINTS).exists()
    assert hold.release(env.prefix) == ()


def test_what_pip_was_told_by_others_stays(env: Environment) -> None:
    config = env.prefix / "pip.conf"
    config.write_text("[install]\nconstraint = theirs.txt\n")
    with pytest.raises(UsageError, match="already has its own") as caught:
        hold.hold_environment(env, VERSION)
    assert "constraint = " in caught.value.hint
    assert config.read_text() == "[install]\nconstraint = theirs.txt\n"
    assert not (env.prefix / hold.CONSTRAINTS).exists()


def test_no_venv(env: Environment) -> None:
    with pytest.raises(TargetError, match="no virtual environment"):
        hold.hold_environment(replace(env, scope="system"), VERSION)


PROJECTS = [
    '[project]\nname = "p"\n',
    '[project]\nname = "p"\n\n[tool.uv]\noffline = true\n\n[tool.uv.sources]\nother = { path = "x" }\n',
]


@pytest.mark.parametrize("before", PROJECTS)
def test_a_project(env: Environment, tmp_path: Path, before: str) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text(before)
    hold.hold_project(project, env, env.owners[0])
    told = tomllib.loads((project / "pyproject.toml").read_text())["tool"]
    assert told["uv"]["override-dependencies"] == [f"pillow=={VERSION}"]
    assert told["uv"]["sources"]["pillow"] == {"path": f"wheels/{NAME}"}
    assert told["pip-tools"] == {"constraint": [hold.CONSTRAINTS], "find-links": ["wheels"]}
    assert (project / "wheels" / NAME).is_file()
    once = (project / "pyproject.toml").read_text()
    hold.hold_project(project, env, env.owners[0])
    assert (project / "pyproject.toml").read_text() == once
    hold.release(project)
    assert (project / "pyproject.toml").read_text() == before


@pytest.mark.parametrize(
    "before", ['[tool.uv]\noverride-dependencies = ["x"]\n', '[tool.uv.sources]\npillow = { path = "x" }\n']
)
def test_a_project_that_says_something_else(env: Environment, tmp_path: Path, before: str) -> None:
    (tmp_path / "pyproject.toml").write_text(before)
    with pytest.raises(UsageError, match="already has its own"):
        hold.hold_project(tmp_path, env, env.owners[0])
    assert (tmp_path / "pyproject.toml").read_text() == before
    assert not (tmp_path / "wheels").exists()


def test_no_project(env: Environment, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no pyproject\.toml"):
        hold.hold_project(tmp_path, env, env.owners[0])


def test_a_wheel_of_the_installed_files(env: Environment, tmp_path: Path) -> None:
    (env.site / "PIL" / "__pycache__").mkdir()
    made = hold.pack(env.owners[0], tmp_path)
    again = tmp_path / "again"
    again.mkdir()
    assert hold.pack(env.owners[0], again).read_bytes() == made.read_bytes()
    with zipfile.ZipFile(made) as archive:
        names = set(archive.namelist())
        assert archive.testzip() is None
    assert "PIL/Image.py" in names
    assert not any(name.endswith("INSTALLER") for name in names)
    other = small_pillow.make_venv(tmp_path / "other")
    run([env.python, "-m", "zipfile", "-e", made, other])
    (owner,) = find(other)
    assert (owner.version, owner.missing, owner.altered) == (VERSION, (), ())


def test_no_wheel_of_what_was_changed(env: Environment, tmp_path: Path) -> None:
    (env.site / "PIL" / "Image.py").write_text("changed")
    with pytest.raises(InstallError, match="not intact"):
        hold.pack(env.owners[0], tmp_path)
    assert list(tmp_path.glob("*.whl")) == []


def test_dockerfile() -> None:
    text = dockerfile.lines(image="python:3.13-slim", march="portable", release="13.0.0", requirement="x.whl")
    assert text.count("FROM python:3.13-slim") == 2
    assert "--march portable --pillow 13.0.0 -o /wheels" in text
    assert "--pillow" not in dockerfile.lines(image="i", march="v3", release=None, requirement="x")
    commands = [part.split("simdinstall ", 1)[1] for part in text.splitlines() if "bin/simdinstall " in part]
    assert commands
    for command in commands:
        given = cli.parse(shlex.split(command), {})
        assert (given.command, given.march, str(given.output)) == ("wheel", "portable", "/wheels")
