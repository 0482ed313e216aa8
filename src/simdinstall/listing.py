"""What the indexes and find-links list for a project, by unearth."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote, urlsplit

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion

from simdinstall.errors import FetchError
from simdinstall.indexes import Indexes, redact

if TYPE_CHECKING:
    from unearth import Link
    from unearth.fetchers import Fetcher

    from simdinstall.transfer import Answer, Session

_HTML = (".html", ".htm")
# What an index says when it does not know a project.
_ABSENT = frozenset({404, 410})


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """A file that an index lists. ``yanked`` is the reason, None if it is not yanked."""

    filename: str
    url: str
    version: str
    hashes: tuple[tuple[str, str], ...] = ()
    requires_python: str = ""
    yanked: str | None = None

    @property
    def is_wheel(self) -> bool:
        """Whether it is a wheel; else it is an sdist."""
        return self.filename.endswith(".whl")

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine."""
        return self.url.startswith("file:")

    def to_json(self) -> list[Any]:
        """A compact form for the cache, without credentials."""
        own = (self.filename, redact(self.url), self.version)
        return [*own, dict(self.hashes), self.requires_python, self.yanked]

    @classmethod
    def from_json(cls, data: Sequence[Any]) -> Listed:
        """The inverse of :meth:`to_json`. ValueError, TypeError and the like if it is none."""
        filename, url, version, hashes, requires_python, yanked = data
        return cls(
            filename=str(filename),
            url=str(url),
            version=str(version),
            hashes=tuple((str(k), str(v)) for k, v in hashes.items()),
            requires_python=str(requires_python),
            yanked=None if yanked is None else str(yanked),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """All that one index or page lists, with the validators to ask again by."""

    files: tuple[Listed, ...] = ()
    etag: str = ""
    last_modified: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "etag": self.etag,
            "last_modified": self.last_modified,
            "files": [file.to_json() for file in self.files],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Page:
        """The inverse of :meth:`to_json`. ValueError, TypeError, KeyError if it is none."""
        return cls(
            etag=str(data["etag"]),
            last_modified=str(data["last_modified"]),
            files=tuple(Listed.from_json(file) for file in data["files"]),
        )


def version_in(filename: str, project: str) -> str | None:
    """The version in a wheel's or sdist's filename; None if it is another project's or no such file."""
    try:
        if filename.endswith(".whl"):
            name, version, *_ = parse_wheel_filename(filename)
        else:
            name, version = parse_sdist_filename(filename)
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion):
        return None
    return str(version) if name == project else None


# --- on this machine ---


def local(project: str, indexes: Indexes, note: Callable[[str], None]) -> list[Listed]:
    """What directories and local pages list. One that does not exist is noted, as pip does."""
    found: list[Listed] = []
    for url in indexes.find_links:
        if url.startswith("file:"):
            path = _path(url)
            if path.is_dir():
                for child in sorted(path.iterdir()):
                    found += _local_file(project, child)
            elif path.is_file():
                found += _local_file(project, path)
            else:
                note(f"find-links {path} does not exist and is ignored")
    for url in indexes.index_urls:
        if url.startswith("file:"):
            root = _path(url)
            if (page := root / project / "index.html").is_file():
                found += _local_file(project, page)
            elif not root.is_dir():
                note(f"index {root} does not exist and is ignored")
    return found


def _path(url: str) -> Path:
    return Path(unquote(urlsplit(url).path))


def _local_file(project: str, path: Path) -> list[Listed]:
    if path.suffix.lower() in _HTML:
        from unearth import Link
        from unearth.collector import IndexPage, parse_html_page

        page = IndexPage(Link(path.as_uri()), path.read_bytes(), None, "text/html")
        return list(_listed(project, parse_html_page(page)))
    version = version_in(path.name, project)
    return [] if version is None else [Listed(filename=path.name, url=path.as_uri(), version=version)]


def _listed(project: str, links: Iterable[Link]) -> Iterable[Listed]:
    for link in links:
        version = version_in(link.filename, project)
        if version is None or link.is_vcs:
            continue
        # The fragment is of no use but for the hash, which is kept.
        yield Listed(
            filename=link.filename,
            url=link.url_without_fragment,
            version=version,
            hashes=tuple(sorted((k, v[0].lower()) for k, v in (link.hash_option or {}).items())),
            requires_python=link.requires_python or "",
            yanked=link.yank_reason,
        )


# --- over the network ---


def remote(indexes: Indexes) -> tuple[tuple[str, str], ...]:
    """The sources that have to be asked: (kind as unearth calls it, URL)."""
    pages = [("find_links", url) for url in indexes.find_links]
    roots = [("index", url) for url in indexes.index_urls]
    return tuple((kind, url) for kind, url in (*roots, *pages) if not url.startswith("file:"))


def key(sources: Iterable[tuple[str, str]]) -> str:
    """A short name for a set of sources, the same whatever credentials they hold."""
    text = "\n".join(f"{kind} {redact(url)}" for kind, url in sources)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def ask(
    project: str,
    sources: Iterable[tuple[str, str]],
    session: Session,
    before: Mapping[str, Page],
    note: Callable[[str], None],
) -> tuple[dict[str, Page], list[FetchError]]:
    """Ask every source, and only for what has changed since ``before``.

    Returns the pages by URL (without credentials) and an error for each source that
    could not be asked. One that does not know the project has an empty page.
    """
    pages: dict[str, Page] = {}
    failures: list[FetchError] = []
    for kind, url in sources:
        known = before.get(redact(url), Page())
        page_url = url
        if kind == "index":
            page_url = posixpath.join(url, project) + "/"
        try:
            pages[redact(url)] = _ask_one(project, kind, url, page_url, session, known)
        except FetchError as error:
            failures.append(error)
            note(f"{redact(url)} is not used: {error.why or error}")
    return pages, failures


def _ask_one(project: str, kind: str, url: str, page_url: str, session: Session, known: Page) -> Page:
    import httpx2
    from unearth import PackageFinder

    from simdinstall.transfer import reason, unreachable

    finder = PackageFinder(
        # Their protocol wants a plain str where httpx2 has a URL class.
        session=cast("Fetcher", session),
        index_urls=[url] if kind == "index" else [],
        find_links=[url] if kind == "find_links" else [],
        ignore_compatibility=True,
    )
    session.answers.pop(page_url, None)
    session.conditions = {page_url: known.etag or known.last_modified} if known.files else {}
    try:
        packages = list(finder.find_all_packages(project, allow_yanked=True))
    except httpx2.HTTPError as error:
        raise unreachable(url, reason(error)) from None
    except (httpx2.InvalidURL, ValueError, LookupError) as error:
        raise FetchError(f"{redact(url)} is no index", why=f"its answer cannot be read: {error}") from error
    finally:
        session.conditions = {}
    answer = session.answers.get(page_url)
    if answer is None:
        raise FetchError(
            f"{redact(url)} was not asked",
            why="it is plain HTTP to a host that is not trusted",
            hint="use https, or name the host as trusted-host (pip) or allow-insecure-host (uv)",
        )
    if answer.status == 304:
        return known
    _require_index(url, answer)
    files = _listed(project, (package.link for package in packages))
    return Page(
        # A page from elsewhere has no business with files of this machine.
        files=tuple(file for file in files if not file.is_local),
        etag=answer.etag,
        last_modified=answer.last_modified,
    )


def _require_index(url: str, answer: Answer) -> None:
    if answer.status in (401, 403, 407):
        raise FetchError(
            f"{urlsplit(url).hostname} refuses access",
            why=answer.why,
            hint="give credentials in the index URL, ~/.netrc or the keyring",
        )
    if answer.status >= 400 and answer.status not in _ABSENT:
        raise FetchError(
            f"{urlsplit(url).hostname} does not work",
            why=f"it answered {answer.why}",
            hint="try again later; --offline uses what is in the cache",
        )
    if answer.status == 200 and not answer.content_type.startswith(
        ("text/html", "application/vnd.pypi.simple.v1+")
    ):
        raise FetchError(
            f"{redact(url)} is no index", why=f"it answered with {answer.content_type or 'nothing'}"
        )


def official(files: Iterable[Listed]) -> tuple[Listed, ...]:
    """Each file once, in order, less releases with a local version (``13.0.0+simd.v3``).

    Those are somebody's own builds, such as this project's, and never the official ones.
    """
    unique: dict[str, Listed] = {}
    for file in files:
        if "+" not in file.version:
            unique.setdefault(file.filename, file)
    return tuple(unique.values())


def with_hash(file: Listed, sha256: str) -> Listed:
    """``file`` as it is once its content is known."""
    return replace(file, hashes=(("sha256", sha256),))
