"""Which kernel served which function: the counters of ``PIL/libpillow_simd.so``."""

from __future__ import annotations

import ctypes
import os
from typing import Any

#: The values of ``pillow_simd_level()``.
LEVELS = ("none", "sse4", "avx2", "avx512")


class _Entry(ctypes.Structure):
    _fields_ = (
        ("function", ctypes.c_char_p),
        ("kernel", ctypes.c_char_p),
        ("level", ctypes.c_int),
        ("calls", ctypes.c_ulonglong),
    )


class Trace:
    """The kernel library of the PIL that is loaded; :meth:`find` gives ``None`` without one."""

    def __init__(self, library: Any) -> None:
        self._library = library
        library.pillow_simd_entries.argtypes = [ctypes.POINTER(ctypes.POINTER(_Entry))]
        library.pillow_simd_entries.restype = ctypes.c_int
        library.pillow_simd_level.restype = ctypes.c_int
        library.pillow_simd_set_level.argtypes = [ctypes.c_int]
        library.pillow_simd_set_level.restype = ctypes.c_int
        library.pillow_simd_reset.restype = None
        library.pillow_simd_build.restype = ctypes.c_char_p

    @classmethod
    def find(cls) -> Trace | None:
        """The library next to the loaded PIL, if it is one of ours."""
        import PIL
        from PIL import _imaging  # noqa: F401 - loads the library, with its neighbours

        if not PIL.__file__:
            return None
        path = os.path.join(os.path.dirname(PIL.__file__), "libpillow_simd.so")
        if not os.path.exists(path):
            return None
        return cls(ctypes.CDLL(path))

    def build(self) -> str:
        """One line about how the library was made."""
        text: bytes = self._library.pillow_simd_build() or b""
        return text.decode("utf-8", "replace")

    def level(self) -> int:
        """The level in use, an index of :data:`LEVELS`."""
        return int(self._library.pillow_simd_level())

    def set_level(self, level: int) -> int:
        """Ask for a level; the one that this CPU and this library allow is returned."""
        return int(self._library.pillow_simd_set_level(level))

    def reset(self) -> None:
        """Zero all counters."""
        self._library.pillow_simd_reset()

    def entries(self) -> list[tuple[str, str, int, int]]:
        """(function, kernel, level, calls) for each kernel variant and for stock code."""
        rows = ctypes.POINTER(_Entry)()
        count = self._library.pillow_simd_entries(ctypes.byref(rows))
        return [
            (rows[i].function.decode(), rows[i].kernel.decode(), rows[i].level, rows[i].calls)
            for i in range(count)
        ]

    def served(self) -> list[tuple[str, str, int, int]]:
        """The entries that were called since the last reset."""
        return [entry for entry in self.entries() if entry[3]]


def describe(trace: Trace | None) -> dict[str, Any]:
    """For the worker's greeting: level, build line and all entries."""
    if trace is None:
        return {}
    return {"level": trace.level(), "build": trace.build(), "entries": trace.entries()}
