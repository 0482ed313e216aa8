from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import small_pillow
from install_parts import (
    GOOD,
    Stop,
    content,
    extension,
    imports,
    links,
    look,
    our_wheel,
    pip_install,
    prefix_of,
    quick,
    stock_wheel,
    stop_at,
    tree,
    without_write_permission,
)
from simdinstall import interrupt
from simdinstall.errors import (
    BusyError,
    InstallError,
    NoSpaceError,
    StateError,
    TargetError,
    VerifyError,
)
from simdinstall.exchange import clone, digest, rename
from simdinstall.install import history, install, recover, rollback, status, what_returns
from simdinstall.journal import STATE, Place
from simdinstall.run import CommandFailed, Completed, run, start
from simdinstall.wheel import Wheel
from test_exchange import no_exchange, weak_rename
from test_journal import HOLD

NEW = "pillow 13.0.0+simd.v3"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """An empty venv."""
    return small_pillow.make_venv(tmp_path / "venv")


@pytest.fixture
def old(site: Path, tmp_path: Path) -> Path:
    """A venv with stock Pillow of another release."""
    pip_install(site, stock_wheel(tmp_path / "old", "12.1.1"))
    return site


@pytest.fixture
def wheel(tmp_path: Path) -> Wheel:
    return our_wheel(tmp_path / "new")


def put(wheel: Wheel, site: Path, **options: Any) -> Any:
    return install(wheel, GOOD, look(site), **({"grace": 0} | options))


def back(site: Path, **options: Any) -> Any:
    return rollback(look(site), **({"grace": 0} | options))


def nothing_in_progress(site: Path) -> bool:
    state = site / STATE
    return not (state / "journal.json").exists() and not (state / "staging").exists()


# Installing and going back -------------------------------------------------------------


@pytest.mark.parametrize("how", [rename, weak_rename, no_exchange])
@pytest.mark.parametrize("release", ["", "12.1.1", "13.0.0"])
def test_install_and_rollback_over_nothing_another_and_the_same_release(
    site: Path, wheel: Wheel, tmp_path: Path, release: str, how: Any
) -> None:
    if release:
        pip_install(site, stock_wheel(tmp_path / "old", release))
    before = tree(site)
    done = put(wheel, site, rename=how)
    assert imports(site) == "13.0.0"
    assert done.before == (f"pillow {release}" if release else "no Pillow")
    assert done.after == NEW
    assert done.bridged is (release == "12.1.1")
    assert bool(done.notes) is (how is not rename and bool(release)) or how is weak_rename
    new = status(look(site))
    assert (new.ours, new.intact, new.version) == (True, True, "13.0.0+simd.v3")
    assert new.changed == ()
    assert new.provenance == {"march": {"name": "v3"}, "fidelity": "bounded"}
    assert (new.march, new.fidelity) == ("v3", "bounded")
    assert nothing_in_progress(site)
    after = tree(site)
    undone = back(site, rename=how)
    assert (undone.before, undone.after) == (NEW, done.before)
    assert tree(site) == before
    assert imports(site) == (release or "ModuleNotFoundError: No module named 'PIL'")
    redone = back(site, rename=how)
    assert (redone.before, redone.after) == (done.before, NEW)
    assert tree(site) == after
    assert [(e.number, e.action, e.of) for e in history(look(site))] == [
        (1, "install", None),
        (2, "rollback", 1),
        (3, "rollback", 2),
    ]


def test_nothing_is_left_of_either_release_but_its_own(old: Path, wheel: Wheel) -> None:
    put(wheel, old)
    assert sorted(path.name for path in old.iterdir() if path.name.lower().startswith(("pil", "."))) == [
        STATE,
        "PIL",
        "pillow-13.0.0+simd.v3.dist-info",
        "pillow.libs",
    ]
    assert [path.name for path in (old / "pillow.libs").iterdir()] == ["libjpeg-1300.so.1"]
    assert all(count == 1 for count in links(old).values())


def test_hard_links_into_a_package_cache_are_not_written_through(
    old: Path, wheel: Wheel, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    clone(old / "PIL", cache)
    for how in (rename, weak_rename):
        before = digest(cache, bytecode=True)
        put(wheel, old, rename=how)
        assert digest(cache, bytecode=True) == before
        back(old, rename=how)
        assert digest(cache, bytecode=True) == before
    assert (cache / "Image.py").stat().st_nlink >= 2


def test_symbolic_links_and_modes_come_back(old: Path, wheel: Wheel) -> None:
    (old / "PIL" / "Image.py").chmod(0o600)
    (old / "PIL" / "own.py").symlink_to("Image.py")
    (old / "PIL" / "notes.txt").write_text("mine, in nobody's RECORD")
    (old / "PIL").chmod(0o750)
    before = tree(old)
    put(wheel, old)
    assert not (old / "PIL" / "notes.txt").exists()
    back(old)
    assert tree(old) == before


def test_a_package_that_is_a_symbolic_link_is_moved_as_one(old: Path, wheel: Wheel, tmp_path: Path) -> None:
    (old / "PIL").rename(tmp_path / "elsewhere")
    (old / "PIL").symlink_to(tmp_path / "elsewhere")
    before, kept = tree(old), digest(tmp_path / "elsewhere", bytecode=True)
    put(wheel, old)
    assert not (old / "PIL").is_symlink()
    assert digest(tmp_path / "elsewhere", bytecode=True) == kept
    back(old)
    assert tree(old) == before


def test_everything_of_several_owners_is_moved_aside(site: Path, wheel: Wheel, tmp_path: Path) -> None:
    prefix = prefix_of(site)
    data = "pillow_simd-9.5.0.post2.data"
    pip_install(site, stock_wheel(tmp_path / "a", "12.1.1"))
    payload = {name: b for name, b in content("9.5.0").items() if "libs" not in name} | {
        f"{data}/scripts/pilprint": b"#!python\n",
        f"{data}/headers/Imaging.h": b"/* */",
        "shared/pillow_part.py": b"part = 1\n",
        "simdonly/part.py": b"part = 2\n",
        "simdonly.libs/libz.so": b"z",
    }
    shutil.rmtree(site / "PIL")
    pip_install(site, small_pillow.wheel(tmp_path / "b", "pillow-simd", "9.5.0.post2", content=payload))
    (site / "shared" / "another.py").write_text("not theirs")
    (site / "~illow").mkdir()
    (site / "~illow" / "x").write_text("left by pip")
    (site / "pillow-9.0.dist-info").mkdir()
    (prefix / "bin" / "mine").write_text("not theirs")
    before = tree(site)
    assert "bin/pilprint" in before
    done = put(wheel, site)
    assert set(done.removed) == {"pillow 12.1.1", "pillow-simd 9.5.0.post2", "pillow 9.0"}
    assert imports(site) == "13.0.0"
    left = {path.name for path in site.iterdir()}
    assert left & {"~illow", "pillow-9.0.dist-info", "simdonly", "simdonly.libs"} == set()
    assert not (prefix / "bin" / "pilprint").exists()
    assert not list((prefix / "include").rglob("Imaging.h"))
    assert [path.name for path in (site / "shared").iterdir() if path.is_file()] == ["another.py"]
    assert (prefix / "bin" / "mine").exists()
    back(site)
    assert tree(site) == before


def test_owners_with_libraries_of_their_own_over_one_another(site: Path, tmp_path: Path) -> None:
    # Each has recorded a part of pillow.libs: the folder goes as one all the same.
    pip_install(site, stock_wheel(tmp_path / "a", "12.1.1", libraries=("libjpeg", "libtiff")))
    shutil.rmtree(site / "PIL")
    other = content("12.3.0", libraries=("libjpeg", "libwebp"))
    pip_install(site, small_pillow.wheel(tmp_path / "b", "pillow-simd", "12.3.0", content=other))
    (site / "pillow.libs" / "mine").write_text("nobody's")
    before = tree(site)
    put(our_wheel(tmp_path / "c"), site)
    assert imports(site) == "13.0.0"
    assert {path.name for path in (site / "pillow.libs").iterdir()} == {"libjpeg-1300.so.1"}
    back(site)
    assert tree(site) == before


def test_a_site_with_two_spellings_is_one(old: Path, wheel: Wheel) -> None:
    """As on Fedora, where a venv's lib64 is a link to its lib, and either may be named."""
    prefix = prefix_of(old)
    (prefix / "lib64").unlink(missing_ok=True)
    (prefix / "lib64").symlink_to("lib")
    (old / "~illow").mkdir()
    other = prefix / "lib64" / old.relative_to(prefix / "lib")
    before = tree(old)
    done = install(wheel, GOOD, replace(look(old), site=other), grace=0)
    assert done.removed == ("pillow 12.1.1",)
    assert imports(old) == "13.0.0"
    assert not (old / "~illow").exists()
    assert status(replace(look(old), site=other)).changed == ()
    rollback(replace(look(old), site=other), grace=0)
    assert tree(old) == before


def test_a_stray_package_that_nobody_owns_is_replaced(site: Path, wheel: Wheel) -> None:
    (site / "PIL").mkdir()
    (site / "PIL" / "stale.py").write_text("")
    before = tree(site)
    assert put(wheel, site).before == "a PIL that no distribution owns"
    assert imports(site) == "13.0.0"
    back(site)
    assert tree(site) == before


def test_what_a_record_names_outside_of_the_environment_is_not_touched(
    site: Path, wheel: Wheel, tmp_path: Path
) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("mine")
    (tmp_path / "venv" / "share").symlink_to(tmp_path)
    info = small_pillow.install(site, version="12.1.1")
    climb = os.path.relpath(outside, site)
    with (info / "RECORD").open("a") as record:
        record.write(f"{climb},,\n{outside},,\n../../../share/outside.txt,,\n")
    put(wheel, site)
    assert outside.read_text() == "mine"


def test_a_file_of_a_plugin_in_the_package_comes_along(old: Path, wheel: Wheel, tmp_path: Path) -> None:
    plugin = small_pillow.wheel(
        tmp_path / "p", "pillow-plugin", "1.0", content={"PIL/FancyPlugin.py": b"fancy = 1\n"}
    )
    pip_install(old, plugin)
    before = tree(old)
    done = put(wheel, old)
    assert done.removed == ("pillow 12.1.1",)
    assert "PIL/FancyPlugin.py" in done.notes[0]
    python = prefix_of(old) / "bin" / "python"
    run([python, "-I", "-c", "import PIL.FancyPlugin"])
    assert status(look(old)).intact
    back(old)
    assert tree(old) == before


def test_data_scripts_and_headers_are_installed_and_taken_back(old: Path, tmp_path: Path) -> None:
    data = "pillow-13.0.0+simd.v3.data"
    wheel = our_wheel(
        tmp_path / "n",
        extra={
            f"{data}/scripts/pilconvert": b"#!python\nimport PIL; print(PIL.__version__)\n",
            f"{data}/headers/Imaging.h": b"/* */",
            f"{data}/data/share/pillow/text": b"text",
        },
    )
    before = tree(old)
    put(wheel, old)
    prefix = prefix_of(old)
    script = prefix / "bin" / "pilconvert"
    script.chmod(0o755)
    assert run([script]).stdout == "13.0.0\n"
    assert (prefix / "share" / "pillow" / "text").read_text() == "text"
    script.chmod(0o644)
    back(old, force=True)
    assert tree(old) == before


def test_installing_again_keeps_the_original_and_the_last(old: Path, tmp_path: Path) -> None:
    before = tree(old)
    put(our_wheel(tmp_path / "a", "13.0.0"), old)
    put(our_wheel(tmp_path / "b", "13.1.0"), old)
    second = tree(old)
    put(our_wheel(tmp_path / "c", "13.2.0"), old)
    kept = sorted(path.name for path in (old / STATE / "kept").iterdir())
    assert kept == ["1", "3"]
    assert [entry.foreign for entry in history(look(old))] == [True, False, False]
    back(old)
    assert tree(old) == second
    back(old, to="original")
    assert tree(old) == before
    assert imports(old) == "12.1.1"
    back(old)
    assert tree(old) == second


def command(site: Path, *argv: str, **variables: str) -> Completed:
    python = prefix_of(site) / "bin" / "python"
    words = [sys.executable, "-m", "simdinstall", *argv, "--python", python]
    return run(words, env={**os.environ, "COLUMNS": "200", **variables}, check=False)


def test_the_command_goes_back_one_step_or_all_the_way(old: Path, tmp_path: Path) -> None:
    before = tree(old)
    put(our_wheel(tmp_path / "a", "13.0.0"), old)
    first = tree(old)
    put(our_wheel(tmp_path / "b", "13.1.0"), old)
    assert what_returns(look(old)).startswith("pillow 13.0.0+simd")
    assert what_returns(look(old), to="original") == "pillow 12.1.1"
    assert command(old, "rollback", "--yes", SIMDINSTALL_TO="previous").returncode == 0
    assert tree(old) == first
    refused = command(old, "rollback", "--yes", SIMDINSTALL_TO="beginning")
    assert refused.returncode == 2
    assert "SIMDINSTALL_TO=beginning" in refused.stderr
    document = json.loads(command(old, "rollback", "--yes", "--json", SIMDINSTALL_TO="original").stdout)
    assert document["schema"] == "simdinstall.rollback/1"
    assert document["transaction"]["after"] == "pillow 12.1.1"
    assert tree(old) == before
    again = command(old, "rollback", "--to", "original", "--yes")
    assert again.returncode == 10
    assert "nothing to go back to" in again.stderr


def test_the_same_build_can_be_installed_again(old: Path, wheel: Wheel) -> None:
    before = tree(old)
    put(wheel, old)
    first = tree(old)
    assert put(wheel, old).bridged is False
    assert status(look(old)).intact
    back(old)
    assert tree(old) == first
    back(old, to="original")
    assert tree(old) == before


AS_USER = """
import os, sys
from pathlib import Path
sys.path[:0] = sys.argv[1].split(os.pathsep)
from install_parts import GOOD, as_wheel
from simdinstall.environment import inspect
from simdinstall.install import install, rollback
python, wheel = Path(sys.argv[2]), as_wheel(Path(sys.argv[3]), "13.0.0+simd.v3")
env = inspect(python)
done = install(wheel, GOOD, env, grace=0) if sys.argv[4] == "install" else rollback(env, grace=0)
print(env.scope, done.before, "->", done.after, "in", done.site)
"""


def test_the_users_own_directory(tmp_path: Path, wheel: Wheel) -> None:
    base = tmp_path / "home" / ".local"
    site = small_pillow.site_of(base)
    pip_install(site, stock_wheel(tmp_path / "old", "12.1.1"))
    before = tree(site)
    python = Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    environ = dict(os.environ) | {"PYTHONUSERBASE": str(base)}
    folders = os.pathsep.join(map(str, (Path(__file__).parent, *sys.path)))

    def do(action: str) -> str:
        # -s: this process itself must not find that Pillow, only the one that it looks at.
        argv = [sys.executable, "-s", "-c", AS_USER, folders, python, wheel.path, action]
        return run(argv, env=environ).stdout

    def release() -> str:
        return run([python, "-c", "import PIL.Image; print(PIL.__version__)"], env=environ).stdout.strip()

    assert release() == "12.1.1"
    assert do("install") == f"user pillow 12.1.1 -> {NEW} in {site}\n"
    assert release() == "13.0.0"
    assert do("rollback") == f"user {NEW} -> pillow 12.1.1 in {site}\n"
    assert tree(site) == before


def test_a_site_that_does_not_exist_yet_is_made(tmp_path: Path, wheel: Wheel) -> None:
    venv = small_pillow.make_venv(tmp_path / "venv")
    site = tmp_path / "home" / ".local" / "lib" / venv.parent.name / "site-packages"
    env = replace(look(venv), site=site, scope="user")
    (venv / "user.pth").write_text(f"{site}\n")
    assert install(wheel, GOOD, env, run=quick(site, wheel), grace=0).site == site
    assert imports(venv) == "13.0.0"
    rollback(env, grace=0)
    assert imports(venv).endswith("No module named 'PIL'")


@pytest.mark.parametrize("how", [rename, weak_rename])
@pytest.mark.parametrize("release", ["12.1.1", "13.0.0"])
def test_pillow_imports_at_every_step(site: Path, tmp_path: Path, release: str, how: Any) -> None:
    pip_install(site, stock_wheel(tmp_path / "old", release, modules=0))
    wheel, seen = our_wheel(tmp_path / "new"), []

    def step(_: str) -> None:
        seen.append(imports(site))

    starts_nothing = quick(site, wheel)
    install(wheel, GOOD, look(site), run=starts_nothing, checkpoint=step, rename=how, grace=0)
    assert set(seen) == {release, "13.0.0"}
    back(site, checkpoint=step, rename=how)
    assert set(seen) == {release, "13.0.0"}
    failing = stop_after("checked", step)
    with pytest.raises(Stop):
        install(wheel, GOOD, look(site), run=starts_nothing, checkpoint=failing, rename=how, grace=0)
    assert set(seen) == {release, "13.0.0"}
    assert imports(site) == release


def stop_after(name: str, step: Callable[[str], None]) -> Callable[[str], None]:
    """Go through ``step`` at every checkpoint, and stop at the one of that name."""

    def checkpoint(reached: str) -> None:
        step(reached)
        if reached == name:
            raise Stop

    return checkpoint


# Refusals, before anything is touched ----------------------------------------------------


def test_a_wheel_that_was_not_verified_is_refused(old: Path, wheel: Wheel) -> None:
    before = tree(old)
    with pytest.raises(VerifyError):
        install(wheel, replace(GOOD, ok=False, problems=("a pixel",)), look(old), grace=0)
    assert tree(old) == before
    assert not (old / STATE).exists()


def test_a_wheel_that_changed_since_is_refused(old: Path, wheel: Wheel) -> None:
    with wheel.path.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(InstallError, match="has changed since it was built"):
        put(wheel, old)
    assert not (old / STATE).exists()


def test_an_environment_that_changed_since_it_was_looked_at_is_refused(
    old: Path, wheel: Wheel, tmp_path: Path
) -> None:
    env = look(old)
    shutil.rmtree(old / "pillow-12.1.1.dist-info")
    pip_install(old, small_pillow.wheel(tmp_path / "x", "pillow-simd", "9.5.0", content={"x.py": b""}))
    before = tree(old)
    with pytest.raises(InstallError, match="changed since this command looked") as caught:
        install(wheel, GOOD, env, grace=0)
    assert "pillow_simd-9.5.0.dist-info" in caught.value.why
    assert tree(old) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_target_without_permission_is_refused(old: Path, wheel: Wheel) -> None:
    before = tree(old)
    for folder in (old, old / "PIL", old / "pillow.libs", old / "pillow-12.1.1.dist-info"):
        with without_write_permission(folder), pytest.raises(TargetError, match="No permission"):
            put(wheel, old)
        assert tree(old) == before


AS_NOBODY = """
import os, sys
from pathlib import Path
os.chdir(sys.argv[1])
sys.path.insert(0, sys.argv[2])
from install_parts import GOOD, as_wheel, look
from simdinstall.errors import TargetError
from simdinstall.install import install
wheel, env = as_wheel(Path(sys.argv[3]), "13.0.0+simd.v3"), look(Path(sys.argv[4]))
os.setuid(65534)
try:
    install(wheel, GOOD, env, grace=0)
except TargetError as error:
    print(error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
def test_another_user_is_refused(old: Path, wheel: Wheel, reachable: Path) -> None:
    before = tree(old)
    done = run([sys.executable, "-c", AS_NOBODY, "/", str(Path(__file__).parent), str(wheel.path), str(old)])
    assert done.stdout.startswith("No permission to change")
    assert tree(old) == before
    assert not (old / STATE).exists()


def test_two_at_once_are_refused(old: Path, wheel: Wheel) -> None:
    before = tree(old)
    child = start([sys.executable, "-c", HOLD, str(old)])
    try:
        child.receive(600)
        with pytest.raises(BusyError, match="process"):
            put(wheel, old)
        assert recover(look(old)) is None
    finally:
        child.kill()
        child.close()
    assert tree(old) == before


def test_too_little_space_is_said_before_anything_is_unpacked(old: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small filesystem")
    small = tmp_path / "small"
    small.mkdir()
    if run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", small], check=False).returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        site = small_pillow.make_venv(small / "venv")
        pip_install(site, stock_wheel(tmp_path / "s", "12.1.1"))
        before = tree(site)
        huge = our_wheel(tmp_path / "huge", extra={"PIL/huge.bin": os.urandom(500_000)})
        with pytest.raises(NoSpaceError, match="No space left") as caught:
            put(huge, site)
        assert "are free" in caught.value.why
        # Blocks are found missing by statvfs, directory entries only when they are made.
        run(["mount", "-o", "remount,nr_inodes=" + str(used_inodes(small) + 25), small])
        with pytest.raises(NoSpaceError, match="No space left"):
            put(our_wheel(tmp_path / "new"), site)
        assert tree(site) == before
        assert nothing_in_progress(site)
        assert imports(site) == "12.1.1"
    finally:
        run(["umount", small])


def used_inodes(path: Path) -> int:
    volume = os.statvfs(path)
    return volume.f_files - volume.f_ffree


def test_an_overlay_filesystem_is_mirrored(tmp_path: Path, wheel: Wheel) -> None:
    """As in a container whose image has Pillow: its directories cannot be moved."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount an overlay")
    lower, upper, work, merged = (tmp_path / name for name in ("lower", "upper", "work", "merged"))
    for folder in (lower, upper, work, merged):
        folder.mkdir()
    site = small_pillow.make_venv(lower / "venv")
    pip_install(site, stock_wheel(tmp_path / "old", "12.1.1"))
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    if run(["mount", "-t", "overlay", "overlay", "-o", options, merged], check=False).returncode != 0:
        pytest.skip("overlays cannot be mounted here")
    try:
        there = merged / site.relative_to(lower)
        before = tree(there)
        done = put(wheel, there)
        assert any("mirrored" in note for note in done.notes)
        assert imports(there) == "13.0.0"
        assert status(look(there)).intact
        back(there)
        assert tree(there) == before
        assert imports(there) == "12.1.1"
    finally:
        run(["umount", merged])


# Failures on the way, all undone ---------------------------------------------------------


def test_a_build_that_does_not_import_never_gets_into_the_environment(old: Path, tmp_path: Path) -> None:
    before = tree(old)
    broken = our_wheel(
        tmp_path / "b", extra={"PIL/_imaging.pyc": extension("raise ImportError('no such symbol')\n")}
    )
    steps: list[str] = []
    with pytest.raises(InstallError, match="cannot be imported") as caught:
        put(broken, old, checkpoint=steps.append)
    assert "no such symbol" in caught.value.why
    assert "planned" not in steps
    assert tree(old) == before
    assert nothing_in_progress(old)
    assert history(look(old)) == ()


@pytest.mark.parametrize("how", [rename, weak_rename])
def test_a_build_that_fails_in_its_place_is_rolled_back(old: Path, wheel: Wheel, how: Any) -> None:
    before = tree(old)

    def fails_in_place(argv: Sequence[str | Path], **options: Any) -> Completed:
        if "-c" in argv and argv[-1] == "":
            assert imports(old) == "13.0.0"
            done = Completed(argv=("python",), returncode=1, stdout="", stderr="boom", cpu_seconds=0)
            raise CommandFailed(done)
        return run(argv, **options)

    with pytest.raises(InstallError, match="cannot be imported"):
        put(wheel, old, run=fails_in_place, rename=how)
    assert tree(old) == before
    assert imports(old) == "12.1.1"
    assert nothing_in_progress(old)
    assert history(look(old)) == ()


def test_another_pillow_in_front_is_named(old: Path, wheel: Wheel, tmp_path: Path) -> None:
    front = tmp_path / "front"
    shutil.copytree(old / "PIL", front / "PIL")
    shutil.copytree(old / "pillow.libs", front / "pillow.libs")
    (old / "front.pth").write_text(f"import sys; sys.path.insert(0, {str(front)!r})\n")
    before = tree(old)
    with pytest.raises(InstallError, match="in front of the new one") as caught:
        put(wheel, old)
    assert str(front) in caught.value.why
    assert tree(old) == before


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), OSError(errno.EIO, "bad disk"), Stop()])
@pytest.mark.parametrize("how", [rename, weak_rename])
def test_errors_at_every_step_before_the_commit_are_undone(
    old: Path, wheel: Wheel, error: Exception, how: Any
) -> None:
    before = tree(old)
    env, starts_nothing = look(old), quick(old, wheel)
    kind = {errno.ENOSPC: NoSpaceError, errno.EIO: InstallError}.get(getattr(error, "errno", 0), Stop)
    for number in range(100):
        steps: list[str] = []

        def step(name: str, number: int = number, steps: list[str] = steps) -> None:
            # Mirroring is stopped at each of its steps in test_exchange.
            if not name.startswith("mirror"):
                steps.append(name)
                if len(steps) == number + 1:
                    raise error

        try:
            install(wheel, GOOD, env, run=starts_nothing, checkpoint=step, rename=how, grace=0)
        except kind:
            if "committed" in steps:
                # Too late to undo: the next command finishes it.
                finished = recover(env)
                assert finished is not None
                assert finished.outcome == "finished"
                assert imports(old) == "13.0.0"
                break
            assert tree(old) == before
            assert nothing_in_progress(old)
            assert history(env) == ()
    else:
        raise AssertionError("it never came to its end")


def test_ctrl_c_at_every_step_leaves_the_old_or_says_done(
    old: Path, wheel: Wheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree(old)
    times, env, starts_nothing = 0, look(old), quick(old, wheel)
    for number in range(100):
        steps: list[str] = []
        monkeypatch.setattr(interrupt, "_finished", [])

        def step(name: str, number: int = number, steps: list[str] = steps) -> None:
            steps.append(name)
            if len(steps) == number + 1:
                os.kill(os.getpid(), signal.SIGINT)

        try:
            install(wheel, GOOD, env, run=starts_nothing, checkpoint=step, grace=0.05)
        except KeyboardInterrupt:
            times += 1
            assert interrupt.message() == "interrupted; nothing half done was left"
            assert tree(old) == before
            assert history(env) == ()
        else:
            # Ctrl-C came when nothing could be undone any more: the whole new one is there.
            assert "committed" in steps
            assert "was already exchanged for pillow 13.0.0+simd" in interrupt.message()
            assert imports(old) == "13.0.0"
            assert status(look(old)).changed == ()
            back(old)
            assert tree(old) == before
            shutil.rmtree(old / STATE)
        assert nothing_in_progress(old)
        if len(steps) <= number:
            break
    assert times > 8
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_transaction_that_cannot_be_undone_is_left_with_its_journal(old: Path, wheel: Wheel) -> None:
    def another_program(name: str) -> None:
        if name == "exchanged":
            (old / "PIL" / "Image.py").unlink()
            (old / "PIL" / "Image.py").write_text("of another program")
            raise Stop

    with pytest.raises(StateError, match="changed by another program") as caught:
        put(wheel, old, checkpoint=another_program)
    assert "journal.json" in caught.value.hint
    assert (old / "PIL" / "Image.py").read_text() == "of another program"
    assert (old / STATE / "kept" / "1" / "lib" / old.parent.name / "site-packages" / "PIL").is_dir()
    with pytest.raises(StateError):
        recover(look(old))
    assert status(look(old)).pending


# Rollback, history, status -----------------------------------------------------------------


def test_there_is_nothing_to_roll_back(site: Path) -> None:
    with pytest.raises(StateError, match="nothing to go back to"):
        back(site)
    assert status(look(site)).can_roll_back is False


def test_a_rollback_over_what_another_installer_did_is_refused_unless_forced(
    old: Path, wheel: Wheel, tmp_path: Path
) -> None:
    before = tree(old)
    put(wheel, old)
    for name in ("PIL", "pillow.libs", "pillow-13.0.0+simd.v3.dist-info"):
        shutil.rmtree(old / name)
    pip_install(old, stock_wheel(tmp_path / "s", "14.0.0"))
    theirs = tree(old)
    with pytest.raises(StateError, match="was changed since") as caught:
        back(old)
    for name in ("PIL", "pillow.libs", "pillow-13.0.0+simd.v3.dist-info", "pillow-14.0.0.dist-info"):
        assert name in caught.value.why
    assert tree(old) == theirs
    assert not status(look(old)).ours
    assert status(look(old)).changed != ()
    back(old, force=True)
    assert tree(old) == before
    back(old)
    assert tree(old) == theirs


def test_a_rollback_is_undone_when_it_fails(old: Path, wheel: Wheel) -> None:
    put(wheel, old)
    before, env = tree(old), look(old)
    for number in range(100):
        try:
            rollback(env, grace=0, checkpoint=stop_at(number))
        except Stop as stop:
            if str(stop) in ("committed", "before history", "before discarding", "before clearing"):
                break
            assert tree(old) == before
            assert nothing_in_progress(old)
            assert status(env).can_roll_back
    assert number > 5
    finished = recover(look(old))
    assert finished is not None
    assert (finished.outcome, finished.action, finished.after) == ("finished", "rollback", "pillow 12.1.1")
    assert imports(old) == "12.1.1"


def test_kept_things_that_are_gone_are_said(old: Path, wheel: Wheel) -> None:
    put(wheel, old)
    shutil.rmtree(old / STATE / "kept")
    with pytest.raises(StateError, match="nothing to go back to") as caught:
        back(old)
    assert "kept" in caught.value.why


def test_a_damaged_journal_destroys_nothing(old: Path, wheel: Wheel) -> None:
    with pytest.raises(Stop):
        put(wheel, old, checkpoint=lambda name: (_ for _ in ()).throw(Stop) if name == "committed" else None)
    place = Place.of(old)
    place.journal.write_text(place.journal.read_text().replace("commit", "comit"))
    before = digest(prefix_of(old), bytecode=True)
    for action in (recover, rollback):
        with pytest.raises(StateError, match=r"journal.json is damaged"):
            action(look(old))
    with pytest.raises(StateError, match=r"journal.json is damaged"):
        put(wheel, old)
    (place.state / "lock").unlink(missing_ok=True)
    assert digest(prefix_of(old), bytecode=True) == before or imports(old) == "13.0.0"
    assert place.staging.exists()


def test_a_damaged_history_destroys_nothing(old: Path, wheel: Wheel) -> None:
    put(wheel, old)
    before = tree(old)
    place = Place.of(old)
    place.history.write_text("{}")
    for action in (history, status, rollback):
        with pytest.raises(StateError, match=r"history.json is damaged"):
            action(look(old))  # type: ignore[operator]
    with pytest.raises(StateError, match=r"history.json is damaged"):
        put(wheel, old)
    assert tree(old) == before
    assert place.kept(1).is_dir()


def test_status_names_damaged_files(old: Path, wheel: Wheel) -> None:
    assert status(look(old)).ours is False
    put(wheel, old)
    (old / "PIL" / "Plugin0.py").write_text("x")
    (old / "PIL" / "Plugin1.py").unlink()
    found = status(look(old))
    assert not found.intact
    assert found.damaged == ("PIL/Plugin0.py", "PIL/Plugin1.py")
    assert found.changed == (f"lib/{old.parent.name}/site-packages/PIL",)


def test_status_of_an_empty_environment(site: Path) -> None:
    found = status(look(site))
    assert (found.name, found.version, found.ours, found.intact) == (None, None, False, False)
    assert not (site / STATE).exists()


def test_history_tells_what_was_done(old: Path, wheel: Wheel) -> None:
    put(wheel, old)
    (entry,) = history(look(old))
    assert (entry.before, entry.after) == ("pillow 12.1.1", NEW)
    assert (entry.march, entry.fidelity, entry.speedup) == ("v3", "bounded", 6.5)
    assert entry.wheel_sha256 == wheel.sha256
    assert entry.when.endswith("+00:00")
    # It is plain JSON, for whoever looks with other tools.
    assert json.loads((old / STATE / "history.json").read_text())["entries"][0]["after"] == NEW


def test_recover_cleans_what_had_not_touched_anything(old: Path) -> None:
    assert recover(look(old)) is None
    place = Place.of(old)
    (place.staging / "in").mkdir(parents=True)
    found = recover(look(old))
    assert found is not None
    assert found.outcome == "cleaned"
    assert not place.staging.exists()
