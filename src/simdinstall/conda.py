"""conda's own records: who put which file there, what clobbers what, and giving Pillow free.

``conda-meta/<name>-<version>-<build>.json`` lists a package's files with their hashes.
The files are hard links into conda's package cache: they may be moved, never written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from simdinstall.distributions import LIBRARIES, PILLOWS_FILES
from simdinstall.environment import Environment, Finding, State

#: The packages that matter here; those of JPEG and TIFF go by these names on every channel.
INTERESTING = ("pillow", "pillow-simd", "jpeg", "libjpeg-turbo", "libtiff", "jpeg-turbo")

JPEG = frozenset({"jpeg", "libjpeg-turbo", "jpeg-turbo"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """One package as conda recorded it. ``files``: path below the prefix and its sha256, "" if unknown.

    ``claims`` are the paths that it wants its files at: those that it got, and those where
    rattler (pixi, mamba) found another package's file and put this one's aside.
    """

    name: str
    version: str
    build: str
    channel: str
    record: Path
    files: dict[str, str]
    claims: frozenset[str]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def packages(prefix: Path) -> tuple[Package, ...]:
    """The packages of :data:`INTERESTING`, and whatever else put a PIL there."""
    found = []
    for record in sorted((prefix / "conda-meta").glob("*.json")):
        try:
            raw = record.read_bytes()
            # Parsing every record of a big environment takes long; few of them matter.
            if not (record.name.startswith(INTERESTING) or b"/PIL/" in raw):
                continue
            content = json.loads(raw)
            found.append(_package(record, content))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return tuple(package for package in found if package.name in INTERESTING or _has_pil(package))


def _package(record: Path, content: dict[str, Any]) -> Package:
    entries = {entry["_path"]: entry for entry in (content.get("paths_data") or {}).get("paths", ())}
    hashes = {path: entry.get("sha256_in_prefix") or entry.get("sha256") for path, entry in entries.items()}
    files = content["files"]
    return Package(
        name=content["name"],
        version=content["version"],
        build=str(content.get("build", "")),
        channel=str(content.get("channel", "")),
        record=record,
        files={name: hashes.get(name) or "" for name in files},
        claims=frozenset(entries.get(name, {}).get("original_path") or name for name in files),
    )


def _has_pil(package: Package) -> bool:
    return any("/site-packages/PIL/" in name for name in package.files)


def pillows(found: tuple[Package, ...]) -> tuple[Package, ...]:
    """Those that put a PIL there."""
    return tuple(package for package in found if _has_pil(package))


# What clobbers what ----------------------------------------------------------------------


def findings(env: Environment) -> tuple[Finding, ...]:
    """What really overwrites or shadows something, and nothing that merely lies side by side."""
    found = packages(env.prefix)
    said = [*_overwritten(env, found), *_pip_libraries(env)]
    return (*_twice(found), *(Finding(code="conda-clobber", text=text) for text in said))


def _twice(found: tuple[Package, ...]) -> Iterator[Finding]:
    for index, first in enumerate(found):
        for second in found[index + 1 :]:
            shared = sorted(first.claims & second.claims)
            if not shared:
                continue
            there = [package for package in (first, second) if shared[0] in package.files]
            whose = f"that of {there[0]}" if len(there) == 1 else "that of whichever was linked last"
            text = (
                f"conda's {first} and {second} both own {len(shared)} files ({shared[0]}): {whose} is there"
            )
            pillow = _has_pil(first) or _has_pil(second)
            yield Finding(code="conda-clobber" if pillow else "conda-libraries", text=text)


def _overwritten(env: Environment, found: tuple[Package, ...]) -> Iterator[str]:
    """Files of conda's Pillow whose content is another's: pip put a Pillow over it, or took it away."""
    for package in pillows(found):
        gone, other = [], []
        for name, sha256 in package.files.items():
            path = env.prefix / name
            if not PILLOWS_FILES.match(name.partition("site-packages/")[2]) or name.endswith(".pyc"):
                continue
            if not path.exists():
                gone.append(name)
            elif sha256 and _sha256(path) != sha256:
                other.append(name)
        if other:
            others = (o for o in env.owners if o.conflicts and (not o.managed_by or o.installer != "conda"))
            owner = next(others, None)
            by = f"by {owner} from {owner.installer or 'another installer'}" if owner else "since"
            yield f"{len(other)} files of conda's {package} were overwritten {by}"
        elif gone:
            yield f"{len(gone)} files of conda's {package} are gone, which conda does not know"


def _pip_libraries(env: Environment) -> Iterator[str]:
    """Jpeg and libtiff from pip: only where they own files of Pillow's are they in the way."""
    for owner in env.owners:
        if owner.canonical_name in LIBRARIES and not owner.managed_by:
            own = [file for file in owner.files if PILLOWS_FILES.match(file)]
            if own:
                yield f"{owner} from {owner.installer or 'pip'} owns files of Pillow's: {', '.join(own[:3])}"


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


# Giving Pillow free -------------------------------------------------------------------------


def released(env: Environment) -> Environment:
    """``env`` as it is to be installed into once conda's Pillow is taken out of it.

    What conda itself would remove goes with what a new Pillow takes the place of: the files
    that it lists, and its record. All of it is moved aside in the same transaction, so that a
    rollback brings conda's Pillow back, hard links, record and all.
    """
    found = packages(env.prefix)
    others = {name for package in found if not _has_pil(package) for name in package.files}
    going: list[Path] = list(env.leftovers)
    for package in pillows(found):
        going.append(package.record)
        going += [
            env.prefix / name
            for name in package.files
            if name not in others and not (env.prefix / name).is_dir()
        ]
    seen: dict[Path, None] = dict.fromkeys(path for path in going if path.exists() or path.is_symlink())
    return replace(
        env,
        state=State.STOCK if env.replaced else State.NONE,
        leftovers=tuple(seen),
        owners=tuple(replace(owner, managed_by="", package="") for owner in env.owners),
    )


def removed(env: Environment) -> tuple[str, ...]:
    """The packages of conda's that :func:`released` gives up, as it names them."""
    return tuple(f"{package} ({package.build})" for package in pillows(packages(env.prefix)))
