"""Answers requests, one line of JSON each way, until its input ends.

A request is ``{"do": name, …}``; the answer has ``"ok"``, and ``"error"`` with the kind
and text of the exception where that is false. ``checks`` answers with a line for each
group before its last line.
"""

from __future__ import annotations

import gc
import json
import mmap
import os
import resource
import struct
import sys
import time
from collections.abc import Callable, Iterator
from typing import IO, Any

from . import checks, machine, operations, outcome, suites
from .operations import Inputs, Operation, Unavailable
from .trace import LEVELS, Trace, describe

#: Level, group and case at work, for whoever finds this process dead.
POSITION = struct.Struct("=iii")

#: Seconds of a call below which another one goes before, untimed: what the caches hold at its
#: beginning matters less to longer ones.
_WARM_BELOW = 0.005

Answer = dict[str, Any]


class Worker:
    """The state between two requests: what is prepared, and the trace if there is one."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._trace: Trace | None = None
        self._looked = False
        self._suites: dict[str, dict[str, Operation]] = {}
        self._call: Callable[[], Any] | None = None
        self._warms = False
        self._folder = ""
        self._library = "pillow"
        self._first: list[outcome.Part] | None = None
        self._pixels = operations.Store()

    def serve(self, lines: Iterator[str]) -> None:
        """Answer line by line."""
        for line in lines:
            request = json.loads(line)
            try:
                answer = getattr(self, "do_" + request.pop("do"))(**request)
                answer = {"ok": True, **answer}
            except Unavailable as error:
                answer = {"ok": False, "error": "Unavailable", "text": str(error)}
            except MemoryError:
                self._call = None
                answer = {"ok": False, "error": "MemoryError", "text": "not enough memory"}
            except Exception as error:
                answer = {"ok": False, "error": type(error).__name__, "text": str(error)[:500]}
            self._say(answer)

    def _say(self, answer: Answer) -> None:
        self._out.write(json.dumps(answer) + "\n")
        self._out.flush()

    def trace(self) -> Trace | None:
        """The kernel library, looked for once."""
        if not self._looked:
            self._trace = Trace.find()
            self._looked = True
        return self._trace

    def do_hello(self, folder: str = "", library: str = "pillow") -> Answer:
        """Who this is: interpreter, library, its kernels. ``folder`` holds assets."""
        self._folder = folder
        self._library = library
        self._pixels = operations.Store(folder=folder)
        common = {"python": sys.version.split()[0], "pid": os.getpid(), "trace": {}}
        if library != "pillow":
            return {**common, **suites.hello(library)}
        import PIL
        from PIL import Image

        return {
            **common,
            "pil": PIL.__version__,
            "path": os.path.dirname(PIL.__file__ or ""),
            "core": getattr(Image.core, "__file__", ""),
            "trace": describe(self.trace()),
        }

    def do_features(self) -> Answer:
        """Everything that ``PIL.features`` knows, all formats, and the names in the C core."""
        from PIL import Image, features

        found: dict[str, list[Any]] = {}
        for kind, names in (
            ("module", features.get_supported_modules()),
            ("codec", features.get_supported_codecs()),
            ("feature", features.get_supported_features()),
        ):
            for name in names:
                found[f"{kind} {name}"] = [str(features.version(name) or "")]
        Image.init()
        formats = {f"open {name}" for name in Image.OPEN} | {f"save {name}" for name in Image.SAVE}
        formats |= {f"save all {name}" for name in Image.SAVE_ALL}
        names = [name for name in dir(Image.core) if not name.startswith("__")]
        return {"features": found, "formats": sorted(formats), "names": names}

    def do_pin(self, core: int) -> Answer:
        """Stay on one core; says whether the system allowed it."""
        try:
            os.sched_setaffinity(0, {core})
        except (OSError, AttributeError) as error:
            return {"pinned": False, "why": str(error)}
        return {"pinned": True}

    def do_usage(self) -> Answer:
        """CPU seconds of this process so far, and the most memory it held (bytes)."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        return {"cpu": used.ru_utime + used.ru_stime, "memory": _most_memory() or used.ru_maxrss * 1024}

    def do_machine(self) -> Answer:
        """What moving bytes and touching fresh memory costs here."""
        return {"bandwidth": machine.bandwidths(), "fault": machine.fault_cost()}

    # --- timed operations

    def _suite(self, suite: str) -> dict[str, Operation]:
        if suite not in self._suites:
            self._suites[suite] = suites.catalogue(suite, self._library)
        return self._suites[suite]

    def do_catalogue(self, suite: str) -> Answer:
        """The rows of a suite."""
        return {
            "operations": [
                {
                    "name": operation.name,
                    "group": operation.group,
                    "title": operation.title,
                    "pixels": operation.pixels,
                    "assets": operation.assets,
                    "remark": operation.remark,
                    "whole": operation.whole,
                }
                for operation in self._suite(suite).values()
            ]
        }

    def do_prepare(self, suite: str, name: str, again: bool = False) -> Answer:
        """Make the inputs, run once, say what came out and which kernels served it.

        ``again``: what came out is known already.
        """
        self._call = self._first = None
        operation = self._suite(suite)[name]
        inputs = Inputs(self._folder, self._pixels)
        call = operation.prepare(inputs)
        trace = self.trace()
        if trace is not None:
            trace.reset()
        start = time.process_time_ns()
        value = call()
        seconds = (time.process_time_ns() - start) / 1e9
        served = trace.served() if trace else []
        found = [] if again else outcome.parts(value)
        self._call, self._first = call, found
        self._warms = seconds < _WARM_BELOW
        return {
            "remark": operation.remark,
            "seconds": seconds,
            "served": served,
            "digest": outcome.digest(found),
            "held": inputs.held,
            "made": sum(outcome.weight(part) for part in found),
        }

    def do_time(self, calls: int) -> Answer:
        """CPU seconds and page faults of so many calls in a row."""
        call = self._prepared()
        self._first = None
        repeat = range(calls)
        collecting = gc.isenabled()
        gc.disable()
        try:
            if self._warms:
                call()  # another process had the caches until now
            faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            wall = time.perf_counter_ns()
            start = time.process_time_ns()
            for _ in repeat:
                call()
            seconds = (time.process_time_ns() - start) / 1e9
            wall = time.perf_counter_ns() - wall
            faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
        finally:
            if collecting:
                gc.enable()
        return {"seconds": seconds, "wall": wall / 1e9, "faults": faults / calls}

    def _prepared(self) -> Callable[[], Any]:
        if self._call is None:
            raise RuntimeError("nothing is prepared")
        return self._call

    def _outcome(self) -> list[outcome.Part]:
        """What the first call gave: later ones may start from what it left behind."""
        if self._first is None:
            raise RuntimeError("the outcome is gone: compare before timing")
        return self._first

    def do_output(self, path: str) -> Answer:
        """Leave what came out in a file, for ``compare``."""
        with open(path, "wb") as file:
            file.write(outcome.pack(self._outcome()))
        return {}

    def do_compare(self, ours: str, theirs: str) -> Answer:
        """Compare what two builds left in files."""
        found = []
        for path in (ours, theirs):
            with open(path, "rb") as file:
                found.append(outcome.unpack(file.read()))
        return outcome.to_json(outcome.compare(found[0], found[1]))

    def do_release(self) -> Answer:
        """Forget what was prepared, and leave all that stays to no further collection."""
        self._call = self._first = None
        gc.collect()
        gc.freeze()
        return {}

    # --- checks

    def do_families(self) -> Answer:
        """The families of checks."""
        return {"families": list(checks.FAMILIES)}

    def do_run_checks(
        self, family: str, levels: list[int], path: str, position: str, skip: dict[str, str]
    ) -> Answer:
        """Run a family at each level and leave the outcomes in a file.

        ``position`` is a file that always holds the level, group and case at work.
        ``skip`` maps such a place to what is to be written instead of running it: a
        case that ended an earlier worker.
        """
        trace = self.trace()
        total = 0
        with open(path, "wb") as file, _Position(position) as mark:
            for number, (mode, cases) in enumerate(checks.groups(family)):
                served: list[Any] = []
                for turn, level in enumerate(levels):
                    # What no kernel served at the best level is stock's at every level.
                    known_code = turn > 0 and not any(entry[2] for entry in served)
                    file.write(b"\0" if known_code else b"\1")
                    if known_code:
                        continue
                    if trace is not None:
                        trace.set_level(level)
                        trace.reset()
                    for index, case in enumerate(cases):
                        place = (level, number, index)
                        mark.set(place)
                        known = skip.get(",".join(map(str, place)))
                        found = _failed(known) if known else _outcome(case)
                        data = outcome.pack(found)
                        file.write(len(data).to_bytes(8, "little") + data)
                        total += 1
                    served = trace.served() if trace is not None else []
                    self._say({"ok": True, "mode": mode, "level": level, "served": served})
        if trace is not None:
            trace.set_level(len(LEVELS) - 1)
        return {"cases": total}

    def do_compare_checks(self, family: str, levels: list[int], path: str) -> Answer:
        """Run a family once and compare with the file of ``run_checks``, group by group."""
        with open(path, "rb") as file:
            for mode, cases in checks.groups(family):
                ours = [_outcome(case) for case in cases]
                for level in levels:
                    if file.read(1) == b"\0":
                        continue
                    rows = [_row(case, own, _next(file)) for case, own in zip(cases, ours)]
                    self._say(
                        {
                            "ok": True,
                            "mode": mode,
                            "level": level,
                            "cases": len(cases),
                            "different": [row for row in rows if row is not None],
                        }
                    )
        return {}

    def do_asset(self, name: str) -> Answer:
        """Make an encoded file for all builds to read."""
        from .assets import make

        make(name, os.path.join(self._folder, name), self._pixels)
        return {}


class _Position:
    """Three numbers in a file that outlive this process."""

    def __init__(self, path: str) -> None:
        with open(path, "wb") as file:
            file.write(POSITION.pack(-1, -1, -1))
        self._file = open(path, "r+b")  # noqa: SIM115
        self._map = mmap.mmap(self._file.fileno(), POSITION.size)

    def __enter__(self) -> _Position:
        return self

    def __exit__(self, *_: object) -> None:
        self._map.close()
        self._file.close()

    def set(self, place: tuple[int, int, int]) -> None:
        POSITION.pack_into(self._map, 0, *place)


def _outcome(case: checks.Case) -> list[outcome.Part]:
    try:
        return outcome.parts(case.call())
    except Exception as error:
        # An import that fails names its file, which lies elsewhere in each build.
        home = os.path.dirname(sys.modules["PIL"].__file__ or "PIL") if "PIL" in sys.modules else "PIL"
        return _failed(f"{type(error).__name__}: {error}".replace(home, "PIL"))


def _failed(text: str) -> list[outcome.Part]:
    return [outcome.Part("error", "", (0, 0), text.encode())]


def _next(file: IO[bytes]) -> bytes:
    return file.read(int.from_bytes(file.read(8), "little"))


def _row(case: checks.Case, own: list[outcome.Part], theirs: bytes) -> Answer | None:
    if outcome.pack(own) == theirs:
        return None
    found = outcome.compare(own, outcome.unpack(theirs))
    return {"label": case.label, "size": case.size, **outcome.to_json(found)}


def _most_memory() -> int:
    """The most bytes that this process held; 0 where the system does not tell.

    Not ``ru_maxrss``: that outlives exec(2), so it begins with what the program held that
    started this one (getrusage(2)).
    """
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def _settle_allocator() -> None:
    """Bring glibc's malloc into the state in which it ends up in any long-lived process.

    Freeing a mapped block raises the size from which blocks are mapped, up to 32 MiB, for
    the rest of the process's life (mallopt(3), M_MMAP_THRESHOLD). Until then each large image
    costs fresh pages, so a build whose process happened to free one earlier would
    look a quarter faster.
    """
    block = bytearray((32 << 20) - 2 * mmap.PAGESIZE)
    del block


def main() -> None:
    """Serve standard input; anything that prints goes to standard error."""
    _settle_allocator()
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    Worker(out).serve(iter(sys.stdin.readline, ""))
