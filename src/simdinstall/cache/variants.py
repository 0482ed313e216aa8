"""A preview of PEP 825 (wheel variants, a draft): one index from which installers pick the level.

Beside the indexes of the levels lies ``simple/variants``: all wheels of a release have one
version there, those for a level carry a label, and a JSON file says what each label asks
of the CPU. uv reads it with ``--preview-features wheel-variants``. The portable build is
the plain wheel beside them, for pip and for every other client. The draft may change, and
this with it.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from packaging.version import Version

from simdinstall import wheel
from simdinstall.build import source_date_epoch
from simdinstall.cache import simple_index
from simdinstall.cache.catalogue import Catalogue, Entry, House, Signer
from simdinstall.cache.simple_index import PROJECT, ROOT, page, root_page
from simdinstall.store import file_digest

#: The format that uv 0.13 knows (PEP 825 and 850, as of their drafts of autumn 2026).
FORMAT = "https://variants-schema.wheelnext.dev/peps/850/v0.2.0.json"

#: The local version that all wheels of a release share.
LOCAL = "simd"

FOLDER = f"{ROOT}/variants"

_LEVELS = ("v2", "v3", "v4")
_NAMESPACE = "x86_64"
_PROVIDER = "x86-64-variant-provider"


def label_of(level: str) -> str | None:
    """The label of a level; empty for the portable build, None for what has no variant."""
    if level == "portable":
        return ""
    return f"{_NAMESPACE}_{level}" if level in _LEVELS else None


def make(path: Path, *, level: str, into: Path) -> tuple[Path, str] | None:
    """The wheel as a variant, written into a folder, and its label; None where there is none."""
    label = label_of(level)
    if label is None:
        return None
    added = {"variant.json": _json(_metadata([label]))} if label else {}
    made = wheel.with_label(path, local=LOCAL, added=added, label=label, into=into, epoch=source_date_epoch())
    return made, label


def add_missing(house: House, *, signer: Signer | None = None, unsigned: bool = False) -> Catalogue:
    """Make the variants that a cache lacks, and publish them."""
    fresh = []
    for entry in house.read().entries:
        if (
            entry.variant is None
            and entry.fidelity == "exact"
            and not entry.kind
            and label_of(entry.level) is not None
        ):
            with tempfile.TemporaryDirectory(prefix="simdinstall-variant-") as name:
                made = make(house.root / entry.path, level=entry.level, into=Path(name))
                assert made is not None
                path, label = made
                sha256 = file_digest(path)
                relative = house.take_in(path, sha256)
                told = {"file": path.name, "path": relative, "sha256": sha256, "label": label}
                fresh.append(replace(entry, variant=told))
    if not fresh:
        return house.read()

    def change(catalogue: Catalogue) -> Catalogue:
        present = catalogue.by_cell()
        # Another builder may have put another wheel into a cell's place meanwhile.
        same = [e for e in fresh if e.cell in present and present[e.cell].sha256 == e.sha256]
        return replace(catalogue.with_entries(same), variants=True)

    return house.publish(change, signer=signer, unsigned=unsigned)


def all_pages(catalogue: Catalogue) -> dict[str, bytes]:
    """The pages of every index of a cache."""
    by_release: dict[str, list[Entry]] = {}
    for entry in catalogue.entries:
        if entry.variant is not None:
            by_release.setdefault(entry.release, []).append(entry)
    return {**simple_index.pages(catalogue), **pages(by_release)}


def _metadata(labels: Iterable[str]) -> dict[str, Any]:
    return {
        "$schema": FORMAT,
        "default-priorities": {"namespace": [_NAMESPACE]},
        "providers": {_NAMESPACE: {"requires": [_PROVIDER]}},
        "variants": {
            label: {_NAMESPACE: {"level": [label.removeprefix(f"{_NAMESPACE}_")]}} for label in sorted(labels)
        },
    }


def pages(releases: Mapping[str, Iterable[Entry]]) -> dict[str, bytes]:
    """The preview's index: path relative to the cache → content."""
    found: dict[str, bytes] = {}
    lines = []
    for release in sorted(releases, key=Version, reverse=True):
        listed = sorted((dict(e.variant) for e in releases[release] if e.variant), key=lambda v: v["file"])
        for one in listed:
            href = f"../../../{quote(one['path'])}#sha256={one['sha256']}"
            lines.append(f'<a href="{href}">{one["file"]}</a><br>')
        if labels := {one["label"] for one in listed if one["label"]}:
            name = f"{PROJECT}-{release}+{LOCAL}-variants.json"
            content = _json(_metadata(labels))
            found[f"{FOLDER}/{PROJECT}/{name}"] = content
            digest = hashlib.sha256(content).hexdigest()
            lines.append(f'<a href="{quote(name)}#sha256={digest}">{name}</a><br>')
    if lines:
        found[f"{FOLDER}/{PROJECT}/index.html"] = page(f"Links for {PROJECT} (preview of PEP 825)", lines)
        found[f"{FOLDER}/index.html"] = root_page()
    return found


def _json(data: Mapping[str, Any]) -> bytes:
    return (json.dumps(data, indent=1, sort_keys=True) + "\n").encode()
