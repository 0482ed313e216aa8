"""What simdinstall remembers in an environment: journal, history, and what it replaced.

Everything lies in ``.simdinstall`` in the site directory, on the same filesystem as
what is exchanged, so that things can be moved there and back::

    journal.json      the transaction in progress; there only while one is
    history.json      the transactions that were carried out
    kept/<number>/    what transaction <number> replaced, under its path below the base
    staging/          what is being prepared; worthless when nothing is in progress
    lock, holder.json one transaction at a time, and who is at it

Paths in the records are relative to the *base* of the environment (the venv's prefix,
``/usr/local``, ``~/.local``). Every record carries a schema number and a checksum.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from simdinstall.errors import BusyError, StateError
from simdinstall.exchange import Move

SCHEMA = 1
STATE = ".simdinstall"


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """The directories of one environment that a transaction deals with."""

    site: Path
    base: Path

    @classmethod
    def of(cls, site: Path) -> Place:
        """The place of a site directory ``<base>/lib/pythonX.Y/site-packages``.

        A directory that does not lie so (``pip install --target``) is its own base.
        """
        regular = len(site.parts) > 3 and site.parent.name.startswith("python")
        return cls(site=site, base=site.parents[2] if regular else site)

    @property
    def state(self) -> Path:
        """Where the records are."""
        return self.site / STATE

    @property
    def journal(self) -> Path:
        """The transaction in progress."""
        return self.state / "journal.json"

    @property
    def history(self) -> Path:
        """The transactions that were carried out."""
        return self.state / "history.json"

    @property
    def staging(self) -> Path:
        """What is being prepared."""
        return self.state / "staging"

    def kept(self, number: int) -> Path:
        """What transaction ``number`` replaced."""
        return self.state / "kept" / str(number)

    def relative(self, path: Path) -> str:
        """``path`` as the records name it."""
        return PurePosixPath(path.relative_to(self.base)).as_posix()

    def absolute(self, name: str) -> Path:
        """The path that the records call ``name``. Raises :class:`ValueError` when it leads outside."""
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or not pure.parts:
            raise ValueError(f"path {name!r} leads outside of the environment")
        return self.base / pure


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One transaction, as history tells it.

    ``when`` is UTC in ISO 8601. ``before`` and ``after`` name what Pillow was there.
    ``installed`` holds each path that the transaction dealt with, and the digest of what
    it left there (``None``: nothing). ``foreign``: what was replaced was not put there
    by simdinstall. ``of`` is the transaction whose replaced things a rollback brought
    back. ``notes`` says what went another way than usual.
    """

    number: int
    action: str
    when: str
    before: str
    after: str
    installed: tuple[tuple[str, str | None], ...]
    foreign: bool
    of: int | None = None
    wheel_sha256: str | None = None
    march: str | None = None
    fidelity: str | None = None
    speedup: float | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Entry:
        """The entry that ``asdict`` and JSON made ``data`` of. Raises KeyError, TypeError, ValueError."""
        values = dict(data)
        values["installed"] = tuple((str(name), _text(value)) for name, value in values["installed"])
        values["notes"] = tuple(str(note) for note in values.get("notes", ()))
        entry = cls(**values)
        if not isinstance(entry.number, int) or not isinstance(entry.action, str):
            raise TypeError("number or action of an entry is of the wrong kind")
        return entry


def _text(value: object) -> str | None:
    return None if value is None else str(value)


@dataclass(frozen=True, kw_only=True, slots=True)
class Journal:
    """A transaction in progress.

    ``phase`` is ``exchange`` until the new tree has proved good (an interruption is
    undone) and ``commit`` from then on (an interruption is finished).
    """

    phase: str
    entry: Entry
    moves: tuple[Move, ...]


def write(place: Place, journal: Journal) -> None:
    """Bring a journal to the disk, all or nothing."""
    _write(
        place.journal,
        {
            "phase": journal.phase,
            "entry": asdict(journal.entry),
            "moves": [
                asdict(move) | {"target": place.relative(move.target), "slot": place.relative(move.slot)}
                for move in journal.moves
            ],
        },
    )


def read(place: Place) -> Journal | None:
    """The journal of a transaction in progress or interrupted; ``None`` when there is none.

    Raises :class:`StateError` when it cannot be relied on.
    """
    data = _read(place.journal)
    if data is None:
        return None
    try:
        if data["phase"] not in ("exchange", "commit"):
            raise ValueError(f"unknown phase {data['phase']!r}")
        moves = []
        for one in data["moves"]:
            move = Move(**one)
            moves.append(
                replace(move, target=place.absolute(one["target"]), slot=place.absolute(one["slot"]))
            )
            if not moves[-1].slot.is_relative_to(place.state):
                raise ValueError(f"slot {one['slot']!r} is not one of simdinstall's")
        return Journal(phase=data["phase"], entry=Entry.from_json(data["entry"]), moves=tuple(moves))
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(place.journal, f"{type(error).__name__}: {error}") from error


def read_history(place: Place) -> tuple[Entry, ...]:
    """Every transaction, oldest first. Raises :class:`StateError` when the record is damaged."""
    data = _read(place.history)
    if data is None:
        return ()
    try:
        return tuple(Entry.from_json(one) for one in data["entries"])
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(place.history, f"{type(error).__name__}: {error}") from error


def write_history(place: Place, entries: tuple[Entry, ...]) -> None:
    """Bring the history to the disk, all or nothing."""
    _write(place.history, {"entries": [asdict(entry) for entry in entries]})


def end(place: Place) -> None:
    """Remove the journal: the transaction is over."""
    place.journal.unlink(missing_ok=True)
    _sync_folder(place.state)


def _checksum(data: Mapping[str, Any]) -> str:
    plain = {key: value for key, value in data.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _write(path: Path, data: Mapping[str, Any]) -> None:
    record = {"schema": SCHEMA, **data}
    record["checksum"] = _checksum(record)
    temporary = path.with_name(path.name + ".new")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(record, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(path, str(error)) from error
    try:
        data = json.loads(text)
    except ValueError as error:
        raise _damaged(path, f"it is not JSON ({error})") from error
    if not isinstance(data, dict):
        raise _damaged(path, "it is not a record")
    if isinstance(data.get("schema"), int) and data["schema"] > SCHEMA:
        raise StateError(
            f"{path} was written by a newer simdinstall",
            why=f"its schema is {data['schema']}, this version knows {SCHEMA}",
            hint="use the newer simdinstall for this environment",
        )
    if data.get("schema") != SCHEMA or data.get("checksum") != _checksum(data):
        raise _damaged(path, "its checksum does not hold")
    return data


def _damaged(path: Path, why: str) -> StateError:
    kept = path.parent / "kept"
    if path.name == "journal.json":
        hint = (
            f"Nothing was changed. What a transaction replaced is in {kept} and {path.parent / 'staging'}. "
            f"If 'import PIL.Image' works, move {path} away and run simdinstall again; "
            f"else reinstall Pillow ('pip install --force-reinstall pillow') after moving it away"
        )
    else:
        hint = f"Nothing was changed. What was replaced is in {kept}. Move {path} away to start a new history"
    return StateError(f"{path} is damaged", why=why, hint=hint)


@contextlib.contextmanager
def locked(place: Place) -> Iterator[None]:
    """Hold the environment's lock. Raises :class:`BusyError` at once when another process has it."""
    from filelock import FileLock, Timeout  # Late: it takes longer than a look at an environment.

    place.state.mkdir(parents=True, exist_ok=True)
    holder = place.state / "holder.json"
    lock = FileLock(place.state / "lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise BusyError(
            f"Another simdinstall{_who(holder)} is at work on {place.site}",
            hint="wait until it has ended, then run this again",
        ) from None
    try:
        holder.write_text(json.dumps({"pid": os.getpid()}))
        yield
    finally:
        with contextlib.suppress(OSError):
            holder.unlink(missing_ok=True)
        lock.release()


def is_held(place: Place) -> bool:
    """Whether another process holds the environment's lock now."""
    path = place.state / "lock"
    if not path.exists():
        return False
    from filelock import FileLock, Timeout

    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        # Not to be opened by this user, who cannot do anything about it either.
        return False


def _who(holder: Path) -> str:
    try:
        return f" (process {int(json.loads(holder.read_text())['pid'])})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
