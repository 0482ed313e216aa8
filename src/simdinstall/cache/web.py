"""A cache on a web server, read with nothing but the standard library.

Every node of a cluster asks for three files, at the same time as all others. Importing
the client that package indexes are asked with would take longer than the rest of it all.
What pip and uv are configured to use counts here too: proxies, certificates, credentials
in the URL or in ``.netrc``, timeout and retries.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from simdinstall import __version__, indexes
from simdinstall.cache.places import LIMIT, absent, altered
from simdinstall.errors import FetchError
from simdinstall.indexes import Indexes, redact

_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_LONGEST_WAIT = 8.0


class WebPlace:
    """A cache that a web server serves."""

    def __init__(
        self, url: str, *, environ: Mapping[str, str], sleep: Callable[[float], None] = time.sleep
    ) -> None:
        parts = urlsplit(url.rstrip("/"))
        self._root = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        self._given = url.rstrip("/")
        self._configured = indexes.read(environ)
        self._authorization = _authorization(url, environ)
        self._opener = _opener(self._configured, parts)
        self._sleep = sleep

    @property
    def address(self) -> str:
        """The URL without a password in it."""
        return redact(self._root)

    def url(self, relative: str) -> str:
        """The file's URL, with the credentials that were given."""
        return f"{self._given}/{quote(relative)}"

    def get(self, relative: str) -> bytes:
        """Ask the server, again while the trouble looks temporary."""
        request = urllib.request.Request(  # noqa: S310 - the opener knows http and https only
            f"{self._root}/{quote(relative)}", headers={"User-Agent": f"simdinstall/{__version__}"}
        )
        if self._authorization:
            # Not for whom the server may redirect to.
            request.add_unredirected_header("Authorization", self._authorization)
        for attempt in range(self._configured.retries + 1):
            last = attempt == self._configured.retries
            try:
                with self._opener.open(request, timeout=self._configured.timeout or None) as response:
                    content: bytes = response.read(LIMIT + 1)
                    if response.length and len(content) <= LIMIT:
                        raise http.client.IncompleteRead(content, response.length)
            except urllib.error.HTTPError as error:
                error.close()
                if error.code not in _TRANSIENT or last:
                    raise absent(self.address, relative, f"{error.code} {error.reason}") from error
            except (OSError, http.client.HTTPException) as error:
                # A server that is not there will not be there in a second: one more try.
                hopeless = isinstance(error, urllib.error.URLError) and attempt >= 1
                if last or hopeless or isinstance(_cause(error), ssl.SSLError):
                    raise absent(
                        self.address, relative, str(_cause(error)) or type(error).__name__
                    ) from error
            else:
                if len(content) > LIMIT:
                    raise absent(self.address, relative, f"it has more than {LIMIT} bytes")
                return content
            self._sleep(min(0.25 * 2**attempt, _LONGEST_WAIT))
        raise AssertionError("a loop of at least one round returns or raises")

    def fetch(self, relative: str, into: Path, sha256: str) -> Path:
        """Download and check."""
        content = self.get(relative)
        found = hashlib.sha256(content).hexdigest()
        name = relative.rpartition("/")[2]
        if found != sha256:
            raise altered(name, found, sha256)
        path = into / name
        path.write_bytes(content)
        return path


def _cause(error: BaseException) -> BaseException:
    reason = getattr(error, "reason", None)
    return reason if isinstance(reason, BaseException) else error


def _authorization(url: str, environ: Mapping[str, str]) -> str:
    """The value of the header, from the URL or from ``.netrc``; empty without either."""
    parts = urlsplit(url)
    user, password = parts.username, parts.password
    if user is None:
        path = Path(environ.get("NETRC") or Path(environ.get("HOME") or "~").expanduser() / ".netrc")
        if not path.is_file():
            return ""
        import netrc

        try:
            found = netrc.netrc(str(path)).authenticators(parts.hostname or "")
        except (OSError, netrc.NetrcParseError):
            return ""
        if found is None:
            return ""
        user, _, password = found
    else:
        user, password = unquote(user), unquote(password or "")
    return "Basic " + base64.b64encode(f"{user}:{password or ''}".encode()).decode()


def _opener(configured: Indexes, server: SplitResult) -> urllib.request.OpenerDirector:
    """Opens http and https and nothing else. FetchError for certificates that cannot be read."""
    proxy = configured.proxy
    if proxy and "://" not in proxy:
        proxy = f"http://{proxy}"
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler({"http": proxy, "https": proxy} if proxy else None),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=_context(configured, server)),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def _context(configured: Indexes, server: SplitResult) -> ssl.SSLContext | None:
    """How to check a server's certificate; None as the system does."""
    named: Path | None = configured.cert
    try:
        if {server.hostname, server.netloc.rpartition("@")[2]} & set(configured.trusted_hosts):
            # What pip's --trusted-host asks for: the user vouches for this one.
            trusting = ssl.create_default_context()
            trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
            return trusting
        if named is None and configured.client_cert is None:
            return None
        folder = named is not None and named.is_dir()
        context = ssl.create_default_context(
            cafile=None if folder else named, capath=named if folder else None
        )
        if configured.client_cert is not None:
            named = configured.client_cert
            context.load_cert_chain(named)
    except OSError as error:  # ssl.SSLError is one
        raise FetchError(
            f"the certificate {named} cannot be used", why=str(error), hint="see: pip config list"
        ) from error
    return context
