"""What goes wrong around a cache, as a person meets it: one screen, and an exit code of its own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import cache_parts
import simdinstall
import small_pillow
from cache_parts import Shelf, Team
from simdinstall.cache import builder, cells
from simdinstall.cache.builder import Wanted
from simdinstall.cache.catalogue import NAME, SCHEMA, House
from simdinstall.cli import main
from simdinstall.errors import NoSpaceError, StateError

PYTHON = f"3.{sys.version_info[1]}"


@pytest.fixture
def house(tmp_path: Path) -> House:
    made = [cache_parts.cell(level=level, py=PYTHON) for level in ("portable", "v3")]
    return cache_parts.filled(tmp_path / "wh", tmp_path / "s", *made)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    small_pillow.make_venv(tmp_path / "env")
    return tmp_path / "env"


def fails(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str]:
    """The exit code, and what a person sees: a sentence, at most a screen of it."""
    code = main([str(word) for word in words])
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert "error: " in said
    assert len(said.splitlines()) <= 24
    return code, " ".join(said.split())


def test_an_altered_wheel_is_not_installed(
    house: House, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for entry in house.read().entries:
        path = house.root / entry.path
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    code, said = fails(capsys, "--cache", house.root, "--python", target, "--yes")
    assert code == 5
    assert "damaged or was altered" in said
    assert "cache verify" in said
    assert not list(target.rglob("PIL"))


def test_a_catalogue_of_a_newer_version(
    house: House, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = json.loads((house.root / NAME).read_bytes()) | {"schema": SCHEMA + 1}
    (house.root / NAME).write_text(json.dumps(told))
    for words in (
        ("--cache", house.root, "--python", target, "--yes"),
        ("cache", "verify", house.root),
        ("cache", "prune", house.root),
    ):
        code, said = fails(capsys, *words)
        assert code == 10
        assert "newer simdinstall" in said
        assert "pip install -U simdinstall" in said


def test_no_cache_there(target: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for where in (str(tmp_path / "nothing"), "http://127.0.0.1:9/wh"):
        code, said = fails(capsys, "--cache", where, "--python", target, "--yes")
        assert code == 5
        assert "catalogue.json cannot be read" in said


def test_nodes_that_lack_what_every_build_needs(
    tmp_path: Path, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    house = cache_parts.filled(tmp_path / "wh", tmp_path / "s", cache_parts.cell(level="v3", py=PYTHON))
    code, said = fails(capsys, "--cache", house.root, "--python", target, "--yes", "--cpu", "x86-64-v2")
    assert code == 3
    assert "avx2" in said


def test_a_cpu_that_is_unknown(house: House, target: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = fails(capsys, "--cache", house.root, "--python", target, "--yes", "--cpu", "quantum")
    assert code == 3
    assert "quantum" in said


def test_a_scheduler_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("distributed")
    from simdinstall.cache import dask_cluster
    from simdinstall.errors import BuildError

    with pytest.raises(BuildError) as caught:
        dask_cluster.connect("tcp://127.0.0.1:9", timeout=0.5)
    assert "is the scheduler running" in caught.value.hint


def test_machines_without_kernels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = fails(capsys, "cache", "build", tmp_path / "wh", "--platform", "manylinux_aarch64")
    assert code == 2
    assert "no kernels for this machine" in said
    assert not (tmp_path / "wh").exists()


# ------------------------------------------------------------ real file systems


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 KB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=128k", "none", str(folder)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("file systems cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def build(root: Path, scratch: Path, *levels: str, pythons: str = "3.11") -> builder.Summary:
    marches = [cache_parts.march(level) for level in levels]
    matrix = cells.matrix(["13.0.0"], [cache_parts.python(p) for p in pythons.split(",")], marches)
    return builder.build_matrix(
        matrix,
        marches,
        house=cache_parts.house(root),
        fetcher=Shelf.fetcher(scratch / "shelf"),
        executor=Team(scratch / "team"),
        wanted=Wanted(),
    )


def test_a_disk_that_fills_up(small_disk: Path, tmp_path: Path) -> None:
    root = small_disk / "wh"
    build(root, tmp_path, "portable")
    filler = small_disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1024))
    with pytest.raises(NoSpaceError, match="no space left"):
        build(root, tmp_path, "portable", "v3", pythons="3.11,3.12")
    # What was there is whole, and with room it goes on.
    assert len(cache_parts.house(root).read().entries) == 1
    filler.unlink()
    done = build(root, tmp_path, "portable", "v3", pythons="3.11,3.12")
    assert len(done.of("unchanged")) >= 1
    assert len(done.catalogue.entries) == 4


def test_a_folder_that_is_mounted_read_only(small_disk: Path, tmp_path: Path) -> None:
    root = small_disk / "wh"
    build(root, tmp_path, "portable")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StateError, match="cannot be written") as caught:
        build(root, tmp_path, "portable", "v3")
    assert "simdinstall --cache DIR" in caught.value.hint
    # To read it is enough.
    code = subprocess.run(
        [sys.executable, "-m", "simdinstall", "cache", "verify", str(root)],
        env={**os.environ, "PYTHONPATH": str(Path(simdinstall.__file__).parents[1])},
        capture_output=True,
        text=True,
    )
    assert code.returncode == 0, code.stderr
