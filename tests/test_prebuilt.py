from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import small_kernels
from extensions import compile_extension
from simdinstall import abi, kernels, layouts, library, linked, prebuilt, toolchain
from simdinstall.cpu import March
from simdinstall.errors import BuildError
from simdinstall.layouts import Layout
from simdinstall.prebuilt import make
from simdinstall.prebuilt.make import Own
from simdinstall.toolchain import Toolchain

NAME = "_imaging.cpython-311-x86_64-linux-gnu.so"
KNOWN = {layout.name: layout for layout in layouts.load()}


def no_zig() -> Path:
    raise AssertionError("zig is not wanted here")


@dataclass(frozen=True)
class Made:
    """A folder of prebuilt libraries for the small extension."""

    folder: Path
    sources: Path
    layout: Layout
    extension: Path
    compiler: Toolchain

    def again(self, into: Path, **options: object) -> tuple[str, ...]:
        return make.make(
            into,
            toolchain=options.pop("toolchain", self.compiler),  # type: ignore[arg-type]
            wanted=[self.layout],
            catalogue=small_kernels.catalogue(),
            sources=self.sources,
            **options,  # type: ignore[arg-type]
        )

    def take(self, march: March, *, release: str = "13.0.0", where: Path | None = None) -> prebuilt.Prebuilt:
        return prebuilt.take(
            small_kernels.catalogue(),
            self.layout.abi,
            release=release,
            march=march,
            where=where or self.folder,
            sources=self.sources,
        )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("prebuilt")
    extension = compile_extension(folder, name=NAME)
    layout = Layout(name="13.0.0", release="13.0.0", wheel="", format=abi.FORMAT, abi=abi.read(extension))
    sources = small_kernels.tree(folder / "tree").kernels_dir
    found = Made(
        folder=folder / "made",
        sources=sources,
        layout=layout,
        extension=extension,
        compiler=toolchain.find("gcc", zig=no_zig),
    )
    assert found.again(found.folder) == ("13.0.0",)
    return found


def fronted(made: Made, taken: prebuilt.Prebuilt, folder: Path) -> Path:
    """The extension with that library in front of it; gives the loader."""
    shutil.copy(made.extension, folder / library.STOCK_NAME)
    (folder / library.LIBRARY_NAME).write_bytes(taken.library.library)
    (folder / NAME).write_bytes(taken.library.loader)
    return folder / NAME


@pytest.mark.parametrize(
    ("march", "mark", "isas"),
    [
        ("portable", 1, {"sse4", "avx2"}),
        ("x86-64", 1, {"sse4", "avx2"}),
        ("x86-64-v2", 3, {"sse4"}),
        ("x86-64-v3", 7, {"sse4", "avx2"}),
        ("x86-64-v4", 15, {"sse4", "avx2"}),
    ],
)
def test_a_library_is_limited_to_the_march(made: Made, march: str, mark: int, isas: set[str]) -> None:
    taken = made.take(small_kernels.march(march))
    assert linked.shape(taken.library.library).isa == mark
    assert {unit.rpartition("-")[2] for unit in taken.library.flags if "-" in unit} == isas
    assert (taken.layout, taken.kind) == ("13.0.0", "gcc")


def test_it_stands_in_front_of_the_extension(made: Made, tmp_path: Path) -> None:
    loader = fronted(made, made.take(small_kernels.march("portable")), tmp_path)
    assert small_kernels.call(loader, 7) == 1007
    assert small_kernels.call(loader, 7, PILLOW_SIMD="none") == 8


_LEVELS = """
import ctypes, sys
loaded = ctypes.CDLL(sys.argv[1])
simd = ctypes.CDLL(sys.argv[2])
simd.pillow_simd_build.restype = ctypes.c_char_p
rows = ctypes.c_void_p()
print(simd.pillow_simd_entries(ctypes.byref(rows)), simd.pillow_simd_set_level(3))
print(simd.pillow_simd_build().decode())
"""


def test_what_was_not_asked_for_is_neither_run_nor_shown(made: Made, tmp_path: Path) -> None:
    loader = fronted(made, made.take(small_kernels.march("x86-64-v2")), tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", _LEVELS, loader, tmp_path / library.LIBRARY_NAME],
        check=True,
        capture_output=True,
        text=True,
    )
    shown, said = done.stdout.splitlines()
    # The SSE4 row and stock's.
    assert shown == "2 1"
    assert said.startswith("prebuilt for the structs of Pillow 13.0.0, gcc")
    assert said.endswith("levels sse4")


def test_compiled_twice_it_is_the_same(made: Made, tmp_path: Path) -> None:
    made.again(tmp_path / "a longer name")
    first, second = (
        {file.name: file.read_bytes() for file in folder.iterdir()}
        for folder in (made.folder, tmp_path / "a longer name")
    )
    assert first == second


def test_what_is_in_the_cache_is_not_compiled_again(made: Made, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    made.again(tmp_path / "one", cache=cache)
    broken = replace(made.compiler, argv=("/nowhere/gcc",), linker=("/nowhere/gcc",))
    made.again(tmp_path / "two", cache=cache, toolchain=broken)
    assert made.take(small_kernels.march("portable"), where=tmp_path / "two")
    # Another compiler is another entry, and a damaged one is made again.
    with pytest.raises(BuildError):
        made.again(tmp_path / "three", cache=cache, toolchain=replace(broken, identity="another"))
    [kept] = cache.glob("*/*.loader.so")
    kept.write_bytes(b"damaged")
    with pytest.raises(BuildError):
        made.again(tmp_path / "four", cache=cache, toolchain=broken)


def test_a_damaged_library_is_not_used(made: Made, tmp_path: Path) -> None:
    where = Path(shutil.copytree(made.folder, tmp_path / "copy"))
    [path] = (file for file in where.glob("*.so") if not file.name.endswith("loader.so"))
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    with pytest.raises(BuildError) as raised:
        made.take(small_kernels.march("portable"), where=where)
    assert "damaged" in raised.value.why


def test_an_entry_without_its_library_is_not_used(made: Made, tmp_path: Path) -> None:
    where = Path(shutil.copytree(made.folder, tmp_path / "copy"))
    for path in where.glob("*.so"):
        path.unlink()
    with pytest.raises(BuildError) as raised:
        made.take(small_kernels.march("portable"), where=where)
    assert "damaged" in raised.value.why


def test_without_any_the_reason_is_told(made: Made, tmp_path: Path) -> None:
    with pytest.raises(BuildError) as raised:
        made.take(small_kernels.march("portable"), where=tmp_path)
    assert "without any" in raised.value.why


def test_other_sources_want_another_library(made: Made, tmp_path: Path) -> None:
    changed = small_kernels.tree(tmp_path / "tree", kernel=small_kernels.KERNEL + "/* changed */\n")
    with pytest.raises(BuildError) as raised:
        replace(made, sources=changed.kernels_dir).take(small_kernels.march("portable"))
    assert "none of the 1" in raised.value.why


def test_a_moved_field_wants_another_library(made: Made, tmp_path: Path) -> None:
    moved = compile_extension(tmp_path, name=NAME, flags=["-DMORE=int more;"])
    layout = replace(made.layout, abi=abi.read(moved))
    with pytest.raises(BuildError) as raised:
        replace(made, layout=layout).take(small_kernels.march("portable"))
    assert "none of the 1" in raised.value.why


@pytest.mark.parametrize(
    ("march", "options", "why"),
    [
        ("portable", {"compiler": "gcc"}, "--compiler gcc was given"),
        ("portable", {"libc": "musl"}, "with musl"),
        ("haswell", {}, "haswell"),
    ],
)
def test_what_has_to_be_compiled(march: str, options: dict[str, str], why: str) -> None:
    wanted = {"libc": "glibc"} | options
    with pytest.raises(BuildError) as raised:
        prebuilt.require_wanted(kernels.load(), march=small_kernels.march(march), fidelity="exact", **wanted)
    assert why in raised.value.why


@pytest.mark.parametrize("march", ["portable", "x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4", "auto"])
def test_what_need_not_be_compiled(march: str) -> None:
    prebuilt.require_wanted(kernels.load(), march=small_kernels.march(march), fidelity="exact", libc="glibc")


def test_bounded_needs_sources_only_for_kernels_that_exact_lacks() -> None:
    catalogue = kernels.load()
    march = small_kernels.march("portable")
    theirs = catalogue.kernel("pillow_simd_resample")
    bounded = replace(catalogue, kernels=(theirs,))
    with pytest.raises(BuildError) as raised:
        prebuilt.require_wanted(bounded, march=march, fidelity="bounded", libc="glibc")
    assert "pillow_simd_resample" in raised.value.why
    own = tuple(k for k in catalogue.kernels if k.origin == "simdinstall")
    prebuilt.require_wanted(
        replace(catalogue, kernels=own), march=march, fidelity="bounded", libc="glibc", compiler="auto"
    )


# ---------------------------------------------------------------- the known layouts


def key(layout: str, release: str = "") -> str:
    known = KNOWN[layout]
    return prebuilt.key(kernels.load(), known.abi, release or known.release)


def test_the_releases_that_are_served() -> None:
    assert {"12.1.1", "12.2.0", "12.3.0", "13.0.0", "13.0.0t"} <= set(KNOWN)
    assert layouts.load()[0].name == "13.0.0"


def test_releases_share_a_library_when_nothing_that_kernels_see_differs() -> None:
    assert key("12.1.1") == key("12.2.0")
    assert key("13.0.0") == key("13.0.0", "13.0.1") == key("13.0.0", "13.1.0")
    assert len({key(name) for name in ("12.2.0", "12.3.0", "13.0.0", "13.0.0t")}) == 4


def test_sources_see_of_a_release_only_what_the_key_holds() -> None:
    for path in kernels.sources_dir().glob("*.[ch]"):
        text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
        uses = len(re.findall(r"PILLOW_RELEASE_NUMBER", text))
        assert uses == len(prebuilt._COMPARED.findall(text)), path.name


def test_every_own_kernel_fits_the_newest_layout() -> None:
    own = {k.name for k in kernels.select(kernels.load(), fidelity="exact", isas=kernels.ISAS)}
    own = {name for name in own if kernels.load().kernel(name).origin == "simdinstall"}
    layout = KNOWN["13.0.0"]
    fitting = prebuilt.own_kernels(kernels.load(), layout.abi, layout.release)
    assert {kernel.name for kernel in fitting} == own


def test_layouts_were_written_by_the_reader_as_it_is_now() -> None:
    for layout in KNOWN.values():
        assert layout.format == abi.FORMAT, "read the wheels again: tools/make_layouts.py"


def test_a_layout_is_read_as_it_was_written() -> None:
    for layout in KNOWN.values():
        told = json.loads(layouts.text(layout.release, layout.wheel, layout.abi))
        assert abi.Abi.from_json(told["abi"]) == layout.abi


def test_own_sources_are_their_own_root(tmp_path: Path) -> None:
    own = Own(root=tmp_path)
    assert (own.kernels_dir, own.include_dirs) == (tmp_path, (tmp_path,))
