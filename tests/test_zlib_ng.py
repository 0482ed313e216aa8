from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from simdinstall import zlib_ng
from simdinstall.abi import Abi
from simdinstall.checks import Group, Mismatch
from simdinstall.errors import BuildError
from simdinstall.fetch import Download
from simdinstall.measure import Difference
from simdinstall.verify import ZLIB, _lacking, grade

SLOTS = Path(zlib_ng.__file__).with_name("slots.c")

#: A core that calls a zlib of its surroundings: through its PLT, and by a pointer in its data.
CORE = """
int deflate(void); int inflate(void);
int (*kept)(void) = inflate;
int PyInit__imaging(void) { return deflate() * 10 + kept(); }
"""


def core(*imported: str, machine: str = "x86_64") -> Abi:
    return cast("Abi", SimpleNamespace(imported=frozenset(imported), machine=machine))


def test_the_functions_of_zlib_are_found_among_all_that_the_core_calls() -> None:
    found = zlib_ng.called(
        core("memcpy", "deflateInit2_", "inflate", "zlibVersion", "jpeg_crc", "PyLong_crc32")
    )
    assert found == ("deflateInit2_", "inflate", "zlibVersion")


def test_a_core_without_calls_of_zlib_is_refused() -> None:
    with pytest.raises(BuildError, match="cannot be put in front"):
        zlib_ng.called(core("memcpy"))


def test_other_machines_are_refused() -> None:
    with pytest.raises(BuildError, match="aarch64"):
        zlib_ng.require_machine("aarch64")


def test_every_unit_for_an_instruction_set_has_its_flags() -> None:
    assert zlib_ng._isa("chunkset_avx2") == "_avx2"
    assert zlib_ng._isa("crc32_pclmulqdq") == "_pclmulqdq"
    assert zlib_ng._isa("x86_features") == "_features"


def sdist(folder: Path, *, lacking: str = "", public: str = '#define ZLIBNG_VERSION "2.3.3"\n') -> Download:
    path = folder / "zlib_ng-1.1.0.tar.gz"
    content = {str(unit): "" for unit in zlib_ng.units()}
    content |= {"zlib.h.in": f"{public}void @ZLIB_SYMBOL_PREFIX@deflate(void);\n", "zconf.h.in": "z"}
    content |= {"zlib_name_mangling.h.empty": "n", "test/minigzip.c": "", "LICENSE.md": "zlib"}
    content.pop(lacking, None)
    with tarfile.open(path, "w:gz") as archive:
        for name, text in content.items():
            member = tarfile.TarInfo(f"zlib_ng-1.1.0/src/zlib_ng/zlib-ng/{name}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return Download(name="zlib-ng", version="1.1.0", filename=path.name, url="", sha256="0" * 64, path=path)


def test_unpacking_makes_the_headers_that_configure_would(tmp_path: Path) -> None:
    root, version = zlib_ng.unpack(sdist(tmp_path), tmp_path / "out")
    assert version == "2.3.3"
    assert "void deflate(void);" in (root / "zlib.h").read_text()
    assert (root / "zconf.h").read_text() == "z"
    assert not (root / "test").exists()


@pytest.mark.parametrize("lacking", ["functable.c", "arch/x86/chunkset_avx2.c", "zconf.h.in"])
def test_other_sources_than_the_known_ones_are_refused(tmp_path: Path, lacking: str) -> None:
    with pytest.raises(BuildError, match="cannot be compiled here"):
        zlib_ng.unpack(sdist(tmp_path, lacking=lacking), tmp_path / "out")


def test_sources_without_a_version_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError) as caught:
        zlib_ng.unpack(sdist(tmp_path, public=""), tmp_path / "out")
    assert "its version" in caught.value.why


# ------------------------------------------------------------------ the slots


def gcc(folder: Path, output: str, text: str, *flags: str | Path) -> Path:
    (folder / f"{output}.c").write_text(text)
    command = ["gcc", "-shared", "-fPIC", "-O1", f"{output}.c", *flags, "-o", output]
    subprocess.run(command, cwd=folder, check=True)
    return folder / output


#: Kernels that call the zlib that the core calls.
KERNELS = """
int deflate(void);
int pillow_simd_level(void) { return 3; }
int pillow_simd_packed(void) { return deflate(); }
"""


def loaded(
    folder: Path, core_flags: tuple[str, ...], own: str, *, known: str = "X(deflate) X(inflate)"
) -> Any:
    """What a core and the kernels in front of it say whose process has another zlib in front of all."""
    system = gcc(folder, "libz.so.1", "int deflate(void) { return 1; } int inflate(void) { return 2; }")
    gcc(folder, "core.so", CORE, "libz.so.1", *core_flags)
    gcc(folder, "libpillow_simd.so", KERNELS, *core_flags)
    (folder / "called.h").write_text(f'#define CALLED {known}\n#define ZLIBNG_VERSION "9.9"\n')
    (folder / "map").write_text("{ global: pillow_simd_zlib_ng; local: *; };")
    gcc(folder, "libpillow_zlib.so", own, SLOTS, "-I.", "-Wl,--version-script=map", "-ldl")
    path = ("-Wl,-rpath,$ORIGIN", "-Wl,--disable-new-dtags", "-Wl,--no-as-needed")
    loader = gcc(folder, "loader.so", "", *path, "libpillow_simd.so", "libpillow_zlib.so", "core.so")
    code = f"""
import ctypes
loader = ctypes.CDLL({str(loader)!r})
ours = ctypes.CDLL({str(folder / "libpillow_zlib.so")!r}).pillow_simd_zlib_ng
ours.restype = ctypes.c_char_p
system = ctypes.CDLL({str(system)!r})
said = ours().decode() or "-"
print(loader.PyInit__imaging(), loader.pillow_simd_packed(), said, system.deflate())
print(*[line.split()[1] for line in open("/proc/self/maps") if line.rstrip().endswith("/core.so")])
"""
    environ = {**os.environ, "LD_PRELOAD": str(system)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, check=True, capture_output=True, text=True
    )
    return done.stdout.splitlines()


@pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")
@pytest.mark.parametrize(
    "flags",
    [
        ("-Wl,-z,now", "-Wl,-z,relro"),
        ("-Wl,-z,lazy", "-Wl,-z,relro"),
        ("-Wl,-z,lazy", "-Wl,-z,norelro"),
        ("-fno-plt", "-Wl,-z,now", "-Wl,-z,relro"),
    ],
    ids=["full relro", "lazy", "no relro", "no plt"],
)
def test_the_core_calls_ours_although_another_zlib_comes_first(
    tmp_path: Path, flags: tuple[str, ...]
) -> None:
    own = "int deflate(void) { return 7; } int inflate(void) { return 8; }"
    said, rights = loaded(tmp_path, flags, own)
    assert said == "78 7 9.9 1"
    # What was read-only after relocation is so again.
    assert rights.split().count("rw-p") == 1


@pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")
def test_without_a_slot_of_these_functions_nothing_is_bound(tmp_path: Path) -> None:
    said, _ = loaded(tmp_path, (), "int crc32(void) { return 7; }", known="X(crc32)")
    assert said == "12 1 - 1"


# ------------------------------------------------------------------ the verdict


def codecs(label: str, difference: Difference) -> Group:
    mismatch = Mismatch(label=label, size=(3, 4), difference=difference)
    return Group(family="codecs", mode="RGB", level=0, cases=9, served=(), mismatches=(mismatch,))


def test_files_that_are_packed_otherwise_are_no_failure_with_zlib_ng() -> None:
    group = codecs("save PNG", Difference())
    assert grade(group, bounds={}, fidelity="exact", zlib_ng=True).grade == "repacked"
    assert grade(group, bounds={}, fidelity="exact").grade == "failed"


@pytest.mark.parametrize(
    ("label", "difference"),
    [
        ("save PNG", Difference(largest=1, share=0.1, visible=1)),
        ("save PNG", Difference(why="another 3 bytes")),
        ("save JPEG quality=85", Difference()),
    ],
)
def test_other_pixels_and_other_files_still_fail(label: str, difference: Difference) -> None:
    assert grade(codecs(label, difference), bounds={}, fidelity="exact", zlib_ng=True).grade == "failed"


def features(zlib: str) -> dict[str, Any]:
    return {"features": {ZLIB: [zlib], "codec jpg": ["9"]}, "formats": [], "names": []}


def test_zlib_ng_must_be_what_the_core_calls() -> None:
    assert not _lacking(features("1.2.13"), features("1.3.1.zlib-ng"), zlib_ng=True)
    [problem] = _lacking(features("1.2.13"), features("1.2.13"), zlib_ng=True)
    assert "the core calls zlib 1.2.13" in problem
    assert _lacking(features("1.2.13"), features("1.3.1.zlib-ng"))
