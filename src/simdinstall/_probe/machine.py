"""What this machine needs to move bytes and to hand out fresh memory."""

from __future__ import annotations

import mmap
import resource
import time

_MIB = 1 << 20


#: Bytes in use, read and written together, for which the bandwidth is measured: what fits
#: into the caches of today's cores, and what does not.
SIZES = (128 << 10, 1 << 20, 4 << 20, 8 << 20, 16 << 20, 32 << 20, 128 << 20)


def bandwidth(size: int, rounds: int = 7) -> float:
    """Bytes per CPU second of a plain copy that uses ``size`` bytes in all; the best of some."""
    half = size // 2
    source, target = memoryview(bytearray(b"\x01" * half)), memoryview(bytearray(half))
    calls = range(max(1, 4 * _MIB // size))
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time_ns()
        for _ in calls:
            target[:] = source
        best = min(best, (time.process_time_ns() - start) / 1e9 / len(calls))
    return size / best


def bandwidths() -> list[tuple[int, float]]:
    """Bytes in use and bytes per CPU second, for all of :data:`SIZES`."""
    return [(size, bandwidth(size)) for size in SIZES]


def fault_cost(size: int = 32 * _MIB, rounds: int = 5) -> float:
    """CPU seconds for the first touch of a fresh page of the smallest size; the median of some."""
    costs = []
    for _ in range(rounds):
        fresh = mmap.mmap(-1, size)
        if hasattr(fresh, "madvise") and hasattr(mmap, "MADV_NOHUGEPAGE"):
            fresh.madvise(mmap.MADV_NOHUGEPAGE)
        pages = range(0, size, mmap.PAGESIZE)
        touch = bytes(len(pages))
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        start = time.process_time_ns()
        fresh[:: mmap.PAGESIZE] = touch
        first = time.process_time_ns() - start
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
        start = time.process_time_ns()
        fresh[:: mmap.PAGESIZE] = touch
        again = time.process_time_ns() - start
        fresh.close()
        costs.append(max(0, first - again) / 1e9 / max(1, faults))
    return sorted(costs)[len(costs) // 2]
