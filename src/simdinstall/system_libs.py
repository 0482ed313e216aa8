"""What stock Pillow can do, what a build against the system's libraries needs for it.

Found out before anything is compiled: for each feature of the official wheel the header
and the library that it is compiled with, and the package of each distribution that has
them. A library that is too old counts as missing, since Pillow passes over it silently.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from simdinstall import headers, package_managers
from simdinstall.environment import Environment
from simdinstall.errors import BuildError, UsageError
from simdinstall.headers import manager_of, search_folders


@dataclass(frozen=True, kw_only=True, slots=True)
class Feature:
    """One feature: Pillow's name for it in ``-C name=enable``, and what it is compiled with.

    ``asked`` are the names by which ``PIL.features`` knows it, ``oldest`` is the lowest major
    version, written in ``header`` as ``macro``. ``needs`` names a feature that must be there.
    ``carried`` is what Pillow's own copy of the library is compiled with, where the library is
    missing. A package without a name is one that the distribution does not have.
    """

    name: str
    title: str
    header: str
    library: str
    packages: Mapping[str, str]
    asked: tuple[str, ...] = ()
    needs: str = ""
    macro: str = ""
    oldest: int = 0
    carried: tuple[Feature, ...] = ()


def _packages(apt: str, dnf: str, zypper: str, pacman: str, apk: str) -> Mapping[str, str]:
    return {"apt": apt, "dnf": dnf, "zypper": zypper, "pacman": pacman, "apk": apk}


#: What Pillow's own Raqm is compiled with.
_RAQM_NEEDS = (
    Feature(
        name="harfbuzz",
        title="shapes of glyphs",
        header="harfbuzz/hb.h",
        library="harfbuzz",
        packages=_packages("libharfbuzz-dev", "harfbuzz-devel", "harfbuzz-devel", "harfbuzz", "harfbuzz-dev"),
    ),
    Feature(
        name="fribidi",
        title="direction of writing",
        header="fribidi/fribidi.h",
        library="fribidi",
        packages=_packages("libfribidi-dev", "fribidi-devel", "fribidi-devel", "fribidi", "fribidi-dev"),
    ),
)

FEATURES: tuple[Feature, ...] = (
    Feature(
        name="zlib",
        title="PNG",
        header="zlib.h",
        library="z",
        packages=_packages("zlib1g-dev", "zlib-devel", "zlib-devel", "zlib", "zlib-dev"),
        asked=("zlib",),
    ),
    Feature(
        name="jpeg",
        title="JPEG",
        header="jpeglib.h",
        library="jpeg",
        packages=_packages(
            "libjpeg-dev", "libjpeg-turbo-devel", "libjpeg8-devel", "libjpeg-turbo", "libjpeg-turbo-dev"
        ),
        asked=("jpg",),
    ),
    Feature(
        name="tiff",
        title="compressed TIFF",
        header="tiffio.h",
        library="tiff",
        packages=_packages("libtiff-dev", "libtiff-devel", "libtiff-devel", "libtiff", "tiff-dev"),
        asked=("libtiff",),
    ),
    Feature(
        name="freetype",
        title="TrueType fonts",
        header="freetype2/ft2build.h",
        library="freetype",
        packages=_packages(
            "libfreetype-dev", "freetype-devel", "freetype2-devel", "freetype2", "freetype-dev"
        ),
        asked=("freetype2",),
    ),
    Feature(
        name="raqm",
        title="layout of complex scripts",
        header="raqm.h",
        library="raqm",
        # Alpine has it among packages that are tried out, and in no release.
        packages=_packages("libraqm-dev", "libraqm-devel", "libraqm-devel", "libraqm", ""),
        asked=("raqm",),
        needs="freetype",
        carried=_RAQM_NEEDS,
    ),
    Feature(
        name="lcms",
        title="colour profiles",
        header="lcms2.h",
        library="lcms2",
        packages=_packages("liblcms2-dev", "lcms2-devel", "liblcms2-devel", "lcms2", "lcms2-dev"),
        asked=("littlecms2",),
    ),
    Feature(
        name="webp",
        title="WebP",
        header="webp/mux.h",
        library="webpmux",
        packages=_packages("libwebp-dev", "libwebp-devel", "libwebp-devel", "libwebp", "libwebp-dev"),
        asked=("webp",),
    ),
    Feature(
        name="jpeg2000",
        title="JPEG 2000",
        header="openjpeg.h",
        library="openjp2",
        packages=_packages(
            "libopenjp2-7-dev", "openjpeg2-devel", "openjpeg2-devel", "openjpeg2", "openjpeg-dev"
        ),
        asked=("jpg_2000",),
    ),
    Feature(
        name="avif",
        title="AVIF",
        header="avif/avif.h",
        library="avif",
        packages=_packages("libavif-dev", "libavif-devel", "libavif-devel", "libavif", "libavif-dev"),
        asked=("avif",),
        macro="AVIF_VERSION_MAJOR",
        oldest=1,
    ),
    Feature(
        name="xcb",
        title="ImageGrab on X11",
        header="xcb/xcb.h",
        library="xcb",
        packages=_packages("libxcb1-dev", "libxcb-devel", "libxcb-devel", "libxcb", "libxcb-dev"),
        asked=("xcb",),
    ),
)

#: Red Hat's own repositories do not have all that Fedora has.
_OUTSIDE_FEDORA = (
    "libavif-devel and libraqm-devel come from EPEL, some others from CRB;"
    " instead of libraqm-devel, harfbuzz-devel and fribidi-devel will do"
)

#: Pillow cannot be compiled without these.
REQUIRED = frozenset({"zlib", "jpeg"})

Problem = Literal["header", "library", "old"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Lacking:
    """A feature that would be lost, and what of it is not there or too old.

    ``carried`` is what is missing for Pillow's own copy of the library.
    """

    feature: Feature
    problem: Problem
    found: str = ""
    carried: tuple[Lacking, ...] = ()

    def __str__(self) -> str:
        name = f"{self.feature.name} ({self.feature.title})"
        match self.problem:
            case "header":
                missing = [self.feature.header, *(item.feature.header for item in self.carried)]
                return f"{name}: no {', nor '.join(missing)}"
            case "library":
                return f"{name}: {self.found} is there, and lib{self.feature.library}.so is not"
            case "old":
                return f"{name}: {self.found} is of version 0, and {self.feature.oldest} is needed"


def wanted(without: Sequence[str]) -> tuple[Feature, ...]:
    """The features of stock Pillow without those that the user gives up. Raises UsageError."""
    known = {feature.name for feature in FEATURES}
    for name in without:
        if name not in known:
            raise UsageError(
                f"--without {name}: there is no such feature", hint=f"the features are {', '.join(known)}"
            )
        if name in REQUIRED:
            raise UsageError(f"--without {name}: Pillow cannot be compiled without it")
    gone = {*without, *(f.name for f in FEATURES if f.needs in without)}
    return tuple(feature for feature in FEATURES if feature.name not in gone)


def lacking(features: Iterable[Feature], root: Path = Path("/")) -> tuple[Lacking, ...]:
    """The features whose header or library is not where compilers look, or is too old.

    Not those that Pillow's own copy of the library can give.
    """
    found = ((item, _absent(item.feature.carried, root)) for item in _absent(features, root))
    return tuple(replace(item, carried=rest) for item, rest in found if rest or not item.feature.carried)


def carried(features: Iterable[Feature], root: Path = Path("/")) -> frozenset[str]:
    """The features that are compiled from Pillow's own copy, for want of the system's library."""
    return frozenset(item.feature.name for item in _absent(features, root) if item.feature.carried)


def _absent(features: Iterable[Feature], root: Path) -> tuple[Lacking, ...]:
    includes, libraries = search_folders(root, environ={}), _library_folders(root)
    found: list[Lacking] = []
    for feature in features:
        header = next((f / feature.header for f in includes if (f / feature.header).is_file()), None)
        if header is None:
            found.append(Lacking(feature=feature, problem="header"))
        elif feature.macro and _version(header, feature.macro) < feature.oldest:
            found.append(Lacking(feature=feature, problem="old", found=str(header)))
        elif not any((folder / f"lib{feature.library}.so").exists() for folder in libraries):
            found.append(Lacking(feature=feature, problem="library", found=str(header)))
    return tuple(found)


def _version(header: Path, macro: str) -> int:
    text = header.read_text(encoding="utf-8", errors="replace")
    match = re.search(rf"#\s*define\s+{macro}\s+(\d+)", text)
    return int(match[1]) if match else 0


def _library_folders(root: Path) -> tuple[Path, ...]:
    places = [root / place for place in ("usr/local/lib", "usr/lib64", "usr/lib", "lib64", "lib")]
    return (*places, *(folder for place in places for folder in sorted(place.glob("*-linux-gnu*"))))


def packages(missing: Iterable[Lacking], manager: str | None) -> tuple[str, ...]:
    """The packages that mend it, as this manager calls them; none where a newer one is needed."""
    if manager is None:
        return ()
    named: list[str] = []
    for item in missing:
        if item.problem != "old":
            own = item.feature.packages[manager]
            named += [own] if own else [other.feature.packages[manager] for other in item.carried]
    return tuple(named)


def python_package(include: Iterable[Path], target: Environment, manager: str | None) -> tuple[str, ...]:
    """The package of CPython's headers, where they are missing and the system may have them."""
    if any((folder / "Python.h").is_file() for folder in include):
        return ()
    return (headers.python_package(manager, target.version),)


def install_command(
    missing: Iterable[Lacking], target: Environment, more: Sequence[str] = ()
) -> tuple[str, ...]:
    """The command that installs what is missing; empty where no package would help."""
    manager = manager_of(target.package_manager)
    named = (*packages(missing, manager), *more)
    if manager is None or not named:
        return ()
    return (*package_managers.INSTALL[manager], *named)


def require(
    features: Iterable[Feature], target: Environment, more: Sequence[str] = (), *, root: Path = Path("/")
) -> None:
    """BuildError, with the exact command and the features to give up, where something is missing."""
    missing = lacking(features, root)
    if not missing and not more:
        return
    command = install_command(missing, target, more)
    hopeless = [item for item in missing if item.problem == "old" or not command]
    said = [f"install what is missing: `{' '.join(command)}` (--install-deps does it)"] if command else []
    if given_up := [item.feature.name for item in hopeless if item.feature.name not in REQUIRED]:
        options = " ".join(f"--without {name}" for name in given_up)
        said.append(f"{'and ' if command else ''}do without what cannot be had here: {options}")
    elif missing:
        options = " ".join(
            f"--without {item.feature.name}" for item in missing if item.feature.name not in REQUIRED
        )
        said += [f"or do without: {options}"] if options else []
    if manager_of(target.package_manager) == "dnf" and not target.distro.startswith("fedora"):
        said += [f"outside of Fedora {_OUTSIDE_FEDORA}"] if command else []
    raise BuildError(
        "this system lacks what Pillow is compiled with",
        why="\n".join([*map(str, missing), *(f"Python.h: {name}" for name in more)]),
        hint="; ".join(said) or f"--libs bundled needs none of this; {target.distro} has no known packages",
    )
