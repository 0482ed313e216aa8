"""Run many small cases in two builds, and compare their outcomes."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from simdinstall.measure import Difference, Probe, ProbeDied, Served, difference_from, served_from

#: Level, group and case at work; the same as in the probe.
_POSITION = struct.Struct("=iii")


@dataclass(frozen=True, kw_only=True, slots=True)
class Mismatch:
    """One case whose outcome is not stock's."""

    label: str
    size: tuple[int, int]
    difference: Difference


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """The cases of one family in one mode at one level of kernels."""

    family: str
    mode: str
    level: int
    cases: int
    served: tuple[Served, ...]
    mismatches: tuple[Mismatch, ...]


#: After so many crashes in one family the rest of it is not tried.
MOST_CRASHES = 8


def compare_family(
    stock: Probe, candidate: Probe, family: str, levels: Sequence[int], *, scratch: Path
) -> tuple[Group, ...]:
    """Run one family of checks in both builds and compare.

    A case that ends the candidate's process is a mismatch with the signal's name; the
    others go on in a new process. Raises :class:`ProbeDied` when that happens to
    stock, or again and again.
    """
    path, position = scratch / f"{family}.outcomes", scratch / f"{family}.position"
    skip: dict[str, str] = {}
    while True:
        served: dict[tuple[str, int], tuple[Served, ...]] = {}
        try:
            for answer in candidate.stream(
                "run_checks",
                family=family,
                levels=list(levels),
                path=str(path),
                position=str(position),
                skip=skip,
            ):
                if "mode" in answer:
                    served[answer["mode"], answer["level"]] = served_from(answer["served"])
            break
        except ProbeDied as death:
            place = _POSITION.unpack(position.read_bytes()) if position.exists() else (-1, -1, -1)
            candidate.close(kindly=False)
            if place[2] < 0 or len(skip) >= MOST_CRASHES:
                raise
            skip[",".join(map(str, place))] = f"ended by {death.reason}"
            candidate.start()
    groups: list[Group] = []
    for answer in stock.stream("compare_checks", family=family, levels=list(levels), path=str(path)):
        if "mode" not in answer:
            break
        mismatches = tuple(
            Mismatch(label=row["label"], size=tuple(row["size"]), difference=difference_from(row))
            for row in answer["different"]
        )
        groups.append(
            Group(
                family=family,
                mode=answer["mode"],
                level=answer["level"],
                cases=answer["cases"],
                served=served[answer["mode"], answer["level"]],
                mismatches=mismatches,
            )
        )
    path.unlink(missing_ok=True)
    position.unlink(missing_ok=True)
    return tuple(groups)
