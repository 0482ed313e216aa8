"""What differs between two caches, and what may go from one. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from packaging.version import Version

from simdinstall.cache.catalogue import Catalogue, Entry
from simdinstall.errors import UsageError

#: The fields of an entry whose change is worth telling, and what to call them.
_TOLD = {
    "sha256": "bytes",
    "inputs": "what it is made from",
    "compiler": "compiler",
    "library": "kernel library",
    "kernels": "kernels",
    "sources": "sources",
    "features": "CPU needs",
    "glibc": "glibc",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Changed:
    """A cell that has another wheel now; ``what`` names what differs."""

    before: Entry
    after: Entry
    what: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """From one cache to another."""

    added: tuple[Entry, ...]
    removed: tuple[Entry, ...]
    changed: tuple[Changed, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "added": [entry.to_json() for entry in self.added],
            "removed": [entry.to_json() for entry in self.removed],
            "changed": [
                {
                    "cell": c.after.cell,
                    "what": list(c.what),
                    "before": c.before.sha256,
                    "after": c.after.sha256,
                }
                for c in self.changed
            ],
        }


def compare(before: Catalogue, after: Catalogue) -> Difference:
    """What came, went and changed, cell by cell."""
    old, new = before.by_cell(), after.by_cell()
    changed = []
    for cell in sorted(old.keys() & new.keys()):
        what = [
            name for field, name in _TOLD.items() if getattr(old[cell], field) != getattr(new[cell], field)
        ]
        if old[cell].verified != new[cell].verified:
            what.append("verified now" if new[cell].verified else "not verified any more")
        if what:
            changed.append(Changed(before=old[cell], after=new[cell], what=tuple(what)))
    return Difference(
        added=tuple(new[cell] for cell in sorted(new.keys() - old.keys())),
        removed=tuple(old[cell] for cell in sorted(old.keys() - new.keys())),
        changed=tuple(changed),
    )


def superseded(listed: Catalogue, keep: int) -> tuple[Entry, ...]:
    """All but the ``keep`` newest releases of each Python, platform, level, fidelity and kind. UsageError."""
    if keep < 1:
        raise UsageError("at least one release must be kept", hint="say --keep-latest 1")
    groups: dict[tuple[object, ...], list[Entry]] = {}
    for entry in listed.entries:
        group = entry.python, entry.abi, entry.platforms, entry.level, entry.fidelity, entry.kind
        groups.setdefault(group, []).append(entry)
    return tuple(entry for group in groups.values() for entry in _newest_first(group)[keep:])


def _newest_first(entries: Iterable[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: Version(entry.release), reverse=True)
