"""The cache of what was built: found again by everything that went into it.

An entry is a folder of files under ``<kind>/<key>``. It appears whole or not at all
(written beside, then renamed), and a manifest in it holds the hash of every file, so
that a damaged entry is noticed, thrown away and made again.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simdinstall.errors import BusyError, NoSpaceError, StateError

#: Counts up whenever what is in entries, or how they are named, changes its meaning.
FORMAT = 1

_MANIFEST = "manifest.json"

#: errno of a full device and of a used-up quota.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A verified entry. ``fresh``: made just now; ``repaired``: because it was damaged."""

    path: Path
    fresh: bool
    repaired: bool


def default_root() -> Path:
    """``$SIMDINSTALL_CACHE_DIR``, else the user's cache folder for simdinstall."""
    chosen = os.environ.get("SIMDINSTALL_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser().absolute()
    from platformdirs import user_cache_path  # Late: a node that installs from a cache has no other.

    return user_cache_path("simdinstall")


def digest(value: Any) -> str:
    """The sha256 of a value made of JSON types, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """The sha256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class Store:
    """The entries below one folder. Safe against other processes and against being killed."""

    def __init__(self, root: Path, *, patience: float = 600.0) -> None:
        """``patience``: seconds to wait for another process that makes the same entry."""
        self.root = root
        self._patience = patience

    def get(self, kind: str, key: str) -> Entry | None:
        """The entry, if it is there and undamaged."""
        path = self.root / kind / key
        return Entry(path=path, fresh=False, repaired=False) if _intact(path) else None

    def put(self, kind: str, key: str, make: Callable[[Path], None]) -> Entry:
        """The entry; where it is missing or damaged, ``make`` fills a folder for it first.

        One process makes it, others wait. What ``make`` raises passes, and nothing half
        done stays. Raises NoSpaceError, BusyError, and StateError when the cache cannot
        be written.
        """
        found = self.get(kind, key)
        if found:
            return found
        with self._errors(), self._lock(kind, key):
            # Another process may have made it while this one waited.
            found = self.get(kind, key)
            if found:
                return found
            target = self.root / kind / key
            repaired = target.exists()
            self._remove(target)
            for leftover in target.parent.glob(f".{key}-*"):
                shutil.rmtree(leftover, ignore_errors=True)
            self._publish(target, make)
            return Entry(path=target, fresh=True, repaired=repaired)

    def text(self, kind: str, key: str, make: Callable[[], str]) -> str:
        """A text, worked out by ``make`` once. A cache that cannot be written is no error."""
        found = self.get(kind, key)
        if found is None:
            text = make()

            def write(folder: Path) -> None:
                (folder / "text").write_text(text, encoding="utf-8")

            with contextlib.suppress(NoSpaceError, StateError, BusyError):
                self.put(kind, key, write)
            return text
        return (found.path / "text").read_text(encoding="utf-8")

    def _publish(self, target: Path, make: Callable[[Path], None]) -> None:
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            make(folder)
            manifest = {"format": FORMAT, "files": _hashes(folder)}
            (folder / _MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True), encoding="utf-8")
            for file in folder.rglob("*"):
                _flush(file)
            folder.chmod(0o755)
            folder.rename(target)
            _flush(target.parent)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _remove(self, target: Path) -> None:
        """Out of sight at once: nobody must see an entry that is half deleted."""
        if target.exists() or target.is_symlink():
            doomed = target.with_name(f".{target.name}-damaged-{os.getpid()}")
            target.rename(doomed)
            if doomed.is_dir() and not doomed.is_symlink():
                shutil.rmtree(doomed, ignore_errors=True)
            else:
                doomed.unlink()

    @contextlib.contextmanager
    def _lock(self, kind: str, key: str) -> Iterator[None]:
        from filelock import FileLock, Timeout  # Late: see journal.

        (self.root / kind).mkdir(parents=True, exist_ok=True)
        locks = self.root / "locks"
        locks.mkdir(exist_ok=True)
        try:
            with FileLock(locks / f"{kind}-{key}.lock", timeout=self._patience):
                yield
        except Timeout as error:
            raise BusyError(
                "another simdinstall is building the same thing",
                why=f"it has held {error.lock_file} for more than {self._patience:g} s",
                hint="wait for it to end, or end it, and try again",
            ) from error

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            check_space(error, self.root)
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
                raise StateError(
                    f"the cache {self.root} cannot be written",
                    why=f"{error.strerror}: {error.filename}",
                    hint="give another folder: SIMDINSTALL_CACHE_DIR=/somewhere/writable",
                ) from error
            raise


def check_space(error: OSError, where: Path) -> None:
    """Raise NoSpaceError if the device or the quota is what ``error`` is about."""
    if error.errno in _FULL:
        raise NoSpaceError(
            "no space left",
            why=f"{error.strerror}: {error.filename or where}",
            hint="make room, or choose other folders: SIMDINSTALL_CACHE_DIR for the cache,"
            " TMPDIR for what is compiled",
        ) from error


def _hashes(folder: Path) -> dict[str, str]:
    return {
        file.relative_to(folder).as_posix(): file_digest(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != _MANIFEST
    }


def _intact(path: Path) -> bool:
    try:
        manifest = json.loads((path / _MANIFEST).read_text(encoding="utf-8"))
        return bool(manifest["format"] == FORMAT and manifest["files"] == _hashes(path))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _flush(path: Path) -> None:
    """To the disk, so that a power cut leaves no entry of the right name and no content."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
