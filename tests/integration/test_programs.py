"""Programs around an accelerated Pillow: other Pythons, subinterpreters, frozen applications."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from targets import RELEASE, VERSION, Target
from uv import find_uv_bin

pytestmark = [pytest.mark.network, pytest.mark.integration]

PYENV = Path.home() / ".pyenv" / "versions"
OTHERS = sorted(PYENV.glob("3.1[234].*/bin/python"))

#: A resize in a subinterpreter; whether it may be done there is Pillow's affair, stock or not.
SUBINTERPRETER = """
import importlib
for name in ("concurrent.interpreters", "_interpreters", "_xxsubinterpreters"):
    try:
        module = importlib.import_module(name)
    except ImportError:
        continue
    break
code = "from PIL import Image; print(Image.new('RGB', (40, 30), 'red').resize((7, 5)).getpixel((3, 2)))"
interpreter = module.create()
try:
    result = interpreter.exec(code) if hasattr(interpreter, "exec") else (
        module.exec if hasattr(module, "exec") else module.run_string)(interpreter, code)
    print("ran", result if result is None else result.msg)
except Exception as error:
    print(type(error).__name__, str(error)[:200])
"""


def uv_venv(python: Path) -> tuple[str | Path, ...]:
    return (find_uv_bin(), "venv", "--quiet", "--offline", "--python", python)


@pytest.mark.parametrize("python", OTHERS, ids=lambda path: path.parent.parent.name)
def test_other_pythons_in_environments_without_pip(python: Path, tmp_path: Path, cache: Path) -> None:
    target = Target(tmp_path / "env", cache, maker=uv_venv(python))
    uv = (find_uv_bin(), "pip", "install", "--quiet", "--python", target.python)
    subprocess.run([*uv, f"pillow=={RELEASE}"], check=True, env={**os.environ, "UV_LINK_MODE": "copy"})
    stock = target.run(SUBINTERPRETER)
    document = json.loads(target.simdinstall("--pillow", RELEASE, "--yes", "--json"))
    assert document["verdict"]["ok"]
    assert target.run(VERSION) == RELEASE
    status = json.loads(target.simdinstall("status", "--json", "--offline"))
    assert (status["ours"], status["intact"]) == (True, True)
    assert target.run(SUBINTERPRETER) == stock
    target.simdinstall("rollback", "--yes")
    assert not (target.site / "PIL" / "libpillow_simd.so").exists()


def test_subinterpreters_do_what_they_do_with_stock(fast: Target, target: Target) -> None:
    target.pip("install", "-q", f"pillow=={RELEASE}")
    assert fast.run(SUBINTERPRETER) == target.run(SUBINTERPRETER)


APPLICATION = """
from PIL import Image, _simd
image = Image.new("RGB", (300, 200), "red").resize((30, 20))
served = [e for e in _simd.entries() if e.function == "ImagingResample" and e.kernel != "stock" and e.calls]
print(image.getpixel((3, 3)), len(served))
"""


def test_an_application_frozen_by_pyinstaller(target: Target, fast: Target, tmp_path: Path) -> None:
    target.simdinstall("--pillow", RELEASE, "--yes")
    target.pip("install", "-q", "pyinstaller")
    (tmp_path / "application.py").write_text(APPLICATION)
    subprocess.run(
        [target.python, "-m", "PyInstaller", "--log-level", "ERROR", "--distpath", tmp_path / "dist",
         "--workpath", tmp_path / "work", "--specpath", tmp_path, tmp_path / "application.py"],
        check=True, env=target.environ,
    )  # fmt: skip
    frozen = tmp_path / "dist/application/application"
    done = subprocess.run([frozen], capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"})
    assert done.stdout.split()[-1] == "1", done.stderr
    assert "(255, 0, 0)" in done.stdout
    assert sys.executable not in done.stdout
