"""On a node: the best build of a cache for this CPU, Python and libc, checked.

Nothing but the cache is needed: no compiler, no other network.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, unquote, urlsplit

from packaging.version import Version

from simdinstall import archive
from simdinstall.cache import signing, simple_index
from simdinstall.cache.catalogue import NAME, Catalogue, Entry, parse, signature_path
from simdinstall.cpu import LEVELS, Cpu, March
from simdinstall.environment import Environment
from simdinstall.errors import CpuError, FetchError, UsageError, VerifyError
from simdinstall.run import CommandFailed, Runner, run
from simdinstall.store import file_digest
from simdinstall.verify import Graded, Ran, Verdict, declared_bounds
from simdinstall.wheel import Wheel, read

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
            raise _absent(self.address, relative, error.strerror or str(error)) from error

    def fetch(self, relative: str, into: Path, sha256: str) -> Path:
        """The file where it lies, its hash checked."""
        path = self.root / relative
        try:
            found = file_digest(path)
        except OSError as error:
            raise _absent(self.address, relative, error.strerror or str(error)) from error
        if found != sha256:
            raise _altered(path.name, found, sha256)
        return path


class WebPlace:
    """A cache that a web server serves."""

    def __init__(self, url: str) -> None:
        from simdinstall import indexes
        from simdinstall.transfer import Session

        self._root = url.rstrip("/")
        self._session = Session(indexes.read(os.environ))

    @property
    def address(self) -> str:
        """The URL without a password in it."""
        from simdinstall.indexes import redact

        return redact(self._root)

    def url(self, relative: str) -> str:
        """The file's URL."""
        return f"{self._root}/{quote(relative)}"

    def get(self, relative: str) -> bytes:
        """Ask the server."""
        import httpx2

        try:
            response = self._session.get(self.url(relative))
        except httpx2.HTTPError as error:
            raise _absent(self.address, relative, str(error) or type(error).__name__) from error
        if response.status_code != 200:
            raise _absent(self.address, relative, f"{response.status_code} {response.reason_phrase}")
        content: bytes = response.content
        if len(content) > LIMIT:
            raise _absent(self.address, relative, f"it has {len(content)} bytes")
        return content

    def fetch(self, relative: str, into: Path, sha256: str) -> Path:
        """Download and check."""
        content = self.get(relative)
        found = hashlib.sha256(content).hexdigest()
        name = relative.rpartition("/")[2]
        if found != sha256:
            raise _altered(name, found, sha256)
        path = into / name
        path.write_bytes(content)
        return path


def _absent(address: str, relative: str, why: str) -> FetchError:
    return FetchError(
        f"{relative} cannot be read from the cache {address}",
        why=why,
        hint="check the address; a cache has a catalogue.json in it",
    )


def _altered(name: str, found: str, wanted: str) -> FetchError:
    return FetchError(
        f"{name} in the cache is damaged or was altered",
        why=f"its sha256 is {found[:16]}…, the catalogue has {wanted[:16]}…",
        hint="nothing was changed; whoever builds the cache sees more with: simdinstall cache verify",
    )


def place(location: str) -> FolderPlace | WebPlace:
    """Where ``--cache`` points: a folder, ``file:``, ``http:`` or ``https:``. UsageError."""
    scheme = urlsplit(location).scheme.lower()
    if scheme in ("http", "https"):
        return WebPlace(location)
    if scheme == "file":
        return FolderPlace(Path(unquote(urlsplit(location).path)))
    if "://" in location:
        raise UsageError(
            f"a cache cannot be read over {scheme}",
            why="a folder, file:, http: and https: are what can be used",
            hint="object stores have an https address too",
        )
    return FolderPlace(Path(location).expanduser())


def catalogue(where: Place, *, trusted: frozenset[bytes] | None = None) -> Catalogue:
    """The catalogue, its signature checked when ``trusted`` keys are given.

    Raises FetchError, StateError and VerifyError.
    """
    text = where.get(NAME)
    if trusted is not None:
        try:
            signature = where.get(signature_path(text)).decode("ascii", "replace")
        except FetchError as error:
            raise VerifyError(
                f"the cache {where.address} is not signed",
                why="there is no signature of this catalogue",
                hint="have it signed: simdinstall cache build DIR --sign KEY",
            ) from error
        signing.verify(text, signature, trusted)
    return parse(text, where=where.address)


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """The build for a node, and why that one."""

    entry: Entry
    why: str


def choose(
    listed: Catalogue,
    *,
    cpu: Cpu,
    tags: Sequence[str],
    release: str | None = None,
    march: March | None = None,
    fidelity: str = "exact",
) -> Choice:
    """The best build: the newest release, then the most of this CPU. FetchError, CpuError.

    ``tags`` are those of the interpreter, best first; they say what its libc can load.
    """
    if not listed.entries:
        raise FetchError("the cache is empty", hint="fill it: simdinstall cache build DIR")
    places = {tag: number for number, tag in enumerate(tags)}
    wanted = Version(release) if release else None
    of_release = [e for e in listed.entries if wanted is None or Version(e.release) == wanted]
    if not of_release:
        raise FetchError(
            f"the cache has no Pillow {release}",
            why=f"it has {', '.join(sorted({e.release for e in listed.entries}, key=Version, reverse=True))}",
        )
    fitting = [e for e in of_release if any(tag in places for tag in e.tags)]
    if not fitting:
        raise FetchError(
            "the cache has no build for this Python",
            why=f"it has builds for {_told_tags(of_release)}; this takes {tags[0] if tags else 'nothing'}",
            hint="have one built: simdinstall cache build DIR --python …",
        )
    faithful = [e for e in fitting if fidelity == "bounded" or e.fidelity == "exact"]
    if march is not None:
        faithful = [e for e in faithful if e.level == march.name]
    if not faithful:
        asked = " ".join(part for part in (march.name if march else "", fidelity) if part)
        raise FetchError(
            f"the cache has no {asked} build for this Python",
            why=f"it has {', '.join(sorted({f'{e.level} {e.fidelity}' for e in fitting}))}",
        )
    runnable = [e for e in faithful if e.architecture == cpu.architecture and cpu.can_run(e.features)]
    if not runnable:
        lack = min((sorted(e.features - cpu.features) for e in faithful), key=len)
        raise CpuError(
            "the cache has no build that this CPU can run",
            why=f"{cpu.name} ({cpu.level}) lacks {', '.join(lack) or 'the architecture'}, even for the least",
            hint="have one built for every CPU: simdinstall cache build DIR --march portable",
        )

    def rank(entry: Entry) -> tuple[Any, ...]:
        best_tag = min(places[tag] for tag in entry.tags if tag in places)
        final = not Version(entry.release).is_prerelease
        return (
            final,
            Version(entry.release),
            fidelity == entry.fidelity,
            *simple_index.preference(entry, cpu.features),
            -best_tag,
        )

    best = max(runnable, key=rank)
    others = sorted({e.level for e in fitting} - {best.level})
    why = f"the best that {cpu.name} ({cpu.level}) can run"
    return Choice(entry=best, why=f"{why}; there are also {', '.join(others)}" if others else why)


def _told_tags(entries: Sequence[Entry]) -> str:
    oldest = {f"{e.abi} on {e.platforms[0]}" for e in entries if e.platforms}
    return ", ".join(sorted(oldest))


def best_level(listed: Catalogue, cpu: Cpu) -> str:
    """The index for a CPU. CpuError when it can run none."""
    runnable = [
        (
            max(simple_index.power(e, cpu.features) for e in listed.entries if e.level == level),
            len(features),
            level != "portable",
            level,
        )
        for level, (architecture, features) in simple_index.levels(listed).items()
        if architecture == cpu.architecture and cpu.can_run(features)
    ]
    if not runnable:
        raise CpuError(
            "the cache has no build that this CPU can run",
            why=f"{cpu.name} is {cpu.level}; there are {', '.join(simple_index.levels(listed)) or 'none'}",
            hint="have one built for every CPU: simdinstall cache build DIR --march portable",
        )
    return max(runnable)[-1]


def fetched(where: Place, entry: Entry, into: Path, *, cpu: Cpu) -> Wheel:
    """The wheel of an entry, its hash checked, and once more that this CPU can run it.

    The catalogue may have been edited; the wheel's own provenance has the last word.
    Raises FetchError and CpuError.
    """
    path = where.fetch(entry.path, into, entry.sha256)
    wheel = read(path, cached=True)
    told = wheel.provenance.get("march", {})
    needs = frozenset(LEVELS.get(str(told.get("level")), frozenset())) | entry.features
    if wheel.march != entry.level or wheel.version != entry.version:
        raise FetchError(
            f"{entry.file} is not what the catalogue says",
            why=f"it is {wheel.version} for {wheel.march}, not {entry.version} for {entry.level}",
        )
    if lack := sorted(needs - cpu.features):
        raise CpuError(f"{entry.file} cannot run on this CPU", why=f"{cpu.name} lacks {', '.join(lack)}")
    return wheel


#: Run inside the target's Python on the unpacked wheel: a few calls of each family, with
#: the kernels on and off in one process. Stock Pillow is in the wheel, unchanged.
_CHECK = """\
import json, random, sys
sys.path.insert(0, sys.argv[1])
from PIL import Image, ImageFilter, _simd
best = _simd.level()
rng = random.Random(7)
def image(mode, size):
    bands = len(Image.new(mode, (1, 1)).getbands())
    return Image.frombytes(mode, size, rng.randbytes(size[0] * size[1] * bands))
images = {m: image(m, (97, 53)) for m in ("L", "RGB", "RGBA")}
table = ImageFilter.Color3DLUT.generate(5, lambda r, g, b: (g, b, r))
kernel = ImageFilter.Kernel((5, 5), [(i * 7) % 5 - 1 for i in range(25)], 9)
calls = []
for mode, im in images.items():
    for size in ((31, 17), (211, 120)):
        for how in (1, 2, 3, 4, 5):
            calls.append(("resize", mode, lambda im=im, size=size, how=how: im.resize(size, how)))
    for factor in (2, 3):
        calls.append(("reduce", mode, lambda im=im, f=factor: im.reduce(f)))
    for radius in (1, 6):
        calls.append(("blur", mode, lambda im=im, r=radius: im.filter(ImageFilter.GaussianBlur(r))))
    calls.append(("filter", mode, lambda im=im: im.filter(ImageFilter.SMOOTH)))
    calls.append(("filter", mode, lambda im=im: im.filter(kernel)))
    calls.append(("unsharp", mode, lambda im=im: im.filter(ImageFilter.UnsharpMask(2))))
    calls.append(("bands", mode, lambda im=im: Image.merge(im.mode, im.split())))
    if mode != "L":
        calls.append(("lut", mode, lambda im=im: im.filter(table)))
    for to in ("L", "RGB", "HSV", "YCbCr", "RGBa"):
        if (mode, to) in (("RGB", "L"), ("RGB", "HSV"), ("RGB", "YCbCr"), ("RGBA", "RGBa"), ("RGBA", "L")):
            calls.append(("convert", mode, lambda im=im, to=to: im.convert(to)))
rgba = images["RGBA"]
calls.append(("composite", "RGBA", lambda: Image.alpha_composite(rgba, rgba.rotate(180))))
rows, before = [], {}
_simd.set_level("none")
wanted = [call().tobytes() for _, _, call in calls]
_simd.set_level(best)
_simd.reset()
for (name, mode, call), stock in zip(calls, wanted):
    ours = call().tobytes()
    far = 256
    if len(ours) == len(stock):
        far = 0 if ours == stock else max(abs(a - b) for a, b in zip(ours, stock))
    rows.append([name, mode, far])
ran = [list(e) for e in _simd.entries() if e.calls]
print(json.dumps({"level": best, "rows": rows, "ran": ran}))
"""


def check_here(
    wheel: Wheel, target: Environment, entry: Entry, folder: Path, *, run: Runner = run
) -> Verdict:
    """Compare the wheel's kernels with the stock Pillow inside it, under the target's Python.

    A quick look, not the proof: that was given where the wheel was built. ``folder`` is
    where it is unpacked.
    """
    archive.extract(wheel.path, folder)
    problems: list[str] = []
    answer: dict[str, Any] = {"level": "none", "rows": [], "ran": []}
    try:
        said = run([target.python, "-I", "-B", "-c", _CHECK, folder], timeout=120)
        answer = json.loads(said.stdout)
    except CommandFailed as error:
        last = error.completed.output.strip().splitlines()
        problems.append(f"it does not run here: {last[-1] if last else error.what}")
    except ValueError:
        problems.append("it does not answer as it must")
    bounds = declared_bounds(wheel.provenance)
    ran = tuple(
        Ran(function=function, kernel=kernel, level=level, calls=calls)
        for function, kernel, level, calls in answer["ran"]
    )
    worst = max((bounds.get(row.kernel, 0) for row in ran), default=0)
    graded = tuple(_graded(name, mode, far, worst, answer["level"]) for name, mode, far in answer["rows"])
    problems += [
        f"{row.operation} of {row.mode} differs from stock Pillow by {row.raw_difference:g}"
        for row in graded
        if row.grade == "failed"
    ]
    own = [row for row in ran if row.kernel != "stock"]
    if not problems and entry.kernels and answer["level"] != "none" and not own:
        problems.append("no kernel ran")
    return Verdict(
        ok=not problems,
        features_ok=not problems,
        fidelity=entry.fidelity,
        level=str(answer["level"]),
        graded=graded,
        rows=(),
        speedup=float(entry.verdict.get("times_as_fast", 1.0)),
        trace=ran,
        problems=tuple(problems),
        limits=("checked quickly here; the whole proof was given where it was built",),
    )


def _graded(name: str, mode: str, far: float, bound: float, level: str) -> Graded:
    grade = "exact" if far == 0 else "bounded" if far <= bound else "failed"
    return Graded(
        operation=name,
        mode=mode,
        size="97x53",
        level=level,
        grade=grade,
        largest_difference=far,
        raw_difference=far,
        share=0.0,
        bound=bound,
        cases=1,
        different=int(far > 0),
    )
