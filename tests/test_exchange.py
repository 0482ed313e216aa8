from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from install_parts import Stop, stop_at
from simdinstall.errors import StateError
from simdinstall.exchange import Move, clone, digest, inode, perform, remove, rename, state, undo


def weak_rename(source: Path, target: Path, *, exchange: bool) -> None:
    """As on an overlay filesystem: what came from the lower layer cannot be moved."""
    raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(source))


def no_exchange(source: Path, target: Path, *, exchange: bool) -> None:
    """As on NFS: no RENAME_EXCHANGE."""
    if exchange:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), str(source))
    rename(source, target, exchange=False)


RENAMES = pytest.mark.parametrize("how", [rename, weak_rename, no_exchange])


def package(path: Path, text: str, *extra: str) -> Path:
    (path / "sub").mkdir(parents=True)
    for name in ("__init__.py", "core.py", "sub/part.py", *extra):
        (path / name).write_text(f"{text} {name}")
    (path / "core.py").chmod(0o755 if text == "new" else 0o600)
    (path / "link").symlink_to(f"{text}-target")
    if text == "new":
        (path / "fresh").mkdir(mode=0o700)
        (path / "sub" / "part.py").unlink()
        (path / "sub" / "part.py").mkdir()
    return path


def make(root: Path, *, incoming: str, outgoing: str) -> Move:
    """A move of a tree, a file, a link or nothing over another."""
    target, slot = root / "site" / "thing", root / "site" / ".state" / "thing"
    slot.parent.mkdir(parents=True)
    for path, kind, text in ((target, outgoing, "old"), (slot, incoming, "new")):
        if kind == "tree":
            package(path, text, f"only-{text}")
        elif kind == "file":
            path.write_text(text)
        elif kind == "link":
            path.symlink_to(text)
    return Move(
        target=target,
        slot=slot,
        incoming=inode(slot),
        digest=digest(slot),
        outgoing=os.path.lexists(target),
    )


KINDS = [
    ("tree", "tree"),
    ("tree", ""),
    ("", "tree"),
    ("file", "file"),
    ("file", ""),
    ("", "file"),
    ("link", "tree"),
    ("tree", "link"),
    ("file", "tree"),
]


@RENAMES
@pytest.mark.parametrize(("incoming", "outgoing"), KINDS)
def test_a_move_exchanges_and_undo_brings_back(
    tmp_path: Path, how: object, incoming: str, outgoing: str
) -> None:
    move = make(tmp_path, incoming=incoming, outgoing=outgoing)
    before = digest(move.target), digest(move.slot)
    done = perform(move, rename=how, note=lambda _: None)  # type: ignore[arg-type]
    assert (digest(move.slot), digest(move.target)) == before
    undo(done)
    assert (digest(move.target), digest(move.slot)) == before
    assert {path.name for path in move.slot.parent.iterdir()} <= {move.slot.name}


@pytest.mark.parametrize(("incoming", "outgoing"), KINDS)
def test_a_mirrored_move_is_undone_from_every_instant(tmp_path: Path, incoming: str, outgoing: str) -> None:
    for number in range(100):
        root = tmp_path / str(number)
        noted = [make(root, incoming=incoming, outgoing=outgoing)]
        before = digest(noted[0].target), digest(noted[0].slot)
        try:
            perform(noted[0], rename=weak_rename, note=noted.append, checkpoint=stop_at(number))
        except Stop:
            # What a killed process leaves, and the undoing too is killed once on its way.
            for second in range(100):
                try:
                    undo(noted[-1], checkpoint=stop_at(second))
                    break
                except Stop:
                    continue
            assert (digest(noted[-1].target), digest(noted[-1].slot)) == before
            assert {path.name for path in noted[0].slot.parent.iterdir()} <= {"thing"}
            assert [
                path.name for path in noted[0].target.parent.iterdir() if "simdinstall" in path.name
            ] == []
        else:
            assert number > 1
            return
    raise AssertionError("it never came to its end")


def test_mirroring_never_lacks_a_file_that_both_have(tmp_path: Path) -> None:
    move = make(tmp_path, incoming="tree", outgoing="tree")
    doors = []

    def look(_: str) -> None:
        assert (move.target / "core.py").is_file()
        doors.append((move.target / "__init__.py").read_text())
        # As long as the old door stands, everything of the old package does.
        if doors[-1].startswith("old"):
            assert (move.target / "only-old").is_file()
        else:
            assert (move.target / "only-new").is_file()
            assert (move.target / "core.py").read_text().startswith("new")

    perform(move, rename=weak_rename, note=lambda _: None, checkpoint=look)
    assert doors[0].startswith("old")
    assert doors[-1].startswith("new")


def test_nothing_is_written_into_a_file_that_is_hard_linked(tmp_path: Path) -> None:
    move = make(tmp_path, incoming="tree", outgoing="tree")
    cache = tmp_path / "cache"
    clone(move.target, cache)
    assert (cache / "core.py").stat().st_ino == (move.target / "core.py").stat().st_ino
    before = digest(cache)
    undo(perform(move, rename=weak_rename, note=lambda _: None))
    assert digest(cache) == before


def test_rename_refuses_a_name_that_is_taken(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    with pytest.raises(FileExistsError):
        rename(tmp_path / "a", tmp_path / "b", exchange=False)
    assert (tmp_path / "b").read_text() == "b"
    rename(tmp_path / "a", tmp_path / "b", exchange=True)
    assert (tmp_path / "b").read_text() == "a"


def replace_directory(target: Path) -> None:
    shutil.rmtree(target)
    target.mkdir()


def change_file(target: Path) -> None:
    (target / "core.py").unlink()
    (target / "core.py").write_text("another program's")


@pytest.mark.parametrize("meddle", [replace_directory, change_file])
def test_undo_leaves_alone_what_another_program_has_put_there(
    tmp_path: Path, meddle: Callable[[Path], None]
) -> None:
    move = make(tmp_path, incoming="tree", outgoing="tree")
    old = digest(move.target)
    perform(move, rename=rename, note=lambda _: None)
    meddle(move.target)
    theirs = digest(move.target)
    with pytest.raises(StateError):
        undo(move)
    assert digest(move.target) == theirs
    assert digest(move.slot) == old


def test_undo_leaves_alone_what_another_program_has_made_in_a_taken_place(tmp_path: Path) -> None:
    move = make(tmp_path, incoming="", outgoing="tree")
    perform(move, rename=rename, note=lambda _: None)
    move.target.write_text("another program's")
    with pytest.raises(StateError):
        undo(move)
    assert move.target.read_text() == "another program's"


def test_state_is_undone_before_the_slot_has_its_place(tmp_path: Path) -> None:
    move = make(tmp_path, incoming="tree", outgoing="tree")
    move.slot.parent.rename(tmp_path / "elsewhere")
    assert state(move).value == "undone"


def test_digest_sees_names_modes_contents_and_links(tmp_path: Path) -> None:
    first = package(tmp_path / "a", "old")
    same = package(tmp_path / "b", "old")
    assert digest(first) == digest(same)
    seen = {digest(first)}
    changes: list[Callable[[], object]] = [
        lambda: (same / "core.py").chmod(0o644),
        lambda: (same / "core.py").write_text("x"),
        lambda: (same / "sub").chmod(0o700),
        lambda: (same / "link").unlink(),
        lambda: (same / "link").symlink_to("other"),
        lambda: (same / "more").mkdir(),
    ]
    for change in changes:
        change()
        assert digest(same) not in seen
        seen.add(digest(same))
    assert digest(tmp_path / "nothing") is None


def test_digest_counts_bytecode_only_on_request(tmp_path: Path) -> None:
    tree = package(tmp_path / "a", "old")
    plain, whole = digest(tree), digest(tree, bytecode=True)
    (tree / "__pycache__").mkdir()
    (tree / "__pycache__" / "core.pyc").write_text("code")
    assert digest(tree) == plain
    assert digest(tree, bytecode=True) != whole


def test_remove_copes_with_what_is_not_writable(tmp_path: Path) -> None:
    tree = package(tmp_path / "a", "old")
    (tree / "sub").chmod(0o500)
    remove(tree)
    assert not tree.exists()
    remove(tree)
