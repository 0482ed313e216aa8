"""One cache, real nodes: this machine and emulated older ones, over nginx and from a folder.

The nodes are qemu-user's: Nehalem has x86-64-v2, Haswell x86-64-v3. The process that picks
and installs is emulated, and so is the Python that then uses the build.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import time
import venv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from targets import RELEASE
from uv import find_uv_bin

from simdinstall import cpu
from simdinstall.cache import check, node
from simdinstall.cache.catalogue import Entry
from simdinstall.run import Completed, run
from simdinstall.store import file_digest

pytestmark = pytest.mark.network

QEMU = shutil.which("qemu-x86_64-static") or shutil.which("qemu-x86_64") or ""
NGINX = shutil.which("nginx") or ""
emulated = pytest.mark.skipif(not QEMU, reason="qemu-user is not installed")

NGINX_CONF = """\
{user}daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
  access_log off;
  types {{ text/html html; application/json json; }}
  default_type application/octet-stream;
  client_body_temp_path {folder}/1;
  proxy_temp_path {folder}/2;
  fastcgi_temp_path {folder}/3;
  uwsgi_temp_path {folder}/4;
  scgi_temp_path {folder}/5;
  server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""

USE = """\
from PIL import Image, _simd
Image.new("RGB", (200, 100), (1, 2, 3)).resize((50, 40), 1)
ran = [entry for entry in _simd.entries() if entry.calls]
print("ran", *[f"{entry.function}:{entry.level}" for entry in ran])
"""


@dataclass(frozen=True, kw_only=True)
class Wheelhouse:
    """A cache of four levels for this Python, and where a web server has it."""

    root: Path
    url: str

    def address(self, over: str) -> str:
        if over == "nginx" and not self.url:
            pytest.skip("nginx is not installed")
        return self.url if over == "nginx" else str(self.root)

    def level(self, name: str) -> Entry:
        (found,) = (
            entry for entry in node.catalogue(node.place(str(self.root))).entries if entry.level == name
        )
        return found


def simdinstall(*words: str | Path, on: str = "", check: bool = True) -> Completed:
    emulator = [QEMU, "-cpu", on] if on else []
    return run([*emulator, sys.executable, "-m", "simdinstall", *words], timeout=900, check=check)


@pytest.fixture(scope="module")
def house(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wheelhouse]:
    folder = tmp_path_factory.mktemp("served")
    root = folder / "wheels of all"
    matrix = ["--pillow", RELEASE, "--python", sys.executable, "--quick"]
    command = [sys.executable, "-m", "simdinstall", "cache", "build", str(root), *matrix]
    run(command, env={**os.environ, "SIMDINSTALL_CACHE_DIR": str(cache)}, timeout=1200)
    if not NGINX:
        yield Wheelhouse(root=root, url="")
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    user = "user root;\n" if os.geteuid() == 0 else ""
    config = folder / "nginx.conf"
    config.write_text(NGINX_CONF.format(user=user, folder=folder, port=port, root=folder))
    server = subprocess.Popen([NGINX, "-c", str(config), "-e", str(folder / "error.log")])
    try:
        until = time.monotonic() + 30
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield Wheelhouse(root=root, url=f"http://127.0.0.1:{port}/wheels%20of%20all")
    finally:
        server.terminate()
        server.wait()


def made(folder: Path) -> Path:
    venv.create(folder, with_pip=False, symlinks=True)
    return folder / "bin" / "python"


def used(python: Path, on: str = "") -> Completed:
    emulator = [QEMU, "-cpu", on] if on else []
    return run([*emulator, python, "-c", USE], timeout=900, check=False)


def here() -> str:
    """The level of this machine, as builds are named after it."""
    return {"x86-64-v4": "v4", "x86-64-v3": "v3", "x86-64-v2": "v2"}.get(cpu.detect().level, "portable")


def test_the_cache_is_whole_and_verified(house: Wheelhouse) -> None:
    for over in ("folder", "nginx"):
        found = check.check(node.place(house.address(over)))
        assert (found.wheels, found.problems) == (4, ())
    assert house.level(here()).verified


@pytest.mark.parametrize("over", ["folder", "nginx"])
def test_this_machine(house: Wheelhouse, over: str, tmp_path: Path) -> None:
    python = made(tmp_path / "env")
    address = house.address(over)
    said = json.loads(simdinstall("--cache", address, "--python", python, "--yes", "--json").stdout)
    assert said["wheel"]["version"] == f"{RELEASE}+simd.{here()}"
    assert said["verdict"]["problems"] == []
    assert "ImagingResample" in used(python).stdout
    again = simdinstall("--cache", address, "--python", python, "--check")
    assert "installed and intact" in again.stdout
    simdinstall("rollback", "--python", python, "--yes")
    assert "No module named 'PIL'" in used(python).stderr


@emulated
@pytest.mark.emulator
@pytest.mark.parametrize(
    ("machine", "level", "kernels", "over", "beside"),
    [("Nehalem", "v2", "sse4", "nginx", "folder"), ("Haswell", "v3", "avx2", "folder", "nginx")],
)
def test_an_emulated_node(
    house: Wheelhouse, machine: str, level: str, kernels: str, over: str, beside: str, tmp_path: Path
) -> None:
    python = made(tmp_path / "env")
    index = simdinstall("cache", "url", house.address(beside), on=machine).stdout.strip()
    assert index.endswith(f"/simple/{level}/")
    simdinstall("--cache", house.address(over), "--python", python, "--yes", on=machine)
    assert f"ImagingResample:{kernels}" in used(python, on=machine).stdout


@pytest.mark.parametrize("over", ["folder", "nginx"])
def test_plain_pip_and_uv(house: Wheelhouse, over: str, tmp_path: Path) -> None:
    index = simdinstall("cache", "url", house.address(over)).stdout.strip()
    assert index.endswith(f"/simple/{here()}/")
    for number, install in enumerate((by_pip, by_uv)):
        python = made(tmp_path / str(number))
        run([*install(python), "--no-cache-dir", "--index-url", index, "pillow"], timeout=900)
        assert "ImagingResample" in used(python).stdout


def by_pip(python: Path) -> Sequence[str]:
    return (sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--isolated")


def by_uv(python: Path) -> Sequence[str]:
    return (find_uv_bin(), "pip", "install", "-q", "--no-config", "--python", str(python))


@emulated
@pytest.mark.emulator
def test_a_wheel_forced_onto_a_cpu_that_it_is_too_much_for(house: Wheelhouse, tmp_path: Path) -> None:
    python = made(tmp_path / "env")
    run([*by_uv(python), "--no-index", house.root / house.level("v4").path], timeout=900)
    said = used(python, on="Haswell")
    assert said.returncode == 1
    last = said.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: ")
    assert "libpillow_simd.so: CPU ISA level is lower than required" in last


def spent(command: Sequence[str | Path]) -> tuple[float, float]:
    """CPU and wall seconds of a command."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    run(command, timeout=900)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return used, time.perf_counter() - began


@pytest.mark.skipif("SIMDINSTALL_TEST_TIMES" not in os.environ, reason="SIMDINSTALL_TEST_TIMES")
@pytest.mark.parametrize("over", ["folder", "nginx"])
def test_it_takes_about_as_long_as_pip(house: Wheelhouse, cache: Path, over: str, tmp_path: Path) -> None:
    """Five of each in turn, into fresh environments; pip's is stock Pillow from the same server."""
    address = house.address(over)
    tag = f"cp3{sys.version_info[1]}"
    official = next(cache.glob(f"downloads/*/pillow-{RELEASE}-{tag}-{tag}-manylinux*_x86_64.whl"))
    simple = house.root / "stock" / "pillow"
    simple.mkdir(parents=True, exist_ok=True)
    shutil.copy2(official, simple)
    link = f'<a href="{official.name}#sha256={file_digest(official)}">{official.name}</a>'
    (simple / "index.html").write_text(f"<html><body>{link}</body></html>")
    index = f"{address}/stock/" if over == "nginx" else f"{(house.root / 'stock').as_uri()}/"
    rows = []
    for number in range(5):
        theirs, ours = (tmp_path / f"{who}{number}" for who in ("pip", "ours"))
        venv.create(theirs, with_pip=True, symlinks=True)
        python = made(ours)
        pip = [theirs / "bin" / "python", "-m", "pip", "--isolated", "install", "-q", "--no-cache-dir"]
        stock = spent([*pip, "--disable-pip-version-check", "--index-url", index, "pillow"])
        own = [sys.executable, "-m", "simdinstall", "--cache", address, "--python", python, "--yes"]
        rows.append((stock, spent(own)))
        print(f"{over}: pip {stock[0]:.2f} s CPU, {stock[1]:.2f} s; ", end="")
        print(f"simdinstall {rows[-1][1][0]:.2f} s CPU, {rows[-1][1][1]:.2f} s")
    assert statistics.median(own[0] for _, own in rows) < 2
    assert statistics.median(own[0] / stock[0] for stock, own in rows) < 1.5
