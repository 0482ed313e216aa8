"""Where a cache is read from: a folder here; a web server's is in :mod:`simdinstall.cache.web`."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from simdinstall.errors import FetchError
from simdinstall.store import file_digest

#: No catalogue, page or signature comes near this.
LIMIT = 256 * 1024 * 1024


class Place(Protocol):
    """Where a cache is read from: a folder or a URL."""

    @property
    def address(self) -> str:
        """As a person would name it."""
        ...

    def url(self, relative: str) -> str:
        """The URL of a file or folder in it."""
        ...

    def get(self, relative: str) -> bytes:
        """The bytes of a file. FetchError."""
        ...

    def fetch(self, relative: str, into: Path, sha256: str) -> Path:
        """A file, checked, as a local path; ``into`` is a folder. FetchError."""
        ...


class FolderPlace:
    """A cache on a file system."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def address(self) -> str:
        """The folder."""
        return str(self.root)

    def url(self, relative: str) -> str:
        """A ``file:`` URL."""
        return f"{self.root.absolute().as_uri()}/{quote(relative)}"

    def get(self, relative: str) -> bytes:
        """Read a file."""
        try:
            return (self.root / relative).read_bytes()
        except OSError as error:
            raise absent(self.address, relative, error.strerror or str(error)) from error

    def fetch(self, relative: str, into: Path, sha256: str) -> Path:
        """The file where it lies, its hash checked."""
        path = self.root / relative
        try:
            found = file_digest(path)
        except OSError as error:
            raise absent(self.address, relative, error.strerror or str(error)) from error
        if found != sha256:
            raise altered(path.name, found, sha256)
        return path


def absent(address: str, relative: str, why: str) -> FetchError:
    """What to raise for a file that cannot be had."""
    return FetchError(
        f"{relative} cannot be read from the cache {address}",
        why=why,
        hint="check the address; a cache has a catalogue.json in it",
    )


def altered(name: str, found: str, wanted: str) -> FetchError:
    """What to raise for a file with another hash than it must have."""
    return FetchError(
        f"{name} in the cache is damaged or was altered",
        why=f"its sha256 is {found[:16]}…, the catalogue has {wanted[:16]}…",
        hint="nothing was changed; whoever builds the cache sees more with: simdinstall cache verify",
    )
