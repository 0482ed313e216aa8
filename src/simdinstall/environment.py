"""The target environment: which Python, who owns PIL there, with what, in which state.

:func:`inspect` looks and changes nothing, and never imports PIL. It returns an
:class:`Environment` for every Python, fit or not; :func:`require_supported` is what
refuses. The states are those that real environments are found in; FACTS are read from
the disk, and only the interpreter itself is asked what only it can know.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from pathlib import Path

import distro as distribution_of_linux
from packaging.utils import canonicalize_name

from simdinstall import interpreter
from simdinstall.distributions import (
    PILLOWS_FILES,
    Distribution,
    find,
    is_pillow,
    leftovers,
    library_folders,
    read_record,
    wrong_hashes,
)
from simdinstall.errors import TargetError
from simdinstall.interpreter import Facts
from simdinstall.ownership import (
    MANAGERS,
    conda_packages,
    package_by_place,
    package_of,
    processes_using,
)
from simdinstall.run import Runner, run

__all__ = ["Distribution", "Environment", "Finding", "State", "inspect", "require_supported"]

#: The Pythons that Pillow's releases and the kernels are made for.
OLDEST, NEWEST = (3, 11), (3, 14)

#: The mark that every build of ours carries in its dist-info.
PROVENANCE = "simdinstall.json"

#: Installers whose files are nobody else's: no package manager need be asked.
INSTALLERS = frozenset({"pip", "uv", "poetry", "pdm", "simdinstall", "installer", "hatch", "pixi"})

PACKAGE_MANAGERS: Mapping[str, str] = {
    "debian": "apt",
    "ubuntu": "apt",
    "fedora": "dnf",
    "rhel": "dnf",
    "suse": "zypper",
    "opensuse": "zypper",
    "arch": "pacman",
    "alpine": "apk",
}


class State(StrEnum):
    """What is there under the name of PIL, as far as the target is concerned."""

    NONE = "none"
    STOCK = "stock"
    SIMD = "simd"
    OURS = "ours"
    MIXED = "mixed"
    BROKEN = "broken"
    UNOWNED = "unowned"
    SYSTEM_PACKAGE = "system-package"
    CONDA = "conda"
    EDITABLE = "editable"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Something that is not as it should be. ``code`` is for programs, ``text`` for people."""

    code: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """One Python environment as found.

    ``site`` is where a Pillow will be installed, ``scope`` whose that is ("venv", "user",
    "system"), ``kind`` who made the environment ("venv", "virtualenv", "uv", "pipx",
    "uv-tool", "conda", "system"). ``tags`` are PEP 425 tags, best first. ``owners`` are
    all distributions on the path that are a Pillow or own files of Pillow's;
    :attr:`replaced` are those that a new Pillow takes the place of. ``leftovers`` are
    folders in ``site`` that no distribution owns and that go with the old Pillow.
    ``pil_path`` is the PIL that an import would find. ``shadowed_by`` is a PIL that
    would be found before one in ``site``. ``problems`` are the texts of ``findings``.
    """

    python: Path
    version: tuple[int, int, int]
    implementation: str
    free_threaded: bool
    prefix: Path
    base_prefix: Path
    site: Path
    scope: str
    kind: str
    has_pip: bool
    writable: bool
    externally_managed: bool
    tags: tuple[str, ...]
    libc: str
    distro: str
    package_manager: str | None
    owners: tuple[Distribution, ...]
    state: State
    pil_path: Path | None
    pil_version: str | None
    problems: tuple[str, ...]
    findings: tuple[Finding, ...] = ()
    leftovers: tuple[Path, ...] = ()
    shadowed_by: Path | None = None
    platform: str = "linux-x86_64"
    has_ensurepip: bool = True
    newer_python: Path | None = None

    @property
    def replaced(self) -> tuple[Distribution, ...]:
        """The distributions that have to go when a Pillow is installed here."""
        return tuple(owner for owner in self.owners if owner.in_target and owner.conflicts)

    @property
    def release(self) -> str:
        """The Python version as people write it: ``3.11.7``."""
        return ".".join(map(str, self.version))

    def to_json(self) -> dict[str, object]:
        """Everything, as plain JSON values."""
        plain = _plain(self)
        assert isinstance(plain, dict)
        return plain


def _plain(value: object) -> object:
    if isinstance(value, (Environment, Distribution, Finding)):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, (Path, StrEnum)) else value


def inspect(
    python: Path | None,
    *,
    run: Runner = run,
    environ: Mapping[str, str] | None = None,
    own_prefix: Path | None = None,
    proc: Path = Path("/proc"),
) -> Environment:
    """Look at the environment of ``python``, or at the active one when it is None.

    ``environ`` (the caller's variables), ``own_prefix`` (the environment that
    simdinstall itself runs in) and ``proc`` are what they are unless a test says
    otherwise. Raises TargetError when there is no Python to look at.
    """
    variables = os.environ if environ is None else environ

    def question(candidate: Path) -> Facts:
        return interpreter.ask(candidate, run=run, environ=variables)

    facts = interpreter.choose(
        python,
        environ=variables,
        own_prefix=interpreter.own_prefix() if own_prefix is None else own_prefix,
        question=question,
    )
    kind = _kind(facts)
    owners = _owners(facts)
    scope, targets = _scope(facts, owners)
    site = targets[0]
    owners = tuple(replace(owner, in_target=_real(owner.site) in map(_real, targets)) for owner in owners)
    owners = _with_packages(owners, facts, scope, kind, run)
    looked = _Look(facts=facts, scope=scope, kind=kind, targets=targets, owners=owners)
    looked.judge()
    looked.warn(variables, proc)
    distro, manager = _distro()
    newer = None
    if facts.version[:2] < OLDEST:
        newer = interpreter.first_on_path(_supported_versions(), environ=variables, question=question)
    return Environment(
        python=facts.python,
        version=facts.version,
        implementation=facts.implementation,
        free_threaded=facts.free_threaded,
        prefix=facts.prefix,
        base_prefix=facts.base_prefix,
        site=site,
        scope=scope,
        kind=kind,
        has_pip=facts.pip is not None,
        writable=all(_writable(place) for place in (site, *looked.occupied())),
        externally_managed=not facts.in_venv and (facts.stdlib / "EXTERNALLY-MANAGED").is_file(),
        tags=facts.tags,
        libc=facts.libc,
        distro=distro,
        package_manager=manager,
        owners=looked.owners,
        state=looked.state,
        pil_path=looked.pil_path,
        pil_version=looked.pil_version,
        problems=tuple(finding.text for finding in looked.findings),
        findings=tuple(looked.findings),
        leftovers=tuple(looked.leftovers),
        shadowed_by=looked.shadowed_by,
        platform=facts.platform,
        has_ensurepip=facts.ensurepip is not None,
        newer_python=newer,
    )


def _supported_versions() -> tuple[str, ...]:
    return tuple(f"{OLDEST[0]}.{minor}" for minor in range(NEWEST[1], OLDEST[1] - 1, -1))


def _real(path: Path) -> str:
    return os.path.realpath(path)


def _kind(facts: Facts) -> str:
    prefix = facts.prefix
    if (prefix / "conda-meta").is_dir():
        return "conda"
    if not facts.in_venv:
        return "system"
    if (prefix / "pipx_metadata.json").is_file():
        return "pipx"
    if (prefix / "uv-receipt.toml").is_file():
        return "uv-tool"
    config = interpreter.read_config(prefix)
    return next((maker for maker in ("uv", "virtualenv") if maker in config), "venv")


def _scope(facts: Facts, owners: tuple[Distribution, ...]) -> tuple[str, tuple[Path, ...]]:
    """Whose environment it is, and the folders that count as one with the first of them."""
    places = (facts.platlib, *((facts.purelib,) if facts.purelib != facts.platlib else ()))
    if facts.in_venv:
        return "venv", places
    user = facts.user_site if facts.user_site_enabled else None
    if user is None:
        return "system", places
    # The same scope as now; and without permission for the system's, the user's own, as pip does.
    theirs = any(_real(owner.site) == _real(user) and owner.conflicts for owner in owners)
    if theirs or (user / "PIL").is_dir() or not _writable(facts.platlib):
        return "user", (user,)
    return "system", places


def _writable(path: Path) -> bool:
    """Whether we may put files into a folder, or make it if it is not there yet."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return path != path.parent and _writable(path.parent)
    except OSError:
        return False
    return os.access(path, os.W_OK | os.X_OK, effective_ids=True)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _folders(facts: Facts) -> Iterable[Path]:
    """The folders on the path that can hold distributions, each once, in the path's order."""
    seen = {_real(facts.stdlib), _real(facts.stdlib / "lib-dynload")}
    for entry in (*facts.path, facts.platlib, facts.purelib):
        real = _real(entry)
        if real not in seen and _is_folder(entry):
            seen.add(real)
            yield entry


def _owners(facts: Facts) -> tuple[Distribution, ...]:
    found = [owner for folder in _folders(facts) for owner in find(folder)]
    linked = {owner.canonical_name for owner in found if owner.location.suffix == ".egg-link"}
    return tuple(
        owner
        for owner in found
        # The source tree behind an egg-link is the same distribution again.
        if not (owner.editable and owner.location.suffix == ".egg-info" and owner.canonical_name in linked)
    )


def _with_packages(
    owners: tuple[Distribution, ...], facts: Facts, scope: str, kind: str, run: Runner
) -> tuple[Distribution, ...]:
    if kind == "conda":
        return tuple(_with_conda_package(owner, facts.prefix) for owner in owners)
    result = []
    for owner in owners:
        inside = facts.in_venv and Path(_real(owner.site)).is_relative_to(_real(facts.prefix))
        if inside or owner.editable or owner.installer in INSTALLERS:
            result.append(owner)
            continue
        witness = next((owner.site / f for f in owner.files if f.endswith("/Image.py")), None)
        witness = witness or owner.site / "PIL" / "Image.py"
        # A venv leaves what is outside of it alone, whoever owns it: no need for a slow query.
        file = witness if witness.exists() else owner.location
        package = package_by_place(file) if scope == "venv" else package_of(file, run=run)
        if package:
            owner = replace(owner, managed_by=package.manager, package=package.name)
        result.append(owner)
    return tuple(result)


def _with_conda_package(owner: Distribution, prefix: Path) -> Distribution:
    candidates = [str(owner.location / "METADATA")]
    if not owner.has_metadata or owner.installer not in INSTALLERS:
        # The files mislead where pip laid another Pillow over the one of conda.
        candidates += [*(str(owner.site / f) for f in owner.files), str(owner.site / "PIL" / "Image.py")]
    inside = frozenset(
        str(Path(file).relative_to(prefix)) for file in candidates if Path(file).is_relative_to(prefix)
    )
    packages = conda_packages(prefix, inside)
    if not packages:
        return owner
    return replace(owner, managed_by="conda", package=", ".join(sorted(set(packages.values()))))


def _distro() -> tuple[str, str | None]:
    # Asking lsb_release and uname too would start programs.
    here = distribution_of_linux.LinuxDistribution(include_lsb=False, include_uname=False)
    name = here.id()
    family = (name, *here.like().split(), name.partition("-")[0])
    manager = next((PACKAGE_MANAGERS[member] for member in family if member in PACKAGE_MANAGERS), None)
    return f"{name} {here.version()}".strip() or "unknown", manager


class _Look:
    """The look at one environment: facts go in, findings and a verdict on the state come out."""

    def __init__(
        self,
        *,
        facts: Facts,
        scope: str,
        kind: str,
        targets: tuple[Path, ...],
        owners: tuple[Distribution, ...],
    ) -> None:
        self.facts = facts
        self.scope = scope
        self.kind = kind
        self.targets = targets
        self.owners = owners
        self.findings: list[Finding] = []
        self.leftovers: list[Path] = []
        self.shadowed_by: Path | None = None
        self.pil_path = facts.pil.folder if facts.pil else None
        # Where the target's own PIL is, or would be.
        self.home = next((site for site in targets if (site / "PIL").is_dir()), targets[0])
        self.pil_version = _python_version(self.pil_path) if self.pil_path else None
        if self.pil_version is None and (imported := self._imported()):
            self.pil_version = imported.version or None
        self.state = State.NONE
        self.layered = False

    def find(self, code: str, text: str) -> None:
        self.findings.append(Finding(code=code, text=text))

    def inside(self) -> tuple[Distribution, ...]:
        return tuple(owner for owner in self.owners if owner.in_target)

    def _imported(self) -> Distribution | None:
        """The distribution that the PIL which would be imported belongs to."""
        if self.pil_path is None:
            return None
        where = _real(self.pil_path.parent)
        return next((owner for owner in self.owners if _real(owner.site) == where and owner.conflicts), None)

    def occupied(self) -> list[Path]:
        """The folders that an installation would have to move away."""
        return [p for p in (self.home / "PIL", *library_folders(self.home)) if p.is_dir()]

    # The state ---------------------------------------------------------------------

    def judge(self) -> None:
        """Find the state, and everything odd on the way to it."""
        pillows = tuple(owner for owner in self.inside() if owner.conflicts)
        self.layered = len(pillows) > 1
        if self.layered:
            pillows = self._compare_layers(pillows)
        damaged = [self._examine(owner) for owner in pillows]
        broken = self._examine_package(pillows)
        unowned = self._examine_strays(pillows)
        self._examine_plugins()
        self.shadowed_by = self._shadow()
        if self.kind == "conda":
            self._name_conda()
            self.state = State.CONDA
        elif (package := self._package()) is not None:
            where = f"{package.managed_by} ({package.package})" if package.package else package.managed_by
            self.find("system-package", f"{package} belongs to the package manager: {where}")
            self.state = State.SYSTEM_PACKAGE
        elif self._editable():
            self.state = State.EDITABLE
        elif len(pillows) > 1:
            self.state = State.MIXED
        elif unowned:
            self.state = State.UNOWNED
        elif any(damaged) or broken:
            self.state = State.BROKEN
        elif pillows:
            self.state = _flavour(pillows[0])

    def _package(self) -> Distribution | None:
        if self.scope == "venv":
            return None
        imported = self._imported()
        candidates = (*self.inside(), *((imported,) if imported else ()))
        return next((owner for owner in candidates if owner.managed_by in MANAGERS), None)

    def _name_conda(self) -> None:
        for owner in self.owners:
            if owner.managed_by:
                self.find("conda", f"{owner} was put there by conda: {owner.package}")
            else:
                self.find("conda-foreign", f"{owner} lies in a conda environment; conda knows nothing of it")

    def _editable(self) -> bool:
        for owner in self.inside():
            if owner.editable and owner.conflicts:
                where = owner.direct_url or str(owner.site)
                self.find("editable", f"{owner} is an editable installation of {where}")
                return True
        imported = self._imported()
        if imported and imported.editable:
            self.find("editable", f"{imported} is imported from its source tree {imported.site}")
            return True
        return False

    def _compare_layers(self, pillows: tuple[Distribution, ...]) -> tuple[Distribution, ...]:
        """Say which of several distributions over one another the files on disk are of."""
        records = {owner.location: {row.path: row for row in read_record(owner)} for owner in pillows}
        compared = []
        for owner in pillows:
            own = records[owner.location]
            disputed = frozenset(
                path
                for path, row in own.items()
                for other, theirs in records.items()
                if other != owner.location and path in theirs and theirs[path].sha256 != row.sha256
            )
            wrong = set(wrong_hashes(owner, disputed)) | set(owner.altered)
            compared.append(replace(owner, altered=tuple(sorted(wrong))))
        self.owners = tuple(
            next((c for c in compared if c.location == owner.location), owner) for owner in self.owners
        )
        whole = [owner for owner in compared if owner.has_record and not (owner.altered or owner.missing)]
        told = ", ".join(
            f"{owner}: {len(owner.altered)} files overwritten, {len(owner.missing)} missing"
            for owner in compared
            if owner not in whole
        )
        names = " and ".join(map(str, pillows))
        last = f"the files are those of {whole[0]}" if len(whole) == 1 else "the files are of no single one"
        self.find("mixed", f"{names} lie over one another; {last}" + (f" ({told})" if told else ""))
        return tuple(compared)

    def _examine(self, owner: Distribution) -> bool:
        """Note what is wrong with one distribution; whether that breaks it."""
        if owner.editable:
            return False
        broken = False
        if not owner.has_metadata:
            self.find("metadata-missing", f"{owner.location} is a husk: its METADATA is missing")
            broken = True
        if not owner.has_record:
            self.find("record-missing", f"{owner} has no record of its files: pip and uv cannot remove it")
        if owner.missing:
            some = ", ".join(owner.missing[:3]) + (", …" if len(owner.missing) > 3 else "")
            self.find("files-missing", f"{owner}: {len(owner.missing)} of its files are missing ({some})")
            broken = True
        if owner.altered and not self.layered:
            count = len(owner.altered)
            self.find("files-altered", f"{owner}: {count} of its files are not the ones recorded")
        if not owner.exclusive:
            self.find("foreign", f"{owner} brings a PIL of its own, beside other things")
        return broken

    def _examine_package(self, pillows: tuple[Distribution, ...]) -> bool:
        """Note what is wrong with the files of PIL themselves; whether that breaks it."""
        package = self.home / "PIL"
        eggs = any(owner.location.suffix == ".egg" for owner in pillows)
        if not pillows or eggs or any(owner.editable for owner in pillows):
            return False
        if not package.is_dir():
            self.find("package-missing", f"{pillows[0]} is installed by its record, but {package} is gone")
            return True
        if not (package / "__init__.py").is_file():
            self.find("namespace", f"{package} has no __init__.py: `import PIL` finds an empty namespace")
            return True
        version = _python_version(package)
        if len(pillows) == 1 and version and _release(pillows[0].version) != _release(version):
            self.find("version-differs", f"{pillows[0]} is recorded, but PIL says that it is {version}")
        return self._examine_core(package, version)

    def _examine_core(self, package: Path, version: str | None) -> bool:
        if not self.facts.suffixes:
            return False
        cores = [package / f"_imaging{suffix}" for suffix in self.facts.suffixes]
        core = next((candidate for candidate in cores if candidate.is_file()), None)
        if core is None:
            others = sorted(path.name for path in package.glob("_imaging.*.so"))
            found = f"only {', '.join(others)}, for another Python" if others else "there is none"
            self.find("core-missing", f"{package} has no extension that this Python could load: {found}")
            return True
        if version is None:
            return False
        compiled = _core_version(core, version) or _core_version(package / "_imaging_stock.so", version)
        if compiled and compiled != version:
            told = f"PIL says that it is {version}, its compiled core says {compiled}: the import will fail"
            self.find("core-differs", told)
            return True
        return False

    def _examine_strays(self, pillows: tuple[Distribution, ...]) -> bool:
        """Find what nobody owns; whether that is a whole PIL."""
        recorded = {file for owner in self.inside() for file in owner.files}
        unknown = any(not owner.has_record for owner in pillows)
        package = self.home / "PIL"
        unowned = False
        if package.is_dir() and not unknown:
            files = [path for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc"]
            strays = [path for path in files if str(path.relative_to(self.home)) not in recorded]
            if not pillows and (strays or not files):
                self.leftovers.append(package)
                what = f"{package} belongs to no distribution" if strays else f"{package} is an empty remnant"
                self.find("unowned", what)
                unowned = True
            elif strays:
                self.find("strays", f"{len(strays)} files in {package} belong to no distribution")
        for folder in library_folders(self.home):
            if not unknown and not any(file.startswith(folder.name + "/") for file in recorded):
                self.leftovers.append(folder)
                self.find("leftovers", f"{folder} belongs to no distribution")
        for folder in (left for site in self.targets for left in leftovers(site)):
            self.leftovers.append(folder)
            self.find("leftovers", f"{folder} was left behind by an interrupted pip")
        return unowned

    def _examine_plugins(self) -> None:
        for owner in self.inside():
            if not owner.conflicts:
                files = ", ".join(file for file in owner.files if PILLOWS_FILES.match(file))
                self.find("plugin", f"{owner} has put files into Pillow's folders, which stay: {files}")

    # Beyond the target ---------------------------------------------------------------

    def _shadow(self) -> Path | None:
        """The first PIL on the path before the target's."""
        wanted = set(map(_real, self.targets))
        if wanted.isdisjoint(map(_real, self.facts.path)):
            return None  # The folder is yet to be made: where it will come is not to be seen.
        for entry in self.facts.path:
            if _real(entry) in wanted:
                return None
            for candidate in (entry / "PIL", entry / "PIL.py"):
                if os.access(candidate, os.F_OK):
                    self.find("shadowed", f"{candidate} is found before anything in {self.targets[0]}")
                    return candidate
        return None

    def warn(self, environ: Mapping[str, str], proc: Path) -> None:
        """Note what has no part in the state, but should be known."""
        settled = self.state in {State.CONDA, State.SYSTEM_PACKAGE, State.EDITABLE}
        for owner in self.owners:
            if not (owner.in_target or settled):
                self.find("outside", f"{owner} in {owner.site} is outside of the target and stays as it is")
        for entry in filter(None, environ.get("PYTHONPATH", "").split(os.pathsep)):
            if any(os.access(Path(entry) / name, os.F_OK) for name in ("PIL", "PIL.py")):
                self.find("pythonpath", f"PYTHONPATH puts the PIL in {entry} before that of any environment")
        if self.pil_path and self.pil_path.is_dir():
            using = processes_using(self.pil_path, proc=proc)
            if using:
                some = ", ".join(map(str, using[:5])) + (", …" if len(using) > 5 else "")
                told = f"running programs have this PIL loaded and keep it until they are restarted: {some}"
                self.find("in-use", told)


def _flavour(owner: Distribution) -> State:
    local = owner.version.partition("+")[2]
    if local.startswith("simd.") and (owner.location / PROVENANCE).is_file():
        return State.OURS
    name = owner.canonical_name
    if is_pillow(name) and name not in {"pil", "pillow"}:
        return State.SIMD
    return State.STOCK


def _release(version: str) -> str:
    return canonicalize_name(version.partition("+")[0])


def _python_version(package: Path) -> str | None:
    """The version that the Python side of PIL will say it is."""
    try:
        text = (package / "_version.py").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(r"""^__version__\s*(?::[^=]*)?=\s*["']([^"']+)["']""", text, re.MULTILINE)
    return found[1] if found else None


#: What stands before a version only if that is the end of a longer one.
_IN_A_NUMBER = frozenset(b"%d" % digit for digit in range(10)) | {b"."}


def _core_version(core: Path, expected: str) -> str | None:
    """The version that a compiled core will say it is, read from its string constants.

    ``PILLOW_VERSION`` is a constant in ``_imaging.c``, stored under that name in the
    module's dictionary; compilers lay the two strings side by side. Where they do not,
    the expected version is looked for anywhere. None when neither can be found, as in
    the loader that stands in front of a core of ours.
    """
    try:
        data = core.read_bytes()
    except OSError:
        return None
    # Plain searches: a regular expression takes a hundred times as long over these megabytes.
    at = data.find(expected.encode() + b"\0")
    while at >= 0:
        if data[at - 1 : at] not in _IN_A_NUMBER:
            return expected
        at = data.find(expected.encode() + b"\0", at + 1)
    end = data.find(b"\0PILLOW_VERSION\0")
    start = data.rfind(b"\0", 0, end) + 1 if end > 0 else 0
    candidate = data[start:end] if end > 0 else b""
    return candidate.decode() if re.fullmatch(rb"\d+(\.\d+)+[\w.]*", candidate) else None


# The refusals ------------------------------------------------------------------------


def require_supported(env: Environment) -> None:
    """Raise TargetError, with the right alternative, unless a Pillow of ours can be installed there."""
    _require_python(env)
    _require_free(env)
    if env.state == State.EDITABLE:
        raise TargetError(
            "Pillow is an editable installation here",
            why=_why(env, "editable"),
            hint=f"remove it ({_pip(env)} uninstall pillow), or use an environment of its own: {_venv(env)}",
        )
    if foreign := next((owner for owner in env.replaced if not owner.exclusive), None):
        raise TargetError(
            f"PIL is part of {foreign} here",
            why=f"{foreign} brings more than a Pillow, and it cannot be removed in part",
            hint=f"remove {foreign.name}, or use an environment of its own: {_venv(env)}",
        )
    if env.shadowed_by:
        raise TargetError(
            f"a Pillow in {env.site} would never be imported",
            why=f"{env.shadowed_by} comes before it on sys.path",
            hint="remove it, or the .pth file that puts it there",
        )
    if not env.writable:
        raise TargetError(
            f"no permission to write to {env.site}",
            why="it belongs to another user, or the file system is read-only",
            hint=f"run simdinstall as the environment's owner, or make one of your own: {_venv(env)}",
        )


def _require_python(env: Environment) -> None:
    series = f"{env.version[0]}.{env.version[1]}"
    wanted = f"CPython {OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}"
    if env.version[:2] < OLDEST:
        newer = str(env.newer_python or f"python{OLDEST[0]}.{OLDEST[1]}")
        raise TargetError(
            f"Python {series} is too old",
            why=f"{env.python} is {env.release}; the newest Pillow needs {wanted}",
            hint=f"make an environment with a newer one: {_venv(env, newer)}",
        )
    if env.implementation != "cpython":
        raise TargetError(
            f"{env.python} is {env.implementation}, not CPython",
            why=f"the official wheels that the kernels are put into are for {wanted}",
            hint="use an environment of CPython",
        )
    if env.version[:2] > NEWEST:
        raise TargetError(
            f"Python {series} is not known yet",
            why=f"this simdinstall knows {wanted}",
            hint="look for a newer simdinstall, or use an environment of an older Python",
        )
    if not env.platform.startswith("linux"):
        raise TargetError(
            f"{env.python} is for {env.platform}",
            why="simdinstall puts kernels into Linux wheels only",
            hint="use it on Linux",
        )


def _require_free(env: Environment) -> None:
    """Refuse what somebody else manages."""
    if env.state == State.CONDA:
        raise TargetError(
            f"{env.prefix} is a conda environment",
            why="conda keeps its own record of every file, and its files are links into its cache",
            hint="have simdinstall take conda's Pillow out, record and all, until the rollback: --conda;"
            f" or make a venv of its Python: {_venv(env)}",
        )
    if env.externally_managed:
        raise TargetError(
            f"{env.python} is managed by the operating system (EXTERNALLY-MANAGED)",
            why=_why(env, "system-package") or "packages in it are installed by the package manager alone",
            hint=f"make a venv: {_venv(env)}",
        )
    if env.state == State.SYSTEM_PACKAGE:
        raise TargetError(
            "Pillow belongs to the package manager here",
            why=_why(env, "system-package"),
            hint=f"leave it, and make a venv: {_venv(env)}",
        )


def _why(env: Environment, code: str) -> str:
    return "; ".join(finding.text for finding in env.findings if finding.code == code)


def _pip(env: Environment) -> str:
    return f"{env.python} -m pip" if env.has_pip else f"VIRTUAL_ENV={env.prefix} uv pip"


def _venv(env: Environment, python: str | None = None) -> str:
    """The two commands that lead to a venv with an accelerated Pillow."""
    maker = python or str(env.python if env.scope != "venv" else env.base_prefix / "bin" / "python3")
    bare = "" if env.has_ensurepip or python else "--without-pip "
    return f"`{maker} -m venv {bare}~/pillow-env`, then `simdinstall --python ~/pillow-env/bin/python`"
