"""What a cache holds, as ``catalogue.json`` has it, and how that changes.

A wheel lies under its own hash and is never written again; pages are exchanged one by
one, each whole; the catalogue comes last. So whoever reads, at whatever instant, finds
every file that what he has read names. No decision rests on a clock.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock, Timeout

from simdinstall import __version__
from simdinstall.errors import BusyError, StateError
from simdinstall.store import check_space, digest, file_digest

#: Counts up when what older versions would read wrongly changes.
SCHEMA = 1

NAME = "catalogue.json"
WHEELS = "wheels"
SIGNATURES = "signatures"
WORK = ".building"

#: How to put a cache on a file system that cannot be built on.
SAFE_WAY = (
    "build in a local folder, then copy it: "
    "`rsync -a --exclude .building --exclude catalogue.json LOCAL/ DIR/` "
    "and after that `rsync -a LOCAL/catalogue.json DIR/`"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One wheel of a cache.

    ``path`` is relative to the cache. ``features`` are what the CPU must have, under the
    names of ``/proc/cpuinfo``; ``isas`` are the instruction sets that its kernels were
    compiled for, of which the CPU's best is chosen at run time. ``inputs`` is the hash of
    all that it was made from; ``verdict`` tells what verification said and where.
    ``variant`` is the same wheel in the shape of PEP 825, if that is there. ``kind`` is its
    cell's: empty, ``rebuilt``, ``zlibng`` or ``rebuilt.zlibng``.
    """

    cell: str
    inputs: str
    file: str
    path: str
    sha256: str
    size: int
    metadata_sha256: str
    version: str
    release: str
    requires_python: str
    python: str
    abi: str
    platforms: tuple[str, ...]
    level: str
    mark: str | None
    architecture: str
    features: frozenset[str]
    isas: tuple[str, ...]
    fidelity: str
    glibc: str
    kernels: tuple[str, ...]
    sources: Mapping[str, str]
    flags: tuple[str, ...]
    compiler: str
    library: str
    verdict: Mapping[str, Any]
    built: str
    variant: Mapping[str, str] | None = None
    kind: str = ""

    @property
    def verified(self) -> bool:
        """Whether its kernels ran and were compared with stock Pillow where it was built."""
        return bool(self.verdict.get("state") == "verified")

    @property
    def tags(self) -> tuple[str, ...]:
        """Its PEP 425 tags."""
        return tuple(f"{self.python}-{self.abi}-{platform}" for platform in self.platforms)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "cell": self.cell,
            "file": self.file,
            "path": self.path,
            "sha256": self.sha256,
            "size": self.size,
            "metadata_sha256": self.metadata_sha256,
            "version": self.version,
            "release": self.release,
            "requires_python": self.requires_python,
            "python": self.python,
            "abi": self.abi,
            "platforms": list(self.platforms),
            "cpu": {
                "level": self.level,
                "mark": self.mark,
                "architecture": self.architecture,
                "features": sorted(self.features),
                "isas": list(self.isas),
            },
            "fidelity": self.fidelity,
            **({"kind": self.kind} if self.kind else {}),
            "glibc": self.glibc,
            "kernels": list(self.kernels),
            "sources": dict(self.sources),
            "flags": list(self.flags),
            "compiler": self.compiler,
            "library": self.library,
            "inputs": self.inputs,
            "verdict": dict(self.verdict),
            "built": self.built,
            **({"variant": dict(self.variant)} if self.variant else {}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Entry:
        """The inverse of :meth:`to_json`. KeyError, TypeError."""
        told = dict(data)
        cpu = told.pop("cpu")
        entry = cls(
            **{
                **told,
                "level": cpu["level"],
                "mark": cpu["mark"],
                "architecture": cpu["architecture"],
                "features": frozenset(cpu["features"]),
                "isas": tuple(cpu["isas"]),
                "platforms": tuple(told["platforms"]),
                "kernels": tuple(told["kernels"]),
                "flags": tuple(told["flags"]),
            }
        )
        for path, file in entry.files():
            # What is joined to the cache's own address must stay below it.
            parts = path.split("/")
            if parts[0] != WHEELS or ".." in parts or "" in parts or parts[-1] != file:
                raise ValueError(f"a wheel lies outside of the cache: {path}")
        return entry

    def files(self) -> tuple[tuple[str, str], ...]:
        """The paths of its wheels relative to the cache, and their names."""
        variant = ((self.variant["path"], self.variant["file"]),) if self.variant else ()
        return ((self.path, self.file), *variant)


@dataclass(frozen=True, kw_only=True, slots=True)
class Catalogue:
    """All wheels. ``generation`` counts publications; ``signer`` is who must sign the next."""

    entries: tuple[Entry, ...] = ()
    generation: int = 0
    signer: str = ""
    variants: bool = False

    def by_cell(self) -> dict[str, Entry]:
        """Each cell's wheel."""
        return {entry.cell: entry for entry in self.entries}

    def with_entries(self, fresh: Iterable[Entry]) -> Catalogue:
        """With these in the place of those of the same cells."""
        both = {**self.by_cell(), **{entry.cell: entry for entry in fresh}}
        return replace(self, entries=tuple(both[cell] for cell in sorted(both)))

    def without(self, cells: Iterable[str]) -> Catalogue:
        """Without the wheels of these cells."""
        gone = frozenset(cells)
        return replace(self, entries=tuple(entry for entry in self.entries if entry.cell not in gone))

    def to_bytes(self) -> bytes:
        """The text of ``catalogue.json``."""
        data = {
            "schema": SCHEMA,
            "tool": {"name": "simdinstall", "version": __version__},
            "generation": self.generation,
            "signer": self.signer,
            "variants": self.variants,
            "wheels": [entry.to_json() for entry in self.entries],
        }
        return (json.dumps(data, indent=1, sort_keys=False) + "\n").encode()


def parse(text: bytes, *, where: str) -> Catalogue:
    """``catalogue.json`` as read from ``where``. StateError when it cannot be understood."""
    try:
        data = json.loads(text)
        schema = data["schema"]
        if not isinstance(schema, int):
            raise TypeError(f"its schema is {schema!r}")
        if schema > SCHEMA:
            raise StateError(
                f"the cache {where} was made by a newer simdinstall",
                why=f"its catalogue has schema {schema}, this version ({__version__}) knows up to {SCHEMA}; "
                f"it was written by version {data.get('tool', {}).get('version', 'unknown')}",
                hint="update simdinstall here: pip install -U simdinstall",
            )
        return Catalogue(
            entries=tuple(Entry.from_json(entry) for entry in data["wheels"]),
            generation=int(data["generation"]),
            signer=str(data.get("signer", "")),
            variants=bool(data.get("variants", False)),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StateError(
            f"the catalogue of the cache {where} cannot be read",
            why=f"{type(error).__name__}: {error}",
            hint="take it from a backup, or move it away: `simdinstall cache build` then makes a new one",
        ) from error


class Signer(Protocol):
    """Who signs what is published."""

    @property
    def fingerprint(self) -> str:
        """What names the key: ``SHA256:…``."""
        ...

    def sign(self, content: bytes) -> str:
        """The text of a signature."""
        ...


class House:
    """A cache that is a folder here, to be changed by any number of builders at once.

    ``pages`` gives all index pages (relative path → content) of a catalogue.
    """

    def __init__(
        self,
        root: Path,
        *,
        pages: Callable[[Catalogue], Mapping[str, bytes]],
        patience: float = 120.0,
        lock: Callable[[str], FileLock] = FileLock,
        rename: Callable[[Path, Path], None] = os.replace,
    ) -> None:
        """``patience``: seconds to wait for another builder that publishes."""
        self.root = root
        self._pages = pages
        self._patience = patience
        self._new_lock = lock
        self._rename = rename

    def read(self) -> Catalogue:
        """The catalogue; an empty one where there is none yet. StateError."""
        try:
            return parse((self.root / NAME).read_bytes(), where=str(self.root))
        except FileNotFoundError:
            return Catalogue()

    def require_fit(self) -> None:
        """StateError, with the safe way, unless the folder can be built on.

        It must be writable, exchange files atomically, and keep locks.
        """
        with self._explained():
            (self.root / WORK).mkdir(parents=True, exist_ok=True)
            name = f"probe-{os.getpid()}-{secrets.token_hex(4)}"
            old, new = self.root / WORK / name, self.root / WORK / f"{name}-new"
            try:
                old.write_text("old")
                new.write_text("new")
                self._rename(new, old)
                replaced = old.read_text() == "new" and not new.exists()
            except OSError as error:
                if error.errno in _READ_ONLY or error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise
                replaced = False
            finally:
                for path in (old, new):
                    with contextlib.suppress(OSError):
                        path.unlink()
            if not replaced:
                raise StateError(
                    f"the file system of {self.root} cannot exchange a file for another at once",
                    why="a reader could see half a page",
                    hint=SAFE_WAY,
                )
            with self.locked("probe"):
                pass

    @contextlib.contextmanager
    def locked(self, name: str, *, patience: float | None = None) -> Iterator[None]:
        """Hold a lock of this cache. BusyError after ``patience`` seconds, StateError without locks."""
        folder = self.root / WORK / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        lock = self._new_lock(str(folder / f"{name}.lock"))
        try:
            lock.acquire(timeout=self._patience if patience is None else patience)
        except Timeout as error:
            raise BusyError(
                f"another builder is at work on {self.root}",
                why=f"it holds {name}",
                hint="wait for it to end, and try again",
            ) from error
        except (NotImplementedError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
                raise
            raise StateError(
                f"the file system of {self.root} has no locks",
                why="two builders could overwrite each other's work",
                hint=SAFE_WAY,
            ) from error
        try:
            yield
        finally:
            lock.release()

    def take_in(self, wheel: Path, sha256: str) -> str:
        """Put a wheel and its METADATA into place; gives its path relative to the cache.

        It is not listed yet. Raises StateError when what arrives is not ``sha256``.
        """
        relative = wheel_path(wheel.name, sha256)
        target = self.root / relative
        if target.is_file() and target.stat().st_size == wheel.stat().st_size:
            return relative
        with self._explained():
            part = self._part(wheel.name)
            try:
                shutil.copyfile(wheel, part)
                _flush(part)
                if file_digest(part) != sha256:
                    raise StateError(f"{wheel.name} did not arrive as it was sent", hint="try again")
                metadata = core_metadata(part)
                target.parent.mkdir(parents=True, exist_ok=True)
                self._write(target.with_name(f"{target.name}.metadata"), metadata)
                self._rename(part, target)
                _flush(target.parent)
            finally:
                part.unlink(missing_ok=True)
        return relative

    def publish(
        self,
        change: Callable[[Catalogue], Catalogue],
        *,
        signer: Signer | None = None,
        unsigned: bool = False,
        clean: bool = False,
    ) -> Catalogue:
        """Change the catalogue and all pages, while no other builder does.

        A cache that was signed must be signed again, unless ``unsigned`` says that it no
        longer shall be. ``clean`` removes the files that nothing names any more.
        """
        with self._explained(), self.locked("publish"):
            before = self.read()
            if before.signer and not unsigned and (signer is None or signer.fingerprint != before.signer):
                raise StateError(
                    f"the cache {self.root} is signed by {before.signer}",
                    why="no key was given" if signer is None else f"the key given is {signer.fingerprint}",
                    hint="give the same key with --sign, or --unsigned to go on without",
                )
            after = replace(
                change(before),
                generation=before.generation + 1,
                signer=signer.fingerprint if signer else "",
            )
            text = after.to_bytes()
            pages = self._pages(after)
            shrinks = _paths(before) - _paths(after)
            if not shrinks:
                self._write_pages(pages)
            if signer is not None:
                self._write(self.root / signature_path(text), signer.sign(text).encode())
            self._write(self.root / NAME, text)
            if shrinks:
                self._write_pages(pages)
            if clean:
                self._clean(after, pages, text)
        return after

    def size(self) -> int:
        """The bytes of all wheels that lie there, listed or not."""
        return sum(path.stat().st_size for path in (self.root / WHEELS).rglob("*") if path.is_file())

    def _write_pages(self, pages: Mapping[str, bytes]) -> None:
        for relative, content in pages.items():
            path = self.root / relative
            try:
                same = path.read_bytes() == content
            except OSError:
                same = False
            if not same:
                self._write(path, content)

    def _clean(self, catalogue: Catalogue, pages: Mapping[str, bytes], text: bytes) -> None:
        """Remove what nothing names, the work of builders that died too."""
        kept = {self.root / path for path in _paths(catalogue)}
        kept |= {path.with_name(f"{path.name}.metadata") for path in kept}
        kept |= {self.root / page for page in pages} | {self.root / signature_path(text)}
        for folder in (WHEELS, "simple", SIGNATURES):
            # Deepest first, so that folders are empty when their turn comes.
            for path in sorted((self.root / folder).rglob("*"), reverse=True):
                if path.is_dir():
                    with contextlib.suppress(OSError):
                        path.rmdir()
                elif path not in kept:
                    path.unlink()
        for part in (self.root / WORK).glob("part-*"):
            part.unlink(missing_ok=True)

    def _part(self, name: str) -> Path:
        folder = self.root / WORK
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"part-{secrets.token_hex(8)}-{name}"

    def _write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = self._part(path.name)
        try:
            with part.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            self._rename(part, path)
        finally:
            part.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            check_space(error, self.root)
            if error.errno in _READ_ONLY:
                raise StateError(
                    f"the cache {self.root} cannot be written",
                    why=f"{error.strerror}: {error.filename}",
                    hint="build as a user who may write there, or in another folder; to use a cache that is "
                    "only to be read: simdinstall --cache DIR",
                ) from error
            raise


_READ_ONLY = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR})
_NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL})


def _paths(catalogue: Catalogue) -> frozenset[str]:
    return frozenset(path for entry in catalogue.entries for path, _ in entry.files())


def wheel_path(name: str, sha256: str) -> str:
    """Where a wheel of that hash lies in a cache."""
    return f"{WHEELS}/{sha256[:16]}/{name}"


def signature_path(catalogue: bytes) -> str:
    """Where the signature of a catalogue lies: by its hash, so that both change at once."""
    return f"{SIGNATURES}/{hashlib.sha256(catalogue).hexdigest()}.sig"


def core_metadata(wheel: Path) -> bytes:
    """METADATA of a wheel. StateError."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name.endswith(".dist-info/METADATA") and name.count("/") == 1:
                    return archive.read(name)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise StateError(f"{wheel.name} is no wheel", why=str(error)) from error
    raise StateError(f"{wheel.name} is no wheel", why="it has no METADATA")


def input_digest(parts: Mapping[str, Any]) -> str:
    """The hash of what a wheel is made from."""
    return digest(dict(parts))


def now() -> str:
    """For people to read only: clocks differ."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
