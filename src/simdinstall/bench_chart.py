"""Bar charts of a benchmark as SVG: how many times as fast as stock, on a logarithmic scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

from simdinstall.bench_report import BenchReport, Build, Row
from simdinstall.bench_table import times

#: Fills for up to seven builds, apart in lightness as well as in hue: they must be told apart
#: in print and by eyes that see no red (after Okabe and Ito, Color Universal Design, 2008).
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999999")

_WIDTH, _LABEL, _VALUE, _BAR, _GAP, _HEAD = 800, 210, 52, 15, 9, 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Bars:
    """A heading and, for each build, the value or ``None``."""

    heading: str
    values: tuple[float | None, ...]


def group_bars(report: BenchReport, rows: Sequence[Row], builds: Sequence[Build]) -> list[Bars]:
    """The geometric means of the groups of rows, and of all."""
    found = [
        Bars(
            heading=f"{group} ({len(members)})",
            values=tuple(report.mean(build.label, members) for build in builds),
        )
        for group, members in (
            (group, list(rest)) for group, rest in groupby(rows, key=lambda row: row.group)
        )
    ]
    total = tuple(report.mean(build.label, rows) for build in builds)
    return [Bars(heading=f"All ({len(rows)})", values=total), *found]


def row_bars(rows: Sequence[Row], builds: Sequence[Build]) -> list[Bars]:
    """One heading for each row."""
    return [
        Bars(
            heading=row.title,
            values=tuple(
                cell.comparison.ratio if (cell := row.cell(build.label)) and cell.comparison else None
                for build in builds
            ),
        )
        for row in rows
    ]


def chart(bars: Sequence[Bars], builds: Sequence[Build], *, title: str, standalone: bool = False) -> str:
    """The chart. ``standalone``: a file of its own, with colours for both light and dark."""
    known = [value for one in bars for value in one.values if value]
    low, high = min([0.9, *known]), max([2.0, *known])
    start, end = math.log(low), math.log(high)
    span = _WIDTH - _LABEL - _VALUE

    def across(value: float) -> float:
        return _LABEL + span * (math.log(value) - start) / (end - start)

    step = _BAR * max(1, len(builds)) + _GAP
    head = _HEAD + 18 * len(builds)
    height = head + step * len(bars) + 10
    parts = [_opening(height, title, standalone)]
    for index, build in enumerate(builds):
        y = 14 + 18 * index
        parts.append(f'<rect x="{_LABEL}" y="{y - 10}" width="12" height="12" fill="{_colour(index)}"/>')
        parts.append(f'<text x="{_LABEL + 18}" y="{y}">{escape(build.title)}</text>')
    for tick in _ticks(low, high):
        x = f"{across(tick):.1f}"
        strong = ' class="one"' if tick == 1 else ' class="grid"'
        parts.append(f'<line x1="{x}" x2="{x}" y1="{head - 6}" y2="{height - 6}"{strong}/>')
        parts.append(f'<text x="{x}" y="{head - 10}" text-anchor="middle" class="tick">{tick:g} x</text>')
    for number, one in enumerate(bars):
        top = head + step * number + _GAP / 2
        middle = top + (step - _GAP) / 2 + 4
        parts.append(
            f'<text x="{_LABEL - 8}" y="{middle:.1f}" text-anchor="end">{escape(_cut(one.heading))}</text>'
        )
        for index, value in enumerate(one.values):
            place = top + _BAR * index
            if value is None:
                parts.append(f'<text x="{across(1) + 4:.1f}" y="{place + 11:.1f}" class="tick">none</text>')
                continue
            left = min(across(1), across(value))
            wide = max(1.0, abs(across(value) - across(1)))
            fill = _colour(index)
            parts.append(
                f'<rect x="{left:.1f}" y="{place:.1f}" width="{wide:.1f}" height="{_BAR - 2}" fill="{fill}"/>'
            )
            label = max(across(value), across(1)) + 4
            parts.append(f'<text x="{label:.1f}" y="{place + 11:.1f}" class="value">{times(value)} x</text>')
    return "\n".join([*parts, "</svg>"])


def _opening(height: float, title: str, standalone: bool) -> str:
    space = ' xmlns="http://www.w3.org/2000/svg"' if standalone else ""
    size = f' width="{_WIDTH}" height="{height:.0f}"' if standalone else ""
    background = '<rect width="100%" height="100%" class="paper"/>' if standalone else ""
    style = f"<style>{_STYLE}</style>{background}" if standalone else ""
    return (
        f'<svg{space} viewBox="0 0 {_WIDTH} {height:.0f}"{size} role="img" aria-label="{escape(title)}"'
        f' font-family="system-ui, sans-serif" font-size="12"><title>{escape(title)}</title>{style}'
    )


#: The look of a chart outside a page, which has no style sheet to take it from.
_STYLE = (
    ".paper{fill:#fff}text{fill:#1b1f24}.tick{fill:#59636e;font-size:11px}.value{font-weight:600}"
    ".grid{stroke:#d1d9e0}.one{stroke:#59636e;stroke-width:1.5}"
    "@media(prefers-color-scheme:dark){.paper{fill:#0d1117}text{fill:#e6edf3}.tick{fill:#9198a1}"
    ".grid{stroke:#30363d}.one{stroke:#9198a1}}"
)


def _colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def _cut(text: str, limit: int = 34) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _ticks(low: float, high: float) -> list[float]:
    marks = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0]
    return [mark for mark in marks if low <= mark <= high or mark == 1.0]
