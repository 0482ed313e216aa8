"""Finds, downloads, checks and caches the official wheel, the sdists and zig.

The cache holds what was downloaded, by hash, each with a record of what it is; what
the indexes listed, so that a second run asks none of them; and zig, unpacked. All of it
can be removed at any time.

    downloads/<sha256>/<file>, record.json
    listings/<project>-<digest of where from>.json
    partial/<key>.part
    zig/<sha256>/
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import sys_tags
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from simdinstall import archive, listing
from simdinstall.errors import FetchError, NoSpaceError, UsageError
from simdinstall.indexes import LISTING_LIFETIME, Indexes, read, redact
from simdinstall.listing import Listed, Page
from simdinstall.progress import Progress, silent

if TYPE_CHECKING:
    from filelock import FileLock

    from simdinstall.transfer import Session

SCHEMA = 1

# zig 0.15 unpacks to about 350 MB in 20 000 files.
_ZIG_LIMIT = 1024 * 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Download:
    """A file in the cache.

    ``url`` holds no credentials. ``checked`` says whether the index gave a hash.
    """

    name: str
    version: str
    filename: str
    url: str
    sha256: str
    path: Path
    checked: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """What a build is made from: the official wheel and the sdists of Pillow-SIMD and of zlib-ng."""

    pillow: Download
    pillow_simd: Download | None = None
    zlib_ng: Download | None = None


class Fetcher:
    """Everything from outside comes through here.

    ``indexes`` (default: what pip and uv are configured to use) says where from.
    With ``offline`` only the cache is used. ``lifetime`` is :data:`LISTING_LIFETIME` or
    another. ``notes`` collects what a user may want to know: indexes that were passed
    over, files without a hash, damaged cache entries.
    """

    def __init__(
        self,
        *,
        cache: Path,
        offline: bool = False,
        progress: Progress | None = None,
        indexes: Indexes | None = None,
        environ: Mapping[str, str] | None = None,
        lifetime: float = LISTING_LIFETIME,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._cache = cache
        self._offline = offline
        self._progress = progress or silent
        self._indexes = indexes
        self._environ = os.environ if environ is None else environ
        self._lifetime = lifetime
        self._now = now
        self._sleep = sleep
        self._session: Session | None = None
        self._releases_of: dict[str, dict[Version, list[Listed]]] = {}
        self._notes: dict[str, None] = {}
        self._troubles: list[str] = []

    @property
    def notes(self) -> tuple[str, ...]:
        """What happened on the way that is worth telling, in order, each once."""
        return tuple(self._notes)

    def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            self._session.close()
            self._session = None

    # --- what there is ---

    def versions(self, project: str) -> tuple[str, ...]:
        """All final releases that are not yanked, newest first. FetchError without a network."""
        return tuple(str(version) for version, _ in self._final(project))

    def newest(self, project: str, *, tags: Sequence[str] | None = None, python: str | None = None) -> str:
        """The newest final release of ``project``.

        With ``tags`` (PEP 425, best first) it must have a wheel for one of them, without
        them an sdist. ``python`` (``3.11.7``) must satisfy its Requires-Python. FetchError
        when there is none.
        """
        final = self._final(project)
        for version, files in final:
            for file in files:
                fits = _rank(file, tags) is not None if tags is not None else not file.is_wheel
                if fits and _fits_python(file, python):
                    return str(version)
        if tags is not None and final:
            raise self._no_wheel(project, *final[0], python)
        raise FetchError(
            f"there is no {'sdist' if tags is None else 'release'} of {project} to be had",
            why=self._why_nothing(project),
            hint=self._hint(),
        )

    def wheel(
        self, project: str, version: str, tags: Sequence[str], *, python: str | None = None
    ) -> Download:
        """The wheel of a release that fits ``tags`` best, downloaded and checked.

        A yanked release is taken, with a note, because it was asked for by name.
        FetchError: no such release (names near ones), no wheel for the tags (says for
        which there are), not to be had, or not what the index promises.
        """
        release = self._release(project, version)
        ranked = [
            (rank, f) for f in release if (rank := _rank(f, tags)) is not None and _fits_python(f, python)
        ]
        if not ranked:
            raise self._no_wheel(project, Version(version), release, python)
        return self._download(project, min(ranked, key=lambda item: item[0])[1])

    def sdist(self, project: str, version: str | None = None) -> Download:
        """The sdist of a release (default: the newest), downloaded and checked. FetchError."""
        wanted = version or self.newest(project)
        sdists = [f for f in self._release(project, wanted) if not f.is_wheel]
        if not sdists:
            raise FetchError(
                f"{project} {wanted} has no sdist", why="only wheels were published", hint=self._hint()
            )
        return self._download(project, min(sdists, key=lambda f: not f.filename.endswith(".tar.gz")))

    def ziglang(self, machine: str = "") -> Path:
        """The zig program from the ``ziglang`` wheel, fetched (100 MB) and unpacked once.

        ``machine``: with libc's headers for another architecture than this one. Once it is in
        the cache no index is asked. FetchError, NoSpaceError.
        """
        zigs = self._cache / "zig"
        machine = machine or platform.machine()
        if (found := self._unpacked_zig(zigs, machine)) is not None:
            return found
        tags = [str(tag) for tag in sys_tags()]
        wheel = self.wheel("ziglang", self.newest("ziglang", tags=tags), tags)
        with _storing("zig"), _locked(zigs / ".lock"):
            if (found := self._unpacked_zig(zigs, machine)) is not None:
                return found
            self._progress("unpacking zig")
            for stale in zigs.glob("*.tmp"):
                shutil.rmtree(stale, ignore_errors=True)
            fresh = zigs / f"{wheel.sha256}.tmp"
            needs = partial(_zig_needs, machines={machine, platform.machine()})
            archive.extract(wheel.path, fresh, keep=needs, limit_bytes=_ZIG_LIMIT)
            program = fresh / "ziglang/zig"
            if not program.is_file():
                shutil.rmtree(fresh)
                raise FetchError(
                    f"{wheel.filename} holds no zig", why="ziglang/zig is not in it", hint="use gcc or clang"
                )
            program.chmod(0o755)
            # One that was unpacked for fewer machines.
            shutil.rmtree(zigs / wheel.sha256, ignore_errors=True)
            fresh.rename(zigs / wheel.sha256)
            # It is kept unpacked; the wheel would only take 100 MB more.
            shutil.rmtree(wheel.path.parent, ignore_errors=True)
        return zigs / wheel.sha256 / "ziglang/zig"

    @staticmethod
    def _unpacked_zig(zigs: Path, machine: str) -> Path | None:
        # Unpacked under another name and renamed when whole: what has its name is whole.
        found = [p for p in zigs.glob("*/ziglang/zig") if not p.parts[-3].endswith(".tmp")]
        if machine != platform.machine():
            found = [p for p in found if [*p.parent.glob(f"lib/libc/include/{machine}-linux*")]]
        return max(found, key=lambda p: p.stat().st_mtime, default=None)

    # --- choosing ---

    def _final(self, project: str) -> list[tuple[Version, list[Listed]]]:
        """The final releases with what of them is not yanked, newest first."""
        kept = (
            (version, [file for file in files if file.yanked is None])
            for version, files in self._releases(project).items()
            if not version.is_prerelease
        )
        return sorted(((v, files) for v, files in kept if files), reverse=True, key=lambda item: item[0])

    def _release(self, project: str, version: str) -> list[Listed]:
        """The files of one release, yanked ones only when there are no others."""
        try:
            wanted = Version(version)
        except InvalidVersion:
            raise UsageError(f"{version!r} is no version", hint="a version looks like 13.0.0") from None
        releases = self._releases(project)
        found = releases.get(wanted, [])
        if not found:
            near = _near(wanted, (v for v, files in releases.items() if any(f.yanked is None for f in files)))
            raise FetchError(
                f"there is no {project} {version}" + (" in the cache" if self._offline else ""),
                why="; ".join((f"near it there are {', '.join(near)}", *self._troubles))
                if near
                else self._why_nothing(project),
                hint=self._hint(),
            )
        kept = [f for f in found if f.yanked is None]
        if not kept:
            why = next((f.yanked for f in found if f.yanked), "")
            self._note(f"{project} {version} was yanked" + (f": {why}" if why else ""))
        return kept or found

    def _no_wheel(
        self, project: str, version: Version, release: Iterable[Listed], python: str | None
    ) -> FetchError:
        wheels = [f for f in release if f.is_wheel]
        required = {f.requires_python for f in wheels if not _fits_python(f, python)}
        if not wheels:
            why = "it was published without wheels"
        elif required:
            why = f"it needs Python {' or '.join(sorted(required))}; this is {python}"
        else:
            why = f"it has wheels for {_tags_of(wheels)}"
        return FetchError(
            f"{project} {version} has no wheel for this Python" + (" in the cache" if self._offline else ""),
            why=why,
            hint="choose another release with --pillow, or another Python with --python"
            + ("; or go without --offline" if self._offline else ""),
        )

    def _hint(self) -> str:
        if self._offline:
            return "--offline knows only what was downloaded before; go once without it"
        return "check the index: pip config list; uv.toml"

    def _why_nothing(self, project: str) -> str:
        if self._offline:
            return f"nothing of {project} that fits is in the cache"
        if found := self._releases(project):
            why = f"none of its {len(found)} releases is final and fits"
        elif asked := [redact(u) for u in (*self._config().index_urls, *self._config().find_links)]:
            why = f"not found at {', '.join(asked)}"
        else:
            why = "no index is configured (no-index), and there are no find-links"
        return "; ".join((why, *self._troubles))

    def _note(self, text: str) -> None:
        self._notes.setdefault(text)

    def _config(self) -> Indexes:
        if self._indexes is None:
            self._indexes = read(self._environ)
        return self._indexes

    # --- listings ---

    def _releases(self, project: str) -> dict[Version, list[Listed]]:
        """Every file of ``project`` that can be had, from all sources, by version."""
        name = canonicalize_name(project)
        if name not in self._releases_of:
            files = self._at_hand(name) if self._offline else self._from_sources(name)
            releases: dict[str, list[Listed]] = {}
            for file in listing.official(files):
                releases.setdefault(file.version, []).append(file)
            self._releases_of[name] = {Version(version): own for version, own in releases.items()}
        return self._releases_of[name]

    def _at_hand(self, name: str) -> list[Listed]:
        """Without a network: what was downloaded before, and local directories and indexes."""
        nearby = listing.local(name, self._config(), self._note)
        return self._downloaded(name) + [file for file in nearby if file.is_local]

    def _from_sources(self, name: str) -> list[Listed]:
        config = self._config()
        for note in config.notes:
            self._note(note)
        nearby = listing.local(name, config, self._note)
        sources = listing.remote(config)
        if not sources:
            return nearby
        store = self._cache / "listings" / f"{name}-{listing.key(sources)}.json"
        known = _load(store)
        if known and 0 <= self._now() - known[0] < self._lifetime:
            pages = known[1]
        else:
            self._progress(f"asking for the releases of {name}")
            before = known[1] if known else {}
            pages, failures = listing.ask(name, sources, self._connected(), before, self._note)
            if failures and not pages:
                # Not even one could be asked: that is no network, not a stale entry.
                raise failures[0]
            self._troubles += [f"{failure}: {failure.why}" for failure in failures]
            if not failures:
                with _storing(f"the list of {name}'s releases"):
                    _save(store, self._now(), pages)
        return nearby + [file for page in pages.values() for file in page.files]

    def _connected(self) -> Session:
        # Imported here: the HTTP client takes 0.2 s, and a second run needs none.
        from simdinstall.transfer import Session

        if self._session is None:
            self._session = Session(self._config(), sleep=self._sleep)
        return self._session

    def _downloaded(self, name: str) -> list[Listed]:
        """What of ``name`` was downloaded before, by the records beside the files."""
        files = []
        for record in sorted((self._cache / "downloads").glob("*/record.json")):
            try:
                data = json.loads(record.read_text(encoding="utf-8"))
                file = listing.with_hash(Listed.from_json(data["file"]), record.parent.name)
                here = (record.parent / file.filename).is_file()
                if data["schema"] == SCHEMA and here and listing.version_in(file.filename, name):
                    files.append(file)
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                self._note(f"a damaged cache record is not used: {record}")
        return files

    # --- downloads ---

    def _download(self, project: str, file: Listed) -> Download:
        hashes = dict(file.hashes)
        key = hashes.get("sha256") or hashlib.sha256(redact(file.url).encode()).hexdigest()
        partial = self._cache / "partial"
        # Locked, because two at once would write into the same part.
        with _storing(file.filename), _locked(partial / f"{key}.lock"):
            cached = self._cached(project, file)
            return cached or self._transfer(project, file, partial, key)

    def _transfer(self, project: str, file: Listed, partial: Path, key: str) -> Download:
        if self._offline and not file.is_local:
            raise FetchError(
                f"{file.filename} is not in the cache any more", hint="go once without --offline"
            )
        from simdinstall.transfer import download

        hashes = dict(file.hashes)
        staged = partial / f"{key}-{file.filename}"
        sha256 = download(
            self._connected(),
            file.url,
            staged,
            hashes=hashes,
            part=partial / f"{key}.part",
            name=file.filename,
            progress=self._progress,
        )
        if "sha256" not in hashes and not file.is_local:
            given = f"only {', '.join(hashes)}" if hashes else "no hash"
            self._note(f"the index gives {given} for {file.filename}; its sha256 is {sha256}")
        folder = self._cache / "downloads" / sha256
        folder.mkdir(parents=True, exist_ok=True)
        staged.replace(folder / file.filename)
        # Last, because a file without a record does not count.
        _write(
            folder / "record.json",
            {"schema": SCHEMA, "file": file.to_json(), "checked": bool(hashes)},
        )
        return self._describe(project, file, sha256, checked=bool(hashes))

    def _cached(self, project: str, file: Listed) -> Download | None:
        """The download if it is there and still has its hash; a damaged one is removed."""
        sha256 = dict(file.hashes).get("sha256") or self._known_hash(project, file)
        if sha256 is None or not re.fullmatch(r"[0-9a-f]{64}", sha256):
            return None
        folder = self._cache / "downloads" / sha256
        try:
            checked = bool(json.loads((folder / "record.json").read_text(encoding="utf-8"))["checked"])
            with (folder / file.filename).open("rb") as content:
                intact = hashlib.file_digest(content, "sha256").hexdigest() == sha256
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            intact = checked = False
        if not intact:
            self._note(f"{file.filename} in the cache was damaged; it is fetched again")
            shutil.rmtree(folder, ignore_errors=True)
            return None
        return self._describe(project, file, sha256, checked=checked)

    def _known_hash(self, project: str, file: Listed) -> str | None:
        """The hash that a file had when it was downloaded from the same URL, if it was.

        For indexes that give none. Local files may be changed in place, so they are not.
        """
        if file.is_local:
            return None
        downloaded = self._downloaded(canonicalize_name(project))
        before = (known for known in downloaded if known.url == redact(file.url))
        return next((known.hashes[0][1] for known in before), None)

    def _describe(self, project: str, file: Listed, sha256: str, *, checked: bool) -> Download:
        return Download(
            name=canonicalize_name(project),
            version=str(Version(file.version)),
            filename=file.filename,
            url=redact(file.url),
            sha256=sha256,
            path=self._cache / "downloads" / sha256 / file.filename,
            checked=checked,
        )


def _zig_needs(member: str, machines: Iterable[str]) -> bool:
    """Whether zig needs a file to compile C for Linux on these architectures.

    The rest, headers of other systems and C++, is half of it.
    """
    part = re.match(r"ziglang/lib/(?:libc/include/([^/]+)|libc/([^/]+)|([^/]+))/", member)
    if part is None:
        return True
    headers, system, library = part.groups()
    if headers:
        own = [f"{machine}-linux" for machine in machines]
        own += ["x86-linux"] if "x86_64" in machines else []
        return headers.startswith(("any-linux", "generic-glibc", "generic-musl", *own))
    if system:
        return system in ("glibc", "musl", "include")
    return library not in ("libcxx", "libcxxabi", "libtsan", "tsan", "docs")


def _fits_python(file: Listed, python: str | None) -> bool:
    if python is None or not file.requires_python:
        return True
    try:
        return SpecifierSet(file.requires_python).contains(python, prereleases=True)
    except InvalidSpecifier:
        return False


def _rank(file: Listed, tags: Sequence[str] | None) -> tuple[int, tuple[int, str]] | None:
    """How well a wheel fits: the place of its best tag, then the higher build number."""
    if tags is None or not file.is_wheel:
        return None
    _, _, build, own = parse_wheel_filename(file.filename)
    places = {tag: place for place, tag in enumerate(tags)}
    place = min((places[str(tag)] for tag in own if str(tag) in places), default=None)
    if place is None:
        return None
    number, suffix = build or (-1, "")
    return place, (-number, suffix)


def _tags_of(wheels: Iterable[Listed]) -> str:
    """The Pythons and platforms of wheels; those of Linux alone where there are any."""
    pythons, platforms = set(), set()
    for wheel in wheels:
        for tag in parse_wheel_filename(wheel.filename)[3]:
            pythons.add(tag.interpreter if tag.abi in (tag.interpreter, "abi3", "none") else tag.abi)
            platforms.add(tag.platform)
    linux = {platform for platform in platforms if "linux" in platform}
    return f"{', '.join(sorted(pythons, key=_natural))} on {', '.join(sorted(linux or platforms))}"


def _natural(text: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.findall(r"\d+|\D+", text)]


def _near(wanted: Version, versions: Iterable[Version]) -> list[str]:
    """Up to six releases around ``wanted``: three below and three above, newest first."""
    known = sorted({v for v in versions if not v.is_prerelease})
    below = [v for v in known if v < wanted][-3:]
    above = [v for v in known if v > wanted][: 6 - len(below)]
    if len(above) < 3:
        below = [v for v in known if v < wanted][-(6 - len(above)) :]
    return [str(v) for v in reversed(below + above)]


def _load(path: Path) -> tuple[float, dict[str, Page]] | None:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["schema"] != SCHEMA:
            return None
        return float(data["asked"]), {url: Page.from_json(page) for url, page in data["pages"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _save(path: Path, asked: float, pages: Mapping[str, Page]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = {url: page.to_json() for url, page in pages.items()}
    _write(path, {"schema": SCHEMA, "asked": asked, "pages": plain})


def _locked(path: Path) -> FileLock:
    from filelock import FileLock  # Late: see journal.

    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path)


@contextmanager
def _storing(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpaceError(
                f"no space left to store {what}",
                why=str(error),
                hint="free some space, or set SIMDINSTALL_CACHE_DIR to a larger disk",
            ) from error
        raise FetchError(
            f"cannot store {what}",
            why=str(error),
            hint="check the permissions of the cache, or set SIMDINSTALL_CACHE_DIR",
        ) from error


def _write(path: Path, data: object) -> None:
    """Whole or not at all: others may read it at the same time."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        fresh.write_text(json.dumps(data), encoding="utf-8")
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
