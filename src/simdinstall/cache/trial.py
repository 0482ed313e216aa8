"""A last look at a build from a cache, on the node itself, before it is put into place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from simdinstall.cache.catalogue import Entry
from simdinstall.verdict import Graded, Ran, Verdict, declared_bounds
from simdinstall.wheel import Wheel


class Trial:
    """Compares the wheel's kernels with the stock Pillow inside it, under the node's Python.

    A quick look, not the proof: that was given where the wheel was built. What
    :func:`simdinstall.install.install` takes in a verdict's place.
    """

    #: Run by the node's Python where the build has been imported.
    program = Path(__file__).with_name("_compare.py")

    def __init__(self, wheel: Wheel, entry: Entry) -> None:
        self._bounds = declared_bounds(wheel.provenance)
        self._entry = entry
        #: What the node said, once it has been asked.
        self.verdict: Verdict | None = None

    def judge(self, answer: Mapping[str, Any]) -> Verdict:
        """What the program said, as a verdict."""
        ran = tuple(
            Ran(function=function, kernel=kernel, level=level, calls=calls)
            for function, kernel, level, calls in answer["ran"]
        )
        level = str(answer["level"])
        bound = max((self._bounds.get(row.kernel, 0) for row in ran), default=0)
        graded = tuple(_graded(name, mode, far, bound, level) for name, mode, far in answer["rows"])
        problems = [
            f"{row.operation} of {row.mode} differs from stock Pillow by {row.raw_difference:g}"
            for row in graded
            if row.grade == "failed"
        ]
        if self._entry.kernels and level != "none" and all(row.kernel == "stock" for row in ran):
            problems.append("no kernel ran")
        self.verdict = Verdict(
            ok=not problems,
            features_ok=not problems,
            fidelity=self._entry.fidelity,
            level=level,
            graded=graded,
            rows=(),
            speedup=float(self._entry.verdict.get("times_as_fast", 1.0)),
            trace=ran,
            problems=tuple(problems),
            limits=("checked quickly here; the whole proof was given where it was built",)
            if self._entry.verified
            else ("checked quickly here; where it was built nobody could verify it",),
        )
        return self.verdict


def _graded(name: str, mode: str, far: float, bound: float, level: str) -> Graded:
    return Graded(
        operation=name,
        mode=mode,
        size="97x53",
        level=level,
        grade="exact" if far == 0 else "bounded" if far <= bound else "failed",
        largest_difference=far,
        raw_difference=far,
        share=0.0,
        bound=bound,
        cases=1,
        different=int(far > 0),
    )
