"""An official Pillow with the kernel library in front, for tests of the kernels.

:func:`lay_out` takes an official wheel for the running interpreter, compiles the
kernels and puts the three objects together in a folder that can go on ``sys.path``.
:class:`Simd` steers and reads the library from inside the process that imported it.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import io
import os
import shutil
import subprocess
import sysconfig
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simdinstall import abi
from simdinstall import kernels as catalogue_of_kernels
from simdinstall.kernels import BASE_FLAGS, ISAS, Catalogue, Fidelity, Unit
from simdinstall.tree import Tree

HERE = Path(__file__).parent
LEVELS = ("none", *ISAS)
ROWS = ("stock", "heap", "pages")
#: What the library under test has besides the kernels.
TEST_UNITS = tuple(
    Unit(name=name, source=str(HERE / f"{name}.c"), isa=None, cflags=(), defines=())
    for name in ("rows", "cases", "cases_functions")
)
EXTENSION = f"_imaging{sysconfig.get_config_var('EXT_SUFFIX')}"


def abi_header(wheel: Path, release: str, catalogue: Catalogue) -> str:
    """The text of ``pillow_abi.h`` for the extension in that wheel."""
    with zipfile.ZipFile(wheel) as packed:
        extension = packed.read(f"PIL/{EXTENSION}")
    return abi.header(abi.read(extension), catalogue.functions, release=release)


def compile_library(
    into: Path,
    *,
    header: str,
    tree: Tree,
    catalogue: Catalogue,
    release: str,
    isas: Sequence[str] = ISAS,
    fidelity: Fidelity = "bounded",
    compiler: Sequence[str] = ("gcc",),
    extra: Sequence[str] = (),
    cache: Path | None = None,
) -> Path:
    """Compile ``libpillow_simd.so`` and ``libpeek.so`` into a folder; give the former.

    Besides the kernels the library holds ``rows.c``, which can give each row of an image
    memory of its own, and ``cases.c``, which makes random calls. Beside each object lies
    the list of symbols that it wants from others.

    Objects are kept in ``cache`` by the hash of what the preprocessor makes of them, so
    that a change costs only the compilation of what it changes. Warnings are errors.
    """
    into.mkdir(parents=True, exist_ok=True)
    (into / "pillow_abi.h").write_text(header)
    include = [f"-I{into}", *(f"-I{folder}" for folder in tree.include_dirs)]
    version = _output([*compiler, "--version"])

    def compiled(unit: Unit) -> Path:
        flags = [*BASE_FLAGS, "-Werror", *unit.cflags, *extra, *(f"-D{define}" for define in unit.defines)]
        if unit.isa is None:
            flags.append(f'-DSIMD_BUILD="Pillow {release}, {fidelity}"')
        source = tree.kernels_dir / unit.source
        text = _output([*compiler, *flags, *include, "-E", "-P", source])
        key = hashlib.sha256("\0".join((version, *compiler, *flags, text)).encode()).hexdigest()
        kept = (cache or into) / f"{unit.name}-{key[:16]}.o"
        if not kept.exists():
            new = into / f"{unit.name}.o"
            subprocess.run([*compiler, *flags, *include, "-c", source, "-o", new], check=True)
            shutil.copy(new, kept.with_suffix(f".{os.getpid()}"))
            kept.with_suffix(f".{os.getpid()}").rename(kept)
        (into / f"{unit.name}.txt").write_text(_output(["nm", "-u", kept]))
        return kept

    units = (*catalogue_of_kernels.units(catalogue, tree.kernels, isas, fidelity), *TEST_UNITS)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        objects = list(pool.map(compiled, units))
    library = into / "libpillow_simd.so"
    link = [*compiler, *extra, "-shared", "-Wl,-soname,libpillow_simd.so"]
    subprocess.run([*link, *objects, "-lm", "-o", library], check=True)
    peek = [*compiler, "-O1", "-fPIC", "-shared", *include]
    subprocess.run([*peek, HERE / "peek.c", "-o", into / "libpeek.so"], check=True)
    return library


def _output(argv: Sequence[str | Path]) -> str:
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout


def lay_out(into: Path, wheel: Path, library: Path) -> Path:
    """Unpack the wheel, put the library in front; give the folder for ``sys.path``."""
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(into)
    pil = into / "PIL"
    (pil / EXTENSION).rename(pil / "_imaging_stock.so")
    shutil.copy(library, pil / "libpillow_simd.so")
    empty = into / "empty.c"
    empty.write_text("")
    link = ["gcc", "-shared", "-nostdlib", "-o", pil / EXTENSION, empty, f"-L{pil}", "-Wl,--no-as-needed"]
    link += ["-l:libpillow_simd.so", "-l:_imaging_stock.so", "-Wl,-rpath,$ORIGIN", "-Wl,--disable-new-dtags"]
    subprocess.run([*link, "-Wl,--unresolved-symbols=ignore-all"], check=True)
    return into


class _Entry(ctypes.Structure):
    _fields_ = (
        ("function", ctypes.c_char_p),
        ("kernel", ctypes.c_char_p),
        ("level", ctypes.c_int),
        ("calls", ctypes.c_ulonglong),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    function: str
    kernel: str
    level: str
    calls: int


class Simd:
    """The kernel library of the Pillow that this process has imported."""

    def __init__(self, folder: Path) -> None:
        from PIL import Image

        assert Path(Image.__file__).parent == folder / "PIL", f"another Pillow came first: {Image.__file__}"
        self.folder = folder
        self._library = ctypes.CDLL(str(folder / "PIL" / "libpillow_simd.so"))
        self._library.pillow_simd_build.restype = ctypes.c_char_p
        self._peek = ctypes.CDLL(str(folder / "PIL" / "libpeek.so"))
        self._peek.peek_size.restype = ctypes.c_long
        self._peek.peek_size.argtypes = (ctypes.c_void_p,)
        self._peek.peek_linesize.argtypes = (ctypes.c_void_p,)
        self._peek.peek_byte.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_int)
        self._peek.peek_get.argtypes = (ctypes.c_void_p, ctypes.c_char_p)
        self._peek.peek_set.argtypes = (ctypes.c_void_p, ctypes.c_char_p)
        self._pointer = ctypes.pythonapi.PyCapsule_GetPointer
        self._pointer.restype = ctypes.c_void_p
        self._pointer.argtypes = (ctypes.py_object, ctypes.c_char_p)
        self.highest = self.set_level("avx512")

    @property
    def build(self) -> str:
        return bytes(self._library.pillow_simd_build()).decode()

    @property
    def levels(self) -> tuple[str, ...]:
        """The levels above stock that library and CPU have."""
        return LEVELS[1 : LEVELS.index(self.highest) + 1]

    def set_level(self, level: str) -> str:
        return LEVELS[self._library.pillow_simd_set_level(LEVELS.index(level))]

    @contextlib.contextmanager
    def at(self, level: str) -> Iterator[None]:
        """Run the block at that level, then go back to the highest."""
        assert self.set_level(level) == level, f"no {level} here"
        try:
            yield
        finally:
            self.set_level(self.highest)

    @contextlib.contextmanager
    def without(self, *kernels: str) -> Iterator[None]:
        """Run the block with these kernels switched off."""
        for kernel in kernels:
            self._library.pillow_simd_set_kernel(kernel.encode(), 0)
        try:
            yield
        finally:
            for kernel in kernels:
                self._library.pillow_simd_set_kernel(kernel.encode(), 1)

    @contextlib.contextmanager
    def rows(self, mode: str) -> Iterator[None]:
        """Images made within the block get their rows as ``mode`` says.

        ``stock``: many in one block; ``heap``: each from malloc, for AddressSanitizer;
        ``pages``: each at an end of pages between ones that cannot be touched.
        """
        before = self._library.rows_set_mode(ROWS.index(mode))
        try:
            yield
        finally:
            self._library.rows_set_mode(before)

    def reset(self) -> None:
        self._library.pillow_simd_reset()

    def entries(self) -> tuple[Entry, ...]:
        pointer = ctypes.POINTER(_Entry)()
        count = self._library.pillow_simd_entries(ctypes.byref(pointer))
        return tuple(
            Entry(
                function=pointer[i].function.decode(),
                kernel=pointer[i].kernel.decode(),
                level=LEVELS[pointer[i].level],
                calls=pointer[i].calls,
            )
            for i in range(count)
        )

    def served(self, function: str) -> dict[tuple[str, str], int]:
        """Calls of that function since the last reset: (kernel, level) to number, without zeros."""
        return {(e.kernel, e.level): e.calls for e in self.entries() if e.function == function and e.calls}

    # Pixels with every byte, those that no band uses too.

    def _image(self, im: Any) -> int:
        im.load()
        return int(self._pointer(im.getim(), b"Pillow Imaging"))

    def raw(self, im: Any) -> bytes:
        image = self._image(im)
        out = ctypes.create_string_buffer(self._peek.peek_size(image))
        self._peek.peek_get(image, out)
        return out.raw

    def read(self, im: Any, y: int, x: int) -> int:
        """One byte of a row; ``x`` may lie beside it."""
        return int(self._peek.peek_byte(self._image(im), y, x))

    def set_raw(self, im: Any, data: bytes) -> None:
        image = self._image(im)
        assert len(data) == self._peek.peek_size(image)
        self._peek.peek_set(image, data)

    def image(self, mode: str, size: tuple[int, int], data: bytes) -> Any:
        """A new image whose memory is ``data``, repeated or cut to its length."""
        from PIL import Image

        im = Image.new(mode, size)
        length = self._peek.peek_size(self._image(im))
        if length:
            self.set_raw(im, (data * (length // len(data) + 1))[:length])
        return im

    # Random calls, made and compared in C.

    def random_calls(self, function: str, *, seed: int, first: int, count: int, guarded: int = 64) -> str:
        """How the first case that differs from stock does, at any level; empty if all are the same.

        Every row of every ``guarded``-th case lies between pages that cannot be touched.
        """
        run = ctypes.PyDLL(str(self.folder / "PIL" / "libpillow_simd.so")).cases_run
        run.restype = ctypes.c_long
        run.argtypes = (
            *(ctypes.c_char_p, ctypes.c_ulonglong, ctypes.c_long, ctypes.c_long, ctypes.c_int),
            *(ctypes.c_int, ctypes.c_char_p, ctypes.c_int),
        )
        text = ctypes.create_string_buffer(1000)
        highest = LEVELS.index(self.highest)
        failed = run(function.encode(), seed, first, count, guarded, highest, text, len(text))
        return "" if failed < 0 else text.value.decode()

    # Stock against kernels.

    def both(
        self, function: str, level: str, operation: Callable[[], Any]
    ) -> tuple[Any, Any, dict[tuple[str, str], int]]:
        """The operation's result from stock and at ``level``, and who served the latter.

        An exception counts as a result, as its type and text.
        """
        with self.at("none"):
            stock = _outcome(operation)
        with self.at(level):
            self.reset()
            ours = _outcome(operation)
            served = self.served(function)
        return stock, ours, served

    def assert_same(
        self, function: str, kernel: str | None, level: str, operation: Callable[[], Any], label: object = ""
    ) -> None:
        """Fail unless ``kernel`` at ``level`` served the function and gave stock's very bytes.

        With ``kernel=None`` the call must have gone to stock.
        """
        stock, ours, served = self.both(function, level, operation)
        expected = {("stock", "none")} if kernel is None else {(kernel, level)}
        assert set(served) == expected, f"{label}: served by {served}, not {expected}"
        if isinstance(stock, tuple) or isinstance(ours, tuple):
            assert stock == ours, f"{label}: {stock} from stock, {ours} here"
            return
        assert (stock.mode, stock.size) == (ours.mode, ours.size), label
        expected_bytes, found_bytes = self.raw(stock), self.raw(ours)
        if expected_bytes != found_bytes:
            wrong = [i for i, (a, b) in enumerate(zip(expected_bytes, found_bytes, strict=True)) if a != b]
            i = wrong[0]
            raise AssertionError(
                f"{label}: {len(wrong)} of {len(expected_bytes)} bytes differ from stock, the first at {i}: "
                f"{expected_bytes[i]} became {found_bytes[i]}"
            )


def saved(im: Any, kind: str, **options: Any) -> bytes:
    """The file that an image makes."""
    file = io.BytesIO()
    im.save(file, kind, **options)
    return file.getvalue()


def _outcome(operation: Callable[[], Any]) -> Any:
    try:
        return operation()
    except Exception as error:  # the comparison is the point, whatever it is
        return type(error).__name__, str(error)
