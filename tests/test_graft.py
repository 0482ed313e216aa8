"""graft.py and codec_abi.py: a core compiled from source is held to the official one.

A small Pillow of a few functions stands for the real one; the compiler is real.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path

import pytest

from simdinstall import abi, codec_abi, graft, pillow_source, toolchain
from simdinstall.abi import Abi
from simdinstall.cpu import March
from simdinstall.errors import BuildError
from simdinstall.graft import Core, Materials
from simdinstall.run import run
from simdinstall.toolchain import Toolchain

IMAGING = """
typedef struct ImagingMemoryInstance { int xsize, ysize; %s char **image; } *Imaging;
Imaging ImagingNew(int xsize, int ysize);
Imaging ImagingResample(Imaging in, int xsize);
"""
UNITS = {
    "_imaging.c": "#include <Python.h>\nPyMODINIT_FUNC PyInit__imaging(void) { return NULL; }\n",
    "libImaging/Storage.c": '#include "Imaging.h"\n#include <stdlib.h>\n'
    "Imaging ImagingNew(int x, int y) { Imaging im = calloc(x, sizeof *im); im->ysize = y; return im; }\n",
    "path.c": "int path_unit;\n",
    "libImaging/ZipDecode.c": '#include "Imaging.h"\n'
    "Imaging ImagingResample(Imaging in, int x) { return ImagingNew(x, in->ysize); }\n",
}
SETUP = """
_IMAGING = ("path",)
_LIB_IMAGING = ("Storage", "ZipDecode")
"""
LEVEL = March(
    name="v3",
    requested="x86-64-v3",
    features=frozenset(),
    level="x86-64-v3",
    isas=(),
    cflags=(),
    reason="",
    target="x86_64_v3",
)
V4 = replace(LEVEL, name="v4", requested="x86-64-v4", level="x86-64-v4", target="x86_64_v4")
PYTHON = Path(sysconfig.get_path("include"))


def no_zig() -> Path:
    raise AssertionError("gcc was asked for")


@pytest.fixture(scope="module")
def gcc() -> Toolchain:
    return toolchain.find("gcc", zig=no_zig)


def sources(root: Path, *, extra: str = "", units: dict[str, str] = UNITS) -> Path:
    (root / "src" / "libImaging").mkdir(parents=True)
    (root / "src" / "libImaging" / "Imaging.h").write_text(
        f"#ifndef IMAGING\n#define IMAGING\n{IMAGING % extra}#endif\n"
    )
    for name, text in units.items():
        (root / "src" / name).write_text(text)
    (root / "setup.py").write_text(SETUP)
    return root


@pytest.fixture
def official(tmp_path: Path) -> Path:
    root = sources(tmp_path / "official")
    target = tmp_path / "_imaging.so"
    units = [root / "src" / name for name in UNITS]
    include = [f"-I{root / 'src' / 'libImaging'}", f"-I{PYTHON}"]
    subprocess.run(
        ["gcc", "-g", "-O1", "-shared", "-fPIC", "-nostdlib", *include, *units, "-o", target], check=True
    )
    return target


def compile_here(
    tmp_path: Path,
    official: Path,
    gcc: Toolchain,
    root: Path,
    flags: tuple[str, ...] = (),
    level: March | None = None,
) -> Core:
    (tmp_path / "headers").mkdir()
    (tmp_path / "scratch").mkdir()
    return graft.compile_core(
        Materials(
            source=pillow_source.read(root, release="1.2.3"),
            headers=tmp_path / "headers",
            python=(PYTHON,),
            official=official,
            user_flags=flags,
        ),
        official=abi.read(official),
        march=level or LEVEL,
        toolchain=gcc,
        scratch=tmp_path / "scratch",
        log=tmp_path / "log",
    )


def test_the_core_has_the_official_ones_shape_and_the_mark_of_its_level(
    tmp_path: Path, official: Path, gcc: Toolchain
) -> None:
    core = compile_here(tmp_path, official, gcc, sources(tmp_path / "source"), ("-funroll-loops",))
    path = tmp_path / "core.so"
    path.write_bytes(core.content)
    found, wanted = abi.read(path), abi.read(official)
    assert found.exported >= wanted.exported
    assert "ImagingNew" in found.plt  # a kernel can still stand in front of it
    assert core.flags[-1] == "-funroll-loops"
    assert "-march=x86-64-v3" in core.flags
    assert b"GNU" in core.content
    assert "-funroll-loops" in (tmp_path / "log").read_text()


def test_a_unit_has_the_flags_that_it_gains_by(tmp_path: Path, official: Path, gcc: Toolchain) -> None:
    names = ("Unpack", "Jpeg2KEncode", "Palette")
    odd = {f"libImaging/{name}.c": f"int {name};\n" for name in names}
    root = sources(tmp_path / "source", units=UNITS | odd)
    (root / "setup.py").write_text(
        SETUP.replace('"ZipDecode"', '"ZipDecode", "Unpack", "Jpeg2KEncode", "Palette"')
    )
    # A flag of the user's is his for every unit.
    compile_here(tmp_path, official, gcc, root, (graft._UNSWITCHED,))
    told = {
        Path(words[words.index("-c") + 1]).stem: words
        for line in (tmp_path / "log").read_text().splitlines()
        if "-c" in (words := line.split())
    }
    flags = (graft._UNSWITCHED, graft._NARROW)
    assert [told["Storage"].count(flag) for flag in flags] == [1, 1]
    assert [told["Jpeg2KEncode"].count(flag) for flag in flags] == [1, 1]
    assert [told["Unpack"].count(flag) for flag in (*flags, graft._WIDER)] == [1, 0, 1]
    assert [told[name].count(graft._PEELED) for name in ("Storage", "Palette")] == [0, 1]


def test_no_vector_has_64_bytes(tmp_path: Path, official: Path, gcc: Toolchain) -> None:
    """Neither loops nor what zeroes a struct."""
    if int(gcc.version.partition(".")[0]) < 12:
        pytest.skip("gcc before 12 has no flag for it")
    body = """
    #include <string.h>
    struct state { char bytes[512]; };
    void zeroed(struct state *s) { memset(s, 0, sizeof(*s)); }
    void added(int *a, const int *b) { for (int i = 0; i < 4096; i++) a[i] += b[i]; }
    """
    root = sources(tmp_path / "source", units=UNITS | {"libImaging/Unpack.c": body})
    (root / "setup.py").write_text(SETUP.replace('"ZipDecode"', '"ZipDecode", "Unpack"'))
    core = compile_here(tmp_path, official, gcc, root, level=V4)
    (tmp_path / "core.so").write_bytes(core.content)
    command = ["objdump", "-d", tmp_path / "core.so"]
    code = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "%ymm" in code
    assert "%zmm" not in code


def test_python_h_is_read_once_unless_ccache_would_pass_over_what_uses_it(
    tmp_path: Path, official: Path, gcc: Toolchain
) -> None:
    root = sources(tmp_path / "source")
    begin = "#define PY_SSIZE_T_CLEAN\n#include <Python.h>\n"
    (root / "src" / "libImaging" / "ImPlatform.h").write_text(begin)
    compile_here(tmp_path, official, gcc, root)
    assert (tmp_path / "scratch" / "python.h.gch").exists()
    # _imaging.c of this Pillow includes Python.h in its own way.
    commands = [line for line in (tmp_path / "log").read_text().splitlines() if "-include" in line]
    assert {line.rpartition("/")[2][:5] for line in commands if "version.h" in line} == {"_imag"}
    shutil.rmtree(tmp_path / "scratch")
    shutil.rmtree(tmp_path / "headers")
    ccache = tmp_path / "ccache"
    ccache.write_text('#!/bin/sh\nexec "$@"\n')
    ccache.chmod(0o755)
    compile_here(tmp_path, official, replace(gcc, argv=(str(ccache), *gcc.argv)), root)
    assert not (tmp_path / "scratch" / "python.h.gch").exists()


def test_a_core_that_counts_leaves_counts_that_the_next_is_compiled_by(
    tmp_path: Path, official: Path, gcc: Toolchain
) -> None:
    if int(gcc.version.partition(".")[0]) < 12:
        pytest.skip("its gcc cannot name counts by the object alone")
    materials = Materials(
        source=pillow_source.read(sources(tmp_path / "source"), release="1.2.3"),
        headers=tmp_path / "headers",
        python=(PYTHON,),
        official=official,
    )
    counts = tmp_path / "counts"
    for folder in ("headers", "first", "second", "counts"):
        (tmp_path / folder).mkdir()

    def core(name: str, materials: Materials, counts: Path | None) -> Core:
        return graft.compile_core(
            materials,
            official=abi.read(official),
            march=replace(LEVEL, level=None, target="x86_64"),
            toolchain=gcc,
            scratch=tmp_path / name,
            log=tmp_path / f"{name}.log",
            counts=counts,
        )

    counting = tmp_path / "counting.so"
    counting.write_bytes(core("first", materials, counts).content)
    call = "import ctypes, sys; ctypes.CDLL(sys.argv[1]).ImagingNew(3, 4)"
    subprocess.run([sys.executable, "-c", call, counting], check=True)
    assert {file.name for file in counts.iterdir()} >= {"libImaging_Storage.gcda"}
    trained = core("second", replace(materials, profile=counts), None)
    assert "-fprofile-use" in trained.flags
    assert not any(str(tmp_path) in flag for flag in trained.flags)
    assert b"__gcov" not in trained.content
    assert str(tmp_path).encode() not in trained.content
    assert "profile count data file not found" not in (tmp_path / "second.log").read_text()


def test_a_compiler_that_cannot_be_trained_says_so(tmp_path: Path, official: Path, gcc: Toolchain) -> None:
    (tmp_path / "headers").mkdir()
    (tmp_path / "scratch").mkdir()
    builder = graft.Builder(gcc, scratch=tmp_path / "scratch", log=tmp_path / "log", run=run)
    with pytest.raises(BuildError, match="cannot be trained"):
        graft._profiling(tmp_path, None, replace(gcc, kind="clang"), builder, tmp_path / "scratch")


def test_headers_that_describe_another_struct_stop_before_anything_is_compiled(
    tmp_path: Path, official: Path, gcc: Toolchain
) -> None:
    root = sources(tmp_path / "source", extra="long palette;")
    with pytest.raises(BuildError, match="do not describe") as refusal:
        compile_here(tmp_path, official, gcc, root)
    assert "ImagingMemoryInstance has 24 bytes, not 16" in refusal.value.why
    assert not list((tmp_path / "scratch").glob("*Storage*.o"))


@pytest.mark.parametrize(
    ("unit", "text", "why"),
    [
        ("libImaging/Storage.c", "int nothing;\n", "ImagingNew"),
        (
            "_imaging.c",
            UNITS["_imaging.c"] + "int strange_function(void); int x(void) { return strange_function(); }\n",
            "strange_function",
        ),
    ],
)
def test_a_core_that_lacks_or_wants_something_is_refused(
    tmp_path: Path, official: Path, gcc: Toolchain, unit: str, text: str, why: str
) -> None:
    root = sources(tmp_path / "source", units={**UNITS, unit: text})
    with pytest.raises(BuildError, match="not what it must be") as refusal:
        compile_here(tmp_path, official, gcc, root)
    assert why in refusal.value.why


def test_functions_that_are_called_past_the_kernels_are_noticed(
    tmp_path: Path, official: Path, gcc: Toolchain
) -> None:
    root = sources(tmp_path / "source")
    with pytest.raises(BuildError) as refusal:
        compile_here(tmp_path, official, gcc, root, ("-fvisibility=protected",))
    assert "ImagingNew" in refusal.value.why


def test_a_compiler_that_fails_shows_what_it_said(tmp_path: Path, official: Path, gcc: Toolchain) -> None:
    root = sources(tmp_path / "source", units={**UNITS, "_imaging.c": "#error no such luck\n"})
    with pytest.raises(BuildError) as refusal:
        compile_here(tmp_path, official, gcc, root)
    assert "no such luck" in refusal.value.why


def test_versions_that_the_wheel_bundles_are_stated(tmp_path: Path) -> None:
    (tmp_path / "jconfig.h").write_text("#define JPEG 1\n#define LIBJPEG_TURBO_VERSION 2.1.5\n")
    (tmp_path / "zlib.h").write_text("/* zlib */\n")
    for _ in range(2):
        graft.state_versions(tmp_path, {"libjpeg_turbo": "3.1.4", "zlib_ng": "2.3.3"}, ())
    assert "VERSION 3.1.4\n" in (tmp_path / "jconfig.h").read_text()
    assert (tmp_path / "zlib.h").read_text().count('#define ZLIBNG_VERSION "2.3.3"') == 1


def test_a_zlib_ng_of_the_systems_says_the_version_of_the_wheels(tmp_path: Path) -> None:
    header = tmp_path / "zlib.h"
    header.write_text('#define ZLIBNG_VERSION "2.2.4"\n#define ZLIBNG_VERSION_X 1\n')
    graft.state_versions(tmp_path, {"zlib_ng": "2.3.3"}, ())
    assert header.read_text() == '#define ZLIBNG_VERSION "2.3.3"\n#define ZLIBNG_VERSION_X 1\n'
    graft.state_versions(tmp_path, {"zlib_ng": ""}, ())
    assert "define ZLIBNG_VERSION " not in header.read_text()


@pytest.mark.parametrize(
    ("needed", "generation"),
    [("libjpeg-6dc8d115.so.62.4.0", 62), ("libjpeg.so.8", 80), ("libturbo.so.62", 70)],
)
def test_headers_are_set_to_the_generation_of_structs_that_the_wheel_has(
    tmp_path: Path, needed: str, generation: int
) -> None:
    # As Fedora splits the file, and for the structs that Ubuntu chooses; here for others again.
    (tmp_path / "jconfig.h").write_text('#include "jconfig-64.h"\n')
    split = tmp_path / "jconfig-64.h"
    split.write_text(
        "/* #if JPEG_LIB_VERSION >= 60 */\n#define JPEG_LIB_VERSION  70\n#define LIBJPEG_TURBO_VERSION 2\n"
        "#define LIBJPEG_TURBO_VERSION_NUMBER 2001005\n"
    )
    graft.state_versions(tmp_path, {"libjpeg_turbo": "3.1.4"}, ["libz.so.1", needed])
    assert f"#define JPEG_LIB_VERSION {generation}\n" in split.read_text().replace("  ", " ")
    assert "VERSION 3.1.4\n" in split.read_text()
    assert "NUMBER 2001005\n" in split.read_text()
    assert ">= 60 */" in split.read_text()
    before = split.read_text().replace("3.1.4", "9")
    split.write_text(before)
    # IJG's own library has one generation for each of its headers.
    graft.state_versions(tmp_path, {}, [needed])
    assert split.read_text() == before


def test_the_libraries_are_read_off_the_official_core(official: Path) -> None:
    from dataclasses import replace

    found: Abi = replace(
        abi.read(official),
        needed=("libtiff-20b7e810.so.6.3.0", "libjpeg-6dc8d115.so.62.4.0", "libz.so.1", "libc.so.6"),
    )
    assert graft.libraries(found) == ("tiff", "jpeg", "z")


def test_layouts_tell_members_bit_fields_arrays_and_unions_apart(tmp_path: Path) -> None:
    def layouts(text: str) -> dict[str, codec_abi.Layout]:
        (tmp_path / "x.c").write_text(text)
        subprocess.run(["gcc", "-g", "-c", tmp_path / "x.c", "-o", tmp_path / "x.o"], check=True)
        return codec_abi.layouts(tmp_path / "x.o")

    base = "struct s { char a[4][2]; unsigned b : 3, c : 5; void *d; }; struct s v;"
    first = layouts(base)
    assert first["s"].size == 24
    assert codec_abi.differences(first, layouts(base)) == ()
    assert codec_abi.differences(first, layouts(base.replace("b : 3, c : 5", "b : 4, c : 4")))
    assert codec_abi.differences(first, layouts(base.replace("void *d", "long e")))
    assert codec_abi.differences(first, layouts(base.replace("a[4][2]", "a[32]")))
    assert codec_abi.differences(first, layouts("struct other { int x; } v;")) == ()


def test_an_object_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.o").write_bytes(b"nothing")
    with pytest.raises(BuildError, match=r"x\.o"):
        codec_abi.layouts(tmp_path / "x.o")


pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
