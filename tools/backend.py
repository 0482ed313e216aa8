"""Build backend: setuptools, and the kernels compiled beforehand.

The variable SIMDINSTALL_PREBUILT says what the wheel is to carry:

auto     (or unset) a library for the newest Pillow, compiled with the gcc or clang of this
         machine; without one, or if that fails, none: such a wheel fits every machine
release  a library for every known struct layout, compiled with the pinned zig, the same
         bytes each time; failing that, no wheel
none     none
"""

from __future__ import annotations

import logging
import os
import platform
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import (
    build_editable,
    build_sdist,
    build_wheel,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

ROOT = Path(__file__).resolve().parent.parent
PREBUILT = "simdinstall/prebuilt"

#: What compiling needs besides the standard library: CPU flags, ELF and DWARF, versions.
REQUIREMENTS = ["archspec>=0.2.5", "packaging>=24", "pyelftools>=0.31"]

#: The compiler of released wheels. Another version gives other bytes.
ZIG = "ziglang==0.17.0"

#: The oldest glibc of Pillow's own wheels; the libraries themselves need none in particular.
RELEASE_TAG = "manylinux_2_27_x86_64"

_log = logging.getLogger("simdinstall.build")


def wanted(environ: Mapping[str, str] = os.environ) -> str:
    """``auto``, ``release`` or ``none``; none where there is nothing to compile with, or for."""
    asked = environ.get("SIMDINSTALL_PREBUILT", "auto").strip() or "auto"
    if asked not in ("auto", "release", "none"):
        raise SystemExit(f"SIMDINSTALL_PREBUILT={asked} is none of auto, release, none")
    if asked == "auto":
        here = sys.platform == "linux" and platform.machine() == "x86_64"
        found = any(shutil.which(name) for name in ("gcc", "clang", "cc"))
        return "auto" if here and found else "none"
    return asked


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    """Setuptools' requirements, and those of compiling where that will happen."""
    more = {"auto": REQUIREMENTS, "release": [*REQUIREMENTS, ZIG], "none": []}[wanted()]
    return [*build_meta.get_requires_for_build_wheel(config_settings), *more]


class BuildWithKernels(build_py):
    """Copies the modules, and puts the libraries beside them."""

    def run(self) -> None:
        """Build; a failure to compile fails only a release."""
        super().run()
        if self.editable_mode:
            return
        into = Path(self.build_lib) / PREBUILT
        for stale in [*into.glob("*.so"), *into.glob("*.json")]:
            stale.unlink()
        mode = wanted()
        if mode == "none":
            return
        try:
            names = _compile(mode, into)
            _log.info("prebuilt kernels for the structs of Pillow %s", ", ".join(names))
        except Exception as error:
            if mode == "release":
                raise
            for part in [*into.glob("*.so"), *into.glob("*.json")]:
                part.unlink()
            why = getattr(error, "why", "") or str(error)
            _log.warning("no prebuilt kernels: %s; simdinstall will compile them itself", why)


class TaggedWheel(bdist_wheel):
    """A wheel with libraries is for Linux on x86-64, one without for every machine."""

    def get_tag(self) -> tuple[str, str, str]:
        """The tag by what the wheel holds."""
        python, abi, machine = super().get_tag()
        if any((Path(self.bdist_dir) / PREBUILT).glob("*.so")):
            machine = RELEASE_TAG if wanted() == "release" else "linux_x86_64"
        return python, abi, machine


def _compile(mode: str, into: Path) -> tuple[str, ...]:
    sys.path.insert(0, str(ROOT / "src"))
    try:
        from simdinstall import layouts, toolchain
        from simdinstall.prebuilt import make
    finally:
        sys.path.pop(0)
    known = layouts.load()
    return make.make(
        into,
        toolchain=toolchain.find("zig" if mode == "release" else "auto", zig=_zig, machine="x86_64"),
        wanted=known if mode == "release" else known[:1],
        cache=_cache(),
        progress=lambda step, done=0, total=None: _log.info(step),
        jobs=os.cpu_count() or 1,
    )


def _zig() -> Path:
    import ziglang

    return Path(ziglang.__file__).parent / "zig"


def _cache() -> Path | None:
    """Beside simdinstall's other caches, so that the same is not compiled twice."""
    chosen = os.environ.get("SIMDINSTALL_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser().absolute() / "prebuilt"
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(home).expanduser()
    return folder / "simdinstall" / "prebuilt" if folder.is_absolute() else None
