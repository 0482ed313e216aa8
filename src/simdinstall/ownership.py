"""Who else has a say in installed files: package managers, conda, running programs."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from simdinstall.run import Runner

#: The command that names the package of a file, and how to read its answer.
QUERIES: Mapping[str, tuple[tuple[str, ...], re.Pattern[str]]] = {
    "dpkg": (("dpkg", "-S"), re.compile(r"^([^\s:,]+)(?:[:,][^/\n]*)?: /", re.MULTILINE)),
    "rpm": (("rpm", "-qf", "--queryformat", r"%{NAME}\n"), re.compile(r"^([\w.+-]+)$", re.MULTILINE)),
    "pacman": (("pacman", "-Qqo"), re.compile(r"^([\w@.+-]+)$", re.MULTILINE)),
}

#: Every package manager that :func:`package_of` may name.
MANAGERS = frozenset({*QUERIES, "apk"})

#: Where apk keeps what is installed; read by ourselves, for `apk info` is missing in slim images.
APK_DATABASE = Path("/lib/apk/db/installed")

#: Seconds for one of these queries; they read a database from disk.
PATIENCE = 20.0

#: Seconds of CPU time that the look into ``/proc`` may take: what it finds is a warning, no more.
LOOK = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """A package of a package manager; ``name`` is empty where only the place gives it away."""

    manager: str
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Process:
    """A running program."""

    pid: int
    name: str

    def __str__(self) -> str:
        return f"{self.name} ({self.pid})"


def package_of(
    file: Path, *, run: Runner, which: Callable[[str], str | None] = shutil.which
) -> Package | None:
    """The package that ``file`` belongs to, as the package managers on this machine say."""
    for manager, (command, pattern) in QUERIES.items():
        if which(command[0]) is None:
            continue
        answer = run([*command, file], timeout=PATIENCE, check=False, env={**os.environ, "LC_ALL": "C"})
        if answer.returncode == 0 and (name := pattern.search(answer.stdout)):
            return Package(manager=manager, name=name[1])
    return apk_owner(file) or package_by_place(file)


def apk_owner(file: Path, *, database: Path = APK_DATABASE) -> Package | None:
    """The package that ``file`` belongs to, by apk's database: paragraphs with P:name, F:folder, R:file."""
    try:
        text = database.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    folder, wanted = str(file.parent).lstrip("/"), file.name
    for paragraph in text.split("\n\n"):
        if f"\nF:{folder}\n" not in paragraph:
            continue
        files = paragraph.partition(f"\nF:{folder}\n")[2].partition("\nF:")[0]
        if f"R:{wanted}" in files.splitlines() and (name := re.search(r"^P:(.+)$", paragraph, re.MULTILINE)):
            return Package(manager="apk", name=name[1])
    return None


def package_by_place(file: Path) -> Package | None:
    """Debian's packages alone install under ``/usr/lib/python3*/dist-packages``."""
    if re.match(r"/usr/lib/python3[^/]*/dist-packages/", str(file)):
        return Package(manager="dpkg", name="")
    return None


def conda_packages(prefix: Path, files: frozenset[str]) -> dict[str, str]:
    """Which conda package put which of ``files`` (relative to ``prefix``) there.

    From ``conda-meta/*.json``, conda's own record. A file that two packages claim goes
    to the one whose record comes last.
    """
    owners: dict[str, str] = {}
    for record in sorted((prefix / "conda-meta").glob("*.json")):
        try:
            raw = record.read_bytes()
            # Parsing every record of a big environment takes long; few of them matter.
            if b"/PIL/" not in raw:
                continue
            content = json.loads(raw)
            name, listed = f"{content['name']}-{content['version']}", content["files"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        owners.update({file: name for file in listed if file in files})
    return owners


def processes_using(folder: Path, *, proc: Path = Path("/proc")) -> tuple[Process, ...]:
    """The programs, as far as we may look, that have files below ``folder`` mapped.

    The youngest come first; stops after :data:`LOOK` seconds.
    """
    wanted = os.fsencode(f"{folder.resolve()}/")
    until = time.thread_time() + LOOK
    found = []
    own = str(os.getpid())
    processes = [entry for entry in proc.iterdir() if entry.name.isdigit()] if proc.is_dir() else []
    for entry in sorted(processes, key=lambda entry: int(entry.name), reverse=True):
        if entry.name == own:
            continue
        try:
            if wanted in (entry / "maps").read_bytes():
                name = (entry / "comm").read_text(errors="replace").strip()
                found.append(Process(pid=int(entry.name), name=name))
        except OSError:
            continue
        if time.thread_time() > until:
            break
    return tuple(found)
