"""Every environment of the matrix: what doctor says, what install does, and that rollback undoes it."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cells import CELLS, Cell, table
from shop import NEWEST, SERIES, Shop, Target, snapshot

from simdinstall import checkup, conda, doctor, environment, install
from simdinstall.environment import Environment, State
from simdinstall.errors import TargetError
from simdinstall.fetch import Fetcher
from simdinstall.run import run
from simdinstall.store import default_root

pytestmark = pytest.mark.network

#: What every stock build is told.
USUAL = {"no-kernels", "older"}

PROOF = """
import json
from PIL import Image, _simd
Image.new("RGB", (640, 640)).resize((70, 70), 3)
ran = any(entry.calls and entry.kernel != "stock" for entry in _simd.entries())
print(json.dumps([Image.__version__, ran]))
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    made = Shop(tmp_path_factory.mktemp("shop"))
    yield made
    made.close()


@contextlib.contextmanager
def variables(wanted: Mapping[str, str]) -> Iterator[None]:
    """The process with these variables, as a shell would have started it."""
    before = dict(os.environ)
    os.environ.update(wanted)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def examine(target: Target, shop: Shop) -> doctor.Facts:
    fetcher = Fetcher(cache=default_root(), offline=True)
    memory = shop.folder / "releases.json"
    return checkup.collect(target.python, fetcher=fetcher, memory=memory, environ=os.environ, patience=30)


def look(target: Target) -> Environment:
    return environment.inspect(target.python)


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_environment(cell: Cell, shop: Shop, tmp_path: Path) -> None:
    target = cell.make(shop, tmp_path)
    before = snapshot(target)
    with variables(target.variables):
        if cell.refuses.startswith(("a zipapp", "made by")):
            with pytest.raises(TargetError, match=cell.refuses):
                look(target)
            assert snapshot(target) == before
            return
        found = examine(target, shop)
        findings = doctor.diagnose(found)
        worse = {f.code for f in findings if f.severity > doctor.Severity.NOTE} - USUAL
        told = "\n".join(f"{f.severity.name} {f.code}: {f.what} / {f.why} / {f.command}" for f in findings)
        assert worse == set(cell.says), told
        assert set(cell.notes) <= {f.code for f in findings}, told
        assert doctor.exit_code(findings) == cell.code, told
        for finding in findings:
            assert finding.command or finding.severity == doctor.Severity.NOTE, told
        assert snapshot(target) == before, "doctor changed something"
        env = look(target)
        if cell.refuses:
            with pytest.raises(TargetError, match=cell.refuses) as caught:
                environment.require_supported(env)
            assert caught.value.hint
            assert not any(finding.fixable for finding in findings)
            return
        _install_and_back(target, env, shop, before)


def _install_and_back(target: Target, env: Environment, shop: Shop, before: dict[str, object]) -> None:
    if target.conda:
        with pytest.raises(TargetError, match="conda environment"):
            environment.require_supported(env)
        env = conda.released(env)
    environment.require_supported(env)
    made = shop.made(f"{env.version[0]}.{env.version[1]}{'t' if env.free_threaded else ''}")
    install.install(made.wheel, made.verdict, env, grace=0)
    bare = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PILLOW_SIMD", "LD_PRELOAD")}
    proof = run([target.python, "-c", PROOF], cwd=Path("/"), env=bare)
    assert json.loads(proof.stdout) == [NEWEST, True]
    now = look(target)
    assert now.state == (State.CONDA if target.conda else State.OURS)
    assert install.status(now).intact
    after = snapshot(target)
    entry = install.history(now)[-1]
    base = next(root for root in now.site.parents if (root / "lib") == now.site.parents[1])
    planned = tuple(str(base / name) for name, _ in entry.installed)
    for path, content in before.items():
        inside = any(path == name or path.startswith(name + "/") for name in planned)
        assert inside or after.get(path) == content, f"{path} is not part of the plan"
    install.rollback(now, force=True)
    assert snapshot(target) == before


#: One of each kind of damage that `doctor --fix` mends.
FIXED = (
    "simd over stock",
    "namespace",
    "core of another release",
    "library cut short",
    "ours damaged",
)


@pytest.mark.parametrize("cell", [c for c in CELLS if c.name in FIXED], ids=lambda cell: cell.name)
def test_doctor_fixes_it_and_rollback_brings_it_back(cell: Cell, shop: Shop, tmp_path: Path) -> None:
    """The commands themselves; what they build is verified already, by the same Python."""
    shop.made()
    target = cell.make(shop, tmp_path)
    before = snapshot(target)

    def simdinstall(*words: str) -> dict[str, Any]:
        command = [sys.executable, "-m", "simdinstall", *words, "--yes", "--json", "--python", target.python]
        document: dict[str, Any] = json.loads(run(command, check=False, timeout=900).stdout)
        return document

    document = simdinstall("doctor", "--fix", "--offline")
    assert (document["exit_code"], document["ours"], document["intact"]) == (0, True, True), document
    assert set(cell.says) <= {finding["code"] for finding in document["fixed"]}
    simdinstall("rollback")
    assert snapshot(target) == before


def test_doctor_leaves_no_doubt_about_an_intact_build(shop: Shop, tmp_path: Path) -> None:
    target = shop.stock(tmp_path)
    made = shop.made()
    install.install(made.wheel, made.verdict, look(target), grace=0)
    found = examine(target, shop)
    assert doctor.diagnose(replace(found, newest=None)) == tuple(
        f for f in doctor.diagnose(found) if f.severity == doctor.Severity.NOTE
    )
    assert found.health.kernels_ran
    assert all(speed.ratio and speed.ratio > 1 for speed in found.health.speeds)
    assert made.wheel.version in {owner.version for owner in found.env.owners}
    assert SERIES in str(found.env.site)


def test_the_table_in_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "environments.md").read_text()
    assert table() in page, "make it again: PYTHONPATH=tests:tests/integration python -m cells"
    assert len(CELLS) >= 40
