"""The matrix of a cache: which Pillow, for which Python, at which level. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.tags import cpython_tags
from packaging.version import InvalidVersion, Version

from simdinstall.cpu import Cpu, March, resolve_march
from simdinstall.errors import UsageError

#: The newest glibc that a tag is made for. Of several wheels that fit, the one for the
#: oldest glibc is taken: it runs on every node.
NEWEST_GLIBC = 45

_OLD_TAGS = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Python:
    """A CPython that is built for: ``3.14t`` is ``version=(3, 14), threaded=True``.

    ``path`` is an interpreter that the user named; without one, one is looked for.
    """

    version: tuple[int, int]
    threaded: bool = False
    path: str = ""

    @property
    def name(self) -> str:
        """As people write it: ``3.11``, ``3.14t``."""
        return f"{self.version[0]}.{self.version[1]}{'t' if self.threaded else ''}"

    @property
    def tag(self) -> str:
        """The interpreter's tag of PEP 425: ``cp311``."""
        return f"cp{self.version[0]}{self.version[1]}"

    @property
    def abi(self) -> str:
        """The tag of its binary interface: ``cp311``, ``cp314t``."""
        return f"{self.tag}{'t' if self.threaded else ''}"


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Cell:
    """One wheel of the matrix. ``march`` is what ``--march`` takes, ``level`` its short name.

    ``kind`` tells wheels with more than kernels in front: ``rebuilt``, ``zlibng``, or both
    joined by a dot, as in their versions.
    """

    release: str
    python: Python
    march: str
    level: str
    platform: str = "manylinux_x86_64"
    fidelity: str = "exact"
    kind: str = ""

    @property
    def rebuilt(self) -> bool:
        """Whether Pillow's own core is compiled too."""
        return "rebuilt" in self.kind.split(".")

    @property
    def zlib_ng(self) -> bool:
        """Whether it brings zlib-ng."""
        return "zlibng" in self.kind.split(".")

    @property
    def key(self) -> str:
        """What tells it from all others, and is fit for a file's name."""
        parts = [self.release, self.python.abi, self.level, self.platform, self.fidelity]
        return "-".join([*parts, *([self.kind] if self.kind else [])])

    @property
    def title(self) -> str:
        """For people."""
        libc = "" if self.platform.startswith("manylinux_x86_64") else f" {self.platform}"
        bounded = "" if self.fidelity == "exact" else f" {self.fidelity}"
        kind = f" {self.kind}" if self.kind else ""
        return f"{self.release} {self.python.name} {self.level}{libc}{bounded}{kind}"


def parse_pythons(text: str) -> tuple[tuple[int, int, bool] | str, ...]:
    """``3.11,3.13-3.15,3.14t,/usr/bin/python3`` as versions and paths. UsageError."""
    found: list[tuple[int, int, bool] | str] = []
    for part in (part.strip() for part in text.split(",") if part.strip()):
        plain = part.removeprefix("python").removeprefix("cp") if "/" not in part else part
        if one := re.fullmatch(r"3\.?(\d{1,2})(t?)", plain):
            found.append((3, int(one[1]), bool(one[2])))
        elif many := re.fullmatch(r"3\.(\d{1,2})-3\.(\d{1,2})", plain):
            first, last = int(many[1]), int(many[2])
            if first > last:
                raise UsageError(f"--python {part} is no range", hint=f"say 3.{last}-3.{first}")
            found += [(3, minor, False) for minor in range(first, last + 1)]
        elif "/" in part or part.startswith((".", "~")):
            found.append(part)
        else:
            raise UsageError(
                f"--python {part} is neither a version nor a path",
                hint="say it like 3.11, 3.11-3.14, 3.14t or /usr/bin/python3.12",
            )
    if not found:
        raise UsageError("no Python was named", hint="say --python 3.11,3.12")
    return tuple(dict.fromkeys(found))


def parse_releases(text: str) -> tuple[str, ...]:
    """``13.0.0,12.3.0`` checked and in that order. UsageError."""
    found = [part.strip() for part in text.split(",") if part.strip()]
    for part in found:
        try:
            Version(part)
        except InvalidVersion:
            raise UsageError(f"{part!r} is no version", hint="a version looks like 13.0.0") from None
    return tuple(dict.fromkeys(found))


def parse_platforms(text: str) -> tuple[str, ...]:
    """``manylinux_x86_64,musllinux_x86_64`` checked and in that order. UsageError."""
    found = [part.strip() for part in text.split(",") if part.strip()]
    for part in found:
        machine = platform_tags(part)[0].removesuffix("_x86_64")
        if machine == platform_tags(part)[0]:
            raise UsageError(
                f"nothing can be built for {part}",
                why="there are no kernels for this machine yet; its wheels would be the official ones",
                hint="leave it out: its nodes take stock Pillow from your index or PyPI as before",
            )
    if not found:
        raise UsageError("no platform was named", hint="say --platform manylinux_x86_64")
    return tuple(dict.fromkeys(found))


def parse_marches(text: str, cpu: Cpu) -> tuple[March, ...]:
    """Each ``--march`` resolved; those that mean the same, once. CpuError for an unknown one."""
    marches = [resolve_march(part.strip(), cpu) for part in text.split(",") if part.strip()]
    if not marches:
        raise UsageError("no level was named", hint="say --march portable,x86-64-v3")
    return tuple({march.name: march for march in marches}.values())


def matrix(
    releases: Iterable[str],
    pythons: Iterable[Python],
    marches: Iterable[March],
    *,
    platforms: Iterable[str] = ("manylinux_x86_64",),
    fidelity: str = "exact",
    kind: str = "",
) -> tuple[Cell, ...]:
    """Every cell, in the order in which libraries get built by as many as possible at once.

    The first cells of all libraries (a release at a level) come before the others, which
    only pack and verify.
    """
    releases, marches, platforms = tuple(releases), tuple(marches), tuple(platforms)
    return tuple(
        Cell(
            release=release,
            python=python,
            march=march.requested,
            level=march.name,
            platform=platform,
            fidelity=fidelity,
            kind=kind,
        )
        for python in pythons
        for platform in platforms
        for release in releases
        for march in marches
    )


def platform_tags(platform: str) -> tuple[str, ...]:
    """The tags of ``manylinux_x86_64`` or ``musllinux_aarch64``, the oldest libc first. UsageError."""
    found = re.fullmatch(r"(manylinux|musllinux)_(\w+)", platform)
    if found is None:
        raise UsageError(
            f"{platform!r} is no platform", hint="say manylinux_x86_64, musllinux_x86_64, manylinux_aarch64"
        )
    family, machine = found.groups()
    if family == "musllinux":
        return tuple(f"musllinux_1_{minor}_{machine}" for minor in range(1, 6))
    return tuple(_manylinux(machine))


def _manylinux(machine: str) -> Iterator[str]:
    for minor in range(5, NEWEST_GLIBC + 1):
        yield f"manylinux_2_{minor}_{machine}"
        if minor in _OLD_TAGS:
            yield f"{_OLD_TAGS[minor]}_{machine}"


def tags(python: Python, platform: str) -> tuple[str, ...]:
    """The PEP 425 tags of wheels for a Python, the oldest libc first."""
    made = cpython_tags(python.version, abis=[python.abi], platforms=platform_tags(platform))
    return tuple(str(tag) for tag in made if tag.interpreter == python.tag and tag.abi == python.abi)


def to_json(cell: Cell) -> dict[str, Any]:
    """Plain JSON types."""
    return {
        "release": cell.release,
        "python": cell.python.name,
        "interpreter": cell.python.path,
        "march": cell.march,
        "level": cell.level,
        "platform": cell.platform,
        "fidelity": cell.fidelity,
        "kind": cell.kind,
    }


def kind_named(*, rebuilt: bool, zlib_ng: bool) -> str:
    """The kind of the wheels that these options make."""
    return ".".join([*(["rebuilt"] if rebuilt else []), *(["zlibng"] if zlib_ng else [])])


def python_named(name: str, path: str | Path = "") -> Python:
    """``3.14t`` as a :class:`Python`."""
    major, _, minor = name.removesuffix("t").partition(".")
    return Python(version=(int(major), int(minor)), threaded=name.endswith("t"), path=str(path))


def from_json(data: dict[str, Any]) -> Cell:
    """The inverse of :func:`to_json`."""
    return Cell(
        release=data["release"],
        python=python_named(data["python"], data["interpreter"]),
        march=data["march"],
        level=data["level"],
        platform=data["platform"],
        fidelity=data["fidelity"],
        kind=data.get("kind", ""),
    )


def spread(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """The first cell of each library, then the rest: what can be compiled at once comes first."""
    first: dict[tuple[str, ...], Cell] = {}
    rest = []
    for cell in cells:
        library = (cell.release, cell.level, cell.platform, cell.fidelity, cell.kind)
        if library in first:
            rest.append(cell)
        else:
            first[library] = cell
    return (*first.values(), *rest)
