"""Putting a built Pillow into an environment, and bringing back what was there before.

Every change is one transaction (:mod:`simdinstall.transaction`) under the environment's
lock: it is carried out whole or not at all, whenever the process is killed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from simdinstall import journal as records
from simdinstall.distributions import Distribution, find, wrong_hashes
from simdinstall.environment import PROVENANCE, Environment
from simdinstall.errors import InstallError, NoSpaceError, StateError, TargetError, VerifyError
from simdinstall.exchange import Rename, digest, remove, rename
from simdinstall.journal import Entry, Place
from simdinstall.progress import Progress, silent
from simdinstall.run import Runner, run
from simdinstall.staging import known_digests, try_import, unpack
from simdinstall.transaction import (
    GRACE,
    Checkpoint,
    Swap,
    arriving,
    bring_folder,
    carry_out,
    carry_over,
    leaving,
    nowhere,
    original,
    plan,
    put_back,
    settle,
)
from simdinstall.verdict import Verdict

if TYPE_CHECKING:
    from simdinstall.wheel import Wheel

#: What unpacking and byte code need, as a multiple of the wheel's unpacked size.
_SPACE = 1.3
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, kw_only=True, slots=True)
class Transaction:
    """What an installation or a rollback did.

    ``before`` and ``after`` name the Pillows. ``removed`` are distributions moved aside,
    ``kept`` is where their files are. ``bridged``: releases differed, and imports under
    way got time to end. ``notes`` says what went another way than usual.
    """

    number: int
    action: str
    site: Path
    before: str
    after: str
    removed: tuple[str, ...]
    kept: Path
    bridged: bool
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Recovery:
    """What was done about an interrupted transaction: ``undone``, ``finished`` or ``cleaned``.

    ``cleaned``: it had not touched the environment yet. ``action`` and ``after`` tell what
    it was about, where that is known.
    """

    outcome: Literal["undone", "finished", "cleaned"]
    action: str = ""
    before: str = ""
    after: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """What is installed, as far as the disk tells.

    ``ours``: a build of simdinstall's. ``damaged`` are files that are missing or not as
    RECORD has them; ``intact`` says that there are none. ``provenance`` is the content of
    the build's ``simdinstall.json``. ``changed`` are paths that are not as the last
    transaction left them. ``pending``: a transaction is in progress or was interrupted.
    """

    site: Path
    name: str | None
    version: str | None
    ours: bool
    intact: bool
    damaged: tuple[str, ...]
    provenance: Mapping[str, Any] | None
    changed: tuple[str, ...]
    pending: bool
    latest: Entry | None
    can_roll_back: bool

    @property
    def march(self) -> str | None:
        """What the build was made for, as its provenance says."""
        march = (self.provenance or {}).get("march")
        return march.get("name") if isinstance(march, dict) else None

    @property
    def zlib_ng(self) -> str | None:
        """The version of the zlib-ng in the build, as its provenance says."""
        told = (self.provenance or {}).get("zlib_ng")
        return told.get("version") if isinstance(told, dict) else None

    @property
    def made_with(self) -> dict[str, Any]:
        """The options of `install` that give this build again; empty where it is not ours."""
        if not self.ours:
            return {}
        told = self.provenance or {}
        wanted: dict[str, Any] = {"march": self.march, "fidelity": self.fidelity}
        wanted |= {"rebuild": bool(told.get("core")), "zlib_ng": bool(told.get("zlib_ng"))}
        if system := told.get("libs"):
            wanted |= {"rebuild": True, "libs": system["kind"], "without": list(system["without"])}
        return {name: value for name, value in wanted.items() if value}

    @property
    def fidelity(self) -> str | None:
        """``exact`` or ``bounded``, as its provenance says."""
        value = (self.provenance or {}).get("fidelity")
        return value if isinstance(value, str) else None


class Trial(Protocol):
    """A proof that the build gives itself, beside the environment, before anything is touched."""

    @property
    def program(self) -> Path:
        """A Python file whose function ``trial()`` the target's Python calls after the import."""
        ...

    def judge(self, answer: Mapping[str, Any]) -> Verdict:
        """What that function gave, as a verdict."""
        ...


def install(
    wheel: Wheel,
    proof: Verdict | Trial,
    env: Environment,
    *,
    run: Runner = run,
    progress: Progress = silent,
    checkpoint: Checkpoint = nowhere,
    rename: Rename = rename,
    grace: float = GRACE,
) -> Transaction:
    """Put a verified wheel in the place of whatever Pillow is in ``env.site``.

    ``proof``: the verdict on it, or what has yet to give one.
    ``grace``: seconds that imports under way get to end when the release changes.
    ``checkpoint`` is called with a name between steps, for tests. Raises
    :class:`VerifyError` for a wheel that was not verified, :class:`TargetError`,
    :class:`BusyError`, :class:`StateError` and :class:`NoSpaceError` before anything is
    touched, :class:`InstallError` when everything was put back.
    """
    if isinstance(proof, Verdict) and not proof.ok:
        raise VerifyError(f"{wheel.path.name} was not verified", hint="nothing was changed")
    with wheel.path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != wheel.sha256:
            raise InstallError(
                f"{wheel.path.name} has changed since it was built",
                why="its sha256 is another one",
                hint="nothing was changed; run this again",
            )
    place, env = _placed(env)
    with _session(place, env, checkpoint):
        _require_unchanged(place, env)
        number = _next_number(place)
        root, out = place.staging / "in", place.staging / "out"
        _require_space(place, wheel.path)
        progress(f"unpacking {wheel.path.name}")
        place.staging.mkdir()
        checkpoint("before unpacking")
        staged = unpack(wheel.path, place=place, root=root, python=env.python, run=run)
        checkpoint("unpacked")
        plugins = [owner for owner in env.owners if owner.in_target and not owner.conflicts]
        carried = carry_over(place, staged, plugins)

        def check(staged: Path | None, program: Path | None = None) -> Mapping[str, Any]:
            return try_import(
                env.python,
                staged=staged,
                user=env.scope == "user",
                run=run,
                site=place.site,
                release=wheel.release,
                version=wheel.version,
                program=program,
            )

        def in_place() -> None:
            check(None)

        progress("importing it beside the environment")
        if isinstance(proof, Verdict):
            verdict = proof
            check(staged)
        else:
            verdict = proof.judge(check(staged, proof.program))
            verdict.require_ok()
        checkpoint("tried")
        going = leaving(place, env.replaced, env.leftovers)
        swap = plan(
            place,
            number,
            arriving=arriving(place, root, going),
            root=root,
            waiting=root,
            out=out,
            leaving=going,
            known=known_digests(staged),
        )
        checkpoint("planned")
        entry = Entry(
            number=number,
            action="install",
            when=_now(),
            before=_describe(place, env),
            after=f"pillow {wheel.version}",
            installed=_installed(place, swap),
            foreign=not _only_ours(env),
            wheel_sha256=wheel.sha256,
            march=wheel.march,
            fidelity=wheel.fidelity,
            speedup=verdict.speedup,
            notes=tuple(f"{name} of another distribution was carried over" for name in carried),
        )
        progress(f"exchanging {entry.before} for {entry.after}")
        entry = carry_out(
            place,
            entry,
            swap,
            check=in_place,
            rename=rename,
            checkpoint=checkpoint,
            grace=grace,
        )
    return _transaction(place, env, entry, swap)


def rollback(
    env: Environment,
    *,
    to: Literal["previous", "original"] = "previous",
    force: bool = False,
    progress: Progress = silent,
    checkpoint: Checkpoint = nowhere,
    rename: Rename = rename,
    grace: float = GRACE,
) -> Transaction:
    """Bring back, byte for byte, what the last transaction replaced.

    After a rollback that is what the rollback replaced, so that it can be taken back in
    turn. ``to="original"``: what was there before simdinstall came. What is there now is
    kept. With ``force`` even if something else has changed the environment since; without
    it that is a :class:`StateError`, as is nothing to go back to.
    """
    place, env = _placed(env)
    with _session(place, env, checkpoint):
        entries = records.read_history(place)
        chosen = _chosen(place, entries, to)
        if not force and (differing := _changed(place, entries[-1], env)):
            raise StateError(
                f"The Pillow in {place.site} was changed since simdinstall last did",
                why="not as it was left: " + ", ".join(Path(name).name for name in differing),
                hint="'simdinstall rollback --force' moves what is there aside and brings the old back",
            )
        number = _next_number(place)
        root, waiting = place.kept(chosen.number), place.staging / "in"
        place.staging.mkdir()
        present = tuple(place.absolute(name) for name, value in entries[-1].installed if value is not None)
        going = leaving(place, env.replaced, (*present, *env.leftovers))
        coming = {
            place.absolute(name): root / name for name, _ in chosen.installed if os.path.lexists(root / name)
        }
        swap = plan(
            place,
            number,
            arriving=coming,
            root=root,
            waiting=waiting,
            out=place.staging / "out",
            leaving=going,
        )
        swap = Swap(
            moves=(bring_folder(root, waiting), *swap.moves),
            pause=None if swap.pause is None else swap.pause + 1,
        )
        checkpoint("planned")
        entry = Entry(
            number=number,
            action="rollback",
            when=_now(),
            before=_describe(place, env),
            after=chosen.before,
            installed=_installed(place, swap),
            foreign=not _only_ours(env),
            of=chosen.number,
        )
        progress(f"exchanging {entry.before} for {entry.after}")
        entry = carry_out(
            place, entry, swap, check=lambda: None, rename=rename, checkpoint=checkpoint, grace=grace
        )
    return _transaction(place, env, entry, swap)


def what_returns(env: Environment, *, to: Literal["previous", "original"] = "previous") -> str:
    """Name what :func:`rollback` would bring back. Raises :class:`StateError` where there is nothing."""
    place, _ = _placed(env)
    return _chosen(place, records.read_history(place), to).before


def recover(
    env: Environment, *, checkpoint: Checkpoint = nowhere, rename: Rename = rename
) -> Recovery | None:
    """Finish or undo what an interrupted simdinstall left; ``None`` when there is nothing to do.

    To be called at the start of every command. A transaction that is still in progress
    in another process is left alone. Raises :class:`StateError` when the records cannot
    be relied on (nothing is touched then) and :class:`TargetError` without permission.
    """
    place = Place.of(env.site)
    if not place.journal.exists() and not place.staging.exists():
        return None
    if records.is_held(place):
        return None
    _require_writable(place, env)
    with records.locked(place), _explained(place):
        return _recover(place, rename, checkpoint)


def history(env: Environment) -> tuple[Entry, ...]:
    """Every transaction in this environment, oldest first. Raises :class:`StateError`."""
    return records.read_history(Place.of(env.site))


def status(env: Environment) -> Status:
    """Look at what is installed and whether it is as it was left. Changes nothing."""
    place, env = _placed(env)
    entries = records.read_history(place)
    latest = entries[-1] if entries else None
    # Several may be there, one over the other: ours is the one to ask about.
    owners = sorted(env.replaced, key=_is_ours)
    owner = owners[-1] if owners else None
    damaged = _damaged(owner) if owner is not None else ()
    return Status(
        site=place.site,
        name=owner.name if owner is not None else None,
        version=owner.version if owner is not None else None,
        # A wheel of ours is ours, whoever put it there: uv does, from a lock file.
        ours=owner is not None and (owner.location / PROVENANCE).is_file(),
        intact=owner is not None and not damaged,
        damaged=damaged,
        provenance=_provenance(owner) if owner is not None else None,
        changed=_changed(place, latest, env) if latest is not None else (),
        pending=place.journal.exists(),
        latest=latest,
        can_roll_back=latest is not None and place.kept(latest.number).is_dir(),
    )


def _placed(env: Environment) -> tuple[Place, Environment]:
    """The place, and the environment with one spelling of it: lib64 is a link to lib in many."""
    place = Place.of(env.site)

    def spelt(path: Path) -> Path:
        same = path != place.site and path.is_dir() and place.site.is_dir() and path.samefile(place.site)
        return place.site if same else path

    owners = tuple(
        replace(owner, site=spelt(owner.site), location=spelt(owner.location.parent) / owner.location.name)
        for owner in env.owners
    )
    strays = tuple(spelt(path.parent) / path.name for path in env.leftovers)
    return place, replace(env, owners=owners, leftovers=strays)


def _transaction(place: Place, env: Environment, entry: Entry, swap: Swap) -> Transaction:
    return Transaction(
        number=entry.number,
        action=entry.action,
        site=place.site,
        before=entry.before,
        after=entry.after,
        removed=tuple(str(owner) for owner in env.replaced),
        kept=place.kept(entry.number),
        bridged=swap.pause is not None,
        notes=entry.notes,
    )


# A session: permission, lock, recovery, and errors that explain themselves ------------


@contextlib.contextmanager
def _session(place: Place, env: Environment, checkpoint: Checkpoint) -> Iterator[None]:
    _require_writable(place, env)
    with _explained(place), records.locked(place):
        if _recover(place, rename, checkpoint) not in (None, Recovery(outcome="cleaned")):
            raise InstallError(
                "An interrupted transaction had to be dealt with first",
                why=f"{place.site} is not as it was when this command looked at it",
                hint="run this again",
            )
        try:
            yield
        except BaseException:
            # Before the journal is written nothing but this was made.
            if not place.journal.exists():
                remove(place.staging)
            raise


def _recover(place: Place, rename: Rename, checkpoint: Checkpoint) -> Recovery | None:
    journal = records.read(place)
    if journal is None:
        if not place.staging.exists():
            return None
        remove(place.staging)
        return Recovery(outcome="cleaned")
    entry = journal.entry
    if journal.phase == "commit":
        settle(place, journal, checkpoint=checkpoint)
        outcome: Literal["undone", "finished"] = "finished"
    else:
        put_back(place, journal.moves, rename=rename, checkpoint=checkpoint)
        outcome = "undone"
    return Recovery(outcome=outcome, action=entry.action, before=entry.before, after=entry.after)


def _require_writable(place: Place, env: Environment) -> None:
    existing = place.site
    while not existing.exists():
        existing = existing.parent
    # Moving a directory elsewhere rewrites its '..', for which it must be writable too.
    folders = [existing, place.state, place.site / "PIL"]
    folders += [owner.location for owner in env.replaced]
    folders += [path for path in place.site.glob("*.libs") if path.name.lower().startswith("pillow")]
    for folder in folders:
        if folder.is_dir() and not folder.is_symlink() and not os.access(folder, os.W_OK | os.X_OK):
            raise TargetError(
                f"No permission to change {folder}",
                why=f"it belongs to user {folder.stat().st_uid}",
                hint="use an environment of your own ('python3 -m venv DIR'), or run as that user",
            )


@contextlib.contextmanager
def _explained(place: Place) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = f"{error.filename or place.site}: {error.strerror or error}"
        undone = (
            "everything was put back"
            if not place.journal.exists()
            else "run simdinstall again, which undoes or finishes it"
        )
        if error.errno in _FULL:
            raise NoSpaceError(
                f"No space left for installing into {place.site}", why=what, hint=f"free some; {undone}"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise TargetError(f"No permission to change {place.site}", why=what, hint=undone) from error
        raise InstallError(f"Installing into {place.site} failed", why=what, hint=undone) from error


def _require_space(place: Place, wheel: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            needed = int(_SPACE * sum(member.file_size for member in archive.infolist()))
    except zipfile.BadZipFile as error:
        raise InstallError(
            f"{wheel.name} is not a well-formed wheel", why=str(error), hint="nothing was changed"
        ) from error
    volume = os.statvfs(place.site)
    free = volume.f_bavail * volume.f_frsize
    if free < needed:
        raise NoSpaceError(
            f"No space left for installing into {place.site}",
            why=f"{needed / 1e6:.1f} MB are needed, {free / 1e6:.1f} MB are free",
            hint="nothing was changed; free some space",
        )


def _require_unchanged(place: Place, env: Environment) -> None:
    known = {owner.location for owner in env.replaced if owner.site == place.site}
    present = {owner.location for owner in find(place.site) if owner.conflicts}
    if known != present:
        names = ", ".join(sorted(path.name for path in known ^ present))
        raise InstallError(
            f"{place.site} has changed since this command looked at it",
            why=f"come or gone: {names}",
            hint="nothing was changed; run this again",
        )


# What is there, in words and digests ----------------------------------------------------


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _next_number(place: Place) -> int:
    kept = place.kept(0).parent
    taken = [int(path.name) for path in kept.iterdir() if path.name.isdecimal()] if kept.is_dir() else []
    taken += [entry.number for entry in records.read_history(place)]
    kept.mkdir(exist_ok=True)
    return max(taken, default=0) + 1


def _describe(place: Place, env: Environment) -> str:
    owners = " and ".join(str(owner) for owner in env.replaced)
    if owners:
        return owners
    return "a PIL that no distribution owns" if os.path.lexists(place.site / "PIL") else "no Pillow"


def _is_ours(owner: Distribution) -> bool:
    return owner.installer == "simdinstall" and (owner.location / PROVENANCE).is_file()


def _only_ours(env: Environment) -> bool:
    return bool(env.replaced) and all(map(_is_ours, env.replaced))


def _installed(place: Place, swap: Swap) -> tuple[tuple[str, str | None], ...]:
    final = {
        place.relative(move.target): move.digest
        for move in swap.moves
        if not move.target.is_relative_to(place.state)
    }
    return tuple(sorted(final.items()))


def _changed(place: Place, entry: Entry, env: Environment) -> tuple[str, ...]:
    """Paths that are not as a transaction left them, and distributions that have come since."""
    names = [name for name, value in entry.installed if digest(place.absolute(name)) != value]
    known = {place.absolute(name) for name, _ in entry.installed}
    names += [
        place.relative(owner.location)
        for owner in env.replaced
        if owner.location not in known and owner.location.is_relative_to(place.base)
    ]
    return tuple(sorted(names))


def _chosen(place: Place, entries: Sequence[Entry], to: str) -> Entry:
    number: int | None = None
    if entries:
        number = entries[-1].number if to == "previous" else original(place, entries)
    if number is None or not place.kept(number).is_dir():
        raise StateError(
            f"There is nothing to go back to in {place.site}",
            why="simdinstall has not installed anything here"
            if not entries
            else f"what was replaced is not in {place.state / 'kept'} any more",
            hint="'simdinstall history' shows what was done here",
        )
    return next(entry for entry in entries if entry.number == number)


def _provenance(owner: Distribution) -> Mapping[str, Any] | None:
    try:
        content = json.loads((owner.location / PROVENANCE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _damaged(owner: Distribution) -> tuple[str, ...]:
    return tuple(sorted({*owner.missing, *wrong_hashes(owner, frozenset(owner.files))}))
