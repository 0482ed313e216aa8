"""Index pages for plain pip and uv: PEP 503 in HTML, PEP 691 in JSON beside it. Pure.

An index per level holds, for each release, Python and platform, the one wheel that is
best for a CPU of that level: one made for it, else for the level below, and so on.
Wheels of another kind (``rebuilt``, ``zlibng``) have indexes of their own: ``v3-rebuilt``.
Hashes and Requires-Python are given, and METADATA beside each wheel (PEP 658, 714).
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from packaging.version import Version

from simdinstall.cache.catalogue import Catalogue, Entry
from simdinstall.cpu import ISA_FEATURES, LEVELS

PROJECT = "pillow"
ROOT = "simple"


def folder(level: str, kind: str = "") -> str:
    """The index of a level, relative to the cache."""
    return f"{ROOT}/{level}-{kind}" if kind else f"{ROOT}/{level}"


def power(entry: Entry, features: frozenset[str]) -> int:
    """How many of the wheel's instruction sets a CPU with these features can use."""
    return sum(ISA_FEATURES.get(isa, frozenset()) <= features for isa in entry.isas)


def preference(entry: Entry, features: frozenset[str]) -> tuple[int, bool, int, bool, str]:
    """How well a CPU that can run it is served: larger is better.

    The portable build has every instruction set, so for a CPU above the levels that were
    built it is better than the highest of them.
    """
    return (
        power(entry, features),
        entry.verified,
        len(entry.features),
        entry.level != "portable",
        entry.level,
    )


def kinds(catalogue: Catalogue) -> tuple[str, ...]:
    """The kinds of wheels that there are, the plain one first."""
    return tuple(sorted({entry.kind for entry in catalogue.entries}))


def levels(catalogue: Catalogue, kind: str = "") -> dict[str, tuple[str, frozenset[str]]]:
    """The levels that wheels were built for: what each asks of a CPU, architecture first."""
    found = {e.level: (e.architecture, e.features) for e in catalogue.entries if e.kind == kind}
    return dict(sorted(found.items(), key=lambda item: (len(item[1][1]), item[0])))


def of_level(catalogue: Catalogue, level: str, kind: str = "") -> tuple[Entry, ...]:
    """The wheels on the index of a level, the newest release first."""
    architecture, features = levels(catalogue, kind)[level]
    # No level of the psABI has VNNI, which the AVX-512 kernels use where it is there.
    has = features | {"avx512_vnni"} if LEVELS["x86-64-v4"] <= features else features

    def rank(entry: Entry) -> tuple[object, ...]:
        return entry.fidelity == "exact", entry.level == level, preference(entry, has)

    chosen: dict[tuple[str, str, str, str], Entry] = {}
    for entry in catalogue.entries:
        fits = entry.kind == kind and entry.architecture == architecture and entry.features <= features
        # `portable` is for everyone: nothing but itself, though v1 asks for as little.
        if not fits or (level == "portable" and entry.level != level):
            continue
        place = entry.release, entry.python, entry.abi, ".".join(entry.platforms)
        present = chosen.get(place)
        if present is None or rank(entry) > rank(present):
            chosen[place] = entry
    return tuple(sorted(chosen.values(), key=lambda e: (Version(e.release), e.file), reverse=True))


def pages(catalogue: Catalogue) -> dict[str, bytes]:
    """All pages of all levels: path relative to the cache → content."""
    found: dict[str, bytes] = {}
    for level, kind in ((level, of) for of in kinds(catalogue) for level in levels(catalogue, of)):
        own = folder(level, kind)
        listed = of_level(catalogue, level, kind)
        # In the order in which they may appear: who has found one finds the next.
        found[f"{own}/{PROJECT}/index.json"] = project_json(listed, up="../../../")
        found[f"{own}/{PROJECT}/index.html"] = project_page(listed, up="../../../")
        found[f"{own}/index.json"] = root_json()
        found[f"{own}/index.html"] = root_page()
    return found


def root_page() -> bytes:
    """The list of projects: one."""
    return page("Simple index", [f'<a href="{PROJECT}/">{PROJECT}</a><br>'])


def root_json() -> bytes:
    """The same as PEP 691 has it."""
    return _json({"meta": {"api-version": "1.0"}, "projects": [{"name": PROJECT}]})


def project_page(entries: Iterable[Entry], *, up: str) -> bytes:
    """The wheels of a level; ``up`` leads from the page to the cache."""
    lines = []
    for entry in entries:
        metadata = f"sha256={entry.metadata_sha256}"
        attributes = {
            "href": f"{up}{quote(entry.path)}#sha256={entry.sha256}",
            "data-requires-python": entry.requires_python,
            "data-dist-info-metadata": metadata,
            "data-core-metadata": metadata,
        }
        given = " ".join(f'{name}="{html.escape(value)}"' for name, value in attributes.items() if value)
        lines.append(f"<a {given}>{html.escape(entry.file)}</a><br>")
    return page(f"Links for {PROJECT}", lines)


def project_json(entries: Iterable[Entry], *, up: str) -> bytes:
    """The same as PEP 691 has it, with PEP 700's sizes and versions."""
    listed = tuple(entries)
    return _json(
        {
            "meta": {"api-version": "1.1"},
            "name": PROJECT,
            "versions": sorted({entry.version for entry in listed}, key=Version),
            "files": [
                {
                    "filename": entry.file,
                    "url": f"{up}{quote(entry.path)}",
                    "hashes": {"sha256": entry.sha256},
                    "size": entry.size,
                    **({"requires-python": entry.requires_python} if entry.requires_python else {}),
                    "core-metadata": {"sha256": entry.metadata_sha256},
                }
                for entry in listed
            ],
        }
    )


def page(title: str, lines: Iterable[str]) -> bytes:
    """A page of links as PEP 503 and 629 have it."""
    head = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        '<head><meta charset="utf-8"><meta name="pypi:repository-version" content="1.1">'
        f"<title>{title}</title></head>",
        "<body>",
    ]
    return "\n".join([*head, *lines, "</body>", "</html>", ""]).encode()


def _json(data: Mapping[str, object]) -> bytes:
    return (json.dumps(data, indent=1) + "\n").encode()
