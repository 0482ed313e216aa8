"""The suites by name, for Pillow and for each other library that can be a peer."""

from __future__ import annotations

import importlib
from typing import Any

from .operations import Operation

#: Suite → the module that lists it.
_MODULES = {"perf": "perf", "speed": "perf", "wide": "wide"}


def _module(name: str) -> Any:
    return importlib.import_module(f".{name}", __package__)


def catalogue(suite: str, library: str = "pillow") -> dict[str, Operation]:
    """Name → operation, in the order of the table. Another library has a part of Pillow's rows."""
    rows: dict[str, Operation] = {row.name: row for row in getattr(_module(_MODULES[suite]), suite)()}
    if library == "pillow":
        return rows
    other = _module({"opencv": "opencv", "pyvips": "vips"}[library])
    found = {}
    for name, operation in rows.items():
        peer = other.peer(name)
        if peer is not None:
            found[name] = operation._replace(prepare=peer.prepare, remark=peer.remark)
    return found


def hello(library: str) -> dict[str, Any]:
    """What another library says about itself."""
    found: dict[str, Any] = _module({"opencv": "opencv", "pyvips": "vips"}[library]).hello()
    return found
