"""Preparing a tree beside the environment: unpacked, compiled to bytecode, recorded, tried out.

Also the two go-betweens that keep ``import PIL`` working while trees are exchanged: a
union of two library directories, and a copy of the old package that sends whoever
imports it to where the old package is kept.
"""

from __future__ import annotations

import base64
import csv
import errno
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from simdinstall.errors import InstallError
from simdinstall.exchange import clone
from simdinstall.journal import Place
from simdinstall.run import CommandFailed, Runner

_CHECK = """\
import importlib.metadata, json, sys
if sys.argv[1]:
    sys.path.insert(0, sys.argv[1])
import PIL, PIL.Image, PIL._imaging
small = PIL.Image.new("RGB", (64, 48), (10, 200, 30)).resize((16, 12), 1)
found = {
    "file": PIL.__file__,
    "release": PIL.__version__,
    "version": importlib.metadata.version("pillow"),
    "size": list(small.size),
}
if len(sys.argv) > 2:
    scope = {"__name__": "trial"}
    with open(sys.argv[2], encoding="utf-8") as file:
        exec(compile(file.read(), sys.argv[2], "exec"), scope)
    found["trial"] = scope["trial"]()
print(json.dumps(found))
"""

_BRIDGE = """\
# Put here by simdinstall for a moment, while another release takes this one's place.
__path__[:] = [{package!r}]
with open({init!r}, "rb") as _file:
    _code = compile(_file.read(), {init!r}, "exec")
del _file
exec(_code)
del _code
"""


def unpack(wheel: Path, *, place: Place, root: Path, python: Path, run: Runner) -> Path:
    """Unpack a wheel below ``root`` as it is to stand below the environment's base.

    Every member's hash is checked. INSTALLER says ``simdinstall``; bytecode is compiled
    by ``python`` itself, for the path where it is going to be, and recorded. Gives the
    site directory below ``root``. Raises :class:`InstallError` for a wheel that is not
    well-formed and :class:`OSError` for a device that is full.
    """
    # Late: whoever unpacks nothing need not wait for these.
    import installer
    from installer.destinations import SchemeDictionaryDestination
    from installer.exceptions import InstallerError
    from installer.sources import WheelFile

    site = root / place.site.relative_to(place.base)
    site.mkdir(parents=True)
    version = place.site.parent.name
    try:
        with WheelFile.open(wheel) as source:
            listed = _hashes(source.read_dist_info("RECORD"))
            # What lies below .data goes elsewhere, and may be changed on the way: read twice.
            elsewhere = any(name.startswith(f"{source.data_dir}/") for name in listed)
            source.validate_record(validate_contents=elsewhere)
            destination = SchemeDictionaryDestination(
                scheme_dict={
                    "purelib": str(site),
                    "platlib": str(site),
                    "scripts": str(root / "bin"),
                    "headers": str(root / "include" / "site" / version / source.distribution),
                    "data": str(root),
                },
                interpreter=str(python),
                script_kind="posix",
            )
            installer.install(source, destination, {"INSTALLER": b"simdinstall\n", "REQUESTED": b""})
            record = site / source.dist_info_dir / "RECORD"
            if not elsewhere:
                written = _hashes(record.read_text(encoding="utf-8"))
                if wrong := [name for name, value in listed.items() if written.get(name, value) != value]:
                    raise ValueError(f"{', '.join(wrong)}: not what RECORD says")
    except (InstallerError, zipfile.BadZipFile, ValueError, KeyError, AssertionError) as error:
        raise InstallError(
            f"{wheel.name} is not a well-formed wheel",
            why=str(error),
            hint="nothing was changed; build it again",
        ) from error
    _compile(site, place.site, python, run)
    _record_bytecode(site, record)
    return site


def _hashes(record: str) -> dict[str, str]:
    """Path → ``sha256=…`` of each file that a RECORD has a hash for."""
    return {row[0]: row[1] for row in csv.reader(record.splitlines()) if len(row) > 1 and row[1]}


def known_digests(site: Path) -> dict[Path, bytes]:
    """The SHA-256 of each file below ``site``, as found while it was unpacked there."""
    return {
        site / name: base64.urlsafe_b64decode(value.removeprefix("sha256=") + "=")
        for record in site.glob("*.dist-info/RECORD")
        for name, value in _hashes(record.read_text(encoding="utf-8")).items()
        if value.startswith("sha256=")
    }


def _compile(staged: Path, final: Path, python: Path, run: Runner) -> None:
    options = ["-q", "--invalidation-mode", "timestamp", "-s", str(staged), "-p", str(final)]
    done = run([python, "-I", "-S", "-m", "compileall", *options, str(staged)], check=False)
    # Any other file that does not compile is left to fail, or not, where it is imported.
    for code in (errno.ENOSPC, errno.EDQUOT):
        if done.returncode != 0 and f"[Errno {code}]" in done.output:
            raise OSError(code, os.strerror(code), str(staged))


def _record_bytecode(site: Path, record: Path) -> None:
    compiled = sorted(path.relative_to(site).as_posix() for path in site.rglob("__pycache__/*.pyc"))
    with record.open("a", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows((path, "", "") for path in compiled)


def try_import(
    python: Path,
    *,
    staged: Path | None,
    user: bool,
    run: Runner,
    site: Path,
    release: str,
    version: str,
    program: Path | None = None,
) -> Mapping[str, Any]:
    """Import Pillow in a fresh process of ``python`` and resize a small image.

    ``staged``: a directory to take it from instead of where it is installed. ``user``:
    whether the user's own site directory counts. ``program``: a Python file whose function
    ``trial()`` is called after that; what it gives is returned. Raises
    :class:`InstallError` when it does not import, or is not ``version`` of ``release`` in
    ``site``.
    """
    flags = ["-P", "-B"] + ([] if user else ["-s"])
    # PYTHONPATH and the like may put anything in front; but the user's own directory may be elsewhere.
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("PYTHON") or key == "PYTHONUSERBASE"
    }
    command: list[str | Path] = [python, *flags, "-c", _CHECK, str(staged or "")]
    if program is not None:
        command.append(program)
    try:
        done = run(command, env=environment, timeout=120)
        found: dict[str, Any] = json.loads(done.stdout)
    except CommandFailed as error:
        raise InstallError("The new Pillow cannot be imported", why=error.why or error.what) from error
    except ValueError as error:
        raise InstallError("The new Pillow cannot be tried out", why=done.output[-2000:]) from error
    wanted_site = staged or site
    if not Path(str(found["file"])).resolve().is_relative_to(wanted_site.resolve()):
        raise InstallError(
            "Another Pillow stands in front of the new one",
            why=f"'import PIL' finds {found['file']}, which comes before {wanted_site}",
            hint="remove that one, or choose its environment with --python",
        )
    wanted = {"release": release, "version": version, "size": [16, 12]}
    differing = [
        f"{key} is {found.get(key)}, not {value}" for key, value in wanted.items() if found.get(key) != value
    ]
    if differing:
        raise InstallError("The new Pillow is not what it must be", why="; ".join(differing))
    answer = found.get("trial", {})
    return answer if isinstance(answer, dict) else {}


def make_union(old: Path, new: Path, target: Path) -> None:
    """Make ``target`` a directory with the files of both; of two with one name, the new one's."""
    clone(new, target)
    for path in old.iterdir():
        if not os.path.lexists(target / path.name):
            clone(path, target / path.name)


def make_bridge(package: Path, kept: Path, target: Path) -> None:
    """Make ``target`` a copy of ``package`` that leads to ``kept``.

    Whoever imports the package from now on gets all its modules from ``kept``, where
    the old package will stay; whoever had begun before finds what he needs in the copy.
    """
    clone(package, target)
    door = target / "__init__.py"
    door.unlink()
    door.write_text(_BRIDGE.format(package=str(kept), init=str(kept / "__init__.py")), encoding="utf-8")
    door.chmod((package / "__init__.py").stat().st_mode & 0o7777)
    for compiled in (target / "__pycache__").glob("__init__.*"):
        compiled.unlink()


def needs_bridge(old: Path, new: Path) -> bool:
    """Whether an import that began in package ``old`` may fail if it ends in ``new``.

    So it is when a module differs, or when a module or a library of the old is not in
    the new. Extension modules may differ: each checks its own release's Python code.
    """
    if not all((path / "__init__.py").is_file() and not path.is_symlink() for path in (old, new)):
        return False
    for path in old.rglob("*"):
        name = path.relative_to(old)
        if path.suffix not in (".py", ".so") and ".so." not in path.name:
            continue
        other = new / name
        if not other.is_file():
            return True
        if path.suffix == ".py" and path.read_bytes() != other.read_bytes():
            return True
    return False
