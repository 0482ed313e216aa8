"""Pillows of a few files that import, know their release, and need their libraries, as real ones do."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import marshal
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import small_pillow
from simdinstall.environment import Environment, inspect
from simdinstall.exchange import digest
from simdinstall.journal import STATE
from simdinstall.run import Completed, Runner, run
from simdinstall.verdict import Verdict
from simdinstall.wheel import Wheel

PYTHON = f"python{sys.version_info[0]}.{sys.version_info[1]}"

_INIT = """\
from . import _version
__version__ = _version.__version__
"""
_IMAGE = """\
# {release}
from . import __version__, _imaging as core
if core.PILLOW_VERSION != __version__:
    raise ImportError(f"core {{core.PILLOW_VERSION}}, Python code {{__version__}}")
class Image:
    def __init__(self, size): self.size = size
    def resize(self, size, resample=0): return Image(size)
def new(mode, size, color=0): return Image(size)
"""
_CORE = """\
from pathlib import Path
libraries = Path(__file__).resolve().parent.parent / "pillow.libs"
for name in {libraries!r}:
    if not (libraries / name).is_file():
        raise ImportError(f"{{name}}: cannot open shared object file, from {{libraries}}")
PILLOW_VERSION = {release!r}
"""


def content(
    release: str, *, libraries: tuple[str, ...] = ("libjpeg",), simd: bool = False, modules: int = 4
) -> dict[str, bytes]:
    """The files of a Pillow of ``release``; its core wants ``libraries`` in ``pillow.libs``."""
    names = tuple(f"{name}-{release.replace('.', '')}.so.1" for name in libraries)
    core = _CORE.format(libraries=names, release=release)
    files = {
        "PIL/__init__.py": _INIT,
        "PIL/_version.py": f'__version__ = "{release}"\n',
        "PIL/Image.py": _IMAGE.format(release=release),
    }
    binaries = {"PIL/_imaging.pyc": extension(core)}
    if simd:
        # As in a real build, the official core has another name and a loader its own.
        binaries["PIL/_imaging_stock.pyc"] = extension(core)
        binaries["PIL/_imaging.pyc"] = extension("from ._imaging_stock import PILLOW_VERSION\n")
        binaries["PIL/libpillow_simd.so"] = b"kernels"
    for number in range(modules):
        files[f"PIL/Plugin{number}.py"] = f"release = {release!r}\n" + "# filler\n" * 50
    libraries_there = {f"pillow.libs/{name}": name.encode() * 50 for name in names}
    return {name: text.encode() for name, text in files.items()} | binaries | libraries_there


def extension(source: str) -> bytes:
    """A module without source: what an extension module is to those who exchange files."""
    code = compile(source, "_imaging.c", "exec")
    return importlib.util.MAGIC_NUMBER + bytes(12) + marshal.dumps(code)


def stock_wheel(folder: Path, release: str = "12.1.1", **options: object) -> Path:
    """A wheel as the index has it."""
    return small_pillow.wheel(folder, version=release, content=content(release, **options))  # type: ignore[arg-type]


def our_wheel(
    folder: Path, release: str = "13.0.0", *, local: str = "simd.v3", extra: dict[str, bytes] | None = None
) -> Wheel:
    """A wheel as :mod:`simdinstall.wheel` makes it."""
    version = f"{release}+{local}"
    payload = content(release, simd=True) | (extra or {})
    payload[f"pillow-{version}.dist-info/simdinstall.json"] = (
        b'{"march": {"name": "v3"}, "fidelity": "bounded"}'
    )
    path = small_pillow.wheel(folder, version=version, content=payload)
    return as_wheel(path, version)


def as_wheel(path: Path, version: str) -> Wheel:
    return Wheel(
        path=path,
        version=version,
        release=version.partition("+")[0],
        march="v3",
        fidelity="bounded",
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        provenance={},
        cached=False,
        left_out=(),
    )


GOOD = Verdict(
    ok=True,
    features_ok=True,
    fidelity="bounded",
    level="avx2",
    graded=(),
    rows=(),
    speedup=6.5,
    trace=(),
    problems=(),
    limits=(),
)


def look(site: Path) -> Environment:
    return inspect(prefix_of(site) / "bin" / "python", environ={})


def prefix_of(site: Path) -> Path:
    return site.parents[2]


def pip_install(site: Path, wheel: Path) -> None:
    """Lay a wheel into ``site`` as pip does, with byte code."""
    from installer import install
    from installer.destinations import SchemeDictionaryDestination
    from installer.sources import WheelFile

    prefix = prefix_of(site)
    scheme = {
        "purelib": str(site),
        "platlib": str(site),
        "scripts": str(prefix / "bin"),
        "headers": str(prefix / "include" / "site" / PYTHON / "pillow"),
        "data": str(prefix),
    }
    destination = SchemeDictionaryDestination(
        scheme, str(prefix / "bin" / "python"), "posix", bytecode_optimization_levels=(0,)
    )
    with WheelFile.open(wheel) as source:
        install(source, destination, {"INSTALLER": b"pip\n"})


def imports(site: Path) -> str:
    """The release that ``import PIL.Image`` gives, or the last line of what it says."""
    python = prefix_of(site) / "bin" / "python"
    done = run([python, "-I", "-B", "-c", "import PIL.Image; print(PIL.__version__)"], check=False)
    return done.output.strip().splitlines()[-1]


def tree(site: Path) -> dict[str, str | None]:
    """Everything in the environment but simdinstall's records: modes, links, bytes, byte code too."""
    prefix = prefix_of(site)
    found = {}
    for folder in (prefix, prefix / "bin", prefix / "include", site):
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            if path.name in ("lib", "lib64", "bin", "include") or path.name.startswith(STATE):
                continue
            found[str(path.relative_to(prefix))] = digest(path, bytecode=True)
    return found


def links(site: Path) -> dict[str, int]:
    """How many names each file of PIL has."""
    return {
        str(path.relative_to(site)): path.stat().st_nlink
        for name in ("PIL", "pillow.libs")
        for path in (site / name).rglob("*")
        if stat.S_ISREG(path.lstat().st_mode)
    }


def quick(site: Path, wheel: Wheel) -> Runner:
    """A runner that starts nothing: compiles nothing, and says that every import is well."""

    def run(argv: Sequence[str | Path], **_: Any) -> Completed:
        answer = {"release": wheel.release, "version": wheel.version, "size": [16, 12]}
        found = json.dumps(answer | {"file": f"{argv[-1] or site}/PIL/__init__.py"})
        said = found if "-c" in argv else ""
        return Completed(argv=tuple(map(str, argv)), returncode=0, stdout=said, stderr="", cpu_seconds=0)

    return run


class Stop(Exception):
    """Raised by a checkpoint to stop there."""


def stop_at(number: int, error: BaseException | None = None) -> Callable[[str], None]:
    """A checkpoint that raises when it is called for the ``number``-th time, counted from 0."""
    calls: Iterator[int] = iter(range(1 << 30))

    def checkpoint(name: str) -> None:
        if next(calls) == number:
            raise error or Stop(name)

    return checkpoint


@contextmanager
def without_write_permission(*folders: Path) -> Iterator[None]:
    modes = [folder.stat().st_mode for folder in folders]
    try:
        for folder in folders:
            folder.chmod(0o555)
        yield
    finally:
        for folder, mode in zip(folders, modes, strict=True):
            folder.chmod(mode)
