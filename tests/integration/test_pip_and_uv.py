"""What pip and uv see of our installations, in environments that they made themselves."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import small_pillow
from install_parts import GOOD, imports, look, our_wheel, prefix_of, stock_wheel, tree
from simdinstall.errors import StateError
from simdinstall.exchange import digest
from simdinstall.install import install, rollback, status
from simdinstall.journal import STATE
from simdinstall.run import run

uv = Path(pytest.importorskip("uv").find_uv_bin())


Installer = Callable[..., str]


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    for release in ("12.1.1", "13.0.0", "13.0.1"):
        stock_wheel(folder, release)
    small_pillow.wheel(folder, "dependent", "1.0", content={"dependent.py": b""}, requires=("pillow>=12",))
    return folder


@pytest.fixture(params=["pip", "uv-hardlink", "uv-symlink"])
def world(request: pytest.FixtureRequest, tmp_path: Path, wheels: Path) -> tuple[Path, Installer]:
    """An environment that pip or uv made, and the means to run it there."""
    venv, cache = tmp_path / "venv", tmp_path / "cache"
    kind, _, link_mode = request.param.partition("-")
    python = venv / "bin" / "python"
    if kind == "pip":
        run([sys.executable, "-m", "venv", venv])
    else:
        run([uv, "venv", "--python", sys.executable, "--cache-dir", cache, venv])

    def call(verb: str, *arguments: str | Path) -> str:
        index = ("--no-index", "--find-links", wheels) if verb == "install" else ()
        if kind == "pip":
            yes = ("-y",) if verb == "uninstall" else ()
            return run([python, "-m", "pip", verb, *index, *yes, *arguments]).output
        link = ("--link-mode", link_mode) if verb == "install" else ()
        place = ("--python", python, "--cache-dir", cache)
        return run([uv, "pip", verb, *place, *index, *link, *arguments]).output

    return small_pillow.site_of(venv), call


def put(site: Path, tmp_path: Path) -> None:
    install(our_wheel(tmp_path / "new"), GOOD, look(site), grace=0)


def test_they_see_a_well_formed_installation_and_can_remove_it(
    world: tuple[Path, Installer], tmp_path: Path
) -> None:
    site, call = world
    call("install", "pillow==12.1.1", "dependent")
    # Byte code that an import adds to uv's, and that nobody recorded.
    run([prefix_of(site) / "bin" / "python", "-c", "import PIL.Image"])
    before, cache = tree(site), digest(tmp_path / "cache")
    put(site, tmp_path)
    assert imports(site) == "13.0.0"
    call("check")
    assert "pillow==13.0.0+simd.v3" in call("freeze").lower()
    assert "13.0.0+simd.v3" in call("show", "pillow")
    # Neither the release that it is made of nor a requirement that it meets replaces it.
    call("install", "pillow==13.0.0", "pillow>=12", "dependent")
    assert status(look(site)).intact
    assert status(look(site)).ours
    call("uninstall", "pillow")
    assert sorted(path.name for path in site.iterdir() if "pil" in path.name.lower()) == []
    assert (site / STATE).is_dir()
    assert digest(tmp_path / "cache") == cache
    with pytest.raises(StateError, match="was changed since"):
        rollback(look(site), grace=0)
    rollback(look(site), force=True, grace=0)
    assert tree(site) == before
    assert digest(tmp_path / "cache") == cache
    call("check")


def test_another_release_over_ours_is_theirs_and_known(world: tuple[Path, Installer], tmp_path: Path) -> None:
    site, call = world
    put(site, tmp_path)
    call("install", "pillow==13.0.1")
    found = status(look(site))
    assert (found.ours, found.version) == (False, "13.0.1")
    assert found.changed
    put(site, tmp_path)
    assert imports(site) == "13.0.0"
    rollback(look(site), grace=0)
    assert imports(site) == "13.0.1"
    call("check")
    call("uninstall", "pillow")
    assert not (site / "PIL").exists()


def test_a_file_that_is_gone_can_be_mended(world: tuple[Path, Installer], tmp_path: Path) -> None:
    site, call = world
    call("install", "pillow==13.0.0")
    (site / "PIL" / "Image.py").unlink()
    shutil.rmtree(site / "pillow-13.0.0.dist-info")
    put(site, tmp_path)
    assert imports(site) == "13.0.0"
    call("check")
    assert status(look(site)).intact
