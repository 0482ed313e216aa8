"""A transaction: a list of moves that takes an environment from one Pillow to another.

The order of the moves keeps ``import PIL`` working at every instant:

1. The library directory (``pillow.libs``) becomes a union of the old and the new one,
   for the extension modules of either find their libraries beside ``PIL`` by name.
2. Where the releases differ, a process in mid-import must not get Python code of one
   and an extension of the other. ``PIL`` is first exchanged for a *bridge*: the same
   package, but whoever comes in by its ``__init__`` gets all modules from where the old
   package is kept. After a grace period no import that began before is under way.
3. ``PIL`` is exchanged for the new one; then dist-info and whatever else arrives; then
   what only leaves is taken away; then the union is reduced to the new libraries.

What remains: an import looks each module up by the directory's path, and a package's
``__path__`` cannot be changed in a process from outside. So an import that is under way
for longer than the grace period can still meet both releases, and a process that loaded
the old one long ago gets modules that it has not used yet from the new one, as after any
upgrade. Where both releases have the same Python code (stock and ours of one release),
neither matters, and no grace is needed. Measured with Pillow 12.1.1 and 13.0.0 and a
process that imports in a loop on a loaded machine, in 121 exchanges: 66 failed imports
by plain exchange, 65 with a bridge but no grace, none with both.

The journal is on the disk before the first move. Until it says ``commit`` an
interruption is undone, from then on it is finished.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

from simdinstall import interrupt
from simdinstall import journal as records
from simdinstall.distributions import Distribution, library_folders
from simdinstall.errors import StateError
from simdinstall.exchange import (
    Move,
    Rename,
    Where,
    clone,
    digest,
    inode,
    link_or_copy,
    perform,
    remove,
    state,
    sync,
    undo,
)
from simdinstall.journal import Entry, Journal, Place
from simdinstall.staging import make_bridge, make_union, needs_bridge

Checkpoint = Callable[[str], None]

#: Seconds that imports under way get to end before another release takes the old one's place.
GRACE = 1.0


def nowhere(_: str) -> None:
    """The checkpoint outside of tests."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Leaving:
    """What an environment gives up: whole trees, and single files in shared directories."""

    trees: frozenset[Path]
    files: frozenset[Path]


@dataclass(frozen=True, kw_only=True, slots=True)
class Swap:
    """The moves in order. After move number ``pause`` (if any) imports under way get time to end."""

    moves: tuple[Move, ...]
    pause: int | None


def leaving(place: Place, owners: Sequence[Distribution], strays: Sequence[Path]) -> Leaving:
    """What goes with ``owners``: package, libraries, metadata, and all that they recorded.

    ``strays`` are trees that nobody owns. Paths outside of the environment's base, and
    simdinstall's own records, are never among what is returned.
    """
    trees = {place.site / "PIL", *strays}
    files: set[Path] = set()
    inside: set[Path] = set()
    for owner in owners:
        trees |= {owner.site / "PIL", owner.site / _first(owner.location, owner.site)}
        recorded = {Path(os.path.normpath(owner.site / name)) for name in owner.files}
        recorded |= {
            compiled
            for path in recorded
            if path.suffix == ".py"
            for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc")
        }
        inside |= {path for path in recorded if path.is_relative_to(owner.site)}
        files |= recorded
    # Of several owners over one another each has a part of a folder; all of them go together.
    for site in {owner.site for owner in owners}:
        for top in {site / _first(path, site) for path in inside if path.is_relative_to(site)}:
            if _whole(top, inside):
                trees.add(top)
        trees |= set(library_folders(site))
    trees = {tree for tree in trees if _movable(place, tree)}
    trees = {
        tree for tree in trees if not any(tree != other and tree.is_relative_to(other) for other in trees)
    }
    return Leaving(
        trees=frozenset(trees),
        files=frozenset(
            path
            for path in files
            if _movable(place, path)
            and (path.is_symlink() or not path.is_dir())
            and not any(path.is_relative_to(tree) for tree in trees)
        ),
    )


def _first(path: Path, site: Path) -> str:
    return path.relative_to(site).parts[0] if path.is_relative_to(site) else path.name


def _whole(top: Path, recorded: set[Path]) -> bool:
    if top.is_symlink() or not top.is_dir():
        return False
    return all(
        path in recorded or "__pycache__" in path.parts
        for path in top.rglob("*")
        if path.is_symlink() or not path.is_dir()
    )


def _movable(place: Place, path: Path) -> bool:
    if not os.path.lexists(path) or not path.is_relative_to(place.base) or place.site.is_relative_to(path):
        return False
    if path.is_relative_to(place.state):
        return False
    return path.parent.resolve().is_relative_to(place.base.resolve())


def carry_over(place: Place, staged_site: Path, plugins: Sequence[Distribution]) -> tuple[str, ...]:
    """Give files that other distributions own in ``PIL/`` a place in the new package too.

    Gives their names. A file that the new package has itself is not replaced.
    """
    carried = []
    for plugin in plugins:
        for name in plugin.files:
            source, target = plugin.site / name, staged_site / name
            shared = Path(name).parts[:1] and (staged_site / Path(name).parts[0]).is_dir()
            if ".." in Path(name).parts or not shared or os.path.lexists(target) or not source.is_file():
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(source, target)
            carried.append(name)
    return tuple(carried)


def arriving(place: Place, root: Path, leaving: Leaving) -> dict[Path, Path]:
    """Which path below ``root`` goes to which place: whole trees where nothing shared is in the way."""
    found: dict[Path, Path] = {}

    def look(folder: Path, there: Path) -> None:
        for child in sorted(folder.iterdir()):
            target = there / child.name
            own = there == place.site and target.suffix in (".libs", ".dist-info")
            shared = _is_folder(child) and target.is_dir() and target not in leaving.trees and not own
            if shared:
                look(child, target)
            else:
                found[target] = child

    look(root, place.base)
    return found


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def plan(
    place: Place,
    number: int,
    *,
    arriving: Mapping[Path, Path],
    root: Path,
    waiting: Path,
    out: Path,
    leaving: Leaving,
    known: Mapping[Path, bytes] | None = None,
) -> Swap:
    """The moves that bring what is ``arriving`` to its places and take away what is ``leaving``.

    What arrives lies below ``root`` now, and below ``waiting`` when the moves are made.
    ``out`` is made: a skeleton for ``kept/<number>``, with the go-betweens in it. ``known``
    are SHA-256 of files below ``root``, which then are not read for it.
    """
    planner = _Planner(
        place=place,
        number=number,
        arriving=arriving,
        root=root,
        waiting=waiting,
        out=out,
        leaving=leaving,
        known=known or {},
    )
    return planner.plan()


@dataclass(frozen=True, kw_only=True)
class _Planner:
    place: Place
    number: int
    arriving: Mapping[Path, Path]
    root: Path
    waiting: Path
    out: Path
    leaving: Leaving
    known: Mapping[Path, bytes]

    def plan(self) -> Swap:
        place, kept, arriving = self.place, self.place.kept(self.number), self.arriving
        package = place.site / "PIL"
        bridged = package in arriving and needs_bridge(package, arriving[package])
        early: list[Move] = []
        late: list[Move] = []
        middle: list[Move] = []
        taken: list[Move] = []
        (self.out / place.relative(place.site)).mkdir(parents=True)
        targets = {*arriving, *self.leaving.trees, *self.leaving.files}
        # What lies in a folder that is exchanged goes with the folder.
        for target in sorted(t for t in targets if targets.isdisjoint(t.parents)):
            libraries = target.suffix == ".libs" and target.parent == place.site
            if libraries and _is_folder(target):
                first, last = self._libraries(target, arriving.get(target), bridged)
                early += first
                late += last
            elif target not in arriving:
                taken.append(self._take(target))
            elif libraries:
                early.append(self._bring(target))
            elif target != package:
                middle.append(self._bring(target))
        exchange: list[Move] = []
        if bridged:
            make_bridge(package, kept / place.relative(package), self._out(package))
            exchange.append(replace(self._between(package), door_first=True))
        if package in arriving:
            exchange.append(self._bring(package))
        opening = bring_folder(self.out, kept)
        return Swap(
            moves=(opening, *early, *exchange, *middle, *taken, *late),
            pause=1 + len(early) if bridged else None,
        )

    def _out(self, target: Path) -> Path:
        path = self.out / self.place.relative(target)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _kept(self, target: Path) -> Path:
        return self.place.kept(self.number) / self.place.relative(target)

    def _bring(self, target: Path) -> Move:
        path = self.arriving[target]
        if os.path.lexists(target):
            self._out(target)
        return Move(
            target=target,
            slot=self.waiting / path.relative_to(self.root),
            incoming=inode(path),
            digest=digest(path, known=self.known),
            outgoing=os.path.lexists(target),
        )

    def _take(self, target: Path) -> Move:
        self._out(target)
        return Move(target=target, slot=self._kept(target), incoming=None, digest=None, outgoing=True)

    def _between(self, target: Path) -> Move:
        path = self._out(target)
        return Move(
            target=target, slot=self._kept(target), incoming=inode(path), digest=digest(path), outgoing=True
        )

    def _libraries(self, target: Path, path: Path | None, bridged: bool) -> tuple[list[Move], list[Move]]:
        """Moves before and after the package's. A package that is kept needs its libraries beside it."""
        old = {entry.name for entry in target.iterdir()}
        new = {entry.name for entry in path.iterdir()} if path is not None else set()
        if not bridged and path is not None and old <= new:
            return [self._bring(target)], []
        if not bridged and new <= old:
            return [], [self._bring(target) if path is not None else self._take(target)]
        if path is None:
            clone(target, self._out(target))
            slot = self.waiting / self.place.relative(target)
            last = Move(target=target, slot=slot, incoming=None, digest=None, outgoing=True)
        else:
            make_union(target, path, self._out(target))
            last = self._bring(target)
        return [self._between(target)], [last]


def bring_folder(path: Path, target: Path) -> Move:
    """The move of one of simdinstall's own directories to another place among its records."""
    return Move(target=target, slot=path, incoming=inode(path), digest=None, outgoing=False)


class Interrupts:
    """Ctrl-C held back while moves are made: it is noticed where it can be undone."""

    def __init__(self) -> None:
        self._pending = False

    def _hold(self, _signal: int, _frame: FrameType | None) -> None:
        self._pending = True

    def raise_pending(self) -> None:
        """Raise :class:`KeyboardInterrupt` when Ctrl-C was pressed."""
        if self._pending:
            self._pending = False
            raise KeyboardInterrupt

    def wait(self, seconds: float) -> None:
        """Sleep, but not through Ctrl-C."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.raise_pending()
            time.sleep(min(left, 0.02))


@contextlib.contextmanager
def held_interrupts() -> Iterator[Interrupts]:
    """Hold Ctrl-C back. One that comes too late to undo anything is forgotten at the end."""
    interrupts = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    previous = signal.signal(signal.SIGINT, interrupts._hold)
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, previous if previous is not None else signal.SIG_DFL)


def carry_out(
    place: Place,
    entry: Entry,
    swap: Swap,
    *,
    check: Callable[[], None],
    rename: Rename,
    checkpoint: Checkpoint,
    grace: float,
) -> Entry:
    """Make the moves, then ``check``, then commit. Gives the entry as history has it.

    ``grace`` in seconds. Whatever is raised on the way, by ``check`` or by Ctrl-C, is
    raised again when everything has been put back.
    """
    moves = list(swap.moves)

    def record(phase: str) -> Journal:
        made = Journal(phase=phase, entry=entry, moves=tuple(moves))
        records.write(place, made)
        return made

    with held_interrupts() as interrupts:
        try:
            sync(place.state)
            record("exchange")
            for index, move in enumerate(moves):
                checkpoint(f"before move {index}")
                interrupts.raise_pending()

                def note(changed: Move, index: int = index) -> None:
                    moves[index] = changed
                    record("exchange")

                move.target.parent.mkdir(parents=True, exist_ok=True)
                moves[index] = perform(move, rename=rename, note=note, checkpoint=checkpoint)
                if index == swap.pause:
                    checkpoint("bridged")
                    interrupts.wait(grace)
            checkpoint("exchanged")
            check()
            checkpoint("checked")
            if any(move.mirror for move in moves):
                notes = (*entry.notes, "directories were mirrored: this filesystem cannot exchange them")
                entry = replace(entry, notes=notes)
            interrupts.raise_pending()
            # The moves must not reach the disk later than the word that they count.
            sync(place.state)
            committed = record("commit")
        except BaseException:
            # Should this process die in here, the journal must not say commit.
            with contextlib.suppress(OSError):
                record("exchange")
            put_back(place, tuple(moves), rename=rename, checkpoint=checkpoint)
            raise
        interrupt.finished(
            f"{entry.before} was already exchanged for {entry.after}: 'simdinstall rollback' undoes it"
        )
        checkpoint("committed")
        settle(place, committed, checkpoint=checkpoint)
    return entry


def put_back(
    place: Place, moves: Sequence[Move], *, rename: Rename, checkpoint: Checkpoint = nowhere
) -> None:
    """Undo moves, the last first, then end the transaction.

    Raises :class:`StateError` when another program has changed what was moved; nothing
    more is touched then, and the journal stays.
    """
    # What comes after a move that was mirrored by half has not begun, and its slots may be half there.
    begun = next((i for i, m in enumerate(moves) if m.mirror and state(m) is Where.UNDONE), len(moves))
    try:
        for index, move in reversed(tuple(enumerate(moves[: begun + 1]))):
            checkpoint(f"before undoing {index}")
            undo(move, rename=rename, checkpoint=checkpoint)
    except StateError as error:
        raise StateError(
            error.what,
            why=error.why,
            hint=f"Nothing of it was touched. Reinstall Pillow as you want it, then remove {place.journal}",
        ) from error
    records.end(place)
    checkpoint("undone")
    remove(place.staging)


def settle(place: Place, journal: Journal, *, checkpoint: Checkpoint = nowhere) -> None:
    """Finish a committed transaction: keep what was replaced, write history, clear away the rest."""
    entry = journal.entry
    kept = place.kept(entry.number)
    for move in journal.moves:
        for path in move.leftovers():
            remove(path)
        if move.target.is_relative_to(place.state) or not move.slot.is_relative_to(place.staging):
            continue
        final = kept / place.relative(move.target)
        if move.outgoing and os.path.lexists(move.slot) and not os.path.lexists(final):
            checkpoint(f"before keeping {move.target.name}")
            final.parent.mkdir(parents=True, exist_ok=True)
            move.slot.rename(final)
    checkpoint("before history")
    entries = records.read_history(place)
    if all(other.number != entry.number for other in entries):
        entries = (*entries, entry)
        records.write_history(place, entries)
    checkpoint("before discarding")
    retained = {entry.number, original(place, entries)}
    for other in entries:
        if other.number not in retained:
            remove(place.kept(other.number))
    records.end(place)
    checkpoint("before clearing")
    remove(place.staging)


def original(place: Place, entries: Sequence[Entry]) -> int | None:
    """The number of the newest transaction that keeps things which simdinstall did not make."""
    return next((e.number for e in reversed(entries) if e.foreign and place.kept(e.number).is_dir()), None)
