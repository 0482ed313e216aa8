"""The sources that a kernel library is compiled from.

The project's own kernels are copied, Pillow-SIMD's files unpacked and brought up to
date by the patches of ``simdinstall.patches``. What does not fit leaves out the
kernels that need it, each with the reason; the rest goes on.

Patches are unified diffs (POSIX ``diff -u``) below a header. They apply exactly where
they say and to exactly the lines that they show, or not at all.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import MappingProxyType

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from simdinstall import kernels as kernel_sources
from simdinstall.archive import extract
from simdinstall.errors import BuildError, FetchError
from simdinstall.fetch import Download
from simdinstall.kernels import Catalogue, Fidelity, Kernel, Origin

#: The keys that every patch starts with.
HEADER_KEYS = ("Why", "Kind", "Applies", "Upstream", "Drop-when", "Test")
KINDS = frozenset({"build", "fix", "adapt"})

#: Where Pillow-SIMD keeps the files that kernels need.
LIBRARY = "src/libImaging"

_INTRINSIC = re.compile(r"\b_mm(?:256)?_\w+\s*\(")
_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")


class PatchError(BuildError):
    """A patch is malformed, or does not apply exactly."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Hunk:
    """Lines to find at ``line`` (the first is 1), and what stands there afterwards."""

    line: int
    old: tuple[str, ...]
    new: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Patch:
    """One patch of a series. ``changes`` maps a path below the sdist's root to its hunks."""

    slug: str
    header: Mapping[str, str]
    pillow: SpecifierSet
    pillow_simd: SpecifierSet
    changes: Mapping[str, tuple[Hunk, ...]]
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftOut:
    """A kernel that is not in the library, and why."""

    kernel: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchRecord:
    """A patch that was applied."""

    slug: str
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Tree:
    """Sources laid out below ``root``, ready to be compiled.

    ``kernels_dir`` holds the project's C files; ``include_dirs`` is what the compiler
    needs to find all of them, besides the folder of the generated header. ``digest`` is
    the SHA-256 over the names and contents of all files.
    """

    root: Path
    kernels_dir: Path
    include_dirs: tuple[Path, ...]
    kernels: tuple[Kernel, ...]
    left_out: tuple[LeftOut, ...]
    patches: tuple[PatchRecord, ...]
    digest: str


def lay_out(
    sdist: Download | None,
    *,
    release: str,
    catalogue: Catalogue,
    fidelity: Fidelity,
    isas: Iterable[str],
    into: Path,
    patches: Path | None = None,
    origins: Iterable[Origin] = ("pillow-simd", "simdinstall"),
) -> Tree:
    """Lay out the sources for Pillow ``release`` below ``into``, an empty or new folder.

    ``sdist`` is Pillow-SIMD's, or None to do without its kernels. ``patches`` is the
    folder with the series, the project's own unless given. ``origins`` restricts whose
    kernels are wanted. FetchError when the sdist is
    damaged, climbs out of its folder, or holds no SIMD code at all; PatchError when a
    patch in the series is malformed (one that merely does not apply is no error).
    """
    wanted = kernel_sources.select(catalogue, fidelity=fidelity, isas=isas, origins=origins)
    kernels, left_out = _for_release(wanted, release)
    own = tuple(kernel for kernel in kernels if kernel.origin == "simdinstall")
    theirs = tuple(kernel for kernel in kernels if kernel.origin == "pillow-simd")
    into.mkdir(parents=True, exist_ok=True)
    kernels_dir = _copy_kernels(into / "kernels")
    include_dirs = [kernels_dir, kernels_dir / "pillow_simd"]
    applied: tuple[PatchRecord, ...] = ()
    if theirs and sdist is None:
        left_out += [LeftOut(kernel=kernel.name, reason="no sources of Pillow-SIMD") for kernel in theirs]
        theirs = ()
    elif theirs and sdist is not None:
        folder = into / "pillow_simd_src"
        include_dirs.append(folder)
        series = patches_dir(sdist.version) if patches is None else patches / f"pillow_simd-{sdist.version}"
        theirs, missing, applied = _adapt(sdist, theirs, release=release, series=series, into=folder)
        left_out += missing
    chosen = {kernel.name for kernel in (*own, *theirs)}
    return Tree(
        root=into,
        kernels_dir=kernels_dir,
        include_dirs=tuple(include_dirs),
        kernels=tuple(kernel for kernel in catalogue.kernels if kernel.name in chosen),
        left_out=tuple(left_out),
        patches=applied,
        digest=digest(into),
    )


def digest(folder: Path) -> str:
    """SHA-256 over the relative names and the contents of all files below ``folder``."""
    total = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{path.relative_to(folder).as_posix()}\0{content}\n".encode())
    return total.hexdigest()


def patches_dir(version: str) -> Path:
    """The folder with the series for that Pillow-SIMD release; it need not exist."""
    return Path(str(resources.files("simdinstall.patches"))) / f"pillow_simd-{version}"


def newest_series() -> str:
    """The newest release of Pillow-SIMD that there is a series of patches for."""
    prefix = "pillow_simd-"
    folder = Path(str(resources.files("simdinstall.patches")))
    return max((path.name.removeprefix(prefix) for path in folder.glob(f"{prefix}*")), key=Version)


def read_series(folder: Path) -> tuple[Patch, ...]:
    """Read the patches that ``series`` names, in its order.

    PatchError when the series or a patch is malformed.
    """
    slugs = []
    for line in (folder / "series").read_text(encoding="utf-8").splitlines():
        if slug := line.partition("#")[0].strip():
            slugs.append(slug)
    return tuple(read_patch(folder / f"{slug}.patch") for slug in slugs)


def read_patch(path: Path) -> Patch:
    """Read one patch. PatchError when its header or its diff is malformed."""
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise _malformed(path.stem, "it is named in the series, but there is no such file") from error
    text = content.decode("utf-8")
    head, mark, diff = text.partition("\n--- ")
    if not mark:
        raise _malformed(path.stem, "there is no diff in it")
    header = _header(path.stem, head)
    pillow, pillow_simd = _ranges(path.stem, header["Applies"])
    return Patch(
        slug=path.stem,
        header=MappingProxyType(header),
        pillow=pillow,
        pillow_simd=pillow_simd,
        changes=MappingProxyType(_changes(path.stem, f"--- {diff}".splitlines())),
        sha256=hashlib.sha256(content).hexdigest(),
    )


def apply(patch: Patch, files: Mapping[str, str]) -> dict[str, str]:
    """The texts of the files that ``patch`` changes, after it.

    ``files`` maps paths below the sdist's root to texts. PatchError when a file is
    missing or a line is not exactly what and where the patch says.
    """
    changed = {}
    for path, hunks in patch.changes.items():
        if path not in files:
            raise PatchError(f"patch {patch.slug} does not apply", why=f"there is no {path}")
        lines = files[path].split("\n")
        # From the last to the first, so that line numbers stay those of the old file.
        for hunk in reversed(hunks):
            start = hunk.line - 1
            found = tuple(lines[start : start + len(hunk.old)])
            if found != hunk.old:
                differing = hunk.line + _first_difference(found, hunk.old)
                raise PatchError(
                    f"patch {patch.slug} does not apply",
                    why=f"{path} is not what it expects at line {differing}",
                )
            lines[start : start + len(hunk.old)] = hunk.new
        changed[path] = "\n".join(lines)
    return changed


def _for_release(kernels: Iterable[Kernel], release: str) -> tuple[tuple[Kernel, ...], list[LeftOut]]:
    fitting, left_out = [], []
    for kernel in kernels:
        if SpecifierSet(kernel.pillow).contains(release, prereleases=True):
            fitting.append(kernel)
        else:
            reason = f"it is proven for Pillow {kernel.pillow}, not for {release}"
            left_out.append(LeftOut(kernel=kernel.name, reason=reason))
    return tuple(fitting), left_out


def _copy_kernels(into: Path) -> Path:
    source = kernel_sources.sources_dir()
    for path in sorted(source.rglob("*.[ch]")):
        target = into / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return into


def _adapt(
    sdist: Download, kernels: tuple[Kernel, ...], *, release: str, series: Path, into: Path
) -> tuple[tuple[Kernel, ...], list[LeftOut], tuple[PatchRecord, ...]]:
    """Unpack and patch the files that ``kernels`` need; give the kernels that remain."""
    unpacked = _unpack(sdist, kernels, into.with_name(into.name + ".new"))
    reasons: dict[str, str] = {}
    for kernel in kernels:
        if not SpecifierSet(kernel.pillow_simd).contains(sdist.version, prereleases=True):
            reasons[kernel.name] = f"it is adapted from Pillow-SIMD {kernel.pillow_simd}, not {sdist.version}"
        elif missing := [name for name in kernel.needs if f"{LIBRARY}/{name}" not in unpacked]:
            reasons[kernel.name] = f"Pillow-SIMD {sdist.version} has no {', '.join(missing)}"
    applied: list[PatchRecord] = []
    if not series.is_dir():
        reason = f"there are no patches for Pillow-SIMD {sdist.version}"
        reasons = dict.fromkeys((kernel.name for kernel in kernels), reason)
    else:
        spoilt: dict[str, str] = {}
        for patch in read_series(series):
            reason = _apply_or_reason(patch, unpacked, release=release, pillow_simd=sdist.version)
            if reason:
                spoilt |= dict.fromkeys(patch.changes, reason)
            else:
                applied.append(PatchRecord(slug=patch.slug, sha256=patch.sha256))
        for kernel in kernels:
            for name in kernel.needs:
                if reason := spoilt.get(f"{LIBRARY}/{name}", ""):
                    reasons.setdefault(kernel.name, reason)
    remaining = tuple(kernel for kernel in kernels if kernel.name not in reasons)
    into.mkdir()
    for name in sorted({name for kernel in remaining for name in kernel.needs}):
        (into / name).write_text(unpacked[f"{LIBRARY}/{name}"], encoding="utf-8", newline="\n")
    return remaining, [LeftOut(kernel=name, reason=why) for name, why in reasons.items()], tuple(applied)


def _apply_or_reason(patch: Patch, unpacked: dict[str, str], *, release: str, pillow_simd: str) -> str:
    """Apply the patch to the texts in place; a reason when it does not apply."""
    if not patch.pillow.contains(release, prereleases=True):
        return f"patch {patch.slug} is for Pillow {patch.pillow}, not {release}"
    if not patch.pillow_simd.contains(pillow_simd, prereleases=True):
        return f"patch {patch.slug} is for Pillow-SIMD {patch.pillow_simd}, not {pillow_simd}"
    try:
        unpacked.update(apply(patch, unpacked))
    except PatchError as error:
        return f"{error.what}: {error.why}"
    return ""


def _unpack(sdist: Download, kernels: tuple[Kernel, ...], into: Path) -> dict[str, str]:
    """The texts of the needed files by their path below the sdist's root."""
    needed = {f"{LIBRARY}/{name}" for kernel in kernels for name in kernel.needs}

    def keep(name: str) -> bool:
        return name.partition("/")[2] in needed

    try:
        found = extract(sdist.path, into, keep=keep)
        texts = {
            path.relative_to(into).as_posix().partition("/")[2]: path.read_text(encoding="utf-8")
            for path in found
        }
    except UnicodeDecodeError as error:
        raise FetchError(f"{sdist.filename} is not Pillow-SIMD", why="its C files are not text") from error
    finally:
        shutil.rmtree(into, ignore_errors=True)
    if not any(_INTRINSIC.search(text) for text in texts.values()):
        raise FetchError(
            f"{sdist.filename} holds no SIMD code",
            why="none of the files that the kernels need calls a SIMD intrinsic: this is plain Pillow",
            hint="use the sdist from PyPI, or --fidelity exact, which does without",
        )
    return texts


def _header(slug: str, text: str) -> dict[str, str]:
    header: dict[str, str] = {}
    key = ""
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon and name in HEADER_KEYS:
            if name in header:
                raise _malformed(slug, f"{name} occurs twice")
            key = name
            header[key] = value.strip()
        elif key and line.startswith(" "):
            header[key] += " " + line.strip()
        elif line.strip():
            raise _malformed(slug, f"its header has a strange line: {line!r}")
    if missing := [name for name in HEADER_KEYS if not header.get(name)]:
        raise _malformed(slug, f"its header lacks {', '.join(missing)}")
    if header["Kind"] not in KINDS:
        raise _malformed(slug, f"{header['Kind']} is no kind of patch: {', '.join(sorted(KINDS))} are")
    return header


def _ranges(slug: str, text: str) -> tuple[SpecifierSet, SpecifierSet]:
    """Read ``Applies: pillow >=12.1,<14; pillow-simd ==12.1.1.post0``."""
    ranges = {}
    for part in text.split(";"):
        name, _, specifier = part.strip().partition(" ")
        try:
            ranges[name] = SpecifierSet(specifier)
        except InvalidSpecifier as error:
            raise _malformed(slug, f"{specifier!r} is no range of versions") from error
    if set(ranges) != {"pillow", "pillow-simd"} or not all(map(str, ranges.values())):
        raise _malformed(slug, "Applies must give a range of pillow and one of pillow-simd")
    return ranges["pillow"], ranges["pillow-simd"]


def _changes(slug: str, lines: list[str]) -> dict[str, tuple[Hunk, ...]]:
    changes: dict[str, tuple[Hunk, ...]] = {}
    position = 0
    while position < len(lines):
        path = _path(slug, lines, position)
        if path in changes:
            raise _malformed(slug, f"{path} occurs twice")
        position += 2
        hunks: list[Hunk] = []
        shift = 0
        while position < len(lines) and (match := _HUNK.match(lines[position])):
            line, new_line = int(match[1]), int(match[3])
            counts = tuple(int(match[group] or 1) for group in (2, 4))
            old, new, position = _body(slug, lines, position + 1, counts)
            if hunks and line < hunks[-1].line + len(hunks[-1].old):
                raise _malformed(slug, f"its hunks for {path} are not in order")
            if new_line != line + shift or old == new or not old:
                raise _malformed(slug, f"the hunk at line {line} of {path} contradicts itself")
            shift += len(new) - len(old)
            hunks.append(Hunk(line=line, old=old, new=new))
        if not hunks:
            raise _malformed(slug, f"it changes nothing in {path}")
        changes[path] = tuple(hunks)
    return changes


def _path(slug: str, lines: list[str], position: int) -> str:
    old = lines[position].removeprefix("--- a/").partition("\t")[0]
    new = lines[position + 1].removeprefix("+++ b/").partition("\t")[0] if position + 1 < len(lines) else ""
    if not lines[position].startswith("--- a/") or old != new or ".." in Path(old).parts:
        raise _malformed(slug, f"{lines[position]!r} does not begin a change of one file in place")
    return old


def _body(
    slug: str, lines: list[str], position: int, counts: tuple[int, ...]
) -> tuple[tuple[str, ...], tuple[str, ...], int]:
    old: list[str] = []
    new: list[str] = []
    while (len(old), len(new)) != counts:
        if position == len(lines) or lines[position][:1] not in (" ", "+", "-"):
            raise _malformed(slug, "a hunk ends too early")
        sign, text = lines[position][0], lines[position][1:]
        if sign in " -":
            old.append(text)
        if sign in " +":
            new.append(text)
        if len(old) > counts[0] or len(new) > counts[1]:
            raise _malformed(slug, "a hunk is longer than it says")
        position += 1
    return tuple(old), tuple(new), position


def _first_difference(found: tuple[str, ...], expected: tuple[str, ...]) -> int:
    for number, (a, b) in enumerate(zip(found, expected, strict=False)):
        if a != b:
            return number
    return len(found)


def _malformed(slug: str, why: str) -> PatchError:
    return PatchError(f"patch {slug} is malformed", why=why)
