"""The catalogue of timed operations, and the inputs that they take.

An operation is prepared once (inputs made, tables computed) and gives a function to
call and to time. Its name is the key by which builds, runs and saved reports are
compared, so names stay as they are.
"""

from __future__ import annotations

import importlib
import io
import os
from collections.abc import Callable
from typing import Any, NamedTuple

from .images import pixels, size_of

Call = Callable[[], Any]


class Unavailable(Exception):
    """The build or its environment lacks what the operation needs."""


class Operation(NamedTuple):
    """One row of a suite.

    ``group`` and ``title`` are what the table shows, ``pixels`` what "Mpx/s" counts.
    ``assets`` are the encoded files it reads, ``remark`` says how another library's algorithm
    differs from Pillow's. ``whole``: it reads all of its inputs and writes all of its
    output, so that moving those bytes is the least it takes.
    """

    name: str
    group: str
    title: str
    pixels: int
    prepare: Callable[[Inputs], Call]
    assets: tuple[str, ...] = ()
    remark: str = ""
    whole: bool = True


class Store:
    """Keeps the bytes of synthetic images between operations, up to a limit in bytes.

    Where there is a folder they are kept there too, without limit: making an image takes many
    times as long as reading one that another build has made.
    """

    def __init__(self, limit: int = 128 << 20, folder: str = "") -> None:
        self._limit = limit
        self._folder = folder
        self._kept: dict[tuple[Any, ...], bytes] = {}

    def pixels(self, mode: str, size: tuple[int, int], content: str, seed: int) -> bytes:
        """As :func:`.images.pixels`; what was asked for longest ago goes first."""
        key = (mode, size, content, seed)
        found = self._kept.pop(key, None)
        if found is None:
            found = self._shared(mode, size, content, seed)
        if len(found) <= self._limit:
            self._kept[key] = found
        while sum(map(len, self._kept.values())) > self._limit:
            del self._kept[next(iter(self._kept))]
        return found

    def _shared(self, mode: str, size: tuple[int, int], content: str, seed: int) -> bytes:
        if not self._folder:
            return pixels(mode, *size, content, seed)
        path = os.path.join(self._folder, f"{content}-{size[0]}x{size[1]}-{mode}-{seed}.pixels")
        try:
            with open(path, "rb") as file:
                return file.read()
        except OSError:
            found = pixels(mode, *size, content, seed)
        half = f"{path}.{os.getpid()}"
        try:
            with open(half, "wb") as file:
                file.write(found)
            os.replace(half, path)
        except OSError:
            pass  # no room: the next build makes its own
        return found


class Inputs:
    """Makes the inputs of one operation and remembers how many bytes they hold."""

    def __init__(self, folder: str = "", store: Store | None = None) -> None:
        self.folder = folder
        self.held = 0
        self._store = store or Store(0)

    def image(self, mode: str, size: tuple[int, int], content: str = "photo", seed: int = 1) -> Any:
        """A synthetic image; see :mod:`.images`."""
        from PIL import Image

        held, _ = size_of(mode, *size)
        self.held += held
        image = Image.frombytes(mode, size, self._store.pixels(mode, size, content, seed))
        if mode in ("P", "PA"):
            image.putpalette(bytes(range(255, -1, -1)) * 3)
        return image

    def data(self, mode: str, size: tuple[int, int], content: str = "photo", seed: int = 1) -> bytes:
        """The same as bytes."""
        found = self._store.pixels(mode, size, content, seed)
        self.held += len(found)
        return found

    def module(self, name: str) -> Any:
        """A module besides PIL. Raises :class:`Unavailable`."""
        try:
            return importlib.import_module(name)
        except ImportError as error:
            raise Unavailable(f"{name} cannot be imported: {error}") from None

    def file(self, name: str) -> bytes:
        """An encoded file; all builds read the same one. Raises :class:`Unavailable`."""
        path = os.path.join(self.folder, name)
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError:
            raise Unavailable(f"{name} could not be made") from None
        self.held += len(data)
        return data


def scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """The target of a scaling row, as pillow-perf rounds it."""
    return round(size[0] * scale), round(size[1] * scale)


def resample(name: str) -> Any:
    """Pillow's constant for a filter, in old releases too."""
    from PIL import Image

    return getattr(getattr(Image, "Resampling", Image), name.upper())


def transposition(name: str) -> Any:
    """Pillow's constant for a transposition, in old releases too."""
    from PIL import Image

    return getattr(getattr(Image, "Transpose", Image), name.upper())


def save(image: Any, format: str, options: dict[str, Any]) -> Call:
    """A call that encodes the image and gives the file's bytes."""
    from PIL import Image

    Image.init()
    if format not in Image.SAVE:
        raise Unavailable(f"this build cannot write {format}")

    def call() -> bytes:
        file = io.BytesIO()
        image.save(file, format, **options)
        return file.getvalue()

    return call
