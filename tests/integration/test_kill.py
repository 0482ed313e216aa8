"""SIGKILL at every checkpoint and at random instants: the old or the new, never something else.

SIMDINSTALL_KILLS is the number of random kills of an install (200 before a release), and
whether every single checkpoint is tried where there are many.
"""

from __future__ import annotations

import os
import pickle
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

import small_pillow
from install_parts import GOOD, imports, look, our_wheel, pip_install, stock_wheel, tree
from simdinstall.install import history, install, recover, rollback, status
from simdinstall.journal import STATE
from simdinstall.run import Child, ChildEnded, start
from simdinstall.wheel import Wheel

KILLS = int(os.environ.get("SIMDINSTALL_KILLS", "12"))
THOROUGH = "SIMDINSTALL_KILLS" in os.environ
CHILD = Path(__file__).with_name("kill_child.py")
OLD, NEW = "12.1.1", "13.0.0"


@dataclass
class World:
    """An environment that goes back to its old state after every kill."""

    site: Path
    wheel: Wheel
    pickled: Path
    before: dict[str, str | None]
    after: dict[str, str | None]

    def child(self, action: str, mode: str, number: int = -1) -> Child:
        self.pickled.write_bytes(pickle.dumps(look(self.site)))
        env = dict(os.environ)
        folders = (CHILD.parent.parent, *sys.path)
        env["PYTHONPATH"] = os.pathsep.join(map(str, folders))
        argv = [sys.executable, "-B", CHILD, action, self.pickled, self.wheel.path, mode, str(number)]
        child = start(argv, env=env)
        assert child.receive(600) == "ready"
        return child

    def seen(self) -> str:
        """Which of the two trees is there, to the last byte."""
        if tree(self.site) == self.before:
            return "old"
        env = look(self.site)
        assert status(env).changed == (), "neither the old nor the new"
        assert plain_tree(self.site) == self.after, "neither the old nor the new"
        return "new"

    def examine(self, *, was: tuple[str, ...] = (OLD, NEW), recovering: str | None = None) -> str:
        """Check everything that must hold after a kill; gives which tree it ended with."""
        assert imports(self.site) in was
        if recovering is not None:
            # The recovery is killed as well, at each of its own checkpoints.
            for number in range(0, 200, 1 if recovering == "rename" else 5):
                if finished(self.child("recover", recovering, number)):
                    break
                assert imports(self.site) in was
        recover(look(self.site))
        found = self.seen()
        assert imports(self.site) == {"old": OLD, "new": NEW}[found]
        assert not (self.site / STATE / "journal.json").exists()
        assert not (self.site / STATE / "staging").exists()
        return found

    def go_back(self) -> None:
        """To the old state, with no records."""
        if self.seen() == "new":
            rollback(look(self.site), grace=0)
        assert tree(self.site) == self.before


def plain_tree(site: Path) -> dict[str, str | None]:
    """Like tree(), without byte code, which holds the time of the installation."""
    from simdinstall.exchange import digest

    names = ("PIL", "pillow.libs", f"pillow-{NEW}+simd.v3.dist-info", f"pillow-{OLD}.dist-info")
    return {name: digest(site / name) for name in names}


def finished(child: Child, names: list[str] | None = None) -> bool:
    """Wait for the child's end; whether it got to its own. ``names``: for its checkpoints."""
    try:
        return until(child, "done", names)
    except ChildEnded as ended:
        if ended.completed.returncode != -9:
            raise
        return False
    finally:
        child.close()


def until(child: Child, name: str, names: list[str] | None = None) -> bool:
    """Follow a child to a checkpoint."""
    while (reached := child.receive(600)) != name:
        if names is not None:
            names.append(reached)
    return True


@pytest.fixture
def world(tmp_path: Path) -> World:
    site = small_pillow.make_venv(tmp_path / "venv")
    pip_install(site, stock_wheel(tmp_path / "old", OLD, modules=12))
    wheel = our_wheel(tmp_path / "new", NEW)
    before = tree(site)
    install(wheel, GOOD, look(site), grace=0)
    after = plain_tree(site)
    rollback(look(site), grace=0)
    assert tree(site) == before
    return World(site=site, wheel=wheel, pickled=tmp_path / "env", before=before, after=after)


@pytest.mark.parametrize("mode", ["rename", "mirror"])
@pytest.mark.parametrize("action", ["install", "rollback"])
def test_killed_at_every_checkpoint(world: World, action: str, mode: str) -> None:
    stride = 1 if mode == "rename" or THOROUGH else 11
    names: list[str] = []

    def prepare() -> None:
        if action == "rollback":
            install(world.wheel, GOOD, look(world.site), grace=0)

    prepare()
    assert finished(world.child(action, mode), names)
    world.go_back()
    ends: Counter[str] = Counter()
    for number in sorted({*range(0, len(names), stride), *range(names.index("checked"), len(names))}):
        prepare()
        assert not finished(world.child(action, mode, number))
        ends[world.examine()] += 1
        world.go_back()
    assert ends["old"] > 1
    assert ends["new"] > 1


@pytest.mark.parametrize("mode", ["rename", "mirror"])
def test_recovery_killed_at_every_checkpoint(world: World, mode: str) -> None:
    strides = {"rename": (1, 7), "mirror": (10, 25)}[mode]
    numbers = range(3, 200, strides[not THOROUGH])
    for number in numbers:
        if finished(world.child("install", mode, number)):
            world.go_back()
            break
        world.examine(recovering=mode)
        world.go_back()
    assert number > 9


def test_killed_at_random_instants(world: World) -> None:
    child = world.child("install", "rename")
    began = time.monotonic()
    until(child, "planned")
    planned = time.monotonic()
    assert finished(child)
    # Half of the kills anywhere, half while things are being exchanged, which takes less time.
    phases = (planned - began, time.monotonic() - planned)
    world.go_back()
    choice = random.Random(1)
    ends: Counter[str] = Counter()
    interrupted: Counter[str] = Counter()
    for number in range(KILLS):
        child = world.child("install", "rename")
        if number % 2:
            until(child, "planned")
            time.sleep(choice.uniform(0, phases[1]))
        else:
            time.sleep(choice.uniform(0, sum(phases)))
        child.kill()
        child.close()
        state = world.site / STATE
        interrupted["in the exchange" if (state / "journal.json").exists() else "before or after"] += 1
        ends[world.examine()] += 1
        world.go_back()
        assert len(history(look(world.site))) > 0
    print(f"{KILLS} kills: {dict(ends)}, {dict(interrupted)}")
    assert sum(ends.values()) == KILLS
