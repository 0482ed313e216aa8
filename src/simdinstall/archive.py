"""Unpack wheels and source distributions that nobody here has vouched for.

Every member is checked before anything of it is written, and the bytes are
counted while they are written, because sizes in headers can lie.
"""

from __future__ import annotations

import errno
import gzip
import io
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from simdinstall.errors import FetchError, NoSpaceError

LIMIT_BYTES = 512 * 1024 * 1024
LIMIT_MEMBERS = 50_000
# Deflate reaches 1032:1 on constant input. Real wheels and sdists stay below
# 10:1; small archives are exempt because their absolute size is harmless.
LIMIT_RATIO = 100
RATIO_FROM_BYTES = 16 * 1024 * 1024
LIMIT_DEPTH = 64

_CHUNK = 1024 * 1024
_BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    UnicodeError,
)


def everything(name: str) -> bool:
    """The default of ``keep``: every member is wanted."""
    return True


def extract(
    archive: Path,
    into: Path,
    *,
    keep: Callable[[str], bool] = everything,
    limit_bytes: int = LIMIT_BYTES,
    limit_members: int = LIMIT_MEMBERS,
) -> tuple[Path, ...]:
    """Unpack the files of ``archive`` below ``into`` and return their paths, sorted.

    ``archive`` is a ``.whl``, ``.zip``, ``.tar.gz`` or ``.tgz``. ``keep`` gets the
    name of each file as the archive spells it (``pillow-13.0.0/src/x.c``) and says
    whether it is written. ``limit_bytes`` bounds what is written, and for a tar,
    which has to be read from end to end, also what is read.

    ``into`` is created; if it exists it must be empty. Files get mode 0644, or
    0755 if the archive marks them executable, whatever the umask is.

    Refused with FetchError: absolute names, ``..``, names that occur twice, links,
    devices and other special files, encrypted members, too many members, too many
    bytes, an implausible compression ratio, damage. Links and special files that
    ``keep`` does not want are passed over. NoSpaceError when the disk is full.
    After an error or an interrupt nothing is left in ``into``.
    """
    with _errors_named(archive):
        existed = into.exists()
        if existed and any(into.iterdir()):
            raise FetchError(
                f"cannot unpack {archive.name}",
                why=f"{into} is not empty",
                hint="give an empty or new directory",
            )
        writer = _Writer(archive, into, keep, limit_bytes, limit_members)
        try:
            writer.make_directory(into)
            name = archive.name.lower()
            if name.endswith((".whl", ".zip")):
                _from_zip(archive, writer)
            elif name.endswith((".tar.gz", ".tgz")):
                _from_tar(archive, writer, limit_bytes)
            else:
                raise writer.refusal("it is neither a wheel, a .zip nor a .tar.gz")
        except BaseException:
            shutil.rmtree(into, ignore_errors=True)
            if existed:
                into.mkdir(exist_ok=True)
            raise
    return tuple(sorted(writer.written))


@contextmanager
def _errors_named(archive: Path) -> Iterator[None]:
    try:
        yield
    except _BROKEN as error:
        raise FetchError(
            f"cannot unpack {archive.name}",
            why=f"the archive is damaged: {error}",
            hint="remove it from the cache and download it again",
        ) from error
    except (NotImplementedError, RuntimeError) as error:
        # zipfile's way to say "unknown compression" and "encrypted".
        raise FetchError(f"cannot unpack {archive.name}", why=str(error)) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpaceError(
                f"no space left while unpacking {archive.name}",
                why=str(error),
                hint="free some space, or set TMPDIR or SIMDINSTALL_CACHE_DIR to a larger disk",
            ) from error
        raise FetchError(f"cannot unpack {archive.name}", why=str(error)) from error


class _Writer:
    """Checks names, counts bytes and members, writes files with fixed modes."""

    def __init__(
        self,
        archive: Path,
        into: Path,
        keep: Callable[[str], bool],
        limit_bytes: int,
        limit_members: int,
    ) -> None:
        self.archive = archive
        self.into = into
        self.keep = keep
        self.limit_bytes = limit_bytes
        self.limit_members = limit_members
        self.packed_bytes = archive.stat().st_size
        self.bytes = 0
        self.members = 0
        self.seen: set[str] = set()
        self.written: list[Path] = []

    def refusal(self, why: str) -> FetchError:
        return FetchError(
            f"refused to unpack {self.archive.name}",
            why=why,
            hint="this archive is not what the index should serve; do not use it",
        )

    def check(self, name: str, *, directory: bool) -> tuple[str, ...]:
        """Count a member and return the parts of its name, or refuse."""
        self.members += 1
        if self.members > self.limit_members:
            raise self.refusal(f"it has more than {self.limit_members} members")
        if "\0" in name or "\\" in name or any(ord(c) < 32 for c in name):
            raise self.refusal(f"the name {name!r} holds a forbidden character")
        if name.startswith("/") or (len(name) > 1 and name[1] == ":"):
            raise self.refusal(f"the name {name!r} is absolute")
        parts = tuple(part for part in name.split("/") if part not in ("", "."))
        if ".." in parts:
            raise self.refusal(f"the name {name!r} leads out of the directory")
        if len(parts) > LIMIT_DEPTH or any(len(p.encode()) > 255 for p in parts):
            raise self.refusal(f"the name {name[:80]!r}… is too long or too deep")
        if not directory:
            plain = "/".join(parts)
            if not parts:
                raise self.refusal(f"the name {name!r} is empty")
            if plain in self.seen:
                raise self.refusal(f"it holds {plain!r} twice")
            self.seen.add(plain)
        return parts

    def count(self, amount: int) -> None:
        self.bytes += amount
        if self.bytes > self.limit_bytes:
            raise self.refusal(f"it unpacks to more than {self.limit_bytes} bytes")
        self.check_ratio(self.bytes)

    def check_ratio(self, unpacked: int) -> None:
        if unpacked > RATIO_FROM_BYTES and unpacked > LIMIT_RATIO * self.packed_bytes:
            raise self.refusal(f"it expands more than {LIMIT_RATIO} times")

    def make_directory(self, path: Path) -> None:
        """Create ``path`` and its missing parents up to ``into``, mode 0755."""
        if path.is_dir():
            return
        if path != self.into:
            self.make_directory(path.parent)
            try:
                path.mkdir()
            except FileExistsError:
                raise self.refusal(f"{path.name!r} is a file and a directory at once") from None
        else:
            path.mkdir(parents=True)
        path.chmod(0o755)

    def write(self, parts: tuple[str, ...], source: IO[bytes], *, executable: bool) -> None:
        path = self.into.joinpath(*parts)
        self.make_directory(path.parent)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags, 0o600)
        except FileExistsError:
            raise self.refusal(f"it holds {'/'.join(parts)!r} twice") from None
        with os.fdopen(descriptor, "wb") as target:
            while chunk := source.read(_CHUNK):
                self.count(len(chunk))
                target.write(chunk)
            os.fchmod(target.fileno(), 0o755 if executable else 0o644)
        self.written.append(path)


def _from_zip(archive: Path, writer: _Writer) -> None:
    with zipfile.ZipFile(archive) as source:
        for member in source.infolist():
            # zipfile cuts names at a NUL; orig_filename is what the archive says.
            parts = writer.check(member.orig_filename, directory=member.is_dir())
            if member.is_dir() or not writer.keep("/".join(parts)):
                continue
            # The upper half of external_attr is st_mode, if a Unix tool wrote it.
            mode = member.external_attr >> 16
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                raise writer.refusal(f"{member.filename!r} is a link or a special file")
            if member.flag_bits & 0x1:
                raise writer.refusal(f"{member.filename!r} is encrypted")
            with source.open(member) as content:
                writer.write(parts, content, executable=bool(mode & 0o111))


def _from_tar(archive: Path, writer: _Writer, limit_bytes: int) -> None:
    with gzip.open(archive) as unzipped:
        counted = _Counted(unzipped, writer, limit_bytes)
        with tarfile.open(fileobj=counted, mode="r|", bufsize=_CHUNK) as source:
            for member in source:
                parts = writer.check(member.name, directory=member.isdir())
                if member.isdir() or not writer.keep("/".join(parts)):
                    continue
                if not member.isreg() or member.issparse():
                    raise writer.refusal(f"{member.name!r} is a link or a special file")
                content = source.extractfile(member)
                assert content is not None  # a regular file always has content
                with content:
                    writer.write(parts, content, executable=bool(member.mode & 0o111))
        # tarfile stops at the end mark; gzip checks its CRC only at the very end.
        while counted.read(_CHUNK):
            pass


class _Counted(io.RawIOBase):
    """The unpacked tar stream, bounded also where members are passed over."""

    def __init__(self, source: gzip.GzipFile, writer: _Writer, limit: int) -> None:
        self.source = source
        self.writer = writer
        # Headers and padding: at most three blocks per member, and the end mark.
        self.limit = limit + 1536 * writer.limit_members
        self.bytes = 0

    def read(self, size: int = -1) -> bytes:
        chunk = self.source.read(size)
        self.bytes += len(chunk)
        if self.bytes > self.limit:
            raise self.writer.refusal(f"it unpacks to more than {self.limit} bytes")
        self.writer.check_ratio(self.bytes)
        return chunk
