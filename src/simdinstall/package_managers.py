"""The distribution's package managers: what they have installed, and the commands for them.

Only databases are read, nothing is changed: :func:`elevated` and the caller's question
stand between a command from here and the system.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from simdinstall.errors import TargetError
from simdinstall.run import CommandFailed, Runner

#: By the name of the command: how packages are installed and removed without a question, and
#: what a compiler with its headers is called.
INSTALL: Mapping[str, tuple[str, ...]] = {
    "apt": ("apt-get", "install", "-y", "--no-install-recommends"),
    "dnf": ("dnf", "install", "-y"),
    "zypper": ("zypper", "--non-interactive", "install"),
    "pacman": ("pacman", "-S", "--noconfirm", "--needed"),
    "apk": ("apk", "add", "--no-cache"),
}
#: What fetches the lists of packages, and where they are then; the others fetch them unasked.
LISTS: Mapping[str, tuple[tuple[str, ...], str, str]] = {
    "apt-get": (("apt-get", "update"), "var/lib/apt/lists", "*_Packages*"),
    "pacman": (("pacman", "-Sy"), "var/lib/pacman/sync", "*.db"),
}
REMOVE: Mapping[str, tuple[str, ...]] = {
    "apt": ("apt-get", "remove"),
    "dnf": ("dnf", "remove"),
    "zypper": ("zypper", "remove"),
    "pacman": ("pacman", "-R"),
    "apk": ("apk", "del"),
}
COMPILER: Mapping[str, tuple[str, ...]] = {
    "apt": ("gcc", "libc6-dev"),
    "dnf": ("gcc", "glibc-devel"),
    "zypper": ("gcc", "glibc-devel"),
    "pacman": ("gcc", "glibc"),
    "apk": ("gcc", "musl-dev"),
}

#: FriBiDi, which the official wheels' Raqm loads from the system: they do not bring it.
FRIBIDI: Mapping[str, str] = {
    "apt": "libfribidi0",
    "dnf": "fribidi",
    "zypper": "libfribidi0",
    "pacman": "fribidi",
    "apk": "fribidi",
}

#: Packages of JPEG libraries: those of libjpeg-turbo, and the others that go by the same file names.
TURBO = re.compile(r"lib(?:jpeg62-turbo|jpeg-turbo\w*|turbojpeg\w*|jpeg8)|libjpeg62")
OTHER_JPEG = re.compile(r"libjpeg9|libjpeg6b?|libjpeg7|libjpeg|jpeg")

#: Libraries whose headers somebody who compiles Pillow-SIMD needs, by the stem of their packages' names.
_LIBRARIES = re.compile(
    r"(?:lib)?(?:jpeg|turbojpeg|tiff|zlib|webp|openjp2|freetype|lcms2)[\w.+-]*|libz\d*(?:-dev)?"
)

#: Seconds for a query.
PATIENCE = 20.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Conflict:
    """Two packages that do not go together, and the command that ends it."""

    what: str
    why: str
    command: str


def compiler_command(manager: str | None) -> tuple[str, ...]:
    """The command that installs a C compiler; empty for an unknown manager."""
    if manager is None or manager not in INSTALL:
        return ()
    return (*INSTALL[manager], *COMPILER[manager])


def fribidi_command(manager: str | None) -> str:
    """The command that installs FriBiDi; empty for an unknown manager."""
    if manager is None or manager not in INSTALL:
        return ""
    return " ".join((*INSTALL[manager], FRIBIDI[manager]))


def lists_command(program: str, *, root: Path = Path("/")) -> tuple[str, ...]:
    """The command that fetches the lists of packages, where there are none, as in slim images."""
    command, folder, names = LISTS.get(program, ((), "", "*"))
    return () if not command or any((root / folder).glob(names)) else command


def elevated(
    command: tuple[str, ...],
    *,
    uid: int | None = None,
    which: Callable[[str], str | None] = shutil.which,
) -> tuple[str, ...]:
    """``command`` with sudo in front where it is needed. Raises TargetError where there is none."""
    if which(command[0]) is None:
        raise TargetError(f"there is no {command[0]} here", hint=" ".join(command))
    if (os.geteuid() if uid is None else uid) == 0:
        return command
    if which("sudo") is None:
        raise TargetError(
            "installing packages needs root, and there is no sudo",
            why=f"this is user {uid if uid is not None else os.geteuid()}",
            hint=f"as root: {' '.join(command)}",
        )
    return ("sudo", *command)


# What is installed ----------------------------------------------------------------------


def installed(
    manager: str | None,
    *,
    run: Runner,
    root: Path = Path("/"),
    which: Callable[[str], str | None] = shutil.which,
) -> dict[str, str]:
    """Name and version of the installed packages of image libraries, and of their headers.

    dpkg's, apk's and pacman's databases are read; rpm's has to be asked.
    """
    found: dict[str, str] = {}
    if manager == "apt":
        pairs = _dpkg(root / "var/lib/dpkg/status")
    elif manager == "apk":
        pairs = ((package["P"], package["V"]) for package in apk_database(root / "lib/apk/db/installed"))
    elif manager == "pacman":
        pairs = _pacman(root / "var/lib/pacman/local")
    elif manager in ("dnf", "zypper") and which("rpm"):
        pairs = _rpm(run)
    else:
        pairs = iter(())
    for name, version in pairs:
        if _LIBRARIES.fullmatch(name):
            found[name] = version
    return found


def _dpkg(status: Path) -> Iterator[tuple[str, str]]:
    try:
        text = status.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for paragraph in text.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Status|Version): (.*)$", paragraph, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            yield fields.get("Package", ""), fields.get("Version", "")


def _pacman(local: Path) -> Iterator[tuple[str, str]]:
    for entry in sorted(local.iterdir()) if local.is_dir() else ():
        name, _, rest = entry.name.rpartition("-")
        name, _, version = name.rpartition("-")
        if name:
            yield name, f"{version}-{rest}"


def _rpm(run: Runner) -> Iterator[tuple[str, str]]:
    try:
        said = run(["rpm", "-qa", "--queryformat", "%{NAME} %{VERSION}-%{RELEASE}\n"], timeout=PATIENCE)
    except CommandFailed:
        return
    for line in said.stdout.splitlines():
        name, _, version = line.partition(" ")
        yield name, version


def apk_database(database: Path) -> Iterator[dict[str, str]]:
    """The packages in apk's database of what is installed, each with its letters P, V and so on."""
    try:
        text = database.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for paragraph in text.split("\n\n"):
        fields = dict(re.findall(r"^([PV]):(.*)$", paragraph, re.MULTILINE))
        if {"P", "V"} <= fields.keys():
            yield fields


# What does not go together ----------------------------------------------------------------


def conflicts(manager: str | None, packages: Mapping[str, str]) -> tuple[Conflict, ...]:
    """JPEG libraries beside libjpeg-turbo, and headers of another version than their library."""
    if manager is None or manager not in INSTALL:
        return ()
    found = []
    turbo = [name for name in packages if TURBO.fullmatch(name)]
    others = [name for name in packages if OTHER_JPEG.fullmatch(name) and name not in turbo]
    if turbo and others:
        found.append(
            Conflict(
                what=f"{' and '.join(others)} lies beside {turbo[0]}",
                why="programs that are compiled here may take either for the JPEG library",
                command=" ".join((*REMOVE[manager], *others)),
            )
        )
    for name, version in packages.items():
        stem = re.sub(r"-(?:dev|devel)$", "", name)
        if stem == name:
            continue
        library = next((own for own in packages if own != name and own.startswith(stem)), None)
        if library is not None and _upstream(packages[library]) != _upstream(version):
            wanted = f"{name}={packages[library]}" if manager in ("apt", "apk") else name
            found.append(
                Conflict(
                    what=f"{name} {version} are not the headers of {library} {packages[library]}",
                    why="what is compiled with them may misread the library's structures",
                    command=" ".join((*INSTALL[manager], wanted)),
                )
            )
    return tuple(found)


def _upstream(version: str) -> str:
    return version.rpartition(":")[2].partition("-")[0]
