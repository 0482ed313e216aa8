"""What goes wrong, seen from outside: exit codes, what is said, and that nothing is changed."""

from __future__ import annotations

import base64
import contextlib
import csv
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from targets import RELEASE, Target

import builds
from simdinstall.journal import STATE
from simdinstall.run import start
from test_journal import HOLD

pytestmark = [pytest.mark.network, pytest.mark.integration]

PYENV = Path.home() / ".pyenv" / "versions"


def repacked(
    official: Path, into: Path, *, version: str = RELEASE, change: Callable[[bytes], bytes] = bytes
) -> Path:
    """The official wheel as another release, or with another core extension."""
    into.mkdir(exist_ok=True)
    made = into / official.name.replace(f"-{RELEASE}-", f"-{version}-", 1)
    rows: list[tuple[str, str, str]] = []
    with zipfile.ZipFile(official) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as new:
        for name in old.namelist():
            content = old.read(name)
            place = name.replace(f"-{RELEASE}.dist-info", f"-{version}.dist-info")
            if name.endswith("/RECORD"):
                continue
            if name.endswith("/METADATA"):
                content = content.replace(f"Version: {RELEASE}".encode(), f"Version: {version}".encode(), 1)
            if name == "PIL/_version.py":
                content = content.replace(RELEASE.encode(), version.encode())
            if name.startswith("PIL/_imaging.") and name.endswith(".so"):
                content = change(content.replace(f"{RELEASE}\0".encode(), f"{version}\0".encode()))
            new.writestr(place, content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            rows.append((place, f"sha256={digest}", str(len(content))))
        record = io.StringIO()
        csv.writer(record, lineterminator="\n").writerows(
            [*rows, (f"pillow-{version}.dist-info/RECORD", "", "")]
        )
        new.writestr(f"pillow-{version}.dist-info/RECORD", record.getvalue())
    return made


@pytest.fixture(scope="session")
def official(pytestconfig: pytest.Config) -> Path:
    return builds.official_wheel(pytestconfig)


@pytest.fixture
def bare(tmp_path: Path, cache: Path) -> Target:
    """An environment without pip, which is made in no time."""
    maker = (sys.executable, "-m", "venv", "--without-pip")
    return Target(tmp_path / "env", cache, maker=maker)


def index(folder: Path) -> dict[str, str]:
    """Variables that leave a folder of wheels as the only index, with a cache of its own.

    What --offline finds in the cache that tests share has to be the real Pillow.
    """
    return {
        "SIMDINSTALL_CACHE_DIR": str(folder.parent / "cache"),
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(folder),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_EXTRA_INDEX_URL": "",
        "UV_NO_CONFIG": "1",
    }


def symbolic(extension: bytes) -> bytes:
    """The extension as ``-Bsymbolic`` links it: DT_SYMBOLIC in the place of a mere hint."""
    dynamic = ELFFile(io.BytesIO(extension)).get_section_by_name(".dynamic")
    for number, tag in enumerate(dynamic.iter_tags()):
        if tag.entry.d_tag == "DT_RELACOUNT":
            at = dynamic["sh_offset"] + number * dynamic["sh_entsize"]
            return extension[:at] + (16).to_bytes(8, "little") + extension[at + 8 :]
    raise AssertionError("no DT_RELACOUNT")


def stripped(extension: bytes, folder: Path) -> bytes:
    path = folder / "stripped.so"
    path.write_bytes(extension)
    subprocess.run(["strip", "-g", path], check=True)
    return path.read_bytes()


@pytest.mark.parametrize(("how", "says"), [("symbolic", "DT_SYMBOLIC"), ("stripped", "no debug information")])
def test_an_extension_that_cannot_be_fronted(
    bare: Target, official: Path, tmp_path: Path, how: str, says: str
) -> None:
    repacked(
        official,
        tmp_path / "wheels",
        change=symbolic if how == "symbolic" else lambda extension: stripped(extension, tmp_path),
    )
    said = bare.simdinstall("--yes", code=6, **index(tmp_path / "wheels"))
    assert says in said
    assert not (bare.site / "PIL").exists()


def test_a_compiler_that_fails_shows_its_words_and_its_log(
    bare: Target, official: Path, tmp_path: Path
) -> None:
    compiler = tmp_path / "gcc"
    compiler.write_text(
        '#!/bin/sh\ncase "$*" in *probe*|*version|*machine) exec gcc "$@";; esac\n'
        'echo "internal error: out of ideas" >&2\nexit 4\n'
    )
    compiler.chmod(0o755)
    said = bare.simdinstall(
        "--compiler", compiler, "--yes", "--march", "x86-64-v2",
        code=6, **index(official.parent),
    )  # fmt: skip
    assert "out of ideas" in said
    [log] = {Path(word) for word in said.split() if word.endswith(".log")}
    assert "out of ideas" in log.read_text()
    assert not (bare.site / "PIL").exists()


@pytest.mark.parametrize("version", ["2.7", "3.10"])
def test_a_python_that_is_too_old(bare: Target, version: str) -> None:
    found = sorted(PYENV.glob(f"{version}.*/bin/python"))
    if not found:
        pytest.skip(f"no Python {version} here")
    done = subprocess.run(
        [sys.executable, "-m", "simdinstall", "--yes", "--python", found[0]],
        capture_output=True, text=True, env=bare.environ, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 4
    assert "too old" in done.stderr


def test_no_network(bare: Target, tmp_path: Path) -> None:
    said = bare.simdinstall(
        "--yes", code=5, SIMDINSTALL_CACHE_DIR=str(tmp_path / "cache"), PIP_CONFIG_FILE=os.devnull,
        PIP_INDEX_URL="http://127.0.0.1:9/simple", PIP_RETRIES="0", PIP_FIND_LINKS="", PIP_EXTRA_INDEX_URL="",
    )  # fmt: skip
    assert "cannot reach 127.0.0.1" in said


def test_a_damaged_journal_destroys_nothing(target: Target, official: Path) -> None:
    target.pip("install", "-q", "--no-index", official)
    state = target.site / STATE
    state.mkdir()
    (state / "journal.json").write_text("{ torn")
    before = {path: path.read_bytes() for path in (target.site / "PIL").rglob("*.py")}
    for command in (("--yes",), ("rollback", "--yes"), ("status",)):
        assert "journal.json" in target.simdinstall(*command, code=10, **index(official.parent))
    assert {path: path.read_bytes() for path in (target.site / "PIL").rglob("*.py")} == before
    assert (state / "journal.json").read_text() == "{ torn"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 10 MB: less than a wheel and what it unpacks to."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=10m", "none", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("filesystems cannot be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_no_space_for_the_build(bare: Target, small_disk: Path) -> None:
    said = bare.simdinstall(
        "--pillow", RELEASE, "--yes", code=11, SIMDINSTALL_CACHE_DIR=str(small_disk / "cache")
    )
    assert "no space" in said.lower()
    assert not (bare.site / "PIL").exists()


def test_two_at_once_and_a_damaged_cache_entry(fast: Target, cache: Path, tmp_path: Path) -> None:
    own = tmp_path / "cache"
    # Other test processes may be at work in it: what goes while it is copied, goes.
    with contextlib.suppress(shutil.Error):
        shutil.copytree(cache, own, symlinks=True)
    target = Target(tmp_path / "env", own)
    target.pip("install", "-q", f"pillow=={RELEASE}")
    holder = start([sys.executable, "-c", HOLD, str(target.site)])
    try:
        holder.receive(600)
        said = target.simdinstall("--pillow", RELEASE, "--yes", code=9)
    finally:
        holder.kill()
    assert "another simdinstall" in said.lower()
    assert target.run("import importlib.metadata as m; print(m.version('pillow'))") == RELEASE

    for wheel in (own / "wheels").glob("*/*.whl"):
        with wheel.open("ab") as file:
            file.write(b"x")
    said = target.simdinstall("--pillow", RELEASE, "--yes")
    assert "damaged" in said or "made again" in said
    assert json.loads(target.simdinstall("status", "--json"))["intact"]


def test_no_space_for_the_installation(fast: Target, cache: Path, small_disk: Path) -> None:
    maker = (sys.executable, "-m", "venv", "--without-pip")
    target = Target(small_disk / "env", cache, maker=maker)
    said = target.simdinstall("--pillow", RELEASE, "--yes", code=11)
    assert "no space" in said.lower() or "too little space" in said.lower()
    assert not (target.site / "PIL").exists()
    assert not (target.site / STATE / "staging").exists()


def test_a_release_that_nobody_knew(bare: Target, official: Path, tmp_path: Path) -> None:
    """The day a new Pillow appears: the same extension under a number that no kernel was tried with."""
    repacked(official, tmp_path / "wheels", version="13.9.0")
    document = json.loads(bare.simdinstall("--yes", "--json", **index(tmp_path / "wheels")))
    assert document["verdict"]["ok"]
    assert bare.run("import PIL; print(PIL.__version__)") == "13.9.0"
    status = json.loads(bare.simdinstall("status", "--json", "--offline"))
    assert (status["ours"], status["intact"]) == (True, True)


def test_every_document_has_a_schema(fast: Target) -> None:
    calls = (
        ("install", "--pillow", RELEASE, "--check"),
        ("status", "--offline"),
        ("history",),
        ("explain", "--pillow", RELEASE),
    )
    for call in calls:
        assert json.loads(fast.simdinstall(*call, "--json"))["schema"] == f"simdinstall.{call[0]}/1"


def test_an_update_keeps_it_and_a_newer_release_is_told(
    target: Target, fast: Target, official: Path, tmp_path: Path
) -> None:
    target.simdinstall("--pillow", RELEASE, "--yes")
    variables = index(official.parent)
    target.environ |= variables
    assert "13.0.0+simd" in target.pip("install", "-U", f"pillow>={RELEASE}")
    assert json.loads(target.simdinstall("status", "--json", "--offline"))["ours"]
    repacked(official, tmp_path / "wheels", version="13.0.1")
    target.environ |= index(tmp_path / "wheels")
    target.pip("install", "-q", "-U", "pillow")
    status = json.loads(target.simdinstall("status", "--json", "--offline"))
    assert (status["ours"], status["version"]) == (False, "13.0.1")
