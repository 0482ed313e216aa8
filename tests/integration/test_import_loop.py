"""Processes that import PIL in a loop while it is exchanged under them."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

import small_pillow
from install_parts import GOOD, look, our_wheel, pip_install, prefix_of, stock_wheel
from simdinstall.exchange import rename
from simdinstall.install import install, rollback
from simdinstall.run import run
from test_exchange import weak_rename

TIMES = 3


@pytest.mark.parametrize("how", [rename, weak_rename])
@pytest.mark.parametrize("release", ["12.1.1", "13.0.0"])
def test_no_import_fails_while_pillow_is_exchanged(tmp_path: Path, release: str, how: Any) -> None:
    site = small_pillow.make_venv(tmp_path / "venv")
    pip_install(site, stock_wheel(tmp_path / "old", release))
    python = prefix_of(site) / "bin" / "python"
    stop, failures, imported = threading.Event(), [], []

    def loop() -> None:
        while not stop.is_set():
            done = run(
                [python, "-I", "-c", "import PIL.Image, PIL.Plugin0; print(PIL.__version__)"], check=False
            )
            (failures if done.returncode else imported).append(done.output)

    importers = [threading.Thread(target=loop) for _ in range(2)]
    for importer in importers:
        importer.start()
    try:
        # The grace is long, for this machine may be busy.
        install(our_wheel(tmp_path / "new"), GOOD, look(site), rename=how, grace=2)
        for _ in range(TIMES):
            rollback(look(site), rename=how, grace=2)
    finally:
        stop.set()
        for importer in importers:
            importer.join()
    assert failures == []
    assert set(imported) == {f"{release}\n", "13.0.0\n"}
