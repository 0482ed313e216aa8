"""The headers that compiling Pillow needs: which, where they are, how they are got.

A header is looked for where compilers look, and else taken out of the distribution's
own development packages, downloaded and unpacked into a folder: nothing is installed,
nobody need be root. What is found is copied into one folder, so that a compiler sees
the named headers and nothing else of the system.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from simdinstall.errors import BuildError
from simdinstall.run import CommandFailed, Runner


@dataclass(frozen=True, kw_only=True, slots=True)
class Needed:
    """The headers of one library: what they are for and which packages have them.

    ``optional`` are headers that only some versions of the library have.
    """

    library: str
    feature: str
    headers: tuple[str, ...]
    packages: Mapping[str, str]
    optional: tuple[str, ...] = ()


def _packages(apt: str, dnf: str, zypper: str, pacman: str, apk: str) -> Mapping[str, str]:
    return {"apt": apt, "dnf": dnf, "zypper": zypper, "pacman": pacman, "apk": apk}


#: The libraries that ``PIL._imaging`` calls, by the stem of their file (libjpeg → jpeg).
CORE: Mapping[str, Needed] = {
    needed.library: needed
    for needed in (
        Needed(
            library="jpeg",
            feature="JPEG",
            headers=("jpeglib.h", "jmorecfg.h", "jconfig.h", "jerror.h"),
            packages=_packages(
                "libjpeg-dev", "libjpeg-turbo-devel", "libjpeg8-devel", "libjpeg-turbo", "libjpeg-turbo-dev"
            ),
        ),
        Needed(
            library="tiff",
            feature="TIFF compression",
            headers=("tiff.h", "tiffio.h", "tiffconf.h", "tiffvers.h"),
            packages=_packages("libtiff-dev", "libtiff-devel", "libtiff-devel", "libtiff", "tiff-dev"),
        ),
        Needed(
            library="openjp2",
            feature="JPEG 2000",
            headers=("openjpeg.h", "opj_config.h"),
            optional=("opj_stdint.h",),
            packages=_packages(
                "libopenjp2-7-dev", "openjpeg2-devel", "openjpeg2-devel", "openjpeg2", "openjpeg-dev"
            ),
        ),
        Needed(
            library="z",
            feature="PNG and other deflated formats",
            headers=("zlib.h", "zconf.h"),
            # zlib-ng's, which Fedora has in zlib's place.
            optional=("zlib_name_mangling.h",),
            packages=_packages("zlib1g-dev", "zlib-devel", "zlib-devel", "zlib", "zlib-dev"),
        ),
        Needed(
            library="xcb",
            feature="ImageGrab on X11",
            headers=("xcb/xcb.h", "xcb/xproto.h"),
            packages=_packages("libxcb1-dev", "libxcb-devel", "libxcb-devel", "libxcb", "libxcb-dev"),
        ),
    )
}

#: What a development package of Debian's is called by itself, where :data:`CORE` names
#: one that only points to it.
_APT_CONTENT = {"libjpeg-dev": ("libjpeg62-turbo-dev", "libjpeg-turbo8-dev")}

#: The command of each package manager that installs, for a person to run.
INSTALL_COMMANDS: Mapping[str, tuple[str, ...]] = {
    "apt": ("apt-get", "install"),
    "dnf": ("dnf", "install"),
    "zypper": ("zypper", "install"),
    "pacman": ("pacman", "-S"),
    "apk": ("apk", "add"),
}

#: The package of CPython's headers, for a release where a distribution has several.
_PYTHON: Mapping[str, str] = {
    "apt": "python{major}.{minor}-dev",
    "dnf": "python{major}.{minor}-devel",
    "zypper": "python{major}{minor}-devel",
    "pacman": "python",
    "apk": "python3-dev",
}

#: Where compilers look, relative to the root of a file system.
_PLACES = ("usr/local/include", "usr/include")


def manager_of(package_manager: str | None) -> str | None:
    """``apt`` for dpkg and so on: the front end that downloads and installs, as named here."""
    names = {"dpkg": "apt", "rpm": "dnf"}
    name = names.get(package_manager or "", package_manager)
    return name if name in INSTALL_COMMANDS else None


def python_package(manager: str | None, version: tuple[int, int, int]) -> str:
    """The package that CPython's headers come with."""
    return _PYTHON.get(manager or "", "python3-dev").format(major=version[0], minor=version[1])


def search_folders(root: Path = Path("/"), *, environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Where headers may lie below ``root``: as compilers look, and folders with versions in them."""
    named = [part for key in ("CPATH", "C_INCLUDE_PATH") for part in environ.get(key, "").split(":") if part]
    places = [root / place for place in _PLACES]
    multiarch = [folder for place in places for folder in sorted(place.glob("*-linux-gnu*"))]
    versioned = [folder for place in places for folder in sorted(place.glob("openjpeg-2.*"), reverse=True)]
    return (*(Path(part) for part in named), *places, *multiarch, *versioned)


def collect(needed: Iterable[Needed], folders: Sequence[Path], into: Path) -> tuple[Needed, ...]:
    """Copy the headers into one folder; return the libraries that lack one, without theirs.

    All headers of a library come from where its first one was found, or from a folder
    beside it: headers of two versions must not be mixed.
    """
    lacking = []
    for library in needed:
        found = _whole(library, folders)
        if found is None:
            lacking.append(library)
            continue
        for name, path in found.items():
            target = into / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    return tuple(lacking)


def _whole(library: Needed, folders: Sequence[Path]) -> dict[str, Path] | None:
    first = library.headers[0]
    for home in folders:
        if not (home / first).is_file():
            continue
        # A header that depends on the machine (jconfig.h) lies in the multiarch folder.
        nearby = [home, *(f for f in folders if f.parent == home or home.parent == f)]
        found: dict[str, Path] = {}
        for name in (*library.headers, *library.optional):
            path = next((folder / name for folder in nearby if (folder / name).is_file()), None)
            if path is not None:
                found[name] = path
        if all(name in found for name in library.headers):
            return found | _by_word_size(found)
    return None


def _by_word_size(found: Mapping[str, Path]) -> dict[str, Path]:
    """What Fedora's ``jconfig.h`` and ``tiffconf.h`` include: ``jconfig-64.h`` beside them, and so on."""
    beside: dict[str, Path] = {}
    for name, path in found.items():
        for bits in (32, 64):
            twin = path.with_name(f"{path.stem}-{bits}.h")
            if twin.is_file():
                beside[str(Path(name).with_name(twin.name))] = twin
    return beside


def digest(folder: Path) -> str:
    """The sha256 of all files below a folder, with their names."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            total.update(f"{path.relative_to(folder)}\0".encode())
            total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def download(packages: Sequence[str], manager: str, into: Path, *, run: Runner) -> Path:
    """Download development packages and unpack them below ``into``; return that root.

    Only apt and dnf can do that as an ordinary user. Raises BuildError with what they
    said, and with the command that installs the packages instead.
    """
    root, files = into / "root", into / "files"
    root.mkdir(parents=True)
    files.mkdir()
    try:
        if manager == "apt":
            _apt_download(packages, files, into, run)
            for path in sorted(files.glob("*.deb")):
                run(["dpkg-deb", "--extract", path, root], timeout=120)
        elif manager == "dnf":
            run(["dnf", "download", "--quiet", "--destdir", files, *packages], timeout=600)
            for path in sorted(files.glob("*.rpm")):
                run(["bsdtar", "-x", "-f", path, "-C", root], timeout=120)
        else:
            raise missing_error(packages, manager, why=f"{manager} cannot download without installing")
    except CommandFailed as error:
        raise missing_error(packages, manager, why=f"{error.what}: {error.why}") from error
    return root


def _apt_download(packages: Sequence[str], files: Path, scratch: Path, run: Runner) -> None:
    """With the system's lists of packages, or with fresh private ones where they are missing or old."""
    wanted = [_apt_name(package, run) for package in packages]
    try:
        run(["apt-get", "download", "--quiet", *wanted], cwd=files, timeout=600)
    except CommandFailed:
        state = scratch / "apt"
        (state / "lists" / "partial").mkdir(parents=True)
        (state / "cache" / "archives" / "partial").mkdir(parents=True)
        private = ["-o", f"Dir::State::lists={state / 'lists'}", "-o", f"Dir::Cache={state / 'cache'}"]
        # apt gives its work to a user of its own, who may not write here.
        private += ["-o", "APT::Sandbox::User="]
        run(["apt-get", *private, "update", "--quiet"], timeout=600)
        run(["apt-get", *private, "download", "--quiet", *wanted], cwd=files, timeout=600)


def _apt_name(package: str, run: Runner) -> str:
    """The package that has the files, where the usual name only depends on it."""
    choices = _APT_CONTENT.get(package, ())
    for choice in choices:
        if "Candidate:" in run(["apt-cache", "policy", choice], check=False).stdout:
            return choice
    return choices[0] if choices else package


def missing_error(packages: Sequence[str], manager: str | None, *, why: str = "") -> BuildError:
    """What to say when headers are not there and cannot be had."""
    command = " ".join((*INSTALL_COMMANDS.get(manager or "", ()), *packages))
    return BuildError(
        f"headers are missing: {', '.join(packages)}",
        why=why,
        hint=f"install them: `{command}`"
        if manager in INSTALL_COMMANDS
        else "install the development packages of these",
    )
