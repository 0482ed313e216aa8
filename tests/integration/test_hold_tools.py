"""`simdinstall hold` against what it is for: real pip, uv and pip-tools, and an index with a newer Pillow."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from uv import find_uv_bin

import small_pillow
from index_server import File, Index, serving
from install_parts import GOOD, imports, look, our_wheel, stock_wheel
from simdinstall import install
from simdinstall.run import Completed, run

OURS = "13.0.0+simd.v3"
PROJECT = '[project]\nname = "app"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["dependent"]\n'


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    """An index with a newer Pillow, and something that needs any."""
    made = [stock_wheel(tmp_path / "wheels", release) for release in ("12.1.1", "13.0.0", "13.0.1")]
    needs = small_pillow.wheel(
        tmp_path / "wheels", "dependent", "1.0", content={"dependent.py": b""}, requires=("pillow>=12",)
    )
    projects = {
        "pillow": [File(name=wheel.name, content=wheel.read_bytes()) for wheel in made],
        "dependent": [File(name=needs.name, content=needs.read_bytes())],
    }
    with serving(Index(projects=projects)) as served:
        yield served


class Shell:
    """Commands in a project's folder, as its owner types them."""

    def __init__(self, folder: Path, index: Index) -> None:
        self.folder = folder
        self.prefix = folder / ".venv"
        self.python = self.prefix / "bin" / "python"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "UV_", "VIRTUAL_ENV"))}
        self.environ = kept | {
            "PIP_INDEX_URL": index.url,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "UV_DEFAULT_INDEX": index.url,
            "UV_CACHE_DIR": str(folder.parent / "uv-cache"),
            "UV_PYTHON": sys.executable,
        }

    def __call__(self, *words: str | Path, check: bool = True) -> Completed:
        return run(words, cwd=self.folder, env=self.environ, check=check, timeout=900)

    def uv(self, *words: str | Path, check: bool = True) -> Completed:
        return self(find_uv_bin(), *words, check=check)

    def pip(self, *words: str | Path, check: bool = True) -> Completed:
        return self(self.python, "-m", "pip", *words, check=check)

    def simdinstall(self, *words: str | Path, check: bool = True) -> Completed:
        return self(sys.executable, "-m", "simdinstall", *words, "--python", self.python, check=check)

    @property
    def site(self) -> Path:
        return small_pillow.site_of(self.prefix)

    def accelerate(self) -> None:
        install.install(our_wheel(self.folder.parent / "ours"), GOOD, look(self.site), grace=0)

    def version(self) -> str | None:
        return install.status(look(self.site)).version


@pytest.fixture
def shell(tmp_path: Path, index: Index) -> Shell:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(PROJECT)
    return Shell(folder, index)


def test_pip(shell: Shell) -> None:
    shell(sys.executable, "-m", "venv", shell.prefix)
    shell.pip("install", "-q", "pillow==13.0.0")
    shell.accelerate()
    shell.simdinstall("hold")
    for words in (("-U", "pillow"), ("-U", "--upgrade-strategy", "eager", "dependent")):
        shell.pip("install", "-q", *words)
        assert shell.version() == OURS
    for words in (("pillow==13.0.1",), ("--force-reinstall", "pillow")):
        refused = shell.pip("install", *words, check=False)
        assert refused.returncode == 1
        assert OURS in refused.output
        assert install.status(look(shell.site)).intact
    shell.simdinstall("hold", "--remove")
    shell.pip("install", "-q", "-U", "pillow")
    assert shell.version() == "13.0.1"
    amiss = shell.simdinstall("status", "--check", "--json", "--offline", check=False)
    assert amiss.returncode == 1
    assert json.loads(amiss.stdout)["amiss"].startswith("pillow 13.0.1 is there")


def test_what_is_held_goes_with_the_build(shell: Shell) -> None:
    """Or pip could install nothing that needs a Pillow any more."""
    shell.uv("venv", "-q", shell.prefix)
    shell.uv("pip", "install", "-q", "--python", shell.python, "pillow==13.0.0")
    shell.accelerate()
    install.install(our_wheel(shell.folder / "w", "13.0.1"), GOOD, look(shell.site), grace=0)
    shell.simdinstall("hold")
    # uv pip reads no pip.conf, but the same constraints where it is told of them.
    shell.environ["UV_CONSTRAINT"] = str(shell.prefix / "simdinstall-constraints.txt")
    for words in (("dependent",), ("-U", "pillow"), ("pillow>=13.0.1",)):
        shell.uv("pip", "install", "-q", "--python", shell.python, *words, check=False)
        assert shell.version() == "13.0.1+simd.v3", words
    shell.simdinstall("rollback", "--yes")
    assert OURS in (shell.prefix / "simdinstall-constraints.txt").read_text()
    said = shell.simdinstall("rollback", "--to", "original", "--yes")
    assert "no longer told to hold" in said.stdout
    assert not (shell.prefix / "pip.conf").exists()
    assert shell.version() == "13.0.0"


def test_uv(shell: Shell) -> None:
    shell.uv("sync", "-q")
    assert shell.version() == "13.0.1"
    shell.accelerate()
    before = (shell.folder / "pyproject.toml").read_bytes()
    shell.uv("sync", "-q")
    assert shell.version() == "13.0.1", "without being told, uv puts back what is locked"
    shell.accelerate()
    shell.simdinstall("hold", "--project", shell.folder)
    for words in (("sync",), ("lock", "--upgrade"), ("sync",), ("sync", "--reinstall"), ("run", "true")):
        shell.uv(*words)
        assert shell.version() == OURS, words
    assert imports(shell.site) == "13.0.0"
    shell.uv("pip", "install", "-q", "-U", "--python", shell.python, "dependent", check=False)
    assert shell.version() == OURS
    shell.simdinstall("hold", "--remove", "--project", shell.folder)
    assert (shell.folder / "pyproject.toml").read_bytes() == before


def test_pip_tools(shell: Shell) -> None:
    pytest.importorskip("piptools")
    shell(sys.executable, "-m", "venv", shell.prefix)
    shell.pip("install", "-q", "pillow==13.0.0")
    shell.accelerate()
    shell.simdinstall("hold", "--project", shell.folder)
    tools = (sys.executable, "-m", "piptools")
    shell(*tools, "compile", "-q", "-o", "requirements.txt", "pyproject.toml")
    assert f"pillow=={OURS}" in (shell.folder / "requirements.txt").read_text()
    more = ("--python-executable", shell.python, "--find-links", "wheels")
    shell(*tools, "sync", "-q", *more, "requirements.txt")
    assert shell.version() == OURS
    assert imports(shell.site) == "13.0.0"
