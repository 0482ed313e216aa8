"""Reports of benchmarks made by hand, for tests of what is done with them."""

from __future__ import annotations

from simdinstall.bench_report import SCHEMA, BenchReport, Build, Cell, Machine, Row
from simdinstall.measure import Difference
from simdinstall.peers import INSTALLED, STOCK
from simdinstall.samples import Comparison


def cell(label: str, milliseconds: float, *, against: float | None = None, scatter: float = 0.01) -> Cell:
    """A cell of seven rounds, all alike; with a comparison where ``against`` is given."""
    seconds = milliseconds / 1000
    comparison = None
    if against is not None:
        ratio = against / milliseconds
        verdict = "faster" if ratio > 1.05 else "slower" if ratio < 0.95 else "same"
        comparison = Comparison(
            ratio=ratio,
            low=ratio * (1 - scatter),
            high=ratio * (1 + scatter),
            spread=scatter,
            verdict=verdict,
        )
    return Cell(
        label=label,
        status="ok",
        seconds=(seconds,) * 7,
        calls=1,
        comparison=comparison,
        difference=Difference() if against is not None else None,
        kernels=("resample (avx2)",) if against is not None else (),
    )


def row(name: str, *, stock: float, installed: float | None = None, **others: float) -> Row:
    """A row of the suite "wide" with times in milliseconds."""
    group, _, title = name.partition("/")
    cells = [cell(STOCK, stock)]
    if installed is not None:
        cells.append(cell(INSTALLED, installed, against=stock))
    cells += [cell(label, value, against=stock) for label, value in others.items()]
    return Row(
        name=f"wide/{name}",
        group=group.capitalize(),
        title=title,
        pixels=1_000_000,
        floor=0.0001,
        cells=tuple(cells),
    )


def report(*rows: Row, version: str = "13.0.0", builds: tuple[Build, ...] | None = None) -> BenchReport:
    """A report of stock and an installed build."""
    return BenchReport(
        schema=SCHEMA,
        tool="0.1.0",
        created="2026-11-20T12:00:00+00:00",
        command="simdinstall bench --against stock",
        quick=False,
        interrupted=False,
        seconds=100.0,
        machine=Machine(
            cpu="AMD EPYC 9554P",
            cores=2,
            system="Debian GNU/Linux 12, Linux 6.1",
            core=1,
            unpinned="",
            bandwidth=((1 << 20, 5e10), (128 << 20, 1e10)),
            fault=1.6e-6,
        ),
        builds=builds
        or (
            Build(label=STOCK, title=f"stock Pillow {version}", version=version, python="3.11.7"),
            Build(
                label=INSTALLED,
                title="pillow 13.0.0+simd.v3",
                version="13.0.0",
                python="3.11.7",
                level="avx2",
                kernels="gcc 14",
            ),
        ),
        rows=rows,
    )
