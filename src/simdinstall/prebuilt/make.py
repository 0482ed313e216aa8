"""Compiles the libraries of this package, when simdinstall's own wheel is built.

The wheel's build runs this from the source tree; what it imports must not need more than
the requirements that ``tools/backend.py`` names.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from simdinstall import abi, compiling, kernels, layouts, library, linked, prebuilt, toolchain
from simdinstall.kernels import Catalogue
from simdinstall.layouts import Layout
from simdinstall.progress import Progress, silent
from simdinstall.toolchain import Toolchain


@dataclass(frozen=True, kw_only=True, slots=True)
class Own:
    """The project's own sources where they lie, as :class:`library.Sources`."""

    root: Path

    @property
    def kernels_dir(self) -> Path:
        """The same folder."""
        return self.root

    @property
    def include_dirs(self) -> tuple[Path, ...]:
        """The same folder."""
        return (self.root,)


def make(
    into: Path,
    *,
    toolchain: Toolchain,
    wanted: Sequence[Layout] | None = None,
    cache: Path | None = None,
    catalogue: Catalogue | None = None,
    sources: Path | None = None,
    progress: Progress = silent,
    jobs: int = 2,
) -> tuple[str, ...]:
    """Compile one library for each layout that differs, and return their layouts' names.

    ``wanted``: all known layouts unless given; ``sources``: the project's own. ``cache``
    keeps what was compiled, by everything that goes in. Raises BuildError and NoSpaceError.
    """
    catalogue = catalogue or kernels.load()
    sources = sources or kernels.sources_dir()
    into.mkdir(parents=True, exist_ok=True)
    made: dict[str, str] = {}
    for layout in layouts.load() if wanted is None else wanted:
        if not prebuilt.own_kernels(catalogue, layout.abi, layout.release):
            continue
        key = prebuilt.key(catalogue, layout.abi, layout.release, sources)
        if key in made:
            continue
        made[key] = layout.name
        kept = cache / _cache_key(key, toolchain) if cache else None
        if kept is None or not _copy(kept, into, key):
            progress(f"compiling kernels for Pillow {layout.name}")
            _make_one(layout, key, into, catalogue, sources, toolchain, jobs)
            if kept is not None:
                _keep(into, kept, key)
    return tuple(made.values())


def _make_one(
    layout: Layout,
    key: str,
    into: Path,
    catalogue: Catalogue,
    sources: Path,
    toolchain: Toolchain,
    jobs: int,
) -> None:
    with tempfile.TemporaryDirectory(prefix="simdinstall-kernels-") as temporary:
        folder = Path(temporary)
        (folder / "sources").mkdir()
        for path in sorted(sources.glob("*.[ch]")):
            shutil.copyfile(path, folder / "sources" / path.name)
        (folder / "scratch").mkdir()
        built = library.compile_library(
            Own(root=folder / "sources"),
            prebuilt.own_kernels(catalogue, layout.abi, layout.release),
            catalogue=catalogue,
            abi=layout.abi,
            release=layout.release,
            fidelity="exact",
            march=prebuilt.marked(),
            toolchain=toolchain,
            scratch=folder / "scratch",
            log=folder / "log",
            jobs=jobs,
            label=f"prebuilt for the structs of Pillow {layout.name}",
        )
    told = {
        "format": prebuilt.FORMAT,
        "key": key,
        "layout": layout.name,
        "sha256": [hashlib.sha256(file).hexdigest() for file in (built.library, built.loader)],
        "compiler": {
            "kind": toolchain.kind,
            "version": toolchain.version,
            "identity": toolchain.identity,
        },
        "flags": {unit: list(flags) for unit, flags in built.flags.items()},
        "needed": list(built.needed),
    }
    (into / f"{key}.so").write_bytes(built.library)
    (into / f"{key}.loader.so").write_bytes(built.loader)
    (into / f"{key}.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def _names(key: str) -> tuple[str, ...]:
    return f"{key}.json", f"{key}.so", f"{key}.loader.so"


def _cache_key(key: str, compiler: Toolchain) -> str:
    files = [
        str(module.__file__) for module in (abi, compiling, kernels, library, linked, prebuilt, toolchain)
    ]
    code = [hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in (*files, __file__)]
    return prebuilt.digest([key, compiler.identity, compiler.target_args, code])


def _copy(kept: Path, into: Path, key: str) -> bool:
    """Take what is in the cache, if it is all there and what it was."""
    try:
        told = json.loads((kept / f"{key}.json").read_text(encoding="utf-8"))
        files = [(kept / name).read_bytes() for name in _names(key)]
        if told["key"] != key or told["sha256"] != [hashlib.sha256(file).hexdigest() for file in files[1:]]:
            return False
    except (OSError, ValueError, KeyError, TypeError):
        return False
    for name, content in zip(_names(key), files, strict=True):
        (into / name).write_bytes(content)
    return True


def _keep(into: Path, kept: Path, key: str) -> None:
    """Into the cache, whole or not at all; a cache that cannot be written is none."""
    part = kept.with_name(f"{kept.name}.{os.getpid()}.tmp")
    try:
        part.mkdir(parents=True)
        for name in _names(key):
            shutil.copyfile(into / name, part / name)
        shutil.rmtree(kept, ignore_errors=True)
        part.rename(kept)
    except OSError:
        shutil.rmtree(part, ignore_errors=True)
