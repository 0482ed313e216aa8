"""What of Pillow's sdist is compiled into ``PIL._imaging``, as its own setup.py says.

setup.py is read, never run: it is the one place that lists the sources and the macros,
and running it would look for libraries in places of its own choosing. A setup.py that
lists them in another way, or that knows a macro which is unknown here, is refused.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from simdinstall import archive
from simdinstall.errors import BuildError
from simdinstall.fetch import Download

#: The macro that each library of the core extension switches on.
LIBRARY_MACROS = {
    "jpeg": "HAVE_LIBJPEG",
    "tiff": "HAVE_LIBTIFF",
    "openjp2": "HAVE_OPENJPEG",
    "z": "HAVE_LIBZ",
    "xcb": "HAVE_XCB",
    "imagequant": "HAVE_LIBIMAGEQUANT",
}

#: Macros of the core extension that a Linux build of a little-endian machine does without.
_OTHER_MACROS = frozenset({"USE_WIN32_FILEIO", "OPJ_STATIC", "WORDS_BIGENDIAN", "PILLOW_VERSION"})

_MAIN = "_imaging"


@dataclass(frozen=True, kw_only=True, slots=True)
class PillowSource:
    """The unpacked C sources: ``units`` are relative to ``root``, which holds setup.py."""

    root: Path
    release: str
    units: tuple[PurePosixPath, ...]

    @property
    def include_dirs(self) -> tuple[Path, ...]:
        """Where the sources find each other."""
        return (self.root / "src" / "libImaging", self.root / "src")


def unpack(sdist: Download, into: Path) -> PillowSource:
    """Unpack what is compiled of Pillow's sdist. Raises FetchError and BuildError."""

    def keep(name: str) -> bool:
        parts = PurePosixPath(name).parts[1:]
        return parts == ("setup.py",) or (parts[:1] == ("src",) and name.endswith((".c", ".h")))

    archive.extract(sdist.path, into, keep=keep)
    roots = [path.parent for path in into.glob("*/setup.py")]
    if len(roots) != 1:
        raise _unknown(sdist.filename, f"it has {len(roots)} files setup.py")
    return read(roots[0], release=sdist.version)


def read(root: Path, *, release: str) -> PillowSource:
    """Read setup.py in an unpacked sdist. Raises BuildError when it is not as expected."""
    name = f"Pillow {release}"
    try:
        module = ast.parse((root / "setup.py").read_text(encoding="utf-8"))
        static = tuple(_static_libraries(module))
    except (OSError, SyntaxError, ValueError, TypeError, KeyError) as error:
        raise _unknown(name, f"its setup.py cannot be read: {error}") from error
    lists = {key: value for node in module.body for key, value in _texts_assigned(node)}
    if not lists.get("_IMAGING") or not lists.get("_LIB_IMAGING"):
        raise _unknown(name, "its setup.py does not list its sources as _IMAGING and _LIB_IMAGING")
    strange = sorted(_core_macros(module) - set(LIBRARY_MACROS.values()) - _OTHER_MACROS)
    if strange:
        raise _unknown(name, f"its setup.py sets macros that are not known here: {', '.join(strange)}")
    stems = [f"src/{stem}" for stem in (_MAIN, *lists["_IMAGING"])]
    stems += [f"src/libImaging/{stem}" for stem in lists["_LIB_IMAGING"]]
    units = (*(PurePosixPath(f"{stem}.c") for stem in stems), *static)
    missing = [str(unit) for unit in units if not (root / unit).is_file()]
    if missing:
        raise _unknown(name, f"its setup.py lists what is not there: {', '.join(missing)}")
    return PillowSource(root=root, release=release, units=units)


def _texts_assigned(node: ast.stmt) -> Iterator[tuple[str, tuple[str, ...]]]:
    """``NAME = ("a", "b")`` or a list, as a pair; nothing for other statements."""
    if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
        return
    try:
        value = ast.literal_eval(node.value)
    except ValueError:
        return
    if isinstance(value, tuple | list) and all(isinstance(item, str) for item in value):
        yield node.targets[0].id, tuple(value)


def _static_libraries(module: ast.Module) -> Iterator[PurePosixPath]:
    """The sources in ``libraries = [("name", {"sources": […]})]``, which every extension is linked with."""
    for node in module.body:
        if isinstance(node, ast.AnnAssign | ast.Assign) and node.value is not None:
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            if isinstance(target, ast.Name) and target.id == "libraries":
                for _, options in ast.literal_eval(node.value):
                    yield from map(PurePosixPath, options["sources"])


def _core_macros(module: ast.Module) -> set[str]:
    """The macros of ``defs.append(("MACRO", …))`` before the core extension is set up.

    Later ones belong to the other extensions, which are not compiled here.
    """
    calls = [node for node in ast.walk(module) if isinstance(node, ast.Call)]
    core = [call.lineno for call in calls if _first_text(call) == "PIL._imaging"]
    end = min((line for line in core if line), default=0)
    appended = [call for call in calls if ast.unparse(call.func) == "defs.append" and call.lineno < end]
    return {
        str(item.elts[0].value)
        for call in appended
        for item in call.args
        if isinstance(item, ast.Tuple) and item.elts and isinstance(item.elts[0], ast.Constant)
    }


def _first_text(call: ast.Call) -> str:
    first = call.args[0] if call.args else None
    named = isinstance(call.func, ast.Attribute) and call.func.attr == "_update_extension"
    return str(first.value) if named and isinstance(first, ast.Constant) else ""


def _unknown(name: str, why: str) -> BuildError:
    return BuildError(
        f"{name} cannot be compiled here",
        why=why,
        hint="leave --rebuild out: kernels in front of the official wheel need none of this",
    )
