from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from simdinstall import journal as records
from simdinstall.errors import BusyError, StateError
from simdinstall.exchange import Move
from simdinstall.journal import Entry, Journal, Place
from simdinstall.run import run, start


@pytest.fixture
def place(tmp_path: Path) -> Place:
    site = tmp_path / "lib" / "python3.11" / "site-packages"
    (site / ".simdinstall").mkdir(parents=True)
    return Place.of(site)


def entry(number: int = 1, *, foreign: bool = True) -> Entry:
    return Entry(
        number=number,
        action="install",
        when="2026-11-20T10:00:00+00:00",
        before="pillow 12.1.1",
        after="pillow 13.0.0+simd.v3",
        installed=(("lib/python3.11/site-packages/PIL", "ab"), ("bin/gone", None)),
        foreign=foreign,
        notes=("a note",),
    )


def journal(place: Place) -> Journal:
    move = Move(
        target=place.site / "PIL",
        slot=place.staging / "in" / "PIL",
        incoming=17,
        digest="ab",
        outgoing=True,
        mirror=True,
    )
    return Journal(phase="exchange", entry=entry(), moves=(move,))


def test_the_base_is_three_levels_up(tmp_path: Path) -> None:
    assert Place.of(tmp_path / "lib" / "python3.11" / "dist-packages").base == tmp_path
    assert Place.of(tmp_path / "target").base == tmp_path / "target"


def test_records_come_back_as_they_went(place: Place) -> None:
    assert records.read(place) is None
    records.write(place, journal(place))
    assert records.read(place) == journal(place)
    records.end(place)
    assert records.read(place) is None
    assert records.read_history(place) == ()
    records.write_history(place, (entry(1), entry(2, foreign=False)))
    assert records.read_history(place) == (entry(1), entry(2, foreign=False))


def test_records_move_with_the_environment(place: Place, tmp_path: Path) -> None:
    records.write(place, journal(place))
    moved = tmp_path.with_name(tmp_path.name + "-moved")
    tmp_path.rename(moved)
    found = records.read(Place.of(moved / place.site.relative_to(tmp_path)))
    assert found is not None
    assert found.moves[0].target == moved / "lib/python3.11/site-packages/PIL"
    moved.rename(tmp_path)


def resum(path: Path, change: Callable[[dict[str, object]], object]) -> None:
    """Change a record and give it a checksum that holds."""
    data = json.loads(path.read_text())
    change(data)
    data["checksum"] = records._checksum(data)
    path.write_text(json.dumps(data))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_text(""),
    "cut": lambda path: path.write_text(path.read_text()[:100]),
    "binary": lambda path: path.write_bytes(b"\xff\xfe\0"),
    "list": lambda path: path.write_text("[]"),
    "changed": lambda path: path.write_text(path.read_text().replace("install", "uninstall")),
    "unchecked": lambda path: path.write_text('{"schema": 1}'),
    "unknown phase": lambda path: resum(path, lambda data: data.update(phase="dance")),
    "a path out": lambda path: resum(path, lambda data: data["moves"][0].update(target="../../etc")),  # type: ignore[index]
    "an absolute path": lambda path: resum(path, lambda data: data["moves"][0].update(target="/etc")),  # type: ignore[index]
    "a foreign slot": lambda path: resum(path, lambda data: data["moves"][0].update(slot="bin/x")),  # type: ignore[index]
    "a strange move": lambda path: resum(path, lambda data: data["moves"][0].update(strange=1)),  # type: ignore[index]
    "a directory": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_journal_is_refused_and_left(place: Place, damage: Callable[[Path], object]) -> None:
    records.write(place, journal(place))
    damage(place.journal)
    with pytest.raises(StateError) as caught:
        records.read(place)
    assert str(place.journal) in caught.value.hint
    assert place.journal.exists()


def test_a_damaged_history_is_refused_and_left(place: Place) -> None:
    records.write_history(place, (entry(),))
    place.history.write_text(place.history.read_text().replace("12.1.1", "12.1.2"))
    with pytest.raises(StateError, match="damaged"):
        records.read_history(place)
    assert place.history.exists()


def test_a_newer_schema_is_named(place: Place) -> None:
    records.write(place, journal(place))
    resum(place.journal, lambda data: data.update(schema=99))
    with pytest.raises(StateError, match="newer simdinstall"):
        records.read(place)


HOLD = """
import sys
from pathlib import Path
from simdinstall.journal import Place, locked
with locked(Place.of(Path(sys.argv[1]))):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_only_one_holds_the_lock_and_the_other_learns_who(place: Place) -> None:
    assert not records.is_held(place)
    child = start([sys.executable, "-c", HOLD, str(place.site)])
    try:
        assert child.receive(timeout=300) == "held"
        assert records.is_held(place)
        with pytest.raises(BusyError) as caught, records.locked(place):
            raise AssertionError("two at once")
        pid = int(caught.value.what.partition("process ")[2].partition(")")[0])
        assert "simdinstall.journal" in (Path("/proc") / str(pid) / "cmdline").read_text()
    finally:
        child.kill()
        child.close()
    # The holder was killed: its note is still there, its lock is not.
    assert not records.is_held(place)
    with records.locked(place):
        assert json.loads((place.state / "holder.json").read_text()) == {"pid": os.getpid()}


def test_a_write_that_is_killed_leaves_the_old_record(place: Place) -> None:
    records.write_history(place, (entry(),))
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from simdinstall import journal\n"
        "place = journal.Place.of(Path(sys.argv[1]))\n"
        "class Deadly(tuple):\n"
        "    def __iter__(self):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "journal.write_history(place, Deadly(journal.read_history(place)))\n"
    )
    assert run([sys.executable, "-c", script, str(place.site)], check=False).returncode == -9
    assert records.read_history(place) == (entry(),)
