"""Bytes over the network: one client with the configured proxy, certificates and
retries, and downloads that are checked by hash and go on where they were cut off.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import ssl
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

import httpx2
from unearth.auth import MultiDomainBasicAuth
from unearth.fetchers import PyPIClient

from simdinstall import __version__
from simdinstall.errors import FetchError
from simdinstall.indexes import Indexes, redact
from simdinstall.progress import Progress, silent

#: No file that is fetched here comes near this; an endless answer must end somewhere.
LIMIT_BYTES = 1024 * 1024 * 1024

_CHUNK = 256 * 1024
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_LONGEST_WAIT = 8.0

# unearth reports skipped indexes by logging; here they become notes. Without a handler
# Python would print them.
logging.getLogger("unearth").addHandler(logging.NullHandler())


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What an index said: its status (0: nothing), and why there was none."""

    status: int
    why: str = ""
    etag: str = ""
    last_modified: str = ""
    content_type: str = ""


class Session:
    """The HTTP client, in the shape that unearth takes.

    ``answers`` keeps the last answer for each URL, because unearth does not hand it on.
    ``conditions`` are validators by URL: where one still holds, the answer is 304.
    """

    def __init__(self, indexes: Indexes, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self.answers: dict[str, Answer] = {}
        self.conditions: dict[str, str] = {}
        self.retries = indexes.retries
        self._sleep = sleep
        self._local = False
        self._client = _client(indexes)
        self._client.event_hooks = {"request": [self._stay_remote]}

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def _stay_remote(self, request: httpx2.Request) -> None:
        if request.url.scheme == "file" and not self._local:
            raise httpx2.UnsupportedProtocol("a server redirected to a local file", request=request)

    def iter_secure_origins(self) -> Iterable[tuple[str, str, str]]:
        """What unearth asks before it talks to a host without TLS."""
        return self._client.iter_secure_origins()

    def get(self, url: str, *, headers: Mapping[str, str] | None = None) -> httpx2.Response:
        """GET, tried again while the trouble looks temporary. Raises httpx2.HTTPError."""
        return self._ask("GET", url, headers)

    def head(self, url: str, *, headers: Mapping[str, str] | None = None) -> httpx2.Response:
        """HEAD, with the same patience."""
        return self._ask("HEAD", url, headers)

    def get_stream(
        self, url: str, *, headers: Mapping[str, str] | None = None
    ) -> AbstractContextManager[httpx2.Response]:
        """GET without reading the body, tried once."""
        self._local = url.startswith("file:")
        return self._client.stream("GET", url, headers=dict(headers or {}))

    def wait(self, attempt: int, retry_after: str = "") -> None:
        """Sleep before try number ``attempt`` + 1: 0.25 s, doubled each time, at most 8 s."""
        asked = float(retry_after) if retry_after.isdigit() else 0.0
        self._sleep(min(max(0.25 * 2**attempt, asked), _LONGEST_WAIT))

    def _ask(self, method: str, url: str, headers: Mapping[str, str] | None) -> httpx2.Response:
        asked = dict(headers or {})
        if validator := self.conditions.get(url):
            strong = validator.startswith(('"', "W/"))
            asked["If-None-Match" if strong else "If-Modified-Since"] = validator
        for attempt in range(self.retries + 1):
            last = attempt == self.retries
            self._local = url.startswith("file:")
            try:
                response = self._client.request(method, url, headers=asked)
            except httpx2.HTTPError as error:
                self.answers[url] = Answer(status=0, why=reason(error))
                # A name that does not resolve will not do so in a second: one more try.
                hopeless = isinstance(error, httpx2.ConnectError) and attempt >= 1
                if last or hopeless or not isinstance(error, httpx2.TransportError):
                    raise
                self.wait(attempt)
                continue
            self.answers[url] = Answer(
                status=response.status_code,
                why=f"{response.status_code} {response.reason_phrase}",
                etag=response.headers.get("ETag", ""),
                last_modified=response.headers.get("Last-Modified", ""),
                content_type=response.headers.get("Content-Type", "").lower(),
            )
            if response.status_code not in _TRANSIENT or last:
                return response
            self.wait(attempt, response.headers.get("Retry-After", ""))
        raise AssertionError("a loop of at least one round returns or raises")


def _client(indexes: Indexes) -> PyPIClient:
    proxy = indexes.proxy or None
    if proxy and "://" not in proxy:
        proxy = f"http://{proxy}"
    mounts: dict[str, Any] = {}
    try:
        if proxy:
            # A configured proxy is used for all but what NO_PROXY names.
            mounts = {f"all://{_pattern(host)}": None for host in indexes.no_proxy if host != "*"}
        for host in indexes.trusted_hosts:
            # unearth reaches these without certificates, but also without the proxy.
            for scheme in ("http", "https"):
                through = _proxy_for(scheme, host, proxy, indexes.no_proxy)
                mounts[f"{scheme}://{host}"] = httpx2.HTTPTransport(verify=False, proxy=through)
        client = PyPIClient(
            trusted_hosts=indexes.trusted_hosts,
            verify=_context(indexes),
            timeout=indexes.timeout or None,
            follow_redirects=True,
            headers={"User-Agent": f"simdinstall/{__version__}"},
            mounts=mounts,
            proxy=proxy,
        )
    except (ValueError, httpx2.InvalidURL) as error:
        raise FetchError(
            "the configured proxy or host cannot be used",
            why=str(error).replace(proxy or "\0", redact(proxy or "")),
            hint="see: pip config list; HTTP_PROXY, HTTPS_PROXY",
        ) from None  # the cause would show the credentials
    client.auth = MultiDomainBasicAuth(
        prompting=False, index_urls=[url for url in indexes.index_urls if not url.startswith("file:")]
    )
    return client


def _pattern(host: str) -> str:
    return f"*{host}" if host.startswith(".") else host


def _proxy_for(scheme: str, host: str, configured: str | None, no_proxy: Iterable[str]) -> str | None:
    name = host.partition(":")[0]
    if configured:
        return None if any(name == n or name.endswith(f".{n.lstrip('.')}") for n in no_proxy) else configured
    if urllib.request.proxy_bypass(name):
        return None
    given = urllib.request.getproxies()
    return given.get(scheme) or given.get("all")


def _context(indexes: Indexes) -> ssl.SSLContext | bool:
    if indexes.cert is None and indexes.client_cert is None:
        return True
    named = indexes.cert
    try:
        if named is not None and named.is_dir():
            context = ssl.create_default_context(capath=named)
        else:
            context = ssl.create_default_context(cafile=named)
        if indexes.client_cert is not None:
            named = indexes.client_cert
            context.load_cert_chain(named)
    except OSError as error:  # ssl.SSLError is one
        raise FetchError(
            f"the certificate file {named} cannot be used",
            why=str(error),
            hint="see: pip config list; PIP_CERT, PIP_CLIENT_CERT",
        ) from error
    return context


def reason(error: Exception) -> str:
    """What an httpx2 error means, without the URL it happened at."""
    text = str(error) or type(error).__name__
    return "it did not answer in time" if isinstance(error, httpx2.TimeoutException) else text


def unreachable(url: str, why: str) -> FetchError:
    """The error for a host that cannot be talked to."""
    host = urlsplit(url).hostname or redact(url)
    return FetchError(
        f"cannot reach {host}",
        why=why,
        hint="check the network, the proxy (HTTPS_PROXY) and the index (pip config list);"
        " --offline uses what is in the cache",
    )


class _TooLarge(FetchError):
    """More came than any file fetched here has."""


class _Again(Exception):
    """A try failed in a way that another may mend."""

    def __init__(self, why: str, *, retry_after: str = "") -> None:
        super().__init__(why)
        self.retry_after = retry_after


def download(
    session: Session,
    url: str,
    into: Path,
    *,
    hashes: Mapping[str, str],
    part: Path,
    name: str = "",
    progress: Progress = silent,
    limit_bytes: int = LIMIT_BYTES,
) -> str:
    """Fetch ``url`` to the file ``into`` and return its sha256 (hex).

    ``hashes`` are the index's, by name; all that hashlib knows are checked. The body
    grows in ``part``, which is left when the transfer is cut off and gone on with next
    time, if a hash or the server's validators can tell that it is the same file.
    ``progress`` gets bytes; it and errors call the file ``name`` (default: as ``into``).

    Raises FetchError when the file cannot be had, when its hash is wrong twice (``part``
    is removed), or when it is larger than ``limit_bytes``; OSError when it cannot be
    stored (with a full disk ``part`` is removed).
    """
    name = name or into.name
    mismatch = ""
    for _ in range(2):
        try:
            digests = _complete(session, url, part, hashes, progress, limit_bytes, name)
        except _TooLarge:
            _discard(part)
            raise
        mismatch = _mismatch(digests, hashes)
        if not mismatch:
            part.replace(into)
            _validators(part).unlink(missing_ok=True)
            return digests["sha256"]
        _discard(part)
    raise FetchError(
        f"{name} is not the file that the index promises",
        why=mismatch,
        hint="a proxy or mirror has altered it; try another index, or again later",
    )


def _mismatch(digests: Mapping[str, str], hashes: Mapping[str, str]) -> str:
    for name, got in digests.items():
        wanted = hashes.get(name, got).lower()
        if got != wanted:
            return f"its {name} is {got}, not {wanted}"
    return ""


def _validators(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _validators(part).unlink(missing_ok=True)


def _complete(
    session: Session,
    url: str,
    part: Path,
    hashes: Mapping[str, str],
    progress: Progress,
    limit: int,
    name: str,
) -> dict[str, str]:
    """Bring ``part`` to its end, over several tries; the digests of the whole file.

    A try that got some way does not count: large files come through bad networks too.
    """
    attempt, reached = 0, _size(part)
    while True:
        retry_after = ""
        try:
            if url.startswith("file:"):
                return _copy(url, part, hashes, progress, limit, name)
            return _transfer(session, url, part, hashes, progress, limit, name)
        except _Again as again:
            trouble, retry_after = str(again), again.retry_after
        except httpx2.ConnectError as error:
            trouble = reason(error)
            attempt = max(attempt, session.retries - 1)  # one more try, see Session
        except httpx2.TransportError as error:
            trouble = reason(error)
        except httpx2.HTTPError as error:
            raise unreachable(url, reason(error)) from None
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                _discard(part)
            raise
        if _size(part) >= reached + _CHUNK:
            attempt, reached = 0, _size(part)
        elif attempt >= session.retries:
            raise unreachable(url, trouble)
        session.wait(attempt, retry_after)
        attempt += 1


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _copy(
    url: str, part: Path, hashes: Mapping[str, str], progress: Progress, limit: int, name: str
) -> dict[str, str]:
    source = Path(unquote(urlsplit(url).path))
    try:
        file = source.open("rb")
    except OSError as error:
        raise FetchError(f"cannot read {source}", why=error.strerror or str(error)) from error
    with file, part.open("wb") as target:
        writer = _Writer(target, hashes, progress, limit, name, source.stat().st_size)
        while chunk := file.read(_CHUNK):
            writer.write(chunk)
    return writer.digests()


def _transfer(
    session: Session,
    url: str,
    part: Path,
    hashes: Mapping[str, str],
    progress: Progress,
    limit: int,
    name: str,
) -> dict[str, str]:
    validator = _stored_validator(part)
    offset = _size(part)
    if offset and not (hashes or validator):
        offset = 0
    # Compressed on the way, a body could be neither measured nor gone on with.
    headers = {"Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if validator:
            headers["If-Range"] = validator
    with session.get_stream(url, headers=headers) as response:
        status = response.status_code
        if status == 416:
            # Asked for more than there is: the part is whole, or of another file.
            if response.headers.get("Content-Range") == f"bytes */{offset}" and hashes:
                return _hash_part(part, hashes, progress, limit, name)
            _discard(part)
            raise _Again("the server cannot go on where the download stopped")
        if status in _TRANSIENT:
            raise _Again(
                f"{status} {response.reason_phrase}", retry_after=response.headers.get("Retry-After", "")
            )
        if status not in (200, 206):
            raise FetchError(
                f"cannot download {name}",
                why=f"{urlsplit(url).hostname} answered {status} {response.reason_phrase}",
                hint="the index may be out of date; try again later or another index",
            )
        if status == 206 and not response.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
            _discard(part)
            raise _Again("the server sent another range than it was asked for")
        if status == 200:
            offset = 0
        _store_validator(part, response.headers)
        length = response.headers.get("Content-Length", "")
        total = offset + int(length) if length.isdigit() else None
        with part.open("r+b" if offset else "wb") as target:
            writer = _Writer(target, hashes, progress, limit, name, total)
            if offset:
                writer.take_over()
            # As it comes: what is gathered into larger pieces is lost with the connection.
            for chunk in response.iter_raw():
                writer.write(chunk)
        if total is not None and writer.done != total:
            raise _Again(f"the connection ended after {writer.done} of {total} bytes")
    return writer.digests()


def _hash_part(
    part: Path, hashes: Mapping[str, str], progress: Progress, limit: int, name: str
) -> dict[str, str]:
    with part.open("r+b") as file:
        writer = _Writer(file, hashes, progress, limit, name, None)
        writer.take_over()
    return writer.digests()


def _stored_validator(part: Path) -> str:
    try:
        stored = json.loads(_validators(part).read_text(encoding="utf-8"))
        return str(stored["validator"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _store_validator(part: Path, headers: Mapping[str, str]) -> None:
    etag = headers.get("ETag", "")
    # If-Range takes strong validators only (RFC 9110, section 13.1.5).
    validator = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified", "")
    if validator:
        _validators(part).write_text(json.dumps({"validator": validator}), encoding="utf-8")
    else:
        _validators(part).unlink(missing_ok=True)


class _Writer:
    """Writes, hashes, counts and reports at once."""

    def __init__(
        self,
        target: IO[bytes],
        hashes: Mapping[str, str],
        progress: Progress,
        limit: int,
        name: str,
        total: int | None,
    ) -> None:
        known = {n for n in hashes if n in hashlib.algorithms_guaranteed and not n.startswith("shake")}
        self.hashers = {n: hashlib.new(n, usedforsecurity=n != "md5") for n in sorted(known | {"sha256"})}
        self.target = target
        self.progress = progress
        self.limit = limit
        self.name = name
        self.total = total
        self.done = 0

    def take_over(self) -> None:
        """Count what is there already, and stand at its end."""
        while chunk := self.target.read(_CHUNK):
            self._count(chunk)

    def write(self, chunk: bytes) -> None:
        self._count(chunk)
        self.target.write(chunk)

    def _count(self, chunk: bytes) -> None:
        self.done += len(chunk)
        if self.done > self.limit:
            raise FetchError(
                f"{self.name} is larger than {self.limit} bytes", hint="this is not the right file"
            )
        for hasher in self.hashers.values():
            hasher.update(chunk)
        self.progress(f"downloading {self.name}", self.done, self.total)

    def digests(self) -> dict[str, str]:
        return {name: hasher.hexdigest() for name, hasher in self.hashers.items()}
