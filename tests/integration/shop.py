"""What the matrix of environments is made with: wheels fetched once, builds verified once, tools."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pytest
from conda_env import CondaChannel, relocated_python
from uv import find_uv_bin

import small_pillow
from simdinstall import environment, pipeline
from simdinstall.fetch import Fetcher
from simdinstall.plan import Request
from simdinstall.progress import silent
from simdinstall.run import run
from simdinstall.store import Store, default_root

SERIES = f"{sys.version_info[0]}.{sys.version_info[1]}"
BASE = Path(sys.base_prefix) / "bin" / f"python{SERIES}"
NEWEST, OLDER = "13.0.0", "12.3.0"


@dataclass(frozen=True, kw_only=True)
class Target:
    """A real environment: its Python, the trees that must not change unasked, and variables."""

    python: Path
    roots: tuple[Path, ...]
    variables: Mapping[str, str] = field(default_factory=dict)
    conda: bool = False

    @property
    def site(self) -> Path:
        """Its site-packages."""
        (site,) = self.roots[0].glob("lib/python3*/site-packages")
        return site


class Shop:
    """Everything that is shared by the environments of one run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.links = folder / "links"
        self.links.mkdir()
        self.uv_cache = folder / "uv-cache"
        self.uv_cache.mkdir()
        self._made: dict[str, pipeline.Made] = {}
        self._fetcher = Fetcher(cache=default_root())

    def close(self) -> None:
        """Close the connections."""
        self._fetcher.close()

    # Pythons and wheels ----------------------------------------------------------------

    def python(self, series: str = SERIES) -> Path:
        """An interpreter of a series, or a skip."""
        if series == SERIES:
            return BASE
        found = sorted((Path.home() / ".pyenv" / "versions").glob(f"{series}.*/bin/python{series}"))
        if not found:
            found = self._known_to_uv(series)
        if not found:
            pytest.skip(f"there is no Python {series} here")
        return found[0]

    def _known_to_uv(self, series: str) -> list[Path]:
        words = ("python", "find", "--no-project", "--no-python-downloads", series)
        said = run([find_uv_bin(), *words], check=False, timeout=900)
        return [Path(said.stdout.strip())] if said.returncode == 0 else []

    def wheel(self, release: str, series: str = SERIES) -> Path:
        """The official wheel, fetched once."""
        env = environment.inspect(self.python(series))
        download = self._fetcher.wheel("pillow", release, env.tags, python=env.release)
        target = self.links / download.filename
        if not target.exists():
            shutil.copy2(download.path, target)
        return target

    def simd_wheel(self) -> Path:
        """A wheel by the name of pillow-simd, of the files of an official Pillow 12.1.1."""
        target = self.links / self.wheel("12.1.1").name.replace("pillow-", "pillow_simd-", 1)
        if not target.exists():
            self._rename(self.wheel("12.1.1"), target)
        return target

    def _rename(self, source: Path, target: Path) -> None:
        old, new = "pillow-12.1.1.dist-info", "pillow_simd-12.1.1.dist-info"
        with zipfile.ZipFile(source) as archive, tempfile.TemporaryDirectory() as folder:
            content = {
                name.replace(old, new): archive.read(name)
                for name in archive.namelist()
                if not name.endswith(("/", "RECORD"))
            }
            metadata = content[f"{new}/METADATA"]
            content[f"{new}/METADATA"] = metadata.replace(b"\nName: pillow\n", b"\nName: pillow-simd\n")
            # The two builds' files differ, as those of a real Pillow-SIMD do.
            content["PIL/Image.py"] += b"\n# pillow-simd\n"
            record = "".join(small_pillow.record_line(name, data) for name, data in content.items())
            content[f"{new}/RECORD"] = f"{record}{new}/RECORD,,\n".encode()
            part = Path(folder) / "part"
            with zipfile.ZipFile(part, "w") as made:
                for name, data in content.items():
                    made.writestr(name, data)
            shutil.copyfile(part, target)

    def made(self, series: str = SERIES) -> pipeline.Made:
        """The accelerated build of the newest release: built and verified once, else from the cache."""
        if series not in self._made:
            target = environment.inspect(self.python(series))
            services = pipeline.Services(fetcher=self._fetcher, store=Store(default_root()), progress=silent)
            scratch = self.folder / f"scratch-{series}"
            scratch.mkdir()
            request = Request(python=target.python, pillow=NEWEST)
            prepared = pipeline.prepare(request, target, services=services, scratch=scratch, installing=False)
            made = pipeline.make(prepared, services=services, scratch=scratch)
            made.verdict.require_ok()
            self._made[series] = made
        return self._made[series]

    # Tools -------------------------------------------------------------------------------

    def uv(self, *words: str | Path) -> None:
        """Run uv, without a network."""
        environ = {**os.environ, "UV_OFFLINE": "1", "UV_CACHE_DIR": str(self.uv_cache)}
        environ = {name: value for name, value in environ.items() if not name.startswith("PIP_")}
        run([find_uv_bin(), *words], env=environ, timeout=900)

    def venv(self, folder: Path, maker: str = "uv", series: str = SERIES) -> Target:
        """A virtual environment of one of its makers."""
        prefix = folder / "env"
        python = self.python(series)
        if maker == "venv":
            run([python, "-m", "venv", prefix], timeout=900)
        elif maker == "venv without pip":
            run([python, "-m", "venv", "--without-pip", prefix], timeout=900)
        elif maker == "virtualenv":
            run(
                [sys.executable, "-m", "virtualenv", "-q", "--no-periodic-update", "-p", python, prefix],
                timeout=900,
            )
        else:
            self.uv("venv", "-q", "--python", python, prefix)
        return Target(python=prefix / "bin" / "python", roots=(prefix, self.uv_cache))

    def install(self, target: Target, *wheels: Path, tool: str = "uv") -> Target:
        """Put wheels in, with uv (hard links into its cache) or the environment's own pip."""
        for wheel in wheels:
            words = ("--no-deps", "--no-index", wheel)
            if tool == "uv":
                more = ("--break-system-packages", "--link-mode", "hardlink")
                self.uv("pip", "install", "-q", "--python", target.python, *more, *words)
            else:
                environ = {**os.environ, **target.variables}
                more = ("--user",) if tool == "pip --user" else ()
                run([target.python, "-m", "pip", "install", "-q", *more, *words], env=environ, timeout=900)
        return target

    def stock(
        self,
        folder: Path,
        release: str = OLDER,
        *,
        maker: str = "uv",
        series: str = SERIES,
        tool: str = "uv",
    ) -> Target:
        """A virtual environment with an official Pillow."""
        return self.install(self.venv(folder, maker, series), self.wheel(release, series), tool=tool)

    @cached_property
    def _system(self) -> Path:
        relocated_python(self.folder / "system")
        return self.folder / "system"

    def system(self, folder: Path) -> Target:
        """A Python of its own, as an operating system's is, and no virtual environment."""
        prefix = folder / "usr"
        shutil.copytree(self._system, prefix, symlinks=True, copy_function=os.link)
        return Target(python=prefix / "bin" / "python3", roots=(prefix, self.uv_cache))

    @cached_property
    def channel(self) -> CondaChannel:
        """A channel with Python, a Pillow, and a library that it needs."""
        pytest.importorskip("rattler")
        channel = CondaChannel(self.folder / "channel")
        channel.add_python()
        channel.add_wheel("pillow", OLDER, self.wheel(OLDER), ["python", "libtiff"])
        channel.add("libtiff", "4.7.0", {"lib/libtiff.so.6": b"tiff"})
        channel.add("jpeg", "9.0", {"lib/libjpeg.so": b"IJG", "include/jpeglib.h": b"9"})
        channel.add("libjpeg-turbo", "3.1.0", {"lib/libjpeg.so": b"turbo", "include/jpeglib.h": b"62"})
        return channel

    def conda(self, folder: Path, *specs: str) -> Target:
        """A conda environment."""
        prefix = folder / "env"
        python = self.channel.make(prefix, "python", *specs)
        return Target(python=python, roots=(prefix, self.channel.cache, self.uv_cache), conda=True)


def snapshot(target: Target) -> dict[str, tuple[str, int, str]]:
    """Every file below the roots: kind, mode, and content; hard links have the same content or none.

    What simdinstall keeps for itself, and byte code of the standard library, is left out.
    """
    found = {}
    for root in target.roots:
        for folder, folders, names in os.walk(root):
            if ".simdinstall" in folders:
                folders.remove(".simdinstall")
            if folder.endswith("__pycache__") and "site-packages" not in folder:
                continue
            for name in names:
                path = Path(folder) / name
                status = path.lstat()
                if stat.S_ISLNK(status.st_mode):
                    found[str(path)] = ("link", 0, str(path.readlink()))
                elif name.endswith(".lock") or not stat.S_ISREG(status.st_mode):
                    continue
                else:
                    digest = hashlib.sha256(path.read_bytes()).hexdigest()
                    found[str(path)] = ("file", stat.S_IMODE(status.st_mode), digest)
    return found
