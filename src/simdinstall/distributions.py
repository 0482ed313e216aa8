"""Installed distributions that are a Pillow or own files of one, read straight from disk.

Nothing is asked of ``importlib.metadata``: it stops at a husk without METADATA, takes
no notice of leftovers, and costs more than all of this. Formats: the PyPA's "Recording
installed projects" and "Direct URL" specifications, and for eggs what setuptools wrote.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import os
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name

#: Names under which a complete Pillow is, or was, published; ``pillow-simd-*`` besides.
PILLOWS = frozenset({"pil", "pillow", "pillow-simd", "pillow-allsimd"})

#: Packages of C libraries, in the way only where they own files of Pillow's.
LIBRARIES = frozenset({"jpeg", "libtiff"})

#: A file inside the package, or inside the folder of libraries that auditwheel adds.
PILLOWS_FILES = re.compile(r"PIL/|pillow[\w.-]*\.libs/", re.IGNORECASE)
_RECORDED = re.compile(rb'^"?(?:\.\./)?(?:PIL/|pillow[\w.-]*\.libs/)', re.IGNORECASE | re.MULTILINE)
_CORE_FILES = re.compile(r"PIL/(__init__\.py|Image\.py|_imaging\.[^/]*)$")

#: What pip leaves of a folder that it was moving away when it was interrupted: the first
#: letter, or more of them, replaced by ``~`` and these characters.
_LEFTOVER = re.compile(
    r"~(?:il|[-~.=%\d]l|(?:illow|[-~.=%\d]llow|[-~.=%\d]{2}low)(?:[_-]simd\w*)?(?:-\d.*|\.libs)?)",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """One line of RECORD: a path relative to the site folder, its hash (hex) and size in bytes."""

    path: str
    sha256: str | None
    size: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Distribution:
    """One distribution as found.

    ``location`` is its dist-info or egg-info (or egg, or egg-link), ``site`` the folder
    that ``files`` are relative to. ``conflicts`` tells a Pillow, which has to go before
    another comes, from a plugin that merely puts a file into ``PIL/``. ``missing`` and
    ``altered`` are files of Pillow's that RECORD names and that are not (so) there.
    ``managed_by`` and ``package`` name the package manager that it came with, if any.
    """

    name: str
    version: str
    location: Path
    installer: str
    files: tuple[str, ...]
    has_record: bool
    editable: bool
    direct_url: str | None
    in_target: bool
    site: Path
    conflicts: bool = True
    has_metadata: bool = True
    missing: tuple[str, ...] = ()
    altered: tuple[str, ...] = ()
    managed_by: str = ""
    package: str = ""

    @property
    def canonical_name(self) -> str:
        """The name as indexes compare it."""
        return canonicalize_name(self.name)

    @property
    def exclusive(self) -> bool:
        """Whether all of its files are Pillow's: nothing else goes when it goes."""
        own = self.location.name + "/"
        return self.canonical_name in PILLOWS | LIBRARIES or all(
            PILLOWS_FILES.match(file) or file.startswith((own, "../", "/")) for file in self.files
        )

    def __str__(self) -> str:
        return f"{self.name} {self.version}".strip()


def is_pillow(name: str) -> bool:
    """Whether a distribution of that name is a Pillow."""
    canonical = canonicalize_name(name)
    return canonical in PILLOWS or canonical.startswith("pillow-simd-")


def find(folder: Path) -> tuple[Distribution, ...]:
    """The distributions in ``folder`` that are a Pillow or own files of Pillow's."""
    found: list[Distribution] = []
    for entry in _names(folder):
        reader = _READERS.get(entry[entry.rfind(".") :])
        # A leftover of pip's looks like a distribution, but nobody owns it.
        if reader is None or entry.startswith("~"):
            continue
        distribution = reader(folder, entry)
        if distribution is not None:
            found.append(distribution)
    return tuple(found)


def leftovers(folder: Path) -> tuple[Path, ...]:
    """Folders such as ``~illow`` that an interrupted pip left behind in ``folder``."""
    return tuple(folder / entry for entry in _names(folder) if _LEFTOVER.fullmatch(entry))


def library_folders(folder: Path) -> tuple[Path, ...]:
    """The folders in ``folder`` for the libraries that a Pillow brings along."""
    pattern = re.compile(r"pillow[\w.-]*\.libs", re.IGNORECASE)
    return tuple(folder / entry for entry in _names(folder) if pattern.fullmatch(entry))


def _names(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(folder))
    except OSError:
        return []


def read_record(distribution: Distribution) -> tuple[Recorded, ...]:
    """The lines of a dist-info's RECORD; none where it has no RECORD or is not a dist-info."""
    raw = _read(distribution.location / "RECORD")
    return tuple(_rows(raw)) if raw is not None else ()


def _rows(raw: bytes) -> Iterator[Recorded]:
    for row in csv.reader(raw.decode("utf-8", "surrogateescape").splitlines()):
        if not row or not row[0]:
            continue
        algorithm, _, value = (row[1] if len(row) > 1 else "").partition("=")
        size = row[2] if len(row) > 2 else ""
        yield Recorded(
            path=posixpath.normpath(row[0]),
            sha256=_hex(value) if algorithm == "sha256" else None,
            size=int(size) if size.isdecimal() else None,
        )


def _hex(value: str) -> str | None:
    try:
        return base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)).hex()
    except ValueError:
        return None


def wrong_hashes(distribution: Distribution, files: frozenset[str]) -> tuple[str, ...]:
    """Those of ``files`` that exist, but whose content is not what RECORD says."""
    wrong = []
    for row in read_record(distribution):
        if row.path in files and row.sha256:
            data = _read(distribution.site / row.path)
            if data is not None and hashlib.sha256(data).hexdigest() != row.sha256:
                wrong.append(row.path)
    return tuple(wrong)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _text(path: Path) -> str:
    return (_read(path) or b"").decode("utf-8", "replace").strip()


def _split(stem: str) -> tuple[str, str]:
    """Name and version from ``Pillow-9.0-py3.11``; a version begins with a digit."""
    parts = stem.split("-")
    for number, part in enumerate(parts[1:], 1):
        if part[:1].isdigit():
            return "-".join(parts[:number]), part
    return stem, ""


def _identity(metadata: bytes | None, stem: str) -> tuple[str, str]:
    """Name and version from the metadata's header, else from the folder's name."""
    name, version = _split(stem)
    header = (metadata or b"").split(b"\n\n", 1)[0].decode("utf-8", "replace")
    for line in header.splitlines():
        key, _, value = line.partition(":")
        if key.lower() == "name" and value.strip():
            name = value.strip()
        elif key.lower() == "version" and value.strip():
            version = value.strip()
    return name, version


def _conflicts(name: str, files: tuple[str, ...]) -> bool:
    # A library comes this far only with files of Pillow's.
    if is_pillow(name) or canonicalize_name(name) in LIBRARIES:
        return True
    return any(_CORE_FILES.match(file) for file in files)


def _dist_info(folder: Path, entry: str) -> Distribution | None:
    location = folder / entry
    stem = entry.removesuffix(".dist-info")
    raw = _read(location / "RECORD")
    if not is_pillow(_split(stem)[0]) and not (raw and _RECORDED.search(raw)):
        return None
    metadata = _read(location / "METADATA")
    name, version = _identity(metadata, stem)
    rows = tuple(_rows(raw)) if raw is not None else ()
    files = tuple(row.path for row in rows)
    missing, altered = _compare(folder, rows)
    url, editable = _direct_url(location)
    return Distribution(
        name=name,
        version=version,
        location=location,
        site=folder,
        installer=_text(location / "INSTALLER"),
        files=files,
        has_record=raw is not None,
        has_metadata=metadata is not None,
        editable=editable,
        direct_url=url,
        in_target=False,
        conflicts=_conflicts(name, files),
        missing=missing,
        altered=altered,
    )


def _compare(folder: Path, rows: tuple[Recorded, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    missing, altered = [], []
    for row in rows:
        # Byte code comes and goes; nobody misses it.
        if not PILLOWS_FILES.match(row.path) or row.path.endswith(".pyc"):
            continue
        try:
            size = (folder / row.path).stat().st_size
        except OSError:
            missing.append(row.path)
        else:
            if row.size is not None and row.size != size:
                altered.append(row.path)
    return tuple(missing), tuple(altered)


def _direct_url(location: Path) -> tuple[str | None, bool]:
    try:
        content = json.loads(_read(location / "direct_url.json") or b"null")
    except ValueError:
        return None, False
    if not isinstance(content, dict):
        return None, False
    folder = content.get("dir_info")
    url = content.get("url")
    editable = isinstance(folder, dict) and folder.get("editable") is True
    return (url if isinstance(url, str) else None), editable


def _egg_info(folder: Path, entry: str) -> Distribution | None:
    location = folder / entry
    stem = entry.removesuffix(".egg-info")
    # distutils wrote a file, setuptools a folder; only pip's old way of calling them kept a list.
    metadata = _read(location / "PKG-INFO") if location.is_dir() else _read(location)
    listing = _read(location / "installed-files.txt") if location.is_dir() else None
    if not is_pillow(_split(stem)[0]) and not (listing and _RECORDED.search(listing)):
        return None
    name, version = _identity(metadata, stem)
    lines = (listing or b"").decode("utf-8", "surrogateescape").splitlines()
    files = tuple(posixpath.normpath(posixpath.join(entry, line)) for line in lines if line)
    missing, altered = _compare(folder, tuple(Recorded(path=f, sha256=None, size=None) for f in files))
    # Only a source tree has its egg-info beside the code: `setup.py develop`, linked by a .pth file.
    source = any((place / "setup.py").is_file() for place in (folder, folder.parent))
    return Distribution(
        name=name,
        version=version,
        location=location,
        site=folder,
        installer=_text(location / "INSTALLER") if location.is_dir() else "",
        files=files,
        has_record=listing is not None,
        has_metadata=metadata is not None,
        editable=source,
        direct_url=None,
        in_target=False,
        conflicts=_conflicts(name, files),
        missing=missing,
        altered=altered,
    )


def _egg(folder: Path, entry: str) -> Distribution | None:
    location = folder / entry
    if not is_pillow(_split(entry)[0]):
        return None
    name, version = _identity(_read(location / "EGG-INFO" / "PKG-INFO"), entry.removesuffix(".egg"))
    # Everything in an egg is the egg's own: the walk is as good as a record.
    inside = sorted(str(path.relative_to(folder)) for path in location.rglob("*") if path.is_file())
    return Distribution(
        name=name,
        version=version,
        location=location,
        site=folder,
        installer="",
        files=tuple(inside) or (entry,),
        has_record=True,
        editable=False,
        direct_url=None,
        in_target=False,
    )


def _egg_link(folder: Path, entry: str) -> Distribution | None:
    location = folder / entry
    name = entry.removesuffix(".egg-link")
    if not is_pillow(name):
        return None
    source = Path(_text(location).split("\n", 1)[0].strip())
    developed = [item for item in find(source) if item.canonical_name == canonicalize_name(name)]
    return Distribution(
        name=developed[0].name if developed else name,
        version=developed[0].version if developed else "",
        location=location,
        site=folder,
        installer="",
        files=(entry,),
        has_record=False,
        editable=True,
        direct_url=source.as_uri() if source.is_absolute() else None,
        in_target=False,
    )


_READERS = {
    ".dist-info": _dist_info,
    ".egg-info": _egg_info,
    ".egg": _egg,
    ".egg-link": _egg_link,
}
