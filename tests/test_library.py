from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import small_kernels
from extensions import compile_extension
from simdinstall import abi, library, linked, toolchain
from simdinstall.abi import Abi
from simdinstall.errors import BuildError, NoSpaceError
from simdinstall.library import Library
from simdinstall.run import CommandFailed, Completed, run
from simdinstall.toolchain import Toolchain
from simdinstall.tree import Tree


def no_zig() -> Path:
    raise AssertionError("zig is not wanted here")


@pytest.fixture(scope="module")
def gcc() -> Toolchain:
    return toolchain.find("gcc", zig=no_zig)


@pytest.fixture(scope="module")
def extension(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_extension(tmp_path_factory.mktemp("extension"))


@pytest.fixture(scope="module")
def small(extension: Path) -> Abi:
    return abi.read(extension)


def compile_in(folder: Path, small: Abi, compiler: Toolchain, **changes: Any) -> Library:
    folder.mkdir(parents=True)
    scratch = folder / "scratch"
    scratch.mkdir()
    arguments: dict[str, Any] = {
        "catalogue": small_kernels.catalogue(),
        "release": "13.0.0",
        "fidelity": "exact",
        "march": small_kernels.march("portable"),
        "toolchain": compiler,
        "scratch": scratch,
        "log": folder / "log",
        "abi": small,
    } | changes
    tree: Tree = arguments.pop("tree", None) or small_kernels.tree(folder / "tree")
    return library.compile_library(tree, tree.kernels, **arguments)


def lay_out(folder: Path, built: Library, extension: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "libpillow_simd.so").write_bytes(built.library)
    (folder / "loader.so").write_bytes(built.loader)
    shutil.copy(extension, folder / "_imaging_stock.so")
    return folder / "loader.so"


@pytest.fixture(scope="module")
def portable(tmp_path_factory: pytest.TempPathFactory, small: Abi, gcc: Toolchain) -> tuple[Library, Path]:
    folder = tmp_path_factory.mktemp("portable") / "build"
    return compile_in(folder, small, gcc), folder


def test_the_kernel_stands_in_front(portable: tuple[Library, Path], extension: Path, tmp_path: Path) -> None:
    loader = lay_out(tmp_path / "PIL", portable[0], extension)
    assert small_kernels.call(loader, 7) == 1007
    # The guard refuses wide images, and the variable all: both go to the official code.
    assert small_kernels.call(loader, 600) == 601
    assert small_kernels.call(loader, 7, PILLOW_SIMD="none") == 8


def test_the_folder_does_not_matter(
    portable: tuple[Library, Path], small: Abi, gcc: Toolchain, tmp_path: Path
) -> None:
    again = compile_in(tmp_path / "a folder with a much longer name" / "build", small, gcc)
    assert again.library == portable[0].library
    assert again.loader == portable[0].loader


def test_the_library_is_what_it_must_be(portable: tuple[Library, Path], gcc: Toolchain) -> None:
    found = linked.shape(portable[1] / "scratch" / "libpillow_simd.so")
    assert found.exported - {"ImagingNegative"} == {n for n in found.exported if n.startswith("pillow_simd_")}
    assert found.glibc == ""
    assert found.needed == ("libdl.so.2", "libc.so.6")
    assert (found.isa & ~1, found.executable_stack, found.text_relocations, found.rpath) == (
        0,
        False,
        False,
        "",
    )
    loader = linked.shape(portable[1] / "scratch" / "loader.so")
    assert loader.needed == ("libpillow_simd.so", "_imaging_stock.so")
    assert (loader.rpath, loader.exported, loader.imported) == ("$ORIGIN", frozenset(), frozenset())
    assert gcc.version in (portable[1] / "log").read_text() or "-O3" in (portable[1] / "log").read_text()


@pytest.mark.parametrize(
    ("level", "bit"), [("x86-64-v2", 2), ("x86-64-v3", 4), ("x86-64-v4", 8), ("haswell", 4)]
)
def test_the_mark_says_what_the_library_needs(
    small: Abi, gcc: Toolchain, tmp_path: Path, level: str, bit: int
) -> None:
    compile_in(tmp_path / "build", small, gcc, march=small_kernels.march(level))
    found = linked.shape(tmp_path / "build" / "scratch" / "libpillow_simd.so")
    assert found.isa & bit
    assert found.isa < 2 * bit


def test_a_linker_that_knows_no_mark_is_helped(small: Abi, gcc: Toolchain, tmp_path: Path) -> None:
    """As with old binutils and lld, which at best warn of an option that they do not know."""

    def old(argv: Sequence[str | Path], **options: Any) -> Completed:
        kept = [str(part) for part in argv]
        if "x86-64-v3" in kept:
            position = kept.index("x86-64-v3")
            del kept[position - 3 : position + 1]
        return run(kept, **options)

    compile_in(tmp_path / "build", small, gcc, march=small_kernels.march("x86-64-v3"), run=old)
    assert linked.shape(tmp_path / "build" / "scratch" / "libpillow_simd.so").isa & 4


@pytest.mark.emulator
def test_a_weaker_cpu_gets_an_error_and_no_crash(
    small: Abi, gcc: Toolchain, extension: Path, tmp_path: Path
) -> None:
    emulator = shutil.which("qemu-x86_64-static")
    if not emulator:
        pytest.skip("qemu-user is not here")
    built = compile_in(tmp_path / "build", small, gcc, march=small_kernels.march("x86-64-v3"))
    loader = lay_out(tmp_path / "PIL", built, extension)
    (tmp_path / "main.c").write_text(
        "#include <dlfcn.h>\n#include <stdio.h>\nint main(int n, char **a) { void *h = dlopen(a[1], 2);"
        'puts(h ? "loaded" : dlerror()); return n - 2; }\n'
    )
    subprocess.run(["gcc", "main.c", "-ldl", "-o", "main"], cwd=tmp_path, check=True)
    said = {
        cpu: subprocess.run(
            [emulator, "-cpu", cpu, tmp_path / "main", loader], capture_output=True, text=True, check=True
        ).stdout
        for cpu in ("Nehalem", "Haswell")
    }
    assert "CPU ISA level is lower than required" in said["Nehalem"]
    assert said["Haswell"] == "loaded\n"


def failing(said: str, status: int = 1) -> Any:
    def fail(argv: Sequence[str | Path], **options: Any) -> Completed:
        if "-c" in argv and any("wide_negative" in str(part) for part in argv):
            raise CommandFailed(
                Completed(
                    argv=tuple(map(str, argv)), returncode=status, stdout="", stderr=said, cpu_seconds=0
                )
            )
        return run(argv, **options)

    return fail


def test_a_failing_compiler_shows_its_words_and_the_log(small: Abi, gcc: Toolchain, tmp_path: Path) -> None:
    folder = tmp_path / "build"
    broken = small_kernels.tree(
        tmp_path / "tree", kernel='#include "pillow.h"\nint broken(void) { return x; }\n'
    )
    with pytest.raises(BuildError, match=r"gcc failed on wide_negative-(sse4|avx2)\.o") as caught:
        compile_in(folder, small, gcc, tree=broken)
    assert "undeclared" in caught.value.why
    assert caught.value.log == folder / "log"
    text = (folder / "log").read_text()
    assert "undeclared" in text
    assert "$ " in text
    assert "[status 1]" in text
    assert "--compiler" in caught.value.hint


def test_a_crashing_compiler_is_an_error(small: Abi, gcc: Toolchain, tmp_path: Path) -> None:
    with pytest.raises(BuildError) as caught:
        compile_in(tmp_path / "build", small, gcc, run=failing("internal compiler error", -11))
    assert "internal compiler error" in caught.value.why


def test_no_space_to_compile_is_no_compiler_error(small: Abi, gcc: Toolchain, tmp_path: Path) -> None:
    said = "Assembler messages:\nfatal error: can't write 14 bytes: No space left on device"
    with pytest.raises(NoSpaceError) as caught:
        compile_in(tmp_path / "build", small, gcc, run=failing(said))
    assert "TMPDIR" in caught.value.hint


def test_an_interrupt_passes(small: Abi, gcc: Toolchain, tmp_path: Path) -> None:
    def interrupt(argv: Sequence[str | Path], **options: Any) -> Completed:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compile_in(tmp_path / "build", small, gcc, run=interrupt)


def test_an_interrupt_ends_the_compilers(small: Abi, gcc: Toolchain, tmp_path: Path) -> None:
    """Ctrl-C in a terminal, as a program that is busy compiling gets it."""
    slow = tmp_path / "gcc"
    slow.write_text(f"#!/bin/sh\necho $$ >> {tmp_path}/started\nexec sleep 1000\n")
    slow.chmod(0o755)
    program = f"""
import sys
sys.path[:0] = {[str(Path(__file__).parent), str(Path(library.__file__).parent.parent)]!r}
import test_library as t, small_kernels
from dataclasses import replace
from pathlib import Path
folder = Path({str(tmp_path)!r})
compiler = replace(t.toolchain.find("gcc", zig=t.no_zig), argv=(str(folder / "gcc"),))
small = t.abi.read(t.compile_extension(folder))
t.compile_in(folder / "build", small, compiler)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
    started = tmp_path / "started"
    while not started.exists() or len(started.read_text().split()) < 2:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    # Far less than the compilers would take; a hanging test is a failing one.
    _, said = process.communicate(timeout=300)
    assert said.strip().endswith("KeyboardInterrupt")
    for number in started.read_text().split():
        assert not Path(f"/proc/{number}/exe").exists()


def test_a_symbol_that_nobody_has_is_named(small: Abi, gcc: Toolchain, tmp_path: Path) -> None:
    kernel = small_kernels.KERNEL.replace(
        "return", "extern int nobody_has_this(void); nobody_has_this(); return"
    )
    with pytest.raises(BuildError, match="not what it must be") as caught:
        compile_in(tmp_path / "build", small, gcc, tree=small_kernels.tree(tmp_path / "tree", kernel=kernel))
    assert "nobody_has_this" in caught.value.why


def test_a_symbol_too_many_is_named(small: Abi, gcc: Toolchain, tmp_path: Path) -> None:
    front = small_kernels.FRONT + "\nSIMD_PUBLIC int malloc_too(void) { return 0; }\n"
    with pytest.raises(BuildError) as caught:
        compile_in(tmp_path / "build", small, gcc, tree=small_kernels.tree(tmp_path / "tree", front=front))
    assert "malloc_too" in caught.value.why


def test_a_front_that_is_missing_is_named(small: Abi, gcc: Toolchain, tmp_path: Path) -> None:
    with pytest.raises(BuildError) as caught:
        compile_in(tmp_path / "build", small, gcc, tree=small_kernels.tree(tmp_path / "tree", front="\n"))
    assert "ImagingNegative" in caught.value.why


def test_the_folder_must_not_be_inside(small: Abi, gcc: Toolchain, tmp_path: Path) -> None:
    told = f'const char *const simd_where = "{tmp_path}/build/scratch/src";\n'
    front = small_kernels.FRONT + f"__attribute__((used)) static {told}"
    with pytest.raises(BuildError) as caught:
        compile_in(tmp_path / "build", small, gcc, tree=small_kernels.tree(tmp_path / "tree", front=front))
    assert "path of the folder" in caught.value.why


def test_another_machine_is_noticed(small: Abi, gcc: Toolchain, tmp_path: Path) -> None:
    with pytest.raises(BuildError) as caught:
        compile_in(tmp_path / "build", replace(small, machine="aarch64"), gcc)
    assert "it is for x86_64, the official extension for aarch64" in caught.value.why


def test_without_kernels_everything_goes_to_the_official_code(
    small: Abi, gcc: Toolchain, extension: Path, tmp_path: Path
) -> None:
    nothing = replace(small_kernels.tree(tmp_path / "tree"), kernels=())
    built = compile_in(tmp_path / "build", small, gcc, tree=nothing)
    assert small_kernels.call(lay_out(tmp_path / "PIL", built, extension), 7) == 8


def test_musl_is_needed_under_its_own_name(small: Abi, gcc: Toolchain, tmp_path: Path) -> None:
    musl = replace(small, libc="musl", needed=("libc.musl-x86_64.so.1",), glibc="")
    assert compile_in(tmp_path / "build", musl, gcc).needed == ("libc.musl-x86_64.so.1",)


def test_common_code_is_for_every_cpu() -> None:
    march = small_kernels.march("x86-64-v4")
    [front, *kernels] = library.units(
        small_kernels.catalogue(), small_kernels.catalogue().kernels, ["avx2"], "exact"
    )
    assert front.isa is None
    compiler = toolchain.find("gcc", zig=no_zig)
    assert "-march=x86-64" in library.unit_flags(front, compiler, march)
    assert "-march=x86-64-v3" in library.unit_flags(kernels[-1], compiler, march)


@pytest.mark.skipif(not any(shutil.which(f"clang-{n}") for n in range(11, 30)), reason="no clang here")
def test_clang_does_the_same(small: Abi, extension: Path, tmp_path: Path) -> None:
    clang = toolchain.find("clang", zig=no_zig)
    built = compile_in(tmp_path / "build", small, clang, march=small_kernels.march("x86-64-v3"))
    assert small_kernels.call(lay_out(tmp_path / "PIL", built, extension), 7) == 1007
    assert (
        built.library
        == compile_in(tmp_path / "b", small, clang, march=small_kernels.march("x86-64-v3")).library
    )


def test_shapes_of_bad_objects_are_seen(tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text("int x[4]; int *f(void) { return x; }\n")
    options = ["-Wl,-z,execstack", "-Wl,-rpath,/poison"]
    subprocess.run(["gcc", "-shared", "-fPIC", *options, "a.c", "-o", "a.so"], cwd=tmp_path, check=True)
    found = linked.shape(tmp_path / "a.so")
    assert found.executable_stack
    assert found.rpath == "/poison"
    assert os.fsencode(tmp_path) not in (tmp_path / "a.so").read_bytes()
