"""Putting one tree in another's place, so that it can be undone from any instant.

A :class:`Move` exchanges what stands at its *target*, where programs look, with what
waits at its *slot*, a private place. Either side may be empty. Nothing is ever
written into a file that exists: files may be hard links into a package cache.

Where the filesystem can, a move is one ``renameat2(2)``. Where it cannot, because it
has no ``RENAME_EXCHANGE`` (NFS), because the directory comes from a lower layer of an
overlay filesystem (containers), or because it is a mount point, the target directory
stays and is *mirrored*: its files are replaced one by one, each atomically, in an
order that never leaves an importable package without a file that it needs.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import platform
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Protocol

from simdinstall.errors import StateError

_RENAME_NOREPLACE = 1
_RENAME_EXCHANGE = 2
_AT_FDCWD = -100
#: Number of renameat2 where the C library (musl, old glibc) has no function for it; from the kernel's tables.
_SYSCALL_NUMBERS = {
    "x86_64": 316,
    "i686": 353,
    "aarch64": 276,
    "riscv64": 276,
    "loongarch64": 276,
    "armv7l": 382,
    "ppc64le": 357,
    "s390x": 347,
}
#: What a filesystem answers that cannot move this thing, or cannot exchange. EBUSY: a mount point.
_CANNOT = frozenset(
    {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EBUSY, errno.ENOTTY}
)
_TEMPORARY = ".simdinstall-new"


class Rename(Protocol):
    """What moves take as ``rename=``: :func:`rename` itself, or a test's weaker filesystem."""

    def __call__(self, source: Path, target: Path, *, exchange: bool) -> None:
        """See :func:`rename`."""
        ...


def _renameat2() -> Callable[[bytes, bytes, int], int] | None:
    libc = ctypes.CDLL(None, use_errno=True)
    function = getattr(libc, "renameat2", None)
    if function is not None:
        return lambda a, b, flags: int(function(_AT_FDCWD, a, _AT_FDCWD, b, ctypes.c_uint(flags)))
    number = _SYSCALL_NUMBERS.get(platform.machine())
    if number is None or not hasattr(libc, "syscall"):
        return None
    return lambda a, b, flags: int(
        libc.syscall(ctypes.c_long(number), _AT_FDCWD, a, _AT_FDCWD, b, ctypes.c_uint(flags))
    )


_call = _renameat2()


def rename(source: Path, target: Path, *, exchange: bool) -> None:
    """Move ``source`` to the free name ``target``, or exchange the two atomically.

    Raises :class:`OSError`: ``EEXIST`` when ``target`` is not free, ``ENOSYS`` or
    ``EINVAL`` when the exchange is not to be had here.
    """
    flags = _RENAME_EXCHANGE if exchange else _RENAME_NOREPLACE
    code = errno.ENOSYS
    if _call is not None:
        if _call(os.fsencode(source), os.fsencode(target), flags) == 0:
            return
        code = ctypes.get_errno()
    if exchange or code not in (errno.ENOSYS, errno.EINVAL):
        raise OSError(code, os.strerror(code), str(source), None, str(target))
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    source.rename(target)


def inode(path: Path) -> int | None:
    """The inode number of ``path`` itself (no link followed), or ``None`` when nothing is there."""
    try:
        return path.lstat().st_ino
    except (FileNotFoundError, NotADirectoryError):
        return None


def digest(path: Path, *, bytecode: bool = False, known: Mapping[Path, bytes] | None = None) -> str | None:
    """SHA-256 over names, kinds, permissions, contents and link texts below ``path``.

    ``None`` when nothing is there. ``__pycache__`` counts only with ``bytecode``:
    any process that imports may add to it. Owners and times do not count. ``known`` are
    SHA-256 of files that need not be read again.
    """
    if not os.path.lexists(path):
        return None
    total = hashlib.sha256()
    for name, entry in _walk(path, ""):
        status = entry.lstat()
        if not bytecode and "__pycache__" in name.split("/"):
            continue
        total.update(f"{name}\0{stat.S_IFMT(status.st_mode):o} {stat.S_IMODE(status.st_mode):o}\0".encode())
        if stat.S_ISLNK(status.st_mode):
            total.update(os.fsencode(entry.readlink()))
        elif known is not None and entry in known:
            total.update(known[entry])
        elif stat.S_ISREG(status.st_mode):
            with entry.open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def _walk(path: Path, name: str) -> Iterator[tuple[str, Path]]:
    yield name, path
    if path.is_dir() and not path.is_symlink():
        for child in sorted(path.iterdir()):
            yield from _walk(child, f"{name}/{child.name}")


def remove(path: Path) -> None:
    """Remove a file, a link or a whole tree, whether it is there or not."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    for folder in (path, *(p for p in path.rglob("*") if p.is_dir() and not p.is_symlink())):
        # A folder without write permission cannot be emptied by its owner.
        if not os.access(folder, os.W_OK):
            folder.chmod(folder.stat().st_mode | stat.S_IRWXU)
    shutil.rmtree(path)


def link_or_copy(source: Path, target: Path) -> None:
    """Give one file (or link) a second name ``target``; a copy where hard links are not allowed."""
    if source.is_symlink():
        target.symlink_to(source.readlink())
        return
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EEXIST):
            raise
        shutil.copy2(source, target)
        _keep_owner(source, target)


def clone(source: Path, target: Path) -> None:
    """Make ``target`` a tree with the same files as ``source``, hard-linked where possible."""
    if source.is_symlink() or not source.is_dir():
        link_or_copy(source, target)
        return
    target.mkdir()
    for child in source.iterdir():
        clone(child, target / child.name)
    shutil.copystat(source, target)
    _keep_owner(source, target)


def _keep_owner(source: Path, target: Path) -> None:
    wanted, found = source.lstat(), target.lstat()
    if (wanted.st_uid, wanted.st_gid) != (found.st_uid, found.st_gid):
        with contextlib.suppress(PermissionError):
            os.chown(target, wanted.st_uid, wanted.st_gid, follow_symlinks=False)


def sync(path: Path) -> None:
    """Bring the whole filesystem that holds ``path`` to the disk (``syncfs(2)``)."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if not hasattr(libc, "syncfs") or libc.syncfs(descriptor) != 0:
            os.sync()
    finally:
        os.close(descriptor)


class Where(Enum):
    """How far a move has come."""

    UNDONE = "undone"
    DONE = "done"


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """An exchange of what is at ``target`` with what is at ``slot``.

    ``incoming`` is the inode number of what waits at the slot (``None``: nothing, the
    target is only taken away), ``digest`` its :func:`digest` (``None``: not to be compared);
    ``outgoing`` says whether something stands at the target. ``mirror``: file by file, see
    the module. ``door_first``: then the ``__init__.py`` of what comes in is placed before
    its other files, for it leads elsewhere; else after them.
    """

    target: Path
    slot: Path
    incoming: int | None
    digest: str | None
    outgoing: bool
    mirror: bool = False
    door_first: bool = False

    # A mirrored move's neighbours of the slot: what comes in, a copy that is not complete,
    # what is on its way out when it has been undone, and the sign that it was carried out.

    @property
    def _new(self) -> Path:
        return self.slot.with_name(self.slot.name + ".new")

    @property
    def _part(self) -> Path:
        return self.slot.with_name(self.slot.name + ".part")

    @property
    def _old(self) -> Path:
        return self.slot.with_name(self.slot.name + ".old")

    @property
    def _done(self) -> Path:
        return self.slot.with_name(self.slot.name + ".done")

    def leftovers(self) -> tuple[Path, ...]:
        """What a mirrored move leaves beside its slot; to be removed once it counts."""
        return (self._new, self._part, self._old, self._done) if self.mirror else ()


def perform(
    move: Move,
    *,
    rename: Rename = rename,
    note: Callable[[Move], None],
    checkpoint: Callable[[str], None] = lambda _: None,
) -> Move:
    """Carry out a move; afterwards the slot holds what was at the target.

    When it has to be mirrored, ``note`` gets the changed move before anything is
    touched, to be journalled. Gives the move as it was carried out. Raises
    :class:`OSError`; then :func:`undo` puts everything back.
    """
    try:
        if move.incoming is None:
            rename(move.target, move.slot, exchange=False)
        else:
            rename(move.slot, move.target, exchange=move.outgoing)
    except OSError as error:
        # Some sandboxes answer EPERM to system calls that they do not know.
        unknown_call = error.errno == errno.EPERM and move.incoming is not None and move.outgoing
        if error.errno not in _CANNOT and not unknown_call:
            raise
    else:
        return move
    move = replace(move, mirror=True)
    note(move)
    if move.outgoing:
        remove(move._part)
        clone(move.target, move._part)
    checkpoint("mirror: old tree copied")
    if move.incoming is not None:
        move.slot.rename(move._new)
    checkpoint("mirror: new tree aside")
    if move.outgoing:
        # From here on the slot holds what belongs there when all is done.
        move._part.rename(move.slot)
    incoming = None if move.incoming is None else move._new
    _mirror(incoming, move.target, move.door_first, checkpoint)
    checkpoint("mirror: complete")
    move._done.touch()
    return move


def state(move: Move) -> Where:
    """Whether a move was carried out; one that was mirrored by half was not.

    Raises :class:`StateError` when what waited at the slot is neither there nor at the
    target, so that somebody else has been at work.
    """
    if move.mirror:
        return Where.DONE if move._done.exists() else Where.UNDONE
    if move.incoming is None:
        return Where.DONE if os.path.lexists(move.slot) else Where.UNDONE
    if inode(move.target) == move.incoming:
        return Where.DONE
    if inode(move.slot) == move.incoming or not move.slot.parent.exists():
        return Where.UNDONE
    # A directory above the slot that was itself mirrored holds copies: then contents tell.
    if move.digest is not None and digest(move.slot) == move.digest:
        return Where.UNDONE
    if move.digest is not None and digest(move.target) == move.digest:
        return Where.DONE
    raise StateError(
        f"{move.target} was replaced by another program after an interrupted exchange",
        why=f"what simdinstall had put there is gone, and {move.slot} holds something else",
    )


def undo(move: Move, *, rename: Rename = rename, checkpoint: Callable[[str], None] = lambda _: None) -> None:
    """Put back what a move took away, however far it had come, and its slot's content too.

    Raises :class:`StateError`, with nothing touched, when what is at the target is not
    what the move had put there.
    """
    if move.mirror:
        _undo_mirrored(move, checkpoint)
        return
    if state(move) is Where.UNDONE:
        return
    if move.incoming is None:
        if os.path.lexists(move.target):
            raise StateError(
                f"{move.target} was made by another program after an interrupted exchange",
                why=f"what belongs there is at {move.slot}",
            )
        rename(move.slot, move.target, exchange=False)
        return
    if move.digest is not None and digest(move.target) != move.digest:
        raise StateError(
            f"{move.target} was changed by another program after an interrupted exchange",
            why=f"what was there before is at {move.slot}",
        )
    rename(move.target, move.slot, exchange=move.outgoing)


def _undo_mirrored(move: Move, checkpoint: Callable[[str], None]) -> None:
    move._done.unlink(missing_ok=True)
    aside = move.incoming is None or os.path.lexists(move._new)
    if move.outgoing and aside and os.path.lexists(move.slot):
        _mirror(move.slot, move.target, not move.door_first, checkpoint)
        checkpoint("mirror: old tree back")
        # Not removed in its place: half of it must never be taken for the old tree.
        remove(move._old)
        move.slot.rename(move._old)
    elif not move.outgoing and os.path.lexists(move._new):
        _mirror(None, move.target, False, checkpoint)
    checkpoint("mirror: undone but for the slot")
    if os.path.lexists(move._new):
        move._new.rename(move.slot)
    remove(move._part)
    remove(move._old)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _mirror(source: Path | None, target: Path, door_first: bool, checkpoint: Callable[[str], None]) -> None:
    """Make ``target`` the same as ``source`` (``None``: nothing), from whatever state it is in."""
    if source is None or not _is_folder(source):
        if _is_folder(target):
            remove(target)
        _place(source, target, checkpoint)
        return
    if not _is_folder(target):
        target.unlink(missing_ok=True)
        target.mkdir()
    wanted = list(_walk(source, ""))
    for name, path in wanted:
        there = target / name[1:]
        if _is_folder(path) and not _is_folder(there):
            there.unlink(missing_ok=True)
            there.mkdir()
    # New names first, and the package's door last: whoever comes in by the old door finds
    # everything that he may ask for, and whoever comes in by the new one too.
    names = [name for name, path in wanted if not _is_folder(path)]
    fresh = [name for name in names if not os.path.lexists(target / name[1:])]
    changed = [name for name in names if name not in set(fresh)]
    changed.sort(key=lambda name: name == "/__init__.py")
    if door_first and "/__init__.py" in changed:
        changed.pop()
        fresh.insert(0, "/__init__.py")
    known = {name for name, _ in wanted}
    surplus = [path for name, path in _walk(target, "") if name not in known]
    # Byte code of the old might pass for the new's, should size and time of a module be the same.
    stale = [path for path in surplus if path.parent.name == "__pycache__"]
    _clear(stale, checkpoint)
    for name in fresh + changed:
        there = target / name[1:]
        if _is_folder(there):
            remove(there)
        _place(source / name[1:], there, checkpoint)
    _clear(surplus, checkpoint)
    for name, path in wanted:
        if _is_folder(path):
            shutil.copystat(path, target / name[1:])
            _keep_owner(path, target / name[1:])


def _clear(paths: Sequence[Path], checkpoint: Callable[[str], None]) -> None:
    for path in paths:
        if os.path.lexists(path):
            checkpoint("mirror: removing")
            remove(path)


def _place(source: Path | None, target: Path, checkpoint: Callable[[str], None]) -> None:
    temporary = target.with_name(target.name + _TEMPORARY)
    temporary.unlink(missing_ok=True)
    checkpoint("mirror: file")
    if source is None:
        target.unlink(missing_ok=True)
        return
    link_or_copy(source, temporary)
    temporary.replace(target)
    # rename(2) does nothing when both names are links to one file.
    temporary.unlink(missing_ok=True)
