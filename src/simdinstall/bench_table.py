"""A benchmark's report on a terminal, as wide as the terminal is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from simdinstall.bench_changes import Change, Changes
from simdinstall.bench_report import BenchReport, Build, Cell, Row, duration
from simdinstall.measure import Difference

#: What stands where there is no figure.
NOTHING = "\N{EN DASH}"

#: What a row's title and the least of columns need; narrower terminals wrap.
_TITLE = 26

#: The column of kernels wraps beyond this.
_KERNELS = 30


def report_text(report: BenchReport, *, width: int) -> RenderableType:
    """Everything: a table for each suite, the means, and what could not be measured."""
    parts: list[RenderableType] = []
    for suite in report.suites:
        rows = [row for row in report.rows if row.suite == suite]
        parts.append(_perf(report, rows, width) if suite == "perf" else _wide(report, rows, width))
    parts.append(summary_text(report))
    return Group(*parts)


# --- the wide table


@dataclass(frozen=True, kw_only=True, slots=True)
class _Column:
    header: str
    show: Callable[[Row], Text]
    wraps: bool = False

    def width(self, rows: Sequence[Row]) -> int:
        """What it takes, with the gap to the next column."""
        widest = max([len(self.header), *(len(self.show(row)) for row in rows)])
        return min(widest, _KERNELS if self.wraps else widest) + 2


def _wide(report: BenchReport, rows: Sequence[Row], width: int) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    table.add_column("operation", overflow="fold", min_width=_TITLE - 2)
    columns = _fitting(report, rows, width - _TITLE)
    for column in columns:
        if column.wraps:
            table.add_column(column.header, overflow="fold", max_width=_KERNELS)
        else:
            table.add_column(column.header, justify="right", no_wrap=True)
    for group, members in groupby(rows, key=lambda row: row.group):
        table.add_row(Text(group, style="bold cyan"))
        for row in members:
            table.add_row(Text(f"  {row.title}"), *(column.show(row) for column in columns))
    return table


def _fitting(report: BenchReport, rows: Sequence[Row], width: int) -> list[_Column]:
    """The columns that fit, the most telling first; they keep their order in the table."""
    builds = report.measured
    base, others = builds[0], builds[1:]
    wanted: list[tuple[int, _Column]] = [(0, _time_column(base))]
    for place, build in enumerate(others):
        wanted.append((1 + place, _time_column(build)))
        wanted.append((0, _ratio_column(build)))
    if others:
        first = others[0]
        wanted.append((20, _Column(header="difference", show=_for(first, _difference))))
        wanted.append((21, _Column(header="kernel", show=_for(first, _kernels), wraps=True)))
        wanted.append((22, _Column(header="Mpx/s", show=lambda row: _speed(row, first))))
    wanted.append((23, _Column(header="floor ms", show=_floor)))
    chosen: set[int] = set()
    for index, (_, column) in sorted(enumerate(wanted), key=lambda item: item[1][0]):
        needed = column.width(rows)
        if needed <= width:
            width -= needed
            chosen.add(index)
    return [column for index, (_, column) in enumerate(wanted) if index in chosen]


def _for(build: Build, show: Callable[[Cell], Text]) -> Callable[[Row], Text]:
    def cell(row: Row) -> Text:
        found = row.cell(build.label)
        return show(found) if found is not None and found.status == "ok" else Text("")

    return cell


def _time_column(build: Build) -> _Column:
    return _Column(header=f"{short(build)} ms", show=lambda row: _time(row.cell(build.label)))


def _ratio_column(build: Build) -> _Column:
    return _Column(header="times", show=_for(build, _ratio))


def short(build: Build) -> str:
    """A name for the head of a column."""
    names = {"installed": "this", "pillow-simd": "simd", "pillow-simd-sse4": "simd sse4", "pyvips": "vips"}
    return names.get(build.label, build.label)


def _time(cell: Cell | None) -> Text:
    if cell is None or cell.status == "absent":
        return Text(NOTHING, style="dim")
    if cell.status != "ok":
        return Text(cell.status, style="red" if cell.status in ("crashed", "failed") else "yellow")
    return Text(milliseconds(cell.median))


def milliseconds(seconds: float) -> str:
    """Three digits that count: ``0.0123``, ``4.56``, ``312``."""
    value = seconds * 1000
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3 if value >= 0.1 else 4
    return f"{value:.{digits}f}"


def times(ratio: float) -> str:
    """A ratio: ``12``, ``3.4``, ``0.97``."""
    return f"{ratio:.0f}" if ratio >= 99.5 else f"{ratio:.1f}" if ratio >= 9.95 else f"{ratio:.2f}"


def _ratio(cell: Cell) -> Text:
    if cell.comparison is None:
        return Text("")
    found = cell.comparison
    if found.verdict == "noisy":
        return Text(f"{times(found.ratio)}?", style="yellow")
    style = "dim"
    if found.verdict == "faster":
        style = "bold green" if found.ratio >= 2 else "green"
    elif found.verdict == "slower":
        style = "bold red"
    return Text(times(found.ratio), style=style)


def _difference(cell: Cell) -> Text:
    if cell.difference is None:
        return Text("")
    text = difference_words(cell.difference)
    return Text(text, style="dim" if text == "none" else "" if not cell.difference.why else "yellow")


def difference_words(difference: Difference) -> str:
    """``none``, ``2 in 13 %``, or that the outcomes are of different kinds."""
    if difference.why:
        return "other kind"
    if difference.exact:
        return "none"
    share = difference.share * 100
    return f"{difference.largest:g} in {share:.0f} %" if share >= 1 else f"{difference.largest:g} in <1 %"


def _kernels(cell: Cell) -> Text:
    return Text(", ".join(cell.kernels) or NOTHING, style="" if cell.kernels else "dim")


def _speed(row: Row, build: Build) -> Text:
    cell = row.cell(build.label)
    return Text(f"{row.pixels / cell.median / 1e6:.0f}") if cell and cell.status == "ok" else Text("")


def _floor(row: Row) -> Text:
    return Text(milliseconds(row.floor), style="dim") if row.floor is not None else Text("")


# --- pillow-perf's table


def _perf(report: BenchReport, rows: Sequence[Row], width: int) -> RenderableType:
    """Seconds, Mpx/s and the gain over the build before, as pillow-perf prints them."""
    builds = report.measured
    fitting = 1 + max(0, (width - 24 - 28) // 36)
    parts: list[RenderableType] = []
    for start in range(0, max(1, len(builds) - 1), max(1, fitting - 1)):
        shown = builds[:1] + builds[1 + start : start + fitting] if fitting > 1 else builds
        parts.append(_perf_table(rows, shown, stacked=fitting == 1))
        if fitting == 1:
            break
    return Group(*parts)


def _perf_table(rows: Sequence[Row], builds: Sequence[Build], *, stacked: bool) -> RenderableType:
    parts: list[RenderableType] = []
    widest = max(len(row.title) for row in rows) + 4
    for group, members in groupby(rows, key=lambda row: row.group):
        table = Table(box=None, padding=(0, 1, 0, 0), show_header=False, show_edge=False)
        table.add_column(no_wrap=True, min_width=0 if stacked else widest)
        for _ in range(1 if stacked else len(builds)):
            table.add_column(no_wrap=True)
        for row in members:
            figures = [_perf_cell(row, builds, index) for index in range(len(builds))]
            if stacked:
                for build, figure in zip(builds, figures, strict=True):
                    table.add_row(Text(f"    {row.title} · {short(build)}"), figure)
            else:
                table.add_row(Text(f"    {row.title}"), *figures)
        heading = f"\n{group} 2560x1600 RGB image"
        names = "  |  ".join(build.title for build in builds)
        parts += [Text(heading, style="bold"), Text(f"    {names}", style="dim"), table]
    return Group(*parts)


def _perf_cell(row: Row, builds: Sequence[Build], index: int) -> Text:
    cell = row.cell(builds[index].label)
    if cell is None or cell.status != "ok":
        return Text(NOTHING if cell is None or cell.status == "absent" else cell.status, style="dim")
    text = Text(f"{cell.median:9.5f} s {row.pixels / cell.median / 1e6:9.2f} Mpx/s")
    before = row.cell(builds[index - 1].label) if index else None
    if before is not None and before.status == "ok":
        gain = 100 * (before.median / cell.median - 1)
        text.append(f" {gain:+5.0f} %", style="green" if gain > 5 else "red" if gain < -5 else "dim")
    return text


# --- what it comes to


def summary_text(report: BenchReport) -> RenderableType:
    """The means, what is noisy or missing, the machine, and how to repeat it."""
    base = report.measured[0]
    lines: list[RenderableType] = [Text("")]
    for build in report.measured[1:]:
        for suite in report.suites:
            rows = [row for row in report.rows if row.suite == suite]
            mean = report.mean(build.label, rows)
            if mean is None:
                continue
            lines.append(
                Text.assemble(
                    (build.title, "bold"),
                    f" is {times(mean)} times as fast as {base.title}"
                    f" (geometric mean of {len(report.ratios(build.label, rows))} rows of {suite}: "
                    f"{counts(report, build.label, rows)})",
                )
            )
            lines.append(Text(f"  {by_kind(report, build.label, rows)}", style="dim"))
        if build.kernels:
            lines.append(Text(f"  kernels: {build.level}; {build.kernels}", style="dim"))
    lines += [
        Text(f"{build.title}: not measured: {build.why}", style="yellow")
        for build in report.builds
        if build.why
    ]
    lines += [Text(line, style="yellow") for line in troubles(report)]
    lines += [Text(line, style="dim") for line in remarks(report)]
    lines += [Text(note, style="yellow") for note in report.notes]
    machine = report.machine
    where = (
        f"on core {machine.core} of {machine.cores}" if machine.core is not None else "not pinned to a core"
    )
    lines.append(
        Text(f"{machine.cpu}, {machine.system}, {where}; took {duration(report.seconds)}", style="dim")
    )
    if machine.unpinned:
        lines.append(Text(f"could not be pinned to one core: {machine.unpinned}", style="yellow"))
    if report.interrupted:
        lines.append(Text("interrupted: only what was measured until then is shown", style="bold yellow"))
    lines.append(Text(f"again: {report.command}", style="dim"))
    return Group(*lines)


def by_kind(report: BenchReport, label: str, rows: Sequence[Row]) -> str:
    """``Resize 7.1, Blur 6.7, Load 1.00``: the means of the groups."""
    means = [
        (group, report.mean(label, list(members))) for group, members in groupby(rows, key=lambda r: r.group)
    ]
    return ", ".join(f"{group} {times(mean)}" for group, mean in means if mean is not None)


def counts(report: BenchReport, label: str, rows: Sequence[Row]) -> str:
    """``90 faster, 20 the same, 1 slower, 3 too noisy to tell``."""
    found: dict[str, int] = {}
    for row in rows:
        cell = row.cell(label)
        if cell is not None and cell.comparison is not None:
            found[cell.comparison.verdict] = found.get(cell.comparison.verdict, 0) + 1
    words = (("faster", "faster"), ("same", "the same"), ("slower", "slower"), ("noisy", "too noisy to tell"))
    return ", ".join(f"{found[verdict]} {word}" for verdict, word in words if verdict in found)


def troubles(report: BenchReport) -> list[str]:
    """One line for each reason why a cell has no figure, with how many rows it has cost."""
    reasons: dict[tuple[str, str], list[str]] = {}
    titles = {build.label: build.title for build in report.builds}
    for row in report.rows:
        for cell in row.cells:
            if cell.status in ("unavailable", "failed", "crashed"):
                reasons.setdefault((titles[cell.label], f"{cell.status}: {cell.why}"), []).append(row.title)
    return [
        f"{title}: {rows[0]}{f' and {len(rows) - 1} more' if len(rows) > 1 else ''}: {why}"
        for (title, why), rows in reasons.items()
    ]


def remarks(report: BenchReport) -> list[str]:
    """How other libraries' algorithms differ, each once with the rows that it is about."""
    found: dict[tuple[str, str], int] = {}
    titles = {build.label: build.title for build in report.builds}
    for row in report.rows:
        for cell in row.cells:
            if cell.remark and cell.status == "ok":
                key = titles[cell.label], cell.remark
                found[key] = found.get(key, 0) + 1
    return [
        f"{title}, {count} {'row' if count == 1 else 'rows'}: {remark}"
        for (title, remark), count in found.items()
    ]


# --- against an older report


def changes_text(changes: Changes) -> RenderableType:
    """What got slower and faster, worst and best first."""
    lines: list[RenderableType] = []
    for style, word, rows in (("bold red", "slower", changes.slower), ("green", "faster", changes.faster)):
        if rows:
            lines.append(Text(f"{len(rows)} {word} than before", style=style))
            lines.append(_changed(rows, changes.unit))
    same = len(changes.rows) - len(changes.slower) - len(changes.faster)
    lines.append(Text(f"{same} rows the same within {changes.tolerance:.0%} or the noise", style="dim"))
    if changes.missing:
        lines.append(
            Text(f"{len(changes.missing)} rows of the older report were not measured now", style="dim")
        )
    lines += [Text(note, style="yellow") for note in changes.notes]
    return Group(*lines)


def _changed(rows: Sequence[Change], unit: str) -> Table:
    table = Table("row", "build", f"before, {unit}", "now", "factor", box=None, padding=(0, 2, 0, 0))
    show = times if unit == "times stock" else lambda seconds: f"{seconds:.6f}"
    for row in rows:
        table.add_row(row.name, row.label, show(row.before), show(row.now), f"{row.factor:.2f}")
    return table
