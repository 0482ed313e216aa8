"""The core extension compiled from source, on the official wheel's own libraries.

``PIL/_imaging`` of the official wheel is replaced by one that was compiled here from
Pillow's sdist; everything else of the wheel stays, the codecs' libraries among it. The
new core names the same libraries as the official one, by the names that the wheel gave
them, and is linked without having them: what it may leave undefined is just what the
official core leaves undefined.

It has to bind its own public functions through the dynamic linker, as the official one
does, so that kernels can stand in front of it: no -Bsymbolic, no hidden visibility, no
link-time optimisation, and clang has to be told.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from simdinstall import abi as abi_module
from simdinstall import codec_abi
from simdinstall.abi import Abi
from simdinstall.compiling import NO_JUMP_ACROSS, Builder, in_parallel
from simdinstall.cpu import March, compiler_flags
from simdinstall.errors import BuildError
from simdinstall.library import LIBC, LIBM
from simdinstall.linked import shape
from simdinstall.pillow_source import LIBRARY_MACROS, PillowSource
from simdinstall.progress import Progress, silent
from simdinstall.run import CommandFailed, Runner
from simdinstall.run import run as run_command
from simdinstall.toolchain import Toolchain

#: Overflow wraps, as CPython's own flags have it.
CORE_FLAGS: tuple[str, ...] = (
    *("-fPIC", "-fwrapv", "-fno-strict-overflow", "-DNDEBUG", "-w", "-g0"),
    # Helpers of libc that an older one does not have.
    *("-U_FORTIFY_SOURCE", "-fno-stack-protector"),
)

#: How hard a compiler tries. gcc's -O3 takes half as long again for a core that is not
#: faster. What is gained by it is in the main loops of its vectors, not in a second vector
#: loop for each loop's rest; and in Draw.c, by conditions taken out of loops.
EFFORT = ("-O3",)
_UNSWITCHED = "-funswitch-loops"
GCC_EFFORT = (
    *("-O2", "-ftree-vectorize", "-fvect-cost-model=dynamic", _UNSWITCHED),
    "--param=vect-epilogues-nomask=0",
)

#: With :data:`NO_JUMP_ACROSS`, short loops.
_ALIGNED = ("-falign-loops=32",)

#: Vectors of 16 bytes, within which pixels of three and four bytes are shuffled anyway, take
#: a tenth less time to compile.
_NARROW = "-mprefer-vector-width=128"
_WIDER = "-mprefer-vector-width=256"

#: Never 64 bytes: Intel's CPUs before Ice Lake lower their clock for two thirds of a millisecond
#: after the first such instruction, and the libraries of codecs with it. One that zeroed the
#: state of a new decoder made the loading of a small JPEG 5 % slower. gcc 12 and later.
_NO_64_BYTES = ("-mmove-max=256", "-mstore-max=256")

#: Short loops made straight at the price of code.
_PEELED = "-fpeel-loops"

#: What a unit has in the place of a flag that all others have.
_IN_PLACE: Mapping[tuple[str, str], tuple[str, ...]] = {
    # Much faster with wider vectors.
    ("Unpack", _NARROW): (_WIDER,),
    # A tenth of the time to find a colour in a palette.
    ("Palette", _UNSWITCHED): (_UNSWITCHED, _PEELED),
    # There it costs up to half of the time to compile them, and gains nothing.
    **{(unit, _UNSWITCHED): () for unit in ("BcnDecode", "BcnEncode", "Jpeg2KDecode", "Jpeg2KEncode")},
}

#: Besides the folder of counts, which is not told of: units without counts are compiled as ever.
_TRAINED = ("-fprofile-use", "-fprofile-partial-training", "-Wno-missing-profile")

#: gcc reads this once for all units that begin with it.
_PYTHON_HEADER = """#include "version.h"
#define PY_SSIZE_T_CLEAN
#include <Python.h>
"""

#: libjpeg's file name says the generation of its structs, as ``JPEG_LIB_VERSION`` does.
_JPEG_FILE = re.compile(r"libjpeg(?:-[0-9a-f]{8})?\.so\.(\d+)")
_JPEG_GENERATIONS = {"62": "62", "7": "70", "8": "80"}

#: The units whose debug information holds the structs of libjpeg, libtiff, openjpeg, zlib.
_CODEC_UNITS = tuple(
    f"/{name}.c"
    for name in (
        *("JpegDecode", "JpegEncode", "TiffDecode", "ZipDecode", "ZipEncode"),
        *("Jpeg2KDecode", "Jpeg2KEncode"),
    )
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Core:
    """A compiled core extension and the flags of its units."""

    content: bytes
    flags: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Materials:
    """What a core is compiled from, besides the compiler.

    ``headers`` holds the libraries' headers, ``python`` are CPython's include folders,
    ``official`` is the official core extension, and ``user_flags`` come after all others.
    ``profile`` is a folder of counts that a core with ``counts`` left behind.
    """

    source: PillowSource
    headers: Path
    python: tuple[Path, ...]
    official: Path
    user_flags: tuple[str, ...] = ()
    profile: Path | None = None


def libraries(official: Abi) -> tuple[str, ...]:
    """The stems of the libraries that the official core names: jpeg, tiff, openjp2, z, xcb."""
    stems = [
        match[1]
        for name in official.needed
        if (match := re.match(r"lib([a-z]+[0-9]*?)(?:-[0-9a-f]{8})?\.so", name))
    ]
    return tuple(stem for stem in stems if stem in LIBRARY_MACROS)


def core_flags(official: Abi, march: March, toolchain: Toolchain) -> tuple[str, ...]:
    """The flags of every unit in gcc's spelling, without include folders and the user's."""
    level = compiler_flags(march, toolchain.kind, toolchain.version)
    interposable = () if toolchain.kind == "gcc" else ("-fsemantic-interposition",)
    macros = [f"-D{LIBRARY_MACROS[stem]}" for stem in libraries(official)]
    # Whether a product is rounded before it is added, as in the official wheel: the baseline of
    # x86-64 has no instruction that does both, and a v3 build would; all of aarch64 has.
    contract = ["-ffp-contract=off"]
    if official.machine != "x86_64":
        contract = ["-ffp-contract=fast"]
        # clang pairs products of straight code into short vectors, and then sums them rounded,
        # where gcc, which made the official wheel, goes on by multiply-add.
        contract += ["-fno-slp-vectorize"] if toolchain.kind != "gcc" else []
    return (*_effort(official, toolchain), *CORE_FLAGS, *contract, *interposable, *level, *macros)


def _effort(official: Abi, toolchain: Toolchain) -> tuple[str, ...]:
    if toolchain.kind != "gcc" or int(toolchain.version.partition(".")[0]) < 8:
        return EFFORT
    return (*GCC_EFFORT, *((*_ALIGNED, _NARROW) if official.machine == "x86_64" else ()))


def compile_core(
    materials: Materials,
    *,
    official: Abi,
    march: March,
    toolchain: Toolchain,
    scratch: Path,
    log: Path,
    run: Runner = run_command,
    progress: Progress = silent,
    jobs: int = 2,
    counts: Path | None = None,
) -> Core:
    """Compile and link the core in an empty folder, and hold it to the official one.

    With ``counts`` it is one that counts how often each branch is taken, and leaves that in this
    folder when the process ends: a core to train with, needing more of libc than the official one.
    Raises BuildError, with the end of the log, and NoSpaceError.
    """
    source = materials.source
    shutil.copytree(source.root / "src", scratch / "src")
    shutil.copytree(materials.headers, scratch / "headers")
    (scratch / "version.h").write_text(f'#define PILLOW_VERSION "{source.release}"\n', encoding="utf-8")
    if counts or materials.profile:
        # ccache does not see through the counts' folder.
        toolchain = replace(toolchain, argv=(str(toolchain.path),))
    builder = Builder(toolchain, scratch=scratch, log=log, run=run)
    flags = core_flags(official, march, toolchain)
    folders = ["headers", *(d.relative_to(source.root).as_posix() for d in source.include_dirs)]
    includes = [*(f"-I{folder}" for folder in folders), *(f"-I{folder}" for folder in materials.python)]
    _require_same_structs(materials, official, builder, [*flags, *includes], scratch)
    objects = {unit: f"{'_'.join(unit.with_suffix('').parts[1:])}.o" for unit in source.units}
    if toolchain.kind == "gcc" and official.machine == "x86_64":
        flags = (*flags, *filter(builder.takes, (NO_JUMP_ACROSS, *_NO_64_BYTES)))
    profiling = _profiling(materials.profile, counts, toolchain, builder, scratch)
    if materials.profile:
        flags = (*flags, *_TRAINED)
    after = [*materials.user_flags, *includes, *profiling]
    prefix = dict.fromkeys(source.units, "version.h")
    # What is counted in a header that was read before is not found again.
    ahead = toolchain.kind == "gcc" and not toolchain.cached and not profiling
    if ahead and (beginning := _begin_with_python(source)):
        builder.precompile(_PYTHON_HEADER, "python.h", [*flags, *after])
        prefix |= dict.fromkeys(beginning, "python.h")
    # The longest first, so that no core waits for one at the end.
    by_size = sorted(source.units, key=lambda unit: (-(source.root / unit).stat().st_size, str(unit)))
    total = len(by_size)

    def compile_unit(unit: PurePosixPath) -> str:
        own = [part for flag in flags for part in _IN_PLACE.get((unit.stem, flag), (flag,))]
        return builder.compile(str(unit), objects[unit], ["-include", prefix[unit], *own, *after])

    try:
        in_parallel(
            compile_unit,
            by_size,
            jobs,
            lambda done: progress("compiling Pillow", done, total),
        )
    finally:
        builder.write_log(("python.h", *objects.values()))
    builder.compile_text("", "empty.o")
    linked = builder.link_shared(
        [*objects.values(), *(_counting_libraries(toolchain, run) if counts else ())],
        "core.so",
        needed=official.needed,
        options=("-rpath", official.rpath, "--disable-new-dtags") if official.rpath else (),
        level=march.level,
    )
    if not counts:
        _require_fit(linked, official, scratch)
    return Core(content=linked.read_bytes(), flags=(*flags, *materials.user_flags))


def _profiling(
    profile: Path | None, counts: Path | None, toolchain: Toolchain, builder: Builder, scratch: Path
) -> list[str]:
    """The flags that name the folders of this very compilation; none without a profile."""
    if not (profile or counts):
        return []
    # Counts are found by the object's name alone, wherever it was compiled.
    place = f"-fprofile-prefix-path={scratch}"
    if toolchain.kind != "gcc" or not builder.takes(place):
        raise BuildError(
            "this compiler cannot be trained",
            why=f"{toolchain.kind} {toolchain.version} does not take -fprofile-prefix-path, as gcc 12 does",
        )
    if counts:
        return [f"-fprofile-generate={counts}", "-fprofile-update=atomic", place]
    assert profile is not None
    shutil.copytree(profile, scratch / "profile")
    return ["-fprofile-use=profile", place]


def _counting_libraries(toolchain: Toolchain, run: Runner) -> list[str]:
    """Static libraries of gcc's own, which write the counts."""
    found = []
    for name in ("libgcov.a", "libgcc.a"):
        try:
            said = run([toolchain.path, f"-print-file-name={name}"], timeout=60).stdout.strip()
        except CommandFailed as error:
            raise BuildError("this compiler cannot be trained", why=error.why) from error
        if not Path(said).is_absolute():
            raise BuildError("this compiler cannot be trained", why=f"it has no {name}")
        found.append(said)
    return found


def _begin_with_python(source: PillowSource) -> list[PurePosixPath]:
    """The units in which nothing changes when :data:`_PYTHON_HEADER` comes first.

    What they include before all else has to begin with the same lines.
    """
    same = re.compile(r'(?m)^#define PY_SSIZE_T_CLEAN\n#include [<"]Python\.h[>"]')
    others = re.compile(r'(?m)^#\s*include\s*[<"]Python\.h[>"]')

    def text(path: Path) -> str:
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""

    if not same.search(text(source.root / "src" / "libImaging" / "ImPlatform.h")):
        return []
    units = {unit: text(source.root / unit) for unit in source.units}
    return [unit for unit, said in units.items() if same.search(said) or not others.search(said)]


def _require_same_structs(
    materials: Materials, official: Abi, builder: Builder, flags: Sequence[str], scratch: Path
) -> None:
    """BuildError where the headers describe other libraries than those that the wheel bundles."""
    (scratch / "probe.c").write_text(codec_abi.probe_source(libraries(official)), encoding="utf-8")
    plain = [flag for flag in flags if not flag.startswith(("-O", "-g"))]
    builder.compile("probe.c", "probe.o", ["-O0", "-g", *plain])
    here = codec_abi.layouts(scratch / "probe.o")
    bundled = codec_abi.layouts(materials.official, files=_CODEC_UNITS)
    told = codec_abi.differences(bundled, here)
    if not bundled.keys() & here.keys():
        told = ("the official extension carries no debug information to compare with",)
    if told:
        raise BuildError(
            "the headers here do not describe the libraries of the official wheel",
            why="\n".join(told),
            hint="leave --rebuild out: kernels in front of the official wheel need no headers",
        )


def _require_fit(core: Path, official: Abi, scratch: Path) -> None:
    found = shape(core)
    public = {name for name in official.exported if name.startswith(("Imaging", "PyInit_"))}
    problems = []
    if found.machine != official.machine:
        problems.append(f"it is for {found.machine}, the official one for {official.machine}")
    if lost := public - found.exported:
        problems.append(f"it does not define {', '.join(sorted(lost))}")
    if strange := found.imported - official.imported - LIBC - LIBM:
        problems.append(f"it needs what the official one does not: {', '.join(sorted(strange))}")
    if set(found.needed) != set(official.needed) or found.rpath != official.rpath:
        problems.append(f"it loads {', '.join(found.needed)} from {found.rpath or 'the system'}")
    if abi_module.version_key(found.glibc) > abi_module.version_key(official.glibc):
        problems.append(f"it needs glibc {found.glibc}, the official one {official.glibc or 'none'}")
    called = abi_module.read(core).plt
    if bound := (public & official.plt) - called:
        problems.append(f"it calls {', '.join(sorted(bound)[:5])} directly, past any kernel")
    if found.executable_stack:
        problems.append("it asks for an executable stack")
    if problems:
        raise BuildError(
            "the compiled core is not what it must be",
            why="; ".join(problems),
            hint="try another compiler: --compiler gcc, clang or zig",
        )


def state_versions(headers: Path, versions: Mapping[str, str], needed: Iterable[str]) -> None:
    """Let headers name the versions that the wheel bundles, as its features report them.

    ``versions``: ``libjpeg_turbo`` and ``zlib_ng``, where the official wheel has them. These
    two are fixed when the core is compiled; all others are asked of the libraries. ``needed``
    are the libraries' file names: libjpeg-turbo's headers serve three generations of structs,
    and distributions choose another one than the wheel (Ubuntu, openSUSE and Alpine the eighth).
    """
    turbo, zlib_ng = versions.get("libjpeg_turbo"), versions.get("zlib_ng")
    generation = next((match[1] for name in needed if (match := _JPEG_FILE.match(name))), None)
    told = {"LIBJPEG_TURBO_VERSION": turbo, "JPEG_LIB_VERSION": _JPEG_GENERATIONS.get(generation or "")}
    # One for each size of a word, where there are several, and one that chooses among them.
    for jconfig in headers.glob("jconfig*.h"):
        text = jconfig.read_text(encoding="utf-8")
        if turbo and "LIBJPEG_TURBO_VERSION" in text:
            for macro, value in told.items():
                if value:
                    text = re.sub(rf"(?m)^(\s*#\s*define\s+{macro}\s).*$", rf"\g<1>{value}", text)
            jconfig.write_text(text, encoding="utf-8")
    zlib = headers / "zlib.h"
    if zlib.exists():
        text = zlib.read_text(encoding="utf-8")
        claim = f'#define ZLIBNG_VERSION "{zlib_ng}"' if zlib_ng else "#undef ZLIBNG_VERSION"
        # zlib-ng's own header, in zlib's place, has a version already.
        text, had = re.subn(r"(?m)^#\s*(?:define|undef)\s+ZLIBNG_VERSION\b.*$", claim, text)
        zlib.write_text(text if had or not zlib_ng else f"{text}\n{claim}\n", encoding="utf-8")
