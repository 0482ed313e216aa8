"""What `simdinstall tune` found to be the fastest on this CPU, kept for later installations."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from simdinstall.cpu import Cpu
from simdinstall.errors import StateError
from simdinstall.store import Store, digest

#: The choice that needs no compiler: the library that simdinstall came with.
PREBUILT = "prebuilt"

SCHEMA = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Tuned:
    """A compiler, or :data:`PREBUILT`, with flags of its own; ``why`` says how it was found.

    ``trained``: Pillow's core is compiled with the counts of a training.
    """

    label: str
    compiler: str
    flags: tuple[str, ...]
    why: str
    trained: bool = False


def cpu_key(cpu: Cpu) -> str:
    """What a choice holds for: the CPU's features and make, not the machine."""
    return digest([cpu.architecture, cpu.vendor, cpu.microarchitecture, sorted(cpu.to_json()["features"])])


def read(store: Store, cpu: Cpu, *, core: bool = False) -> Tuned | None:
    """The choice for a CPU; None where nothing was tuned, or what was kept cannot be read.

    ``core``: the one for Pillow's own core, of a rebuild, in place of the kernels'.
    """
    found = _all(store).get(_key(cpu, core))
    try:
        return Tuned(**{**found, "flags": tuple(found["flags"])}) if found else None
    except (KeyError, TypeError):
        return None


def keep(store: Store, cpu: Cpu, choice: Tuned | None, *, core: bool = False) -> None:
    """Keep a choice for a CPU, or with None forget it. Raises StateError."""
    choices = {key: value for key, value in _all(store).items() if key != _key(cpu, core)}
    if choice is not None:
        choices[_key(cpu, core)] = asdict(choice)
    path = _path(store)
    part = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps({"schema": SCHEMA, "choices": choices}, indent=1), encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise StateError(f"{path} cannot be written", why=str(error)) from error


def _key(cpu: Cpu, core: bool) -> str:
    return f"{cpu_key(cpu)}{'-core' if core else ''}"


def _path(store: Store) -> Path:
    return store.root / "tuned.json"


def _all(store: Store) -> Mapping[str, Any]:
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        kept = json.loads(_path(store).read_text(encoding="utf-8"))
        if kept["schema"] == SCHEMA:
            return dict(kept["choices"])
    return {}
