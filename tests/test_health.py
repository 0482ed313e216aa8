"""The examination: what a real interpreter says of its PIL, and what files tell of themselves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import small_pillow
from simdinstall import _examine, health
from simdinstall.environment import Environment, inspect
from simdinstall.run import CommandFailed, Completed, run


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return small_pillow.make_venv(tmp_path / "env")


def look(site: Path) -> Environment:
    return inspect(site.parents[2], environ={}, proc=Path("/nowhere"))


def test_no_pil(site: Path) -> None:
    found = health.examine(look(site))
    assert not found.imported
    assert found.error == "ModuleNotFoundError: No module named 'PIL'"
    assert (found.signal, found.version, found.libraries) == ("", None, ())


def test_a_pil_that_cannot_be_imported(site: Path) -> None:
    small_pillow.install(site)
    (site / "PIL" / "Image.py").write_text("raise ImportError('the core is missing')\n")
    found = health.examine(look(site))
    assert not found.imported
    assert found.error == "ImportError: the core is missing"
    assert found.version == "12.3.0"
    assert found.file == site / "PIL" / "__init__.py"


def test_a_pil_that_kills_the_process(site: Path) -> None:
    small_pillow.install(site)
    (site / "PIL" / "Image.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n")
    (site / "torch").mkdir()
    (site / "torch" / "__init__.py").write_text("raise SystemExit('imported')\n")
    (site / "torch" / "version.py").write_text(
        "from typing import Optional\n__version__ = '2.9.0+cu128'\ncuda: Optional[str] = '12.8'\n"
    )
    found = health.examine(look(site))
    assert (found.imported, found.signal, found.error) == (False, "SIGILL", "SIGILL")
    # What was found before is not lost.
    assert found.torch is not None
    assert (found.torch.version, found.torch.cuda) == ("2.9.0+cu128", "12.8")


#: As in the wheels of PyTorch 2.9.
TORCH = """\
from typing import Optional

__all__ = ['__version__', 'debug', 'cuda', 'git_version', 'hip', 'rocm', 'xpu']
__version__ = '2.9.1+cu128'
debug = False
cuda: Optional[str] = '12.8'
git_version = '5811a8d7da873dd699ff6687092c225caffcf1bb'
hip: Optional[str] = None
rocm: Optional[str] = None
xpu: Optional[str] = None
"""

#: What the driver's libcuda.so.1 answers when it is for CUDA 12.2.
DRIVER = "int cuDriverGetVersion(int *version) { *version = 12020; return 0; }\n"


@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc to make a driver with")
def test_the_driver_is_asked_for_its_cuda(site: Path, tmp_path: Path) -> None:
    """No driver is here: a library of its name, with its one function, stands for it."""
    small_pillow.install(site)
    (site / "torch").mkdir()
    (site / "torch" / "__init__.py").write_text("raise SystemExit('imported')\n")
    (site / "torch" / "version.py").write_text(TORCH)
    (tmp_path / "driver.c").write_text(DRIVER)
    run(["gcc", "-shared", "-fPIC", tmp_path / "driver.c", "-o", tmp_path / "libcuda.so.1"])
    found = health.examine(look(site), environ={"LD_LIBRARY_PATH": str(tmp_path)})
    assert found.torch == health.Torch(version="2.9.1+cu128", cuda="12.8", hip=None, driver="12.2")


def test_what_the_caller_has_set_for_python_does_not_count(site: Path, tmp_path: Path) -> None:
    (tmp_path / "PIL.py").write_text("raise ImportError('from PYTHONPATH')")
    found = health.examine(look(site), environ={"PYTHONPATH": str(tmp_path)})
    assert "PYTHONPATH" not in found.error


def said(*facts: dict[str, object], status: int = 0) -> Completed:
    text = "noise\n" + "".join(f"\n{_examine.MARK}{json.dumps(fact)}\n" for fact in facts)
    return Completed(argv=("python",), returncode=status, stdout=text, stderr="last words\n", cpu_seconds=0.0)


def test_what_was_said_is_read(site: Path, tmp_path: Path) -> None:
    small_pillow.install(site)
    libraries = site / "pillow.libs"
    libraries.mkdir()
    (libraries / "libjpeg-0123abcd.so.62").write_bytes(b"\0LIBJPEGTURBO_6.2\0libjpeg-turbo version 3.1.4\0")
    pil = {"file": str(site / "PIL" / "__init__.py"), "version": "12.3.0", "error": None}
    answer = said(
        {"pil": pil},
        {"extensions": {"_imaging": None, "_webp": "ImportError: no libwebp"}},
        {"features": {"jpg": "6.2", "xcb": True, "avif": False}},
        {"mapped": [str(libraries / "libjpeg-0123abcd.so.62"), "/lib/libc.so.6"]},
        {"kernels": {"level": "avx2", "build": "a build"}},
        {
            "speed": {"resize RGB": [2.0, 8.0]},
            "called": [["ImagingResample", "resample", "avx2", 3], ["ImagingResample", "stock", "none", 3]],
        },
        {"end": True},
    )
    found = health.examine(look(site), run=lambda *_, **__: answer)
    assert found.imported
    assert found.broken == (("_webp", "ImportError: no libwebp"),)
    assert found.features == {"jpg": "6.2", "xcb": "", "avif": None}
    (jpeg,) = found.libraries
    assert (jpeg.make, jpeg.version, jpeg.bundled) == ("libjpeg-turbo", "3.1.4", True)
    assert found.kernels_ran
    assert found.speeds[0].ratio == 4.0
    assert json.loads(json.dumps(found.to_json()))["speeds"] == [
        {"operation": "resize RGB", "now": 2.0, "stock": 8.0}
    ]


def test_an_extension_that_kills_the_process(site: Path) -> None:
    pil = {"file": None, "version": "12.3.0", "error": None}
    answer = said({"pil": pil}, {"loading": "_imaging"}, {"loading": "_webp"}, status=-7)
    found = health.examine(look(site), run=lambda *_, **__: answer)
    assert found.imported
    ((name, why),) = found.broken
    assert (name, why.split()[0]) == ("_webp", "SIGBUS")


def test_an_interpreter_that_says_nothing(site: Path) -> None:
    env = look(site)
    assert health.examine(env, run=lambda *_, **__: said(status=1)).error == "last words"

    def unstarted(*_: object, **__: object) -> Completed:
        raise CommandFailed(said(status=127), why="it cannot be started")

    assert health.examine(env, run=unstarted).error == "it cannot be started"


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("jpeg", b"..LIBJPEGTURBO_6.2\0..libjpeg-turbo version 2.1.5 (build 1)", ("libjpeg-turbo", "2.1.5")),
        ("jpeg", b"..\x009e  16-Jan-2022\0..", ("libjpeg", "9e")),
        ("zlib", b" deflate 1.2.13 Copyright 1995-2022 Jean-loup Gailly", ("zlib", "1.2.13")),
        ("zlib", b" deflate 1.3.1 Copyright; zlib-ng 2.2.4", ("zlib-ng", "1.3.1")),
        ("tiff", b"whatever", ("tiff", "")),
    ],
)
def test_makes_of_libraries(tmp_path: Path, name: str, content: bytes, expected: tuple[str, str]) -> None:
    path = tmp_path / "library.so"
    path.write_bytes(content)
    assert health.identify(name, path) == expected


def test_flags_of_a_foreign_build(site: Path) -> None:
    small_pillow.install(site)
    core = site / "PIL" / f"_imaging{small_pillow.SUFFIX}"
    core.write_bytes(core.read_bytes() + b"\0GNU C17 12.2.0\0GNU C17 12.2.0 -mavx2 -mtune=generic -O2\0")
    pil = {"file": str(site / "PIL" / "__init__.py"), "version": "12.3.0", "error": None}
    found = health.examine(look(site), run=lambda *_, **__: said({"pil": pil}, {"end": True}))
    assert found.flags == ("-mavx2", "-mtune=generic")
