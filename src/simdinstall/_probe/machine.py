"""What this machine needs to move bytes and to hand out fresh memory."""

from __future__ import annotations

import mmap
import resource
import time

_MIB = 1 << 20


def bandwidth(size: int = 64 * _MIB, rounds: int = 7) -> float:
    """Bytes per CPU second of a plain copy, read and written bytes both counted; the best of some."""
    source, target = memoryview(bytearray(b"\x01" * size)), memoryview(bytearray(size))
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time_ns()
        target[:] = source
        best = min(best, (time.process_time_ns() - start) / 1e9)
    return 2 * size / best


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
