"""Which SIMD kernel serves which of Pillow's functions, and how often it did.

Part of Pillow as built by simdinstall. ``python -m PIL._simd`` prints a table, with
``--json`` for programs. The variable ``PILLOW_SIMD`` (none, sse4, avx2, avx512), read when
Pillow is imported, lowers the choice; :func:`set_level` changes it in a running process.

The memory of big images is kept warm between them: at most 64 MiB, or as many as the
variable ``PILLOW_SIMD_MEMORY`` says (0 switches it off). :func:`memory` shows how much
that is, :func:`set_memory` changes it, and ``Image.core.clear_cache()`` gives it back.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from pathlib import Path
from typing import NamedTuple

LEVELS = ("none", "sse4", "avx2", "avx512")


class Entry(NamedTuple):
    """One kernel variant of one function. Of those a level allows, the first can serve."""

    function: str
    kernel: str
    level: str
    calls: int


class Memory(NamedTuple):
    """The memory of big images, in bytes; ``served`` and ``reused`` count blocks."""

    limit: int
    kept: int
    lent: int
    served: int
    reused: int


class _CEntry(ctypes.Structure):
    _fields_ = (
        ("function", ctypes.c_char_p),
        ("kernel", ctypes.c_char_p),
        ("level", ctypes.c_int),
        ("calls", ctypes.c_ulonglong),
    )


def _library() -> ctypes.CDLL:
    # The library refers to functions of the extension, which has to be loaded first.
    import PIL._imaging

    assert PIL._imaging
    library = ctypes.CDLL(str(Path(__file__).with_name("libpillow_simd.so")))
    library.pillow_simd_build.restype = ctypes.c_char_p
    library.pillow_simd_entries.argtypes = [ctypes.POINTER(ctypes.POINTER(_CEntry))]
    return library


def build() -> str:
    """Release, instruction sets, fidelity and compiler of the kernels, in one line."""
    text: bytes = _library().pillow_simd_build()
    return text.decode()


def level() -> str:
    """The level in use: the highest that CPU, library and ``PILLOW_SIMD`` allow."""
    return LEVELS[_library().pillow_simd_level()]


def set_level(name: str) -> str:
    """Lower or raise the level of this process; returns the one now in use."""
    return LEVELS[_library().pillow_simd_set_level(LEVELS.index(name))]


def entries() -> tuple[Entry, ...]:
    """Every kernel of every function, in the order in which they are tried."""
    first = ctypes.POINTER(_CEntry)()
    count = _library().pillow_simd_entries(ctypes.byref(first))
    return tuple(
        Entry(row.function.decode(), row.kernel.decode(), LEVELS[row.level], row.calls)
        for row in (first[i] for i in range(count))
    )


def usable() -> tuple[Entry, ...]:
    """Those of :func:`entries` that the level in use allows."""
    allowed = LEVELS.index(level())
    return tuple(entry for entry in entries() if LEVELS.index(entry.level) <= allowed)


def reset() -> None:
    """Set all counts to zero."""
    _library().pillow_simd_reset()


def memory() -> Memory:
    """How much is kept for the next images and at most may be, and how much images have now.

    All zeros in a build whose memory comes from Pillow alone.
    """
    ask = getattr(_library(), "pillow_simd_memory", None)
    found = (ctypes.c_ulonglong * 5)()
    if ask is not None:
        ask(found)
    return Memory(*found)


def set_memory(mebibytes: int) -> None:
    """Keep at most that much between images; with 0, leave all memory to malloc."""
    setter = getattr(_library(), "pillow_simd_set_memory", None)
    if setter is not None:
        setter.argtypes = [ctypes.c_ulonglong]
        setter(max(0, mebibytes) << 20)


def zlib_ng() -> str:
    """The version of zlib-ng that the core calls; empty when it calls the system's zlib."""
    path = Path(__file__).with_name("libpillow_zlib.so")
    if not path.exists():
        return ""
    _library()
    ask = ctypes.CDLL(str(path)).pillow_simd_zlib_ng
    ask.restype = ctypes.c_char_p
    text: bytes = ask()
    return text.decode()


def main() -> None:
    """Print what serves what here."""
    if "--json" in sys.argv[1:]:
        rows = [entry._asdict() for entry in usable()]
        report = {"schema": "pillow-simd/1", "build": build(), "level": level(), "functions": rows}
        print(json.dumps(report | {"memory": memory()._asdict(), "zlib_ng": zlib_ng()}))
        return
    print(build())
    print(f"level in use: {level()}")
    print(f"memory kept between images: at most {memory().limit >> 20} MiB")
    if zlib_ng():
        print(f"zlib in use: zlib-ng {zlib_ng()}")
    for entry in usable():
        print(f"  {entry.function:28} {entry.kernel} ({entry.level})")


if __name__ == "__main__":
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough, as `| head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
