"""A cache's tables, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from simdinstall.cache.builder import Progress, Summary
from simdinstall.cache.catalogue import Catalogue, Entry
from simdinstall.cache.changes import Difference
from simdinstall.cache.cluster_plan import ClusterPlan

#: More rows than a terminal has: then only what is going on is shown.
MOST_ROWS = 30

_STYLES = {
    "queued": "dim",
    "building": "cyan",
    "elsewhere": "cyan",
    "verified": "green",
    "unverified": "yellow",
    "unchanged": "green",
    "failed": "red",
}


def cells_table(rows: Sequence[Progress], now: float) -> RenderableType:
    """The live table: each cell, its state and where it is built."""
    counted = Counter(row.state for row in rows)
    line = Text("  ").join(
        Text(f"{number} {state}", style=_STYLES[state]) for state, number in sorted(counted.items())
    )
    shown: Iterable[Progress] = rows
    if len(rows) > MOST_ROWS:
        shown = [row for row in rows if row.state in ("building", "elsewhere", "failed")]
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=True, header_style="bold")
    for heading in ("Pillow", "Python", "level", "state", "seconds", "where"):
        table.add_column(heading, overflow="fold")
    for row in shown:
        seconds = now - row.started if row.state == "building" else row.seconds
        table.add_row(
            row.cell.release,
            row.cell.python.name,
            " ".join(filter(None, (row.cell.level, row.cell.kind))),
            Text(row.state, style=_STYLES[row.state]),
            f"{seconds:.0f}" if seconds else "",
            row.why or row.where,
        )
    return Group(table, line)


def summary_text(summary: Summary, root: Path) -> RenderableType:
    """What came of it: numbers, and each failure with its log."""
    counted = Counter(row.state for row in summary.cells)
    parts = [f"{number} {state}" for state, number in sorted(counted.items())]
    lines = [f"{len(summary.cells)} cells: {', '.join(parts) or 'none'}"]
    if summary.repeated:
        lines.append(f"repeated because a worker died: {summary.repeated}")
    for row in summary.of("unverified"):
        lines.append(f"not verified here: {row.cell.title}: {row.why}")
    for row in summary.of("failed"):
        lines.append(f"failed: {row.cell.title}: {row.why}" + (f" (log: {row.log})" if row.log else ""))
    if summary.catalogue.entries:
        lines.append(f"for the URL of the index for a node: simdinstall cache url {root}")
    return Text("\n".join(lines))


def list_text(listed: Catalogue) -> RenderableType:
    """Every wheel of a cache."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("Pillow", "Python", "level", "fidelity", "platform", "verified", "times as fast", "size"):
        table.add_column(heading, overflow="fold")
    for entry in sorted(listed.entries, key=lambda e: (e.release, e.abi, e.level), reverse=True):
        table.add_row(*_cells(entry))
    signed = f"signed by {listed.signer}" if listed.signer else "not signed"
    return Group(table, Text(f"{len(listed.entries)} wheels, publication {listed.generation}, {signed}"))


def _cells(entry: Entry) -> tuple[str, ...]:
    verdict: Any = entry.verdict
    verified = f"on {verdict.get('cpu')}, {verdict.get('python')}" if entry.verified else "not here"
    fast = f"{verdict.get('times_as_fast')}" if entry.verified else ""
    return (
        entry.release,
        entry.abi,
        " ".join(filter(None, (entry.level, entry.kind))),
        entry.fidelity,
        entry.platforms[0] if entry.platforms else "",
        verified,
        fast,
        f"{entry.size / 1e6:.1f} MB",
    )


def plan_text(made: ClusterPlan) -> RenderableType:
    """The builds, for whom they are, and the command that makes them."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("build", "nodes", "CPUs", "which"):
        table.add_column(heading, overflow="fold")
    for build in made.builds:
        shown = ", ".join(build.nodes[:6]) + (" …" if len(build.nodes) > 6 else "")
        table.add_row(build.march, str(len(build.nodes)), ", ".join(build.microarchitectures), shown)
    lines = [
        f"{made.nodes} nodes; every one of them has {made.common}"
        if made.common != "portable"
        else f"{made.nodes} nodes; the only build that all can run is portable",
        f"simdinstall cache build DIR --march {made.marches}",
    ]
    if len(made.builds) > 1:
        lines.append("one build for all instead: --march portable; it has every kernel and picks at run time")
    lines += [f"warning: {warning}" for warning in made.warnings]
    return Group(table, Text("\n".join(lines)))


def difference_text(found: Difference) -> RenderableType:
    """What came, went and changed."""
    if not found:
        return Text("no difference")
    lines = [f"+ {entry.cell}" for entry in found.added]
    lines += [f"- {entry.cell}" for entry in found.removed]
    lines += [f"~ {change.after.cell}: {', '.join(change.what)}" for change in found.changed]
    return Text("\n".join(lines))
