from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import cache_parts
from simdinstall.cache import changes
from simdinstall.cli import main
from simdinstall.errors import UsageError


def test_what_came_went_and_changed(tmp_path: Path) -> None:
    made = [cache_parts.cell(level=level) for level in ("v2", "v3", "v4")]
    before = cache_parts.filled(tmp_path / "a", tmp_path / "s", *made[:2]).read()
    after = cache_parts.filled(tmp_path / "b", tmp_path / "s", *made[1:]).read()
    found = changes.compare(before, after)
    assert [e.level for e in found.added] == ["v4"]
    assert [e.level for e in found.removed] == ["v2"]
    assert not found.changed
    assert not changes.compare(before, replace(before, generation=9))
    other = replace(after.entries[0], sha256="f" * 64, compiler="clang 19", verdict={"state": "unverified"})
    [change] = changes.compare(after, after.with_entries([other])).changed
    assert change.what == ("bytes", "compiler", "not verified any more")


def test_the_newest_releases_are_kept() -> None:
    listed = cache_parts.paper(64)
    gone = changes.superseded(listed, 2)
    left = listed.without(e.cell for e in gone)
    assert {e.release for e in listed.entries} == {"13.0.0", "13.1.0", "13.2.0", "13.3.0"}
    assert {e.release for e in left.entries} == {"13.2.0", "13.3.0"}
    assert len(left.entries) == 32
    assert changes.superseded(listed, 9) == ()
    with pytest.raises(UsageError):
        changes.superseded(listed, 0)


def test_numbers_are_not_text() -> None:
    listed = cache_parts.paper(4)
    older = [replace(e, release="9.5.0", cell=f"9-{e.cell}") for e in listed.entries]
    assert changes.superseded(listed.with_entries(older), 1) == tuple(sorted(older, key=lambda e: e.cell))


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = [cache_parts.cell(release=release) for release in ("12.2.0", "12.3.0", "13.0.0")]
    house = cache_parts.filled(tmp_path / "a", tmp_path / "s", *made)
    cache_parts.filled(tmp_path / "b", tmp_path / "s", *made)
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    assert main(["cache", "diff", a, b]) == 0
    assert main(["cache", "prune", a, "--keep-latest", "1", "--dry-run"]) == 0
    assert len(list(house.root.rglob("*.whl"))) == 3
    capsys.readouterr()
    assert main(["cache", "prune", a, "--keep-latest", "1"]) == 0
    assert "2 wheels gone, 1 kept" in capsys.readouterr().out
    assert len(list(house.root.rglob("*.whl"))) == 1
    assert main(["cache", "verify", a]) == 0
    assert main(["cache", "diff", b, a]) == 1
    assert "- 12.2.0-cp311-v3" in capsys.readouterr().out
