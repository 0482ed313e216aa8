"""Keeps a build of ours where it is: what pip, uv and pip-tools have to be told, and taking it back.

Every edit is a block between two marks, written whole or not at all; everything else in
the file stays as it is, byte for byte. Where a file already says something else about
Pillow, nothing is written and the lines are given to the user instead.
"""

from __future__ import annotations

import base64
import hashlib
import re
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

from simdinstall.distributions import Distribution, read_record
from simdinstall.environment import Environment
from simdinstall.errors import InstallError, TargetError, UsageError

BEGIN, END = "# >>> simdinstall hold >>>", "# <<< simdinstall hold <<<"

#: The file of constraints, in the environment and in a project.
CONSTRAINTS = "simdinstall-constraints.txt"

#: The folder for the wheel in a project.
WHEELS = "wheels"


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """What was told to one tool, in which files, and what that can and cannot do."""

    tool: str
    files: tuple[Path, ...]
    can: str
    cannot: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Edit:
    """New content of a file; ``None``: the file goes."""

    path: Path
    text: str | None


def hold_environment(env: Environment, version: str) -> Held:
    """Tell the environment's own pip to keep ``version``. Raises TargetError, UsageError.

    By a constraint in ``pip.conf`` of the venv, which pip reads for this venv alone.
    """
    if env.scope != "venv":
        raise TargetError(
            f"{env.python} is no virtual environment",
            why="pip has no configuration for one interpreter alone outside of a venv",
            hint=f"put `pillow=={version}` into a file of constraints and name it: pip install -c FILE …",
        )
    constraints = env.prefix / CONSTRAINTS
    config = env.prefix / "pip.conf"
    lines = [f"constraint = {constraints}"]
    text = _into_section(_read(config), "install", lines, config, key="constraint")
    _write(
        _Edit(path=constraints, text=_block([f"pillow=={version}"])),
        _Edit(path=config, text=text),
    )
    return Held(
        tool="pip",
        files=(constraints, config),
        can="`pip install` and `pip install -U` keep this build; what wants another Pillow fails and says so",
        cannot="`pip --isolated`, PIP_CONSTRAINT and `pip uninstall` go past it; uv does not read pip.conf:"
        f" --project DIR, or for `uv pip` UV_CONSTRAINT={constraints}",
    )


def hold_project(project: Path, env: Environment, owner: Distribution) -> tuple[Held, ...]:
    """Tell uv and pip-tools, in a project's ``pyproject.toml``. Raises UsageError, InstallError.

    The build itself is put beside it, as a wheel made of the installed files.
    """
    pyproject = project / "pyproject.toml"
    if not pyproject.is_file():
        raise UsageError(f"there is no pyproject.toml in {project}", hint="name a project's folder")
    text = _without(_read(pyproject))
    folder = project / WHEELS
    name = wheel_name(owner)
    path = f"{WHEELS}/{name}"
    own = f"pillow=={owner.version}"
    for table, lines in (
        ("tool.uv", [f'override-dependencies = ["{own}"]']),
        ("tool.uv.sources", [f'pillow = {{ path = "{path}" }}']),
        ("tool.pip-tools", [f'constraint = ["{CONSTRAINTS}"]', f'find-links = ["{WHEELS}"]']),
    ):
        text = _into_table(text, table, lines, pyproject)
    folder.mkdir(exist_ok=True)
    made = pack(owner, folder)
    constraints = project / CONSTRAINTS
    _write(_Edit(path=constraints, text=_block([own])), _Edit(path=pyproject, text=text))
    return (
        Held(
            tool="uv",
            files=(pyproject, made),
            can="`uv lock`, `uv sync` and `uv run` take this wheel for whatever needs a Pillow",
            cannot="`uv pip install` reads the override only when run in the project, and fails then"
            " instead of replacing; the wheel is for one Python version and one kind of CPU",
        ),
        Held(
            tool="pip-tools",
            files=(pyproject, constraints, made),
            can="`pip-compile` pins this build, and finds it in the folder of wheels",
            cannot="`pip-sync` needs the folder too: pip-sync --find-links wheels",
        ),
    )


def release(*places: Path) -> tuple[Path, ...]:
    """Take back what :func:`hold_environment` and :func:`hold_project` wrote; gives the files changed."""
    changed = []
    for place in places:
        for path in (place / CONSTRAINTS, place / "pip.conf", place / "pyproject.toml"):
            text = _read(path)
            rest = _without(text)
            if rest != text:
                _write(_Edit(path=path, text=rest if rest.strip() or path.name == "pyproject.toml" else None))
                changed.append(path)
    return tuple(changed)


def is_held(env: Environment, version: str) -> bool:
    """Whether the environment's pip is told to keep ``version``."""
    return f"pillow=={version}\n" in _read(env.prefix / CONSTRAINTS) and BEGIN in _read(
        env.prefix / "pip.conf"
    )


# Files -------------------------------------------------------------------------------


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def _block(lines: list[str]) -> str:
    return "\n".join((BEGIN, *lines, END)) + "\n"


def _without(text: str) -> str:
    """``text`` as it was before any block of ours."""
    return re.sub(rf"(?:(?<=\n)\n)?^{re.escape(BEGIN)}\n.*?^{re.escape(END)}\n", "", text, flags=re.M | re.S)


def _write(*edits: _Edit) -> None:
    for edit in edits:
        if edit.text is None:
            edit.path.unlink()
            continue
        part = edit.path.with_name(f".{edit.path.name}.part")
        try:
            part.write_text(edit.text, encoding="utf-8")
            if edit.path.exists():
                part.chmod(edit.path.stat().st_mode & 0o7777)
            part.replace(edit.path)
        except OSError as error:
            raise TargetError(f"{edit.path} cannot be written", why=error.strerror or "") from error


def _appended(text: str, lines: list[str]) -> str:
    """A block at the end; the blank line before it is taken back with it."""
    if text and not text.endswith("\n"):
        text += "\n"
    return text + ("\n" if text else "") + _block(lines)


def _into_section(text: str, section: str, lines: list[str], path: Path, *, key: str) -> str:
    """``lines`` in a section of an INI file."""
    text = _without(text)
    found = re.search(rf"^\[{re.escape(section)}\][^\n]*(?:\n|\Z)", text, re.MULTILINE)
    if found is None:
        return _appended(text, [f"[{section}]", *lines])
    rest = text[found.end() :]
    own = re.split(r"^\[", rest, maxsplit=1, flags=re.MULTILINE)[0]
    if re.search(rf"^{key}\s*[=:]", own, re.MULTILINE):
        raise _taken(path, f"[{section}] {key}", lines)
    head = text[: found.end()]
    return (head if head.endswith("\n") else head + "\n") + _block(lines) + rest


def _into_table(text: str, table: str, lines: list[str], path: Path) -> str:
    """``lines`` in a table of a TOML file, which is parsed again to be sure."""
    found = re.search(rf"^\[{re.escape(table)}\][^\n]*(?:\n|\Z)", text, re.MULTILINE)
    if found is None:
        made = _appended(text, [f"[{table}]", *lines])
    else:
        head = text[: found.end()]
        made = (head if head.endswith("\n") else head + "\n") + _block(lines) + text[found.end() :]
    try:
        tomllib.loads(made)
    except tomllib.TOMLDecodeError as error:
        raise _taken(path, f"[{table}] table", lines) from error
    return made


def _taken(path: Path, what: str, lines: list[str]) -> UsageError:
    return UsageError(
        f"{path} already has its own {what}",
        why="what is written there is left alone",
        hint="add by hand: " + "; ".join(lines),
    )


# The wheel -----------------------------------------------------------------------------


def wheel_name(owner: Distribution) -> str:
    """The file name of the wheel that ``owner`` was installed from, by its WHEEL file."""
    try:
        text = (owner.location / "WHEEL").read_text(encoding="utf-8")
    except OSError as error:
        raise InstallError(f"{owner} has no WHEEL file", why=str(error)) from error
    tags = [
        line.partition(":")[2].strip().split("-") for line in text.splitlines() if line.startswith("Tag:")
    ]
    if not tags:
        raise InstallError(f"the WHEEL file of {owner} names no tag")
    parts = [".".join(dict.fromkeys(tag[index] for tag in tags)) for index in range(3)]
    return f"{owner.canonical_name.replace('-', '_')}-{owner.version}-{'-'.join(parts)}.whl"


def pack(owner: Distribution, folder: Path) -> Path:
    """A wheel of the installed files, each checked against RECORD; gives its path.

    What the installer added (INSTALLER, byte code) is not in it.
    """
    info = owner.location.name
    added = {f"{info}/{name}" for name in ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")}
    files: dict[str, bytes] = {}
    for row in read_record(owner):
        if "__pycache__/" in row.path or row.path.startswith(("../", "/")) or row.path in added:
            continue
        try:
            data = (owner.site / row.path).read_bytes()
        except OSError as error:
            raise InstallError(f"{owner} is not intact", why=str(error), hint="simdinstall doctor") from error
        if row.sha256 and hashlib.sha256(data).hexdigest() != row.sha256:
            raise InstallError(
                f"{owner} is not intact", why=f"{row.path} was changed", hint="simdinstall doctor"
            )
        files[row.path] = data
    record = "".join(f"{name},sha256={_urlsafe(data)},{len(data)}\n" for name, data in sorted(files.items()))
    files[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()
    path = folder / wheel_name(owner)
    part = path.with_name(f".{path.name}.part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            member = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            executable = name.endswith(".so") or ".so." in name
            member.external_attr = (0o100755 if executable else 0o100644) << 16
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, data)
    part.replace(path)
    return path


def _urlsafe(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
