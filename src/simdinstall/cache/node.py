"""On a node: the best build of a cache for this CPU, Python and libc, checked.

Nothing but the cache is needed: no compiler, no other network.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.version import Version

from simdinstall.cache import signing, simple_index
from simdinstall.cache.catalogue import NAME, Catalogue, Entry, parse, signature_path
from simdinstall.cache.places import FolderPlace, Place
from simdinstall.cpu import LEVELS, Cpu, March
from simdinstall.errors import CpuError, FetchError, UsageError, VerifyError
from simdinstall.wheel import Wheel, read


def place(location: str) -> Place:
    """Where ``--cache`` points: a folder, ``file:``, ``http:`` or ``https:``. UsageError."""
    scheme = urlsplit(location).scheme.lower()
    if scheme in ("http", "https"):
        from simdinstall.cache.web import WebPlace  # Late: a folder needs none of it.

        return WebPlace(location, environ=os.environ)
    if scheme == "file":
        return FolderPlace(Path(unquote(urlsplit(location).path)))
    if "://" in location:
        raise UsageError(
            f"a cache cannot be read over {scheme}",
            why="a folder, file:, http: and https: are what can be used",
            hint="object stores have an https address too",
        )
    return FolderPlace(Path(location).expanduser())


def catalogue(where: Place, *, trusted: frozenset[bytes] | None = None) -> Catalogue:
    """The catalogue, its signature checked when ``trusted`` keys are given.

    Raises FetchError, StateError and VerifyError.
    """
    text = where.get(NAME)
    if trusted is not None:
        try:
            signature = where.get(signature_path(text)).decode("ascii", "replace")
        except FetchError as error:
            raise VerifyError(
                f"the cache {where.address} is not signed",
                why="there is no signature of this catalogue",
                hint="have it signed: simdinstall cache build DIR --sign KEY",
            ) from error
        signing.verify(text, signature, trusted)
    return parse(text, where=where.address)


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """The build for a node, and why that one."""

    entry: Entry
    why: str


def choose(
    listed: Catalogue,
    *,
    cpu: Cpu,
    tags: Sequence[str],
    release: str | None = None,
    march: March | None = None,
    fidelity: str = "exact",
    kind: str | None = None,
) -> Choice:
    """The best build: the newest release, then the most of this CPU. FetchError, CpuError.

    ``kind``: only such builds; None takes the plain ones, else those of the one kind there is.
    ``tags`` are those of the interpreter, best first; they say what its libc can load.
    """
    if not listed.entries:
        raise FetchError("the cache is empty", hint="fill it: simdinstall cache build DIR")
    places = {tag: number for number, tag in enumerate(tags)}
    wanted = Version(release) if release else None
    of_release = [e for e in listed.entries if wanted is None or Version(e.release) == wanted]
    if not of_release:
        raise FetchError(
            f"the cache has no Pillow {release}",
            why=f"it has {', '.join(sorted({e.release for e in listed.entries}, key=Version, reverse=True))}",
        )
    fitting = [e for e in of_release if any(tag in places for tag in e.tags)]
    if not fitting:
        raise FetchError(
            "the cache has no build for this Python",
            why=f"it has builds for {_told_tags(of_release)}; this takes {tags[0] if tags else 'nothing'}",
            hint="have one built: simdinstall cache build DIR --python …",
        )
    kind = settled_kind({e.kind for e in fitting}, kind)
    fitting = [e for e in fitting if e.kind == kind]
    faithful = [e for e in fitting if fidelity == "bounded" or e.fidelity == "exact"]
    if march is not None:
        faithful = [e for e in faithful if e.level == march.name]
    if not faithful:
        asked = " ".join(part for part in (march.name if march else "", fidelity) if part)
        raise FetchError(
            f"the cache has no {asked} build for this Python",
            why=f"it has {', '.join(sorted({f'{e.level} {e.fidelity}' for e in fitting}))}",
        )
    runnable = [e for e in faithful if e.architecture == cpu.architecture and cpu.can_run(e.features)]
    if not runnable:
        lack = min((sorted(e.features - cpu.features) for e in faithful), key=len)
        raise CpuError(
            "the cache has no build that this CPU can run",
            why=f"{cpu.name} ({cpu.level}) lacks {', '.join(lack) or 'the architecture'}, even for the least",
            hint="have one built for every CPU: simdinstall cache build DIR --march portable",
        )

    def rank(entry: Entry) -> tuple[Any, ...]:
        best_tag = min(places[tag] for tag in entry.tags if tag in places)
        final = not Version(entry.release).is_prerelease
        return (
            final,
            Version(entry.release),
            fidelity == entry.fidelity,
            *simple_index.preference(entry, cpu.features),
            -best_tag,
        )

    best = max(runnable, key=rank)
    others = sorted({e.level for e in fitting} - {best.level})
    why = f"the best that {cpu.name} ({cpu.level}) can run"
    return Choice(entry=best, why=f"{why}; there are also {', '.join(others)}" if others else why)


def _told_tags(entries: Sequence[Entry]) -> str:
    oldest = {f"{e.abi} on {e.platforms[0]}" for e in entries if e.platforms}
    return ", ".join(sorted(oldest))


def settled_kind(there: Collection[str], asked: str | None) -> str:
    """The kind asked for; without that the plain one, else the only one. FetchError."""
    if asked is None and ("" in there or not there):
        return ""
    if asked is None and len(there) == 1:
        return next(iter(there))
    if asked is not None and asked in there:
        return asked
    raise FetchError(
        f"the cache has no {asked or 'plain'} builds",
        why=f"it has {', '.join(sorted(name or 'plain' for name in there)) or 'none'}",
        hint="--rebuild and --zlib-ng say which are wanted",
    )


def best_level(listed: Catalogue, cpu: Cpu, kind: str = "") -> str:
    """The index for a CPU. CpuError when it can run none."""
    levels = simple_index.levels(listed, kind)
    runnable = [
        (
            max(
                simple_index.power(e, cpu.features)
                for e in listed.entries
                if (e.level, e.kind) == (level, kind)
            ),
            len(features),
            level != "portable",
            level,
        )
        for level, (architecture, features) in levels.items()
        if architecture == cpu.architecture and cpu.can_run(features)
    ]
    if not runnable:
        raise CpuError(
            "the cache has no build that this CPU can run",
            why=f"{cpu.name} is {cpu.level}; there are {', '.join(levels) or 'none'}",
            hint="have one built for every CPU: simdinstall cache build DIR --march portable",
        )
    return max(runnable)[-1]


def fetched(where: Place, entry: Entry, into: Path, *, cpu: Cpu) -> Wheel:
    """The wheel of an entry, its hash checked, and once more that this CPU can run it.

    The catalogue may have been edited; the wheel's own provenance has the last word.
    Raises FetchError and CpuError.
    """
    path = where.fetch(entry.path, into, entry.sha256)
    wheel = read(path, cached=True, sha256=entry.sha256)
    told = wheel.provenance.get("march", {})
    needs = frozenset(LEVELS.get(str(told.get("level")), frozenset())) | entry.features
    if wheel.march != entry.level or wheel.version != entry.version:
        raise FetchError(
            f"{entry.file} is not what the catalogue says",
            why=f"it is {wheel.version} for {wheel.march}, not {entry.version} for {entry.level}",
        )
    if lack := sorted(needs - cpu.features):
        raise CpuError(f"{entry.file} cannot run on this CPU", why=f"{cpu.name} lacks {', '.join(lack)}")
    return wheel
