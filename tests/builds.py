"""Real builds of Pillow for tests of what measures and compares them.

:func:`stock` unpacks an official wheel. :func:`fronted` puts a small library in front of
it that behaves as ``fake_front.c`` is told: forwards, errs, crashes, or stays idle.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

import pytest
from filelock import FileLock

HERE = Path(__file__).parent
RELEASE = "13.0.0"
EXTENSION = f"_imaging{sysconfig.get_config_var('EXT_SUFFIX')}"


def official_wheel(config: pytest.Config) -> Path:
    """Pillow's wheel for this interpreter.

    From the folder named by ``SIMDINSTALL_TEST_WHEELS`` if it is there, else downloaded
    by pip, once.
    """
    assert config.cache is not None
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    pattern = f"pillow-{RELEASE}-{tag}-{tag}-manylinux*.whl"
    downloads = Path(config.cache.mkdir("pillow")) / tag
    if (given := os.environ.get("SIMDINSTALL_TEST_WHEELS")) and (found := sorted(Path(given).glob(pattern))):
        return found[0]
    return download(downloads, pattern, f"pillow=={RELEASE}")


def download(into: Path, pattern: str, *words: str) -> Path:
    """The wheel that pip downloads for ``words``, kept in a folder.

    Only once, whatever number of test processes wants it at the same time, and a second
    time where an index or the way to it failed for a moment.
    """
    into.mkdir(parents=True, exist_ok=True)
    with FileLock(into / "downloads.lock"):
        for attempt in (1, 2, 3):
            if found := sorted(into.glob(pattern)):
                return found[0]
            with tempfile.TemporaryDirectory(dir=into) as folder:
                pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"]
                pip += ["--no-deps", "--only-binary=:all:", "-d", folder, *words]
                if not subprocess.run(pip, check=attempt == 3).returncode:
                    for wheel in Path(folder).glob("*.whl"):
                        wheel.rename(into / wheel.name)
        raise AssertionError(f"pip downloaded nothing like {pattern}")


def stock(into: Path, config: pytest.Config) -> Path:
    """The official wheel for this interpreter, unpacked."""
    with zipfile.ZipFile(official_wheel(config)) as packed:
        packed.extractall(into)
    return into


def fronted(into: Path, config: pytest.Config, *behaviour: str) -> Path:
    """The same with ``fake_front.c`` in front, compiled with ``-D`` for each behaviour."""
    pil = stock(into, config) / "PIL"
    (pil / EXTENSION).rename(pil / "_imaging_stock.so")
    compiler = ["gcc", "-O1", "-fPIC", "-shared", "-Wl,-soname,libpillow_simd.so"]
    defines = [f"-D{word}" for word in behaviour]
    library = pil / "libpillow_simd.so"
    subprocess.run([*compiler, *defines, HERE / "fake_front.c", "-o", library, "-ldl"], check=True)
    empty = into / "empty.c"
    empty.write_text("")
    link = ["gcc", "-shared", "-nostdlib", "-o", pil / EXTENSION, empty, f"-L{pil}", "-Wl,--no-as-needed"]
    link += ["-l:libpillow_simd.so", "-l:_imaging_stock.so", "-Wl,-rpath,$ORIGIN", "-Wl,--disable-new-dtags"]
    subprocess.run([*link, "-Wl,--unresolved-symbols=ignore-all"], check=True)
    return into
