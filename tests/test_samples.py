"""samples.py: the statistics, on recorded and on drawn samples."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from simdinstall.samples import Sample, compare_samples, geometric_mean, median_bounds, quantile


def sample(label: str, *seconds: float) -> Sample:
    return Sample(label=label, seconds=seconds, calls=1)


# Seconds per call of one and the same build in two processes, seven rounds, taken on a
# loaded two-core machine; the third row has a round that a neighbour disturbed.
SAME_BUILD = [
    ((0.01396, 0.01398, 0.01391, 0.01402, 0.01399, 0.01393, 0.01397),
     (0.01398, 0.01397, 0.01394, 0.01389, 0.01404, 0.01395, 0.01396)),
    ((0.00961, 0.00968, 0.01012, 0.00975, 0.00970, 0.00963, 0.00969),
     (0.00982, 0.00957, 0.00987, 0.00990, 0.00961, 0.00978, 0.00958)),
    ((0.00581, 0.00575, 0.01094, 0.00579, 0.00584, 0.00573, 0.00580),
     (0.00578, 0.00572, 0.00581, 0.00583, 0.00577, 0.00579, 0.00571)),
]  # fmt: skip


@pytest.mark.parametrize(("first", "second"), SAME_BUILD)
def test_the_same_build_is_the_same(first: tuple[float, ...], second: tuple[float, ...]) -> None:
    found = compare_samples(sample("a", *first), sample("b", *second))
    assert found.verdict in ("same", "noisy")
    assert abs(found.ratio - 1) < 0.03


def test_a_clear_change_is_seen_through_noise() -> None:
    # The machine slows down by half in the middle; both builds suffer, the ratio does not.
    slow = [1.0, 1.02, 1.5, 1.55, 1.49, 1.01, 0.99]
    base = sample("stock", *(0.030 * factor for factor in slow))
    wobble = [1, 1.01, 0.99, 1, 1.02, 1, 1]
    fast = sample("new", *(0.010 * a * b for a, b in zip(slow, wobble, strict=True)))
    found = compare_samples(base, fast)
    assert found.verdict == "faster"
    assert found.ratio == pytest.approx(3.0, rel=0.02)
    assert compare_samples(fast, base).verdict == "slower"


def test_scattered_ratios_are_called_noisy() -> None:
    base = sample("a", 1.0, 1.4, 0.8, 1.1, 0.7, 1.3, 1.0)
    other = sample("b", 1.1, 1.0, 1.0, 0.8, 1.2, 0.9, 1.0)
    assert compare_samples(base, other).verdict == "noisy"


def test_small_changes_are_none() -> None:
    base = sample("a", *([1.0] * 9))

    def verdict(seconds: float, *passes: int) -> str:
        return compare_samples(base, replace(sample("b", *([seconds] * 9)), passes=passes)).verdict

    assert verdict(0.97, 3, 3, 3) == "same"
    assert verdict(0.90, 3, 3, 3) == "faster"
    assert verdict(1.12, 3, 3, 3) == "slower"
    # Fewer processes, less certainty: what is called a change has to be larger.
    assert verdict(0.90, 9) == verdict(0.90, 5, 4) == verdict(1.12) == "same"
    assert verdict(0.80, 9) == verdict(0.80, 5, 4) == "faster"
    assert verdict(1.3) == "slower"


def test_no_verdict_of_change_in_a_thousand_runs_of_nothing() -> None:
    draw = random.Random(3)
    for _ in range(1000):
        # One core, seven rounds, five per cent of noise with a heavy tail.
        rounds = [
            [draw.gauss(1, 0.02) + (draw.random() < 0.1) * draw.random() for _ in range(7)] for _ in range(2)
        ]
        found = compare_samples(sample("a", *rounds[0]), sample("b", *rounds[1]))
        assert found.verdict in ("same", "noisy"), rounds


def test_a_change_must_show_in_every_process() -> None:
    base = sample("a", *([1.0] * 12))
    lucky = replace(sample("b", *([0.8] * 4), *([1.0] * 3), *([0.8] * 5)), passes=(4, 3, 5))
    assert compare_samples(base, lucky).verdict in ("same", "noisy")
    steady = replace(sample("b", *([0.8] * 12)), passes=(4, 3, 5))
    assert compare_samples(base, steady).verdict == "faster"


def test_samples_without_a_common_round_are_refused() -> None:
    with pytest.raises(ValueError, match="no pair"):
        compare_samples(sample("a"), sample("b", 1.0))


def test_bounds_of_a_median() -> None:
    # Tables of the binomial give ranks 2 and 9 of 10, and 6 and 15 of 20, for 95 %;
    # 1 and 10, and 4 and 17, for 99 %.
    assert median_bounds(range(1, 11), 0.95) == (2, 9)
    assert median_bounds(range(1, 21), 0.95) == (6, 15)
    assert median_bounds(range(1, 11)) == (1, 10)
    assert median_bounds(range(1, 21)) == (4, 17)
    assert median_bounds([5.0]) == (5.0, 5.0)
    assert median_bounds([4.0, 5.0, 6.0]) == (4.0, 6.0)


def test_quantiles_lie_between_values() -> None:
    assert quantile([1.0, 2.0, 3.0, 4.0], 0.5) == 2.5
    assert quantile([1.0], 0.75) == 1.0
    assert geometric_mean([2.0, 8.0]) == pytest.approx(4.0)
    assert geometric_mean([]) == 1.0


def several(draw: random.Random, ratio: float, *, between: float, within: float) -> tuple[Sample, Sample]:
    """Five processes of four rounds; each process has luck of its own, for all of its life."""
    luck = [math.exp(draw.gauss(0, between)) for _ in range(5) for _ in range(4)]
    base = sample("a", *(math.exp(draw.gauss(0, within)) for _ in luck))
    other = sample("b", *(one * math.exp(draw.gauss(0, within)) / ratio for one in luck))
    return base, replace(other, passes=(4,) * 5)


def test_a_process_that_is_unlucky_for_all_its_life_is_no_change() -> None:
    draw = random.Random(4)
    verdicts = [compare_samples(*several(draw, 1.0, between=0.05, within=0.05)).verdict for _ in range(1000)]
    assert sum(verdict in ("faster", "slower") for verdict in verdicts) <= 2


def test_a_gain_of_a_third_is_seen_all_the_same() -> None:
    draw = random.Random(5)
    found = [compare_samples(*several(draw, 1.33, between=0.05, within=0.05)) for _ in range(200)]
    assert all(one.verdict == "faster" for one in found)
    assert sum(one.low <= 1.33 <= one.high for one in found) >= 180


def test_the_half_width_is_relative() -> None:
    found = compare_samples(sample("a", 9.0, 10.0, 11.0), sample("b", 5.0, 5.0, 5.0))
    assert (found.low, found.ratio, found.high) == (1.8, 2.0, 2.2)
    assert found.half_width == pytest.approx(0.1)
