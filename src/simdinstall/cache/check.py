"""Looking a cache over: every file, hash, page and signature."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from simdinstall.cache import node, variants
from simdinstall.cache.catalogue import Catalogue, Entry, core_metadata
from simdinstall.cache.places import Place
from simdinstall.errors import SimdinstallError
from simdinstall.store import file_digest
from simdinstall.wheel import read_provenance


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What was looked at, and what is wrong there."""

    wheels: int
    pages: int
    signed_by: str
    problems: tuple[str, ...]


def check(
    where: Place,
    *,
    trusted: frozenset[bytes] | None = None,
    told: Callable[[str, int, int], None] = lambda step, done, total: None,
    tries: int = 5,
) -> Finding:
    """Compare everything in a cache with its catalogue.

    A cache that is being published to meanwhile is looked at again. Raises what
    :func:`node.catalogue` raises.
    """
    pages: list[str] = []
    for _ in range(tries):
        listed = node.catalogue(where, trusted=trusted)
        pages = _pages(where, listed)
        if not pages or node.catalogue(where, trusted=trusted).generation == listed.generation:
            break
    problems = []
    for number, entry in enumerate(listed.entries):
        told("checking wheels", number, len(listed.entries))
        if problem := _wheel(where, entry):
            problems.append(problem)
    return Finding(
        wheels=len(listed.entries),
        pages=len(variants.all_pages(listed)),
        signed_by=listed.signer,
        problems=(*pages, *problems),
    )


def _pages(where: Place, listed: Catalogue) -> list[str]:
    problems = []
    for relative, wanted in variants.all_pages(listed).items():
        try:
            if where.get(relative) != wanted:
                problems.append(f"{relative} is not what the catalogue would have it be")
        except SimdinstallError as error:
            problems.append(f"{error.what}: {error.why}")
    return problems


def _wheel(where: Place, entry: Entry) -> str:
    with tempfile.TemporaryDirectory(prefix="simdinstall-check-") as name:
        try:
            if entry.variant:
                where.fetch(entry.variant["path"], Path(name), entry.variant["sha256"])
            path = where.fetch(entry.path, Path(name), entry.sha256)
            beside = where.get(f"{entry.path}.metadata")
            if beside != core_metadata(path):
                return f"{entry.file}.metadata is not the wheel's METADATA"
            provenance = read_provenance(path)
        except SimdinstallError as error:
            return f"{error.what}: {error.why}"
        told = provenance.get("version"), provenance.get("march", {}).get("name"), provenance.get("fidelity")
        if told != (entry.version, entry.level, entry.fidelity):
            return f"{entry.file} is {' '.join(map(str, told))}; the catalogue says otherwise"
        if path.stat().st_size != entry.size or file_digest(path) != entry.sha256:
            return f"{entry.file} has another size or hash than the catalogue says"
    return ""
