"""The binary interfaces of known Pillow releases, as read from their official wheels.

A build of a plan reads the extension itself. These copies are for compiling kernels
beforehand, where no Pillow is at hand; ``tools/make_layouts.py`` writes them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from simdinstall.abi import FORMAT, Abi


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """The interface of one release's extension for one kind of CPython on x86-64 glibc.

    ``name`` is the release, with a ``t`` where it is for free-threaded CPython, whose
    images carry a lock. ``format``
    is that of the reader that wrote it, :data:`abi.FORMAT`.
    """

    name: str
    release: str
    wheel: str
    format: int
    abi: Abi


def load() -> tuple[Layout, ...]:
    """All layouts, the newest release first."""
    found = sorted(_read_all(), key=lambda layout: (_order(layout.release), layout.name == layout.release))
    return tuple(reversed(found))


def _order(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release.split("."))


def _read_all() -> Iterator[Layout]:
    for path in sorted(Path(__file__).parent.glob("*.json")):
        data = json.loads(path.read_text(encoding="utf-8"))
        yield Layout(
            name=path.stem,
            release=data["release"],
            wheel=data["wheel"],
            format=data["format"],
            abi=Abi.from_json(data["abi"]),
        )


def text(release: str, wheel: str, abi: Abi) -> str:
    """The content of a layout's file."""
    document = {"format": FORMAT, "release": release, "wheel": wheel, "abi": abi.to_json()}
    return json.dumps(document, indent=1, ensure_ascii=True) + "\n"
