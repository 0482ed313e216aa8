from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from simdinstall import toolchain
from simdinstall.compiling import Builder
from simdinstall.errors import BuildError, FetchError
from simdinstall.run import run
from simdinstall.toolchain import Toolchain

GCC = Path(shutil.which("gcc") or "gcc")

#: Scripts that stand for compilers: each does what a broken installation really does.
SAYS_GCC = (
    'case "$1" in --version) echo "gcc (Broken) 13.1.0"; echo "Free Software Foundation"; exit;; esac\n'
)
SCRIPTS = {
    "no-headers": SAYS_GCC + f'case "$1" in -dump*|-Wl*) exec {GCC} "$@";; esac\n'
    'echo "probe.c:3:10: fatal error: dlfcn.h: No such file or directory" >&2; exit 1\n',
    "no-assembler": SAYS_GCC + f'case "$1" in -dump*|-Wl*) exec {GCC} "$@";; esac\n'
    "echo \"gcc: fatal error: cannot execute 'as': execvp: No such file\" >&2; exit 1\n",
    "no-linker": SAYS_GCC
    + f'for a; do [ "$a" = -shared ] && {{ echo "cannot find ld" >&2; exit 1; }}; done\n'
    f'exec {GCC} "$@"\n',
    "another-machine": SAYS_GCC + f'{GCC} "$@" || exit\n'
    'case "$*" in *" -o probe.so") printf "\\267" | dd of=probe.so bs=1 seek=18 conv=notrunc 2>&-;; esac\n',
    "silent": "exit 3\n",
    "works": f'exec {GCC} "$@"\n',
}


def script(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}")
    path.chmod(0o755)
    return path


def no_zig() -> Path:
    raise FetchError("ziglang cannot be had", why="--offline")


def never() -> Path:
    raise AssertionError("zig was fetched without need")


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., str]:
    """A PATH of one folder with the named scripts, and what compilers themselves call."""

    def make(**compilers: str) -> str:
        for name, body in compilers.items():
            script(tmp_path / "bin" / name.replace("_", "-"), SCRIPTS[body])
        (tmp_path / "bin").mkdir(exist_ok=True)
        return str(tmp_path / "bin")

    return make


def example(kind: str = "gcc", version: str = "13.2.0") -> Toolchain:
    return Toolchain(
        kind=kind,  # type: ignore[arg-type]
        path=Path("/c"),
        version=version,
        argv=("/c", "cc") if kind == "zig" else ("/c",),
        target_args=("-target", "x86_64-linux-gnu.2.17") if kind == "zig" else (),
        identity="",
        machine="x86_64",
        linker=("/c", "ld.lld") if kind == "zig" else ("/c",),
    )


def test_the_real_gcc_works() -> None:
    found = toolchain.find("gcc", zig=never)
    assert found.kind == "gcc"
    assert found.path == GCC
    assert found.version in found.identity
    assert "linux" in found.identity


def test_a_compiler_for_another_libc_is_passed_over() -> None:
    with pytest.raises(BuildError, match="cannot be used") as caught:
        toolchain.find("gcc", zig=never, libc="musl")
    assert "musl is wanted" in caught.value.why


def test_gcc_comes_first_and_zig_is_not_fetched(folder: Callable[..., str]) -> None:
    path = folder(gcc="works", clang="works")
    assert toolchain.find("auto", zig=never, path=path).path.name == "gcc"


@pytest.mark.parametrize("broken", ["no-headers", "no-assembler", "no-linker", "another-machine", "silent"])
def test_a_broken_gcc_is_passed_over(folder: Callable[..., str], broken: str) -> None:
    path = folder(gcc=broken, gcc_11="works", gcc_9="silent")
    assert toolchain.find("auto", zig=never, path=path).path.name == "gcc-11"


def test_the_newest_version_is_tried_first(folder: Callable[..., str]) -> None:
    path = folder(gcc_9="works", gcc_10="works", gcc_ar_12="works")
    assert toolchain.find("gcc", zig=never, path=path).path.name == "gcc-10"


def test_cc_is_the_last_resort(folder: Callable[..., str]) -> None:
    assert toolchain.find("auto", zig=never, path=folder(cc="works")).path.name == "cc"


def test_nothing_works_and_all_reasons_are_given(folder: Callable[..., str]) -> None:
    with pytest.raises(BuildError, match="no working C compiler") as caught:
        toolchain.find("auto", zig=no_zig, path=folder(gcc="no-headers", clang="silent"))
    assert "dlfcn.h: No such file" in caught.value.why
    assert "clang" in caught.value.why
    assert "ziglang cannot be had: --offline" in caught.value.why
    assert "libc6-dev" in caught.value.hint


def test_an_empty_path_says_so(folder: Callable[..., str]) -> None:
    with pytest.raises(BuildError) as caught:
        toolchain.find("auto", zig=no_zig, path=folder())
    assert "not on PATH" in caught.value.why


def test_a_broken_compiler_that_was_asked_for_is_an_error(folder: Callable[..., str]) -> None:
    with pytest.raises(BuildError, match="the compiler gcc cannot be used") as caught:
        toolchain.find("gcc", zig=never, path=folder(gcc="no-linker", clang="works"))
    assert "cannot find ld" in caught.value.why
    assert "--compiler" in caught.value.hint


def test_zig_that_was_asked_for_and_cannot_be_fetched_keeps_its_error() -> None:
    with pytest.raises(FetchError, match="ziglang"):
        toolchain.find("zig", zig=no_zig)


def test_a_compiler_can_be_named_by_its_path(tmp_path: Path) -> None:
    named = script(tmp_path / "my compilers" / "wrapped", SCRIPTS["works"])
    assert toolchain.find(str(named), zig=never).path == named


@pytest.mark.parametrize(
    ("path", "reason"),
    [("/bin/ls", "is not gcc, clang or zig"), ("/nowhere/gcc", "was not found"), ("/etc/passwd", "started")],
)
def test_what_is_no_compiler_is_refused(path: str, reason: str) -> None:
    with pytest.raises(BuildError, match="cannot be used") as caught:
        toolchain.find(path, zig=never)
    assert reason in caught.value.why


def test_a_compiler_that_rounds_as_it_likes_is_refused(tmp_path: Path) -> None:
    icx = script(tmp_path / "icx", 'echo "Intel(R) oneAPI DPC++/C++ Compiler 2024.0 clang version 17.0.0"\n')
    with pytest.raises(BuildError) as caught:
        toolchain.find(str(icx), zig=never)
    assert "rounds" in caught.value.why


def test_a_compiler_for_another_machine_is_refused() -> None:
    with pytest.raises(BuildError) as caught:
        toolchain.find("gcc", zig=never, machine="riscv64")
    assert "it makes x86_64, and riscv64 is wanted" in caught.value.why


def test_the_name_that_gcc_is_called_by_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "cc").symlink_to(GCC)
    assert (
        toolchain.find(str(tmp_path / "cc"), zig=never).identity == toolchain.find("gcc", zig=never).identity
    )


def test_hidden_settings_do_not_reach_the_compiler(tmp_path: Path) -> None:
    variables = example().environment(tmp_path, {"CPATH": "/poison", "LC_ALL": "de_DE", "PATH": "/bin"})
    assert "CPATH" not in variables
    assert variables["LC_ALL"] == "C"
    assert variables["PATH"] == "/bin"
    assert variables["TMPDIR"] == str(tmp_path)
    assert variables["ZIG_GLOBAL_CACHE_DIR"].startswith(str(tmp_path))
    assert variables["SOURCE_DATE_EPOCH"] == "0"


def test_ccache_is_used_where_it_is_for_what_is_compiled_and_never_twice(tmp_path: Path) -> None:
    told = tmp_path / "told"
    script(tmp_path / "bin" / "ccache", f'echo "$@" >> {told}\nexec "$@"\n')
    gcc = toolchain.find("gcc", zig=no_zig)
    assert toolchain.through_ccache(gcc, path=str(tmp_path)) == gcc
    cached = toolchain.through_ccache(gcc, path=str(tmp_path / "bin"))
    assert cached.cached
    assert toolchain.through_ccache(cached, path=str(tmp_path / "bin")) == cached
    zig = replace(gcc, kind="zig")
    assert toolchain.through_ccache(zig, path=str(tmp_path / "bin")) == zig
    # ccache calls itself by the compiler's name where it lies before it on the path.
    (tmp_path / "bin" / "gcc").symlink_to("ccache")
    assert replace(gcc, argv=(str(tmp_path / "bin" / "gcc"),)).cached
    (tmp_path / "scratch").mkdir()
    built = Builder(cached, scratch=tmp_path / "scratch", log=tmp_path / "log", run=run)
    built.compile_text("int x;", "empty.o")
    built.link_shared(["empty.o"], "x.so", needed=("libc.so.6",))
    assert [line.split()[0] for line in told.read_text().splitlines()] == [str(GCC)]


def test_flags_of_levels_follow_the_compiler() -> None:
    flags = ["-O3", "-march=x86-64-v3", "-mtune=generic"]
    assert example().translate(flags) == ["-O3", "-march=x86-64-v3", "-mtune=generic"]
    assert example("zig", "0.17.0").translate(flags) == ["-O3", "-mcpu=x86_64_v3"]
    old = example("gcc", "9.4.0").translate(flags)
    assert "-march=x86-64-v3" not in old
    assert {"-mavx2", "-mbmi2", "-mfma"} <= set(old)


def test_zig_takes_names_of_processors_with_underscores() -> None:
    assert example("zig", "0.17.0").translate(["-march=skylake-avx512"]) == ["-mcpu=skylake_avx512"]
    assert example("zig", "0.17.0").translate(["-march=x86-64-v4", "-mavx512vnni"]) == [
        "-mcpu=x86_64_v4+avx512vnni",
        "-mavx512vnni",
    ]


def test_zig_links_without_a_libc_of_its_own() -> None:
    command = example("zig").link_argv(["a.o"], "a.so", ["-z", "now"])
    assert command == ["/c", "ld.lld", "-m", "elf_x86_64", "-shared", "-z", "now", "a.o", "-o", "a.so"]
    assert "-nostdlib" in example("clang").link_argv(["a.o"], "a.so")
    assert example().link_argv(["a.o"], "a.so", ["-z", "now"])[3:7] == ["-Xlinker", "-z", "-Xlinker", "now"]


def test_machines_of_elf_files() -> None:
    assert toolchain.elf_machine(Path("/proc/self/exe").read_bytes()[:20]) == os.uname().machine
    assert toolchain.elf_machine(b"\x7fELF") == ""
    assert toolchain.elf_machine(b"MZ" * 20) == ""
