"""Real conda environments without conda: py-rattler solves and links from a channel made here."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import re
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

SERIES = f"{sys.version_info[0]}.{sys.version_info[1]}"
SITE = f"lib/python{SERIES}/site-packages"

#: Parts of a Python that nothing here needs.
_NAMES = (
    "test site-packages idlelib __pycache__ ensurepip tkinter lib2to3 turtledemo pydoc_data distutils"
    " sqlite3 curses dbm wsgiref unittest"
)
UNNEEDED = frozenset(re.findall(r"\w\S*", _NAMES)) | {"__pycache__"}


def python_files() -> dict[str, Path]:
    """The files of the running Python that another place needs for a Python of its own."""
    base = Path(sys.base_prefix)
    files = {f"bin/python{SERIES}": base / "bin" / f"python{SERIES}"}
    stdlib = base / "lib" / f"python{SERIES}"
    for path in stdlib.rglob("*"):
        inner = path.relative_to(stdlib)
        unneeded = any(part in UNNEEDED or part.startswith("config-") for part in inner.parts)
        if path.is_file() and not unneeded:
            files[f"lib/python{SERIES}/{inner}"] = path
    return files


def relocated_python(prefix: Path) -> Path:
    """A Python of its own in ``prefix``, as an operating system's is; gives its executable."""
    for name, source in python_files().items():
        target = prefix / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
    (prefix / SITE).mkdir(exist_ok=True)
    executable = prefix / "bin" / "python3"
    executable.symlink_to(f"python{SERIES}")
    return executable


class CondaChannel:
    """A folder of conda packages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cache = folder.with_name("conda-cache")
        (folder / "noarch").mkdir(parents=True)
        self.subdir = folder / "linux-64"
        self.subdir.mkdir()

    def add(
        self, name: str, version: str, files: Mapping[str, bytes | Path], depends: Sequence[str] = ()
    ) -> None:
        """Make a package of ``files``, as conda-build lays one out."""
        stem = f"{name}-{version}-0"
        index = {
            "name": name,
            "version": version,
            "build": "0",
            "build_number": 0,
            "depends": list(depends),
            "subdir": "linux-64",
            "arch": "x86_64",
            "platform": "linux",
            "license": "MIT",
        }
        paths = []
        with tarfile.open(self.subdir / f"{stem}.tar.bz2", "w:bz2", compresslevel=1) as archive:

            def put(path: str, data: bytes, mode: int) -> None:
                member = tarfile.TarInfo(path)
                member.size, member.mode = len(data), mode
                archive.addfile(member, io.BytesIO(data))

            for path, content in files.items():
                data = content.read_bytes() if isinstance(content, Path) else content
                put(path, data, 0o755 if path.startswith("bin/") or ".so" in path else 0o644)
                digest = hashlib.sha256(data).hexdigest()
                entry = {"_path": path, "path_type": "hardlink", "sha256": digest, "size_in_bytes": len(data)}
                paths.append(entry)
            put("info/index.json", json.dumps(index).encode(), 0o644)
            put("info/paths.json", json.dumps({"paths": paths, "paths_version": 1}).encode(), 0o644)
            put("info/files", "\n".join(files).encode(), 0o644)

    def add_python(self) -> None:
        """A package of the running Python."""
        files: dict[str, bytes | Path] = dict(python_files())
        files["bin/python"] = files[f"bin/python{SERIES}"]
        self.add("python", SERIES + ".0", files)

    def add_wheel(self, name: str, version: str, wheel: Path, depends: Sequence[str] = ()) -> None:
        """A package of a wheel's files, with the marks that conda's builds leave."""
        with zipfile.ZipFile(wheel) as archive:
            files: dict[str, bytes | Path] = {
                f"{SITE}/{member}": archive.read(member)
                for member in archive.namelist()
                if not member.endswith("/")
            }
        info = next(path for path in files if path.endswith(".dist-info/METADATA")).rpartition("/")[0]
        files[f"{info}/INSTALLER"] = b"conda\n"
        self.add(name, version, files, depends)

    def make(self, prefix: Path, *specs: str) -> Path:
        """An environment with packages of this channel; gives its python."""
        import rattler

        async def link() -> None:
            await rattler.index.index_fs(self.folder)
            # A gateway of its own: what it remembers of an index is not asked for again.
            records = await rattler.solve(
                [rattler.Channel(self.folder.as_uri())],
                [*specs],
                gateway=rattler.Gateway(cache_dir=self.cache / "repodata"),
                platforms=["linux-64", "noarch"],
            )
            await rattler.install(
                records, target_prefix=prefix, cache_dir=self.cache / "pkgs", show_progress=False
            )

        os.environ.setdefault("RATTLER_CACHE_DIR", str(self.cache))
        asyncio.run(link())
        return prefix / "bin" / "python"
