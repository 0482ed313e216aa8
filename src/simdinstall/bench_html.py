"""A benchmark's report as one page: no network, no scripts, readable on paper and aloud.

Each chart has the same figures in a table beside it, with a caption and header cells; the
bars inside the tables are for the eye alone. The page's own policy forbids it to load
anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby

from simdinstall.bench_chart import COLOURS, chart, group_bars
from simdinstall.bench_report import BenchReport, Build, Cell, Row, duration
from simdinstall.bench_table import (
    NOTHING,
    counts,
    difference_words,
    milliseconds,
    remarks,
    short,
    times,
    troubles,
)

_STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1f24; --soft: #59636e; --line: #d1d9e0;
  --band: #f6f8fa; --good: #116329; --bad: #b3261e; --doubt: #7a5600; }
@media (prefers-color-scheme: dark) { :root { --paper: #0d1117; --ink: #e6edf3; --soft: #9198a1;
  --line: #30363d; --band: #161b22; --good: #56d364; --bad: #ff7b72; --doubt: #e3b341; } }
body { margin: 0 auto; padding: 1.5rem; max-width: 76rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; } h2 { margin-top: 2.5rem; } h3 { margin-top: 2rem; }
a { color: inherit; } .lead { font-size: 1.15rem; } .soft { color: var(--soft); }
code { font-family: ui-monospace, monospace; font-size: .92em; overflow-wrap: anywhere; }
figure { margin: 1rem 0; } figcaption { color: var(--soft); } figure svg { width: 100%; height: auto; }
svg text { fill: var(--ink); } svg .tick { fill: var(--soft); font-size: 11px; }
svg .value { font-weight: 600; }
svg .grid { stroke: var(--line); } svg .one { stroke: var(--soft); stroke-width: 1.5; }
.scroll { overflow-x: auto; } .scroll:focus-visible { outline: 2px solid var(--soft); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .4rem 0; }
th, td { padding: .2rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { font-weight: 600; } th[scope=row], .text { text-align: left; white-space: normal; }
th[scope=row] { font-weight: 400; }
tbody tr:nth-child(even) { background: var(--band); }
td.bar { min-width: 8rem; padding: 0 .6rem; } td.bar svg { display: block; width: 100%; height: 1rem; }
.faster { color: var(--good); font-weight: 600; } .slower { color: var(--bad); font-weight: 600; }
.noisy { color: var(--doubt); } dt { font-weight: 600; } dd { margin: 0 0 .4rem 0; }
@media print { :root { --paper: #fff; --ink: #000; --soft: #333; --line: #999; --band: #fff; --good: #000;
  --bad: #000; --doubt: #333; } body { max-width: none; padding: 0; font-size: 10px; }
  .scroll { overflow: visible; } thead { display: table-header-group; } tr, figure { break-inside: avoid; }
  h2, h3, caption { break-after: avoid; } rect { print-color-adjust: exact; } }
"""


def page(report: BenchReport, *, title: str = "Pillow, build by build") -> str:
    """The whole page."""
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    body = "\n".join(
        [
            _header(report, title),
            "<main>",
            _builds(report),
            *(_suite(report, suite) for suite in report.suites),
            _missing(report),
            _machine(report),
            "</main>",
            _footer(report),
        ]
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _header(report: BenchReport, title: str) -> str:
    base = report.measured[0]
    sentences = [
        f"{escape(build.title)} is <strong>{times(mean)} times as fast</strong> as {escape(base.title)}."
        for build in report.measured[1:2]
        if (mean := report.mean(build.label)) is not None
    ]
    lead = " ".join(sentences) or f"{escape(base.title)}, measured alone."
    stopped = (
        '<p class="noisy">Interrupted: only what was measured until then is shown.</p>'
        if report.interrupted
        else ""
    )
    return (
        f'<header><h1>{escape(title)}</h1><p class="lead">{lead}</p>'
        f'<p class="soft">Geometric mean over {len(report.rows)} operations'
        f" on {escape(report.machine.cpu)}.</p>"
        f"{stopped}</header>"
    )


def _builds(report: BenchReport) -> str:
    head = _heads(("Build", "Version", "Times stock", "Rows", "Kernels"), text=("Build", "Rows", "Kernels"))
    lines = []
    base = report.measured[0]
    for build in report.builds:
        if build.why:
            lines.append(
                f'<tr><th scope="row">{escape(build.title)}</th><td class="text" colspan="4">not measured: '
                f"{escape(build.why)}</td></tr>"
            )
            continue
        mean = report.mean(build.label)
        figure = "1 (compared with)" if build == base else times(mean) if mean is not None else NOTHING
        rows = "" if build == base else counts(report, build.label, report.rows)
        kernels = f"{build.level}; {build.kernels}" if build.kernels else ""
        lines.append(
            f'<tr><th scope="row">{escape(build.title)}</th><td>{escape(build.version)}</td><td>{figure}</td>'
            f'<td class="text">{escape(rows)}</td><td class="text">{escape(kernels)}</td></tr>'
        )
    return (
        '<section aria-labelledby="builds"><h2 id="builds">Builds</h2>'
        + _table("What was measured", head, lines)
        + _list("Notes", report.notes)
        + "</section>"
    )


def _missing(report: BenchReport) -> str:
    lists = _list("Not measured", troubles(report)) + _list(
        "Where other libraries do something else", remarks(report)
    )
    if not lists:
        return ""
    heading = '<h2 id="apart">What is not the same everywhere</h2>'
    return f'<section aria-labelledby="apart">{heading}{lists}</section>'


def _suite(report: BenchReport, suite: str) -> str:
    rows = [row for row in report.rows if row.suite == suite]
    builds = report.measured[1:]
    parts = [f'<section aria-labelledby="suite-{suite}"><h2 id="suite-{suite}">Suite {escape(suite)}</h2>']
    if builds:
        title = f"How many times as fast as {report.measured[0].title}, by kind of operation"
        bars = group_bars(report, rows, builds)
        parts.append(
            f"<figure>{chart(bars, builds, title=title)}<figcaption>{escape(title)}: geometric means, on a "
            "logarithmic scale; in brackets the number of operations. The same figures are in the first "
            "table below.</figcaption></figure>"
        )
        parts.append(_means(bars_rows=[(one.heading, one.values) for one in bars], builds=builds))
    for group, members in groupby(rows, key=lambda row: row.group):
        parts.append(_group(report, group, list(members)))
    return "\n".join([*parts, "</section>"])


def _means(*, bars_rows: Sequence[tuple[str, Sequence[float | None]]], builds: Sequence[Build]) -> str:
    head = _heads(("Kind of operation", *(build.title for build in builds)), text=("Kind of operation",))
    lines = [
        f'<tr><th scope="row">{escape(heading)}</th>'
        + "".join(f"<td>{times(value) if value is not None else NOTHING}</td>" for value in values)
        + "</tr>"
        for heading, values in bars_rows
    ]
    return _table("Times as fast as stock, geometric means", head, lines)


def _group(report: BenchReport, group: str, rows: Sequence[Row]) -> str:
    builds = report.measured
    base, others = builds[0], builds[1:]
    headers = ["Operation", f"{short(base)}, ms"]
    for build in others:
        headers += [f"{short(build)}, ms", f"{short(build)}, times"]
    if others:
        headers += [f"{short(others[0])}, Mpx/s", "Difference to stock", "Kernel"]
    headers.append("Floor, ms")
    head = _heads(headers, text=("Operation", "Kernel")) + (
        '<td class="bar" aria-hidden="true"></td>' if others else ""
    )
    most = max([2.0, *(ratio for build in others for ratio in report.ratios(build.label, rows))])
    caption = f"{group}: CPU time per call and how many times as fast as stock"
    return f"<h3>{escape(group)}</h3>" + _table(
        caption, head, [_row(row, base, others, most) for row in rows]
    )


def _row(row: Row, base: Build, others: Sequence[Build], most: float) -> str:
    cells = [f'<th scope="row">{escape(row.title)}</th>', _time(row.cell(base.label))]
    for build in others:
        cell = row.cell(build.label)
        cells += [_time(cell), _ratio(cell)]
    if others:
        first = row.cell(others[0].label)
        good = first if first is not None and first.status == "ok" else None
        cells.append(f"<td>{row.pixels / good.median / 1e6:.0f}</td>" if good else "<td></td>")
        difference = difference_words(good.difference) if good and good.difference else ""
        cells.append(f"<td>{escape(difference)}</td>")
        cells.append(f'<td class="text">{escape(", ".join(good.kernels)) if good else ""}</td>')
    cells.append(f"<td>{milliseconds(row.floor) if row.floor is not None else ''}</td>")
    if others:
        cells.append(f'<td class="bar" aria-hidden="true">{_bars(row, others, most)}</td>')
    return f"<tr>{''.join(cells)}</tr>"


def _time(cell: Cell | None) -> str:
    if cell is None or cell.status == "absent":
        return f"<td>{NOTHING}</td>"
    if cell.status != "ok":
        return f'<td class="noisy" title="{escape(cell.why)}">{escape(cell.status)}</td>'
    return f"<td>{milliseconds(cell.median)}</td>"


def _ratio(cell: Cell | None) -> str:
    if cell is None or cell.comparison is None:
        return "<td></td>"
    found = cell.comparison
    about = f"{found.low:.2f} to {found.high:.2f}" + (f"; {cell.remark}" if cell.remark else "")
    doubt = " <span>(noisy)</span>" if found.verdict == "noisy" else ""
    return f'<td class="{found.verdict}" title="{escape(about)}">{times(found.ratio)}{doubt}</td>'


def _bars(row: Row, builds: Sequence[Build], most: float) -> str:
    height = 100 / len(builds)
    rects = []
    for index, build in enumerate(builds):
        cell = row.cell(build.label)
        if cell is not None and cell.comparison is not None:
            wide = max(0.5, 100 * cell.comparison.ratio / most)
            rects.append(
                f'<rect x="0" y="{index * height:.1f}" width="{wide:.1f}" height="{height * 0.8:.1f}"'
                f' fill="{COLOURS[index % len(COLOURS)]}"/>'
            )
    return f'<svg viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">{"".join(rects)}</svg>'


def _machine(report: BenchReport) -> str:
    machine = report.machine
    pinned = f"core {machine.core}" if machine.core is not None else f"not pinned: {machine.unpinned}"
    rates = ", ".join(f"{rate / 1e9:.0f} GB/s in {size >> 10} KiB" for size, rate in machine.bandwidth)
    pairs = [
        ("CPU", machine.cpu),
        ("System", machine.system),
        ("Cores", f"{machine.cores}; everything ran on {pinned}"),
        ("Memory", f"moves {rates}; a fresh page costs {machine.fault * 1e6:.1f} µs"),
        ("Taken", f"{report.created}, in {duration(report.seconds)}{', quickly' if report.quick else ''}"),
    ]
    pairs += [(build.title, f"Python {build.python}, {build.path}") for build in report.measured]
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in pairs)
    noisy = (
        f"<p>{len(report.noisy)} of {len(report.rows)} rows were too noisy to tell in some build.</p>"
        if report.noisy
        else "<p>No row was too noisy to tell.</p>"
    )
    return (
        '<section aria-labelledby="machine"><h2 id="machine">Machine and method</h2>'
        f"<dl>{listed}</dl>{noisy}"
        "<p>Each build ran in processes of its own, in turns, round by round; times are CPU time per "
        "call, the median of all rounds. A ratio is the median of the ratios pair by pair; the range in its "
        "tooltip holds the true median with 99 % confidence. The floor is what moving the bytes and touching "
        "fresh pages costs on this machine at the least. The difference is the largest one of any "
        "band in any pixel, and the share of pixels that differ.</p>"
        f"<h3>Again</h3><p><code>{escape(report.command)}</code></p></section>"
    )


def _footer(report: BenchReport) -> str:
    return f'<footer class="soft">simdinstall {escape(report.tool)}, {escape(report.created)}</footer>'


def _heads(headers: Iterable[str], *, text: Sequence[str]) -> str:
    """Header cells of columns; those of text stand on the left like their text."""
    return "".join(
        f'<th scope="col"{" class=text" if header in text else ""}>{escape(header)}</th>'
        for header in headers
    )


def _table(caption: str, head: str, lines: Sequence[str]) -> str:
    name = escape(caption)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{name}">'
        f"<table><caption>{name}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _list(heading: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<h3>{escape(heading)}</h3><ul>{items}</ul>"
