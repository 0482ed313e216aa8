"""What a build's times mean: the ratio of two builds, its bounds, and a verdict.

The rule, fixed before anything is measured:

* Two builds are compared pair by pair, round by round. The ratio is the median of the pairs.
* Its bounds hold the median with 99 % confidence, by order statistics, for the pairs and
  for the medians of the processes that they were measured in. The wider of both counts:
  how memory happens to lie in one process can make it slower for all of its life.
* A build is "faster" or "slower" where the ratio is beyond the floor, and the nearer bound
  beyond half of the floor and a third of the ratio's own distance from 1. The floor is 5 % where at
  least three processes were measured, else 20 %.
* A ratio beyond the floor whose bounds come nearer, and bounds that are far apart, are "noisy",
  which is: too noisy to tell.
* Everything else is "same".
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

#: Of the bounds of a median: with hundreds of rows, one in twenty would be far too many.
CONFIDENCE = 0.99
#: A change smaller than this is none: runs of the same build differ by that much.
SAME_WITHIN = 0.05
#: The same where fewer than three processes were measured.
SAME_WITHIN_FEW = 0.2
#: Where the bounds are further apart than this, only a clear change is called one.
NOISY_ABOVE = 0.15


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """The seconds per call of one build in each round, in the order of the rounds.

    ``passes`` are the numbers of rounds in each process, where there was more than one.
    ``shared`` is the share of the time in which the core did something else.
    """

    label: str
    seconds: tuple[float, ...]
    calls: int
    faults: float = 0.0
    passes: tuple[int, ...] = ()
    shared: float = 0.0

    @property
    def median(self) -> float:
        """Seconds per call."""
        return statistics.median(self.seconds)


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """How many times as fast a build is as the one it is compared with.

    ``low`` and ``high`` bound the ratio; ``spread`` is the half distance of the quartiles of
    the pairs over the ratio. ``verdict`` is "faster", "slower", "same" or "noisy".
    """

    ratio: float
    low: float
    high: float
    spread: float
    verdict: str

    @property
    def half_width(self) -> float:
        """Half the distance of the bounds, relative to the ratio."""
        return (self.high - self.low) / 2 / self.ratio


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which ``share`` of the ordered values lie, interpolated linearly."""
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def median_bounds(ordered: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Bounds for the median of what the values were drawn from, by order statistics.

    The number of values below the true median is binomial with p = 1/2, which gives the
    ranks (Conover, Practical Nonparametric Statistics, section 3.2). With fewer than eight
    values the extremes are the best there is.
    """
    count = len(ordered)
    tail = (1 - confidence) / 2
    rank, below = 0, 1 / 2**count
    while below <= tail:
        rank += 1
        below += math.comb(count, rank) / 2**count
    low = max(0, rank - 1)
    return ordered[low], ordered[count - 1 - low]


def compare_samples(base: Sample, other: Sample) -> Comparison:
    """Base's time over the other's: 2.0 is twice as fast.

    Raises :class:`ValueError` where the samples have no rounds in common.
    """
    pairs = [b / o if o > 0 and b > 0 else 1.0 for b, o in zip(base.seconds, other.seconds, strict=False)]
    if not pairs:
        raise ValueError("no pair of measurements")
    ratios = sorted(pairs)
    medians = sorted(_by_pass(pairs, other.passes))
    ratio = statistics.median(ratios)
    bounds = median_bounds(ratios), median_bounds(medians)
    low, high = min(low for low, _ in bounds), max(high for _, high in bounds)
    return Comparison(
        ratio=ratio,
        low=low,
        high=high,
        spread=(quantile(ratios, 0.75) - quantile(ratios, 0.25)) / 2 / ratio,
        verdict=_verdict(ratio, low, high, SAME_WITHIN if len(medians) >= 3 else SAME_WITHIN_FEW),
    )


def _by_pass(pairs: Sequence[float], passes: Sequence[int]) -> list[float]:
    """The median ratio in each process; of all pairs where they do not add up."""
    if len(passes) < 2 or sum(passes) != len(pairs):
        return [statistics.median(pairs)]
    ends = list(accumulate(passes))
    return [
        statistics.median(pairs[end - count : end]) for end, count in zip(ends, passes, strict=True) if count
    ]


def _verdict(ratio: float, low: float, high: float, same_within: float) -> str:
    gain = abs(ratio - 1)
    nearer = low - 1 if ratio > 1 else 1 - high
    if gain > same_within:
        if nearer > max(same_within / 2, gain / 3):
            return "faster" if ratio > 1 else "slower"
        return "noisy"
    return "noisy" if (high - low) / ratio > max(NOISY_ABOVE, same_within) else "same"


def geometric_mean(ratios: Sequence[float]) -> float:
    """1.0 for none at all."""
    return math.exp(statistics.fmean(math.log(ratio) for ratio in ratios)) if ratios else 1.0
