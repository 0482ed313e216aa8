"""training.py: what is run, and what is kept; the compiler and Pillow are stand-ins."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from simdinstall import pipeline, training
from simdinstall.errors import BuildError
from simdinstall.graft import Core, Materials
from simdinstall.measure import Operation
from simdinstall.plan import Request
from simdinstall.rebuild import Rebuild
from simdinstall.store import Store
from simdinstall.tuned import Tuned

TOOLCHAIN: Any = SimpleNamespace(identity="gcc 12", tuning=())
MARCH: Any = SimpleNamespace(name="v3", level="x86-64-v3", target="x86_64_v3")
OFFICIAL: Any = SimpleNamespace(version="1.2.3", sha256="ab", path=Path("wheel"))


@pytest.fixture
def rebuild() -> Rebuild:
    nothing: Any = None
    materials = Materials(source=nothing, headers=Path(), python=(), official=Path())
    return Rebuild(sdist=nothing, materials=materials, headers_from="", digest="cd")


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Each training's core; the counts are the number of the training."""
    made: list[bytes] = []
    folders: list[Path] = []

    def compile_core(*_: Any, counts: Path, **__: Any) -> Core:
        folders.append(counts)
        return Core(content=b"counting", flags=())

    def extract(_: Path, folder: Path) -> None:
        (folder / "PIL").mkdir(parents=True)
        (folder / "PIL" / "_imaging.cpython-311-x86_64-linux-gnu.so").write_bytes(b"stock")

    def train(build: Any, *_: Any) -> None:
        made.append(next((build.path / "PIL").iterdir()).read_bytes())
        (folders[-1] / "Draw.gcda").write_text(str(len(made)))

    monkeypatch.setattr(training.graft, "compile_core", compile_core)
    monkeypatch.setattr(training.archive, "extract", extract)
    monkeypatch.setattr(training, "_train", train)
    return made


def profile(store: Store, rebuild: Rebuild, official: Any = OFFICIAL) -> training.Profile:
    nothing: Any = None
    return training.profile(
        rebuild, official, abi=nothing, march=MARCH, toolchain=TOOLCHAIN, python=Path("python"), store=store
    )


def test_counts_are_kept_for_what_they_depend_on(
    tmp_path: Path, rebuild: Rebuild, trainings: list[bytes]
) -> None:
    store = Store(tmp_path)
    first = profile(store, rebuild)
    assert trainings == [b"counting"]
    assert (first.folder / "Draw.gcda").read_text() == "1"
    assert profile(store, rebuild) == first
    assert len(trainings) == 1
    other = profile(store, replace(rebuild, digest="ef"))
    assert other.sha256 != first.sha256
    assert len(trainings) == 2


def test_counts_that_are_gone_or_damaged_are_made_anew(
    tmp_path: Path, rebuild: Rebuild, trainings: list[bytes]
) -> None:
    store = Store(tmp_path)
    first = profile(store, rebuild)
    (first.folder / "Draw.gcda").write_text("damaged")
    again = profile(store, rebuild)
    assert len(trainings) == 2
    assert again.sha256 != first.sha256


def test_a_training_without_counts_is_no_profile(
    tmp_path: Path, rebuild: Rebuild, trainings: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_train", lambda *_: None)
    with pytest.raises(BuildError, match="no counts"):
        profile(Store(tmp_path), rebuild)
    assert not list((tmp_path / "profiles").glob("*/manifest.json"))


def test_a_profile_makes_another_build(rebuild: Rebuild) -> None:
    trained = rebuild.trained(Path("counts"), "12")
    assert trained.materials.profile == Path("counts")
    assert trained.profile == "12"
    assert len({rebuild.digest, trained.digest, rebuild.trained(Path("counts"), "34").digest}) == 3


def test_what_is_trained_is_what_the_core_does_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = [("Draw", "lines"), ("Load", "WebP"), ("Load", "PNG RGB"), ("Resize", "by 2")]
    made = tuple(
        Operation(name=title, group=group, title=title, pixels=1, assets=("a.png",)) for group, title in named
    )
    monkeypatch.setattr(training.measure, "catalogue", lambda *_: made)
    asked: list[str] = []
    probe: Any = SimpleNamespace(folder=tmp_path, ask=lambda what, name: asked.append(name))
    assert [one.title for one in training.rows(probe)] == ["lines", "PNG RGB"]
    assert asked == ["a.png"]


@pytest.mark.parametrize(
    ("request_", "kept", "fails", "outcome"),
    [
        (Request(rebuild=True), True, False, "trained"),
        (Request(rebuild=True), True, True, "told"),
        (Request(rebuild=True, trained=True), False, True, "refused"),
        (Request(rebuild=True), False, False, "plain"),
    ],
)
def test_a_kept_choice_that_cannot_be_had_is_told_of(
    monkeypatch: pytest.MonkeyPatch,
    rebuild: Rebuild,
    request_: Request,
    kept: bool,
    fails: bool,
    outcome: str,
) -> None:
    def made(*_: Any, **__: Any) -> training.Profile:
        if fails:
            raise BuildError("the training failed")
        return training.Profile(folder=Path("counts"), sha256="12")

    monkeypatch.setattr(training, "profile", made)
    choice = Tuned(label="gcc", compiler="gcc", flags=(), why="", trained=kept)
    anything: Any = SimpleNamespace(python=Path(), store=None, run=None, progress=None)

    def ask() -> tuple[Rebuild, tuple[str, ...]]:
        return pipeline._trained(
            rebuild, OFFICIAL, request_, choice, anything, MARCH, TOOLCHAIN, anything, anything
        )

    if outcome == "refused":
        with pytest.raises(BuildError):
            ask()
        return
    found, notes = ask()
    assert found.profile == ("12" if outcome == "trained" else "")
    assert bool(notes) == (outcome == "told")
