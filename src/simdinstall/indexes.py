"""Which package indexes to ask: what pip and uv are configured to use here.

Both tools' files and variables are read as those tools read them: pip's as its manual
has it under "Configuration", uv's under "Configuration files" and "Package indexes".
Where both name something, all of it is used; PyPI only where neither names a default.
"""

from __future__ import annotations

import configparser
import os
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

PYPI = "https://pypi.org/simple/"

#: For how long, in seconds, what an index listed is believed without asking again.
LISTING_LIFETIME = 600.0

_TRUE = frozenset({"1", "y", "yes", "t", "true", "on"})
_REDACTED = frozenset({"index_urls", "find_links", "proxy"})


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Indexes:
    """Where to look and how to get there. URLs may hold credentials: never log them raw.

    ``index_urls`` are PEP 503 roots, the more important first; ``find_links`` are
    directories, pages or URLs of them. ``timeout`` is in seconds, ``retries`` counts
    the tries after the first. ``notes`` say what was passed over.
    """

    index_urls: tuple[str, ...] = (PYPI,)
    find_links: tuple[str, ...] = ()
    cert: Path | None = None
    client_cert: Path | None = None
    proxy: str | None = None
    no_proxy: tuple[str, ...] = ()
    trusted_hosts: tuple[str, ...] = ()
    timeout: float = 15.0
    retries: int = 5
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        shown = []
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in _REDACTED and value:
                value = redact(value) if isinstance(value, str) else tuple(map(redact, value))
            shown.append(f"{field.name}={value!r}")
        return f"Indexes({', '.join(shown)})"


def redact(url: str) -> str:
    """``url`` without user, password and fragment: fit for logs, records and messages."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an invalid URL"
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))


def read(
    environ: Mapping[str, str],
    *,
    prefixes: Iterable[Path] = (Path(sys.prefix),),
    directory: Path | None = None,
    etc: Path = Path("/etc"),
) -> Indexes:
    """The indexes that pip and uv would use.

    ``prefixes`` are the environments whose ``pip.conf`` counts, ``directory`` (default:
    the current one) is where uv starts to look for a project. Raises nothing: a file
    that cannot be read becomes a note.
    """
    home = Path(environ.get("HOME") or "~").expanduser()
    here = directory or Path.cwd()
    notes: list[str] = []
    pip = _pip_options(environ, home, etc, tuple(prefixes), notes)
    uv = _uv_options(environ, home, etc, here, notes)

    default = pip.get("index-url") or pip.get("pypi-url")
    defaults = [default] if default else []
    defaults += [url for url in uv.defaults if url not in defaults]
    extra = [*pip.get("extra-index-url", "").split(), *uv.indexes]
    no_index = _truth(pip.get("no-index", "")) or uv.no_index
    urls = [] if no_index else [*(defaults or [PYPI]), *extra]
    links = [*pip.get("find-links", "").split(), *uv.find_links]
    cert, client_cert = pip.get("cert"), pip.get("client-cert")
    return Indexes(
        index_urls=_unique(_with_scheme(url, here) for url in urls),
        find_links=_unique(_with_scheme(link, here) for link in links),
        cert=Path(cert).expanduser() if cert else None,
        client_cert=Path(client_cert).expanduser() if client_cert else None,
        proxy=pip.get("proxy") or None,
        no_proxy=tuple(
            host.strip()
            for host in (environ.get("no_proxy") or environ.get("NO_PROXY") or "").split(",")
            if host.strip()
        ),
        trusted_hosts=_unique([*pip.get("trusted-host", "").split(), *uv.insecure_hosts]),
        timeout=_number(pip.get("timeout") or pip.get("default-timeout") or uv.timeout, 15.0, notes),
        retries=int(_number(pip.get("retries") or uv.retries, 5, notes)),
        notes=tuple(notes),
    )


def _unique(items: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(item for item in items if item))


def _truth(text: str) -> bool:
    return text.strip().lower() in _TRUE


def _number(text: str, default: float, notes: list[str]) -> float:
    try:
        return max(0.0, float(text)) if text else default
    except ValueError:
        notes.append(f"{text!r} is no number of seconds or retries; {default:g} is used")
        return default


def _with_scheme(location: str, base: Path) -> str:
    """A URL as it is; a path as an absolute ``file:`` URL."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", location):
        return location
    return (base / Path(location).expanduser()).absolute().as_uri()


# --- pip ---


def _pip_options(
    environ: Mapping[str, str], home: Path, etc: Path, prefixes: tuple[Path, ...], notes: list[str]
) -> dict[str, str]:
    """Pip's options by their long names, the weakest source first, so that later ones win."""
    sections: dict[str, dict[str, str]] = {"global": {}, "install": {}}
    for path in _pip_files(environ, home, etc, prefixes):
        parser = configparser.RawConfigParser()
        try:
            with path.open(encoding="utf-8") as file:
                parser.read_file(file)
        except FileNotFoundError:
            continue
        except (OSError, UnicodeError, configparser.Error) as error:
            notes.append(f"{path} is not used: {str(error).splitlines()[0]}")
            continue
        for section, options in sections.items():
            if parser.has_section(section):
                options.update((_option(name), value) for name, value in parser.items(section) if value)
    variables = {
        _option(name.removeprefix("PIP_")): value
        for name, value in environ.items()
        if name.startswith("PIP_") and value
    }
    return {**sections["global"], **sections["install"], **variables}


def _option(name: str) -> str:
    return name.lower().replace("_", "-").removeprefix("--")


def _pip_files(
    environ: Mapping[str, str], home: Path, etc: Path, prefixes: tuple[Path, ...]
) -> Iterator[Path]:
    given = environ.get("PIP_CONFIG_FILE")
    if given == os.devnull:
        return
    for directory in (environ.get("XDG_CONFIG_DIRS") or str(etc / "xdg")).split(":"):
        yield Path(directory) / "pip/pip.conf"
    yield etc / "pip.conf"
    if not given or not Path(given).exists():
        yield home / ".pip/pip.conf"
        yield _config_home(environ, home) / "pip/pip.conf"
    for prefix in prefixes:
        yield prefix / "pip.conf"
    if given:
        yield Path(given)


def _config_home(environ: Mapping[str, str], home: Path) -> Path:
    given = environ.get("XDG_CONFIG_HOME")
    return Path(given) if given else home / ".config"


# --- uv ---


@dataclass(kw_only=True, slots=True)
class _Uv:
    """What uv is told, gathered from the strongest source to the weakest."""

    defaults: list[str]
    indexes: list[str]
    find_links: list[str]
    insecure_hosts: list[str]
    no_index: bool = False
    timeout: str = ""
    retries: str = ""


def _uv_options(environ: Mapping[str, str], home: Path, etc: Path, here: Path, notes: list[str]) -> _Uv:
    def credentials(name: str, url: str) -> str:
        stem = "UV_INDEX_" + re.sub(r"[^A-Z0-9]", "_", name.upper())
        return _with_credentials(url, environ.get(f"{stem}_USERNAME"), environ.get(f"{stem}_PASSWORD"))

    found = _Uv(defaults=[], indexes=[], find_links=[], insecure_hosts=[])
    for variable, into in (
        ("UV_DEFAULT_INDEX", found.defaults),
        ("UV_INDEX_URL", found.defaults),
        ("UV_INDEX", found.indexes),
        ("UV_EXTRA_INDEX_URL", found.indexes),
    ):
        for item in environ.get(variable, "").split():
            named = re.fullmatch(r"([A-Za-z0-9_.-]+)=(.+)", item)
            into.append(credentials(named[1], named[2]) if named else item)
    found.find_links += [link.strip() for link in environ.get("UV_FIND_LINKS", "").split(",") if link.strip()]
    found.insecure_hosts += environ.get("UV_INSECURE_HOST", "").split()
    found.no_index = _truth(environ.get("UV_NO_INDEX", ""))
    found.timeout = environ.get("UV_HTTP_TIMEOUT") or environ.get("UV_REQUEST_TIMEOUT") or ""
    found.retries = environ.get("UV_HTTP_RETRIES", "")
    for path, table in _uv_files(environ, home, etc, here, notes):
        for part in (table, _table(table.get("pip"))):
            _add_uv_table(part, path.parent, found, credentials)
    # uv has one default: the first that it meets.
    del found.defaults[1:]
    return found


def _add_uv_table(table: Mapping[str, Any], base: Path, found: _Uv, credentials: Any) -> None:
    for index in _list(table.get("index")):
        url = _text(_table(index).get("url"))
        if not url or index.get("explicit"):
            continue  # explicit ones serve only the packages pinned to them
        url = _with_scheme(credentials(_text(index.get("name")), url), base)
        if index.get("format") == "flat":
            found.find_links.append(url)
        elif index.get("default"):
            found.defaults.append(url)
        else:
            found.indexes.append(url)
    if url := _text(table.get("index-url")):
        found.defaults.append(_with_scheme(url, base))
    for key, into in (
        ("extra-index-url", found.indexes),
        ("find-links", found.find_links),
    ):
        into += [_with_scheme(item, base) for item in _list(table.get(key)) if isinstance(item, str)]
    found.insecure_hosts += [h for h in _list(table.get("allow-insecure-host")) if isinstance(h, str)]
    found.no_index = found.no_index or table.get("no-index") is True


def _uv_files(
    environ: Mapping[str, str], home: Path, etc: Path, here: Path, notes: list[str]
) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    if given := environ.get("UV_CONFIG_FILE"):
        if table := _toml(Path(given), notes):
            yield Path(given), table
        return
    if _truth(environ.get("UV_NO_CONFIG", "")):
        return
    for directory in (here, *here.parents):
        # In one directory uv.toml silences pyproject.toml, even when it is empty.
        if (directory / "uv.toml").is_file():
            yield directory / "uv.toml", _toml(directory / "uv.toml", notes)
            break
        project = directory / "pyproject.toml"
        if project.is_file() and (tool := _table(_table(_toml(project, notes).get("tool")).get("uv"))):
            yield project, tool
            break
    user = _config_home(environ, home) / "uv/uv.toml"
    yield user, _toml(user, notes)
    system = [Path(d) for d in (environ.get("XDG_CONFIG_DIRS") or str(etc / "xdg")).split(":")]
    for path in (*(d / "uv/uv.toml" for d in system), etc / "uv/uv.toml"):
        if path.is_file():
            yield path, _toml(path, notes)
            break


def _toml(path: Path, notes: list[str]) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeError, tomllib.TOMLDecodeError) as error:
        notes.append(f"{path} is not used: {error}")
        return {}


def _with_credentials(url: str, user: str | None, password: str | None) -> str:
    parts = urlsplit(url)
    if not user or "@" in parts.netloc:
        return url
    secret = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
    return urlunsplit(parts._replace(netloc=f"{secret}@{parts.netloc}"))


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
