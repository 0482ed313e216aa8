"""How a benchmark is shown: the table at every width, the chart, and the page in a browser."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from reports import cell, report, row
from simdinstall.bench_changes import compare_reports
from simdinstall.bench_chart import chart, group_bars, row_bars
from simdinstall.bench_html import page
from simdinstall.bench_report import BenchReport, Build, Cell, Row
from simdinstall.bench_table import changes_text, milliseconds, report_text, times
from simdinstall.measure import Difference
from simdinstall.peers import INSTALLED, STOCK
from simdinstall.samples import Comparison


def shown(one: BenchReport, width: int) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(report_text(one, width=width))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def full() -> BenchReport:
    """Three builds, a missing one, a crash, a doubt, a difference, and a title that wants escaping."""
    doubtful = cell(INSTALLED, 3.0, against=3.1)
    assert doubtful.comparison is not None
    several = ("resample (avx512)", "pillow_simd_convert (avx2)", "pillow_simd_convert_bounded (avx2)")
    rows = [
        row("resize/RGB down, lanczos", stock=33.4, installed=3.1, opencv=3.2),
        replace(
            row("resize/RGBA down, lanczos", stock=44.0),
            cells=(cell(STOCK, 44.0), replace(cell(INSTALLED, 4.0, against=44.0), kernels=several)),
        ),
        row("resize/RGB up, bicubic", stock=100.0, installed=9.0),
        replace(
            row("blur/radius <10> & more", stock=139.0),
            cells=(
                cell(STOCK, 139.0),
                Cell(label=INSTALLED, status="crashed", why="SIGSEGV"),
                replace(cell("opencv", 57.0, against=139.0), remark="a true Gaussian"),
            ),
        ),
        replace(
            row("convert/RGB to L", stock=3.1),
            cells=(
                cell(STOCK, 3.1),
                replace(
                    doubtful,
                    comparison=replace(doubtful.comparison, verdict="noisy"),
                    difference=Difference(largest=2, share=0.13, visible=2),
                ),
            ),
        ),
    ]
    builds = (
        Build(label=STOCK, title="stock Pillow 13.0.0", version="13.0.0", python="3.11.7"),
        Build(label=INSTALLED, title="pillow 13.0.0+simd.v3", version="13.0.0", level="avx2", kernels="gcc"),
        Build(label="opencv", title="OpenCV 5.0.0", version="5.0.0"),
        Build(label="pyvips", title="libvips", why="<no network>"),
    )
    return report(*rows, builds=builds)


@pytest.mark.parametrize("width", [50, 60, 80, 100, 120, 160, 240])
def test_the_table_fits(width: int) -> None:
    text = shown(full(), width)
    assert max(map(len, text.splitlines())) <= width
    assert "RGB down, lanczos" in text
    # Titles keep their room, and the first ratio is worth more than any other column.
    assert "  RGB down, lanczos " in text
    assert "10.8" in text or "11" in text


def test_wide_terminals_show_every_column() -> None:
    text = shown(full(), 240)
    head = text.splitlines()[0]
    assert re.sub(r" +", " ", head).strip() == (
        "operation stock ms this ms times opencv ms times difference kernel Mpx/s floor ms"
    )
    assert "2 in 13 %" in text
    assert "resample (avx2)" in text


def test_what_went_wrong_is_said_once() -> None:
    text = shown(full(), 160)
    assert "crashed" in text
    assert "SIGSEGV" in text
    assert "libvips: not measured: <no network>" in text
    assert "OpenCV 5.0.0, 1 row: a true Gaussian" in text
    assert "1.03?" in text
    assert "1 too noisy to tell" in text


def test_an_interrupted_run_says_so() -> None:
    assert "interrupted" in shown(replace(full(), interrupted=True), 100)


def perf_report() -> BenchReport:
    rows = []
    for title, stock, own in (("to 320x200 lzs", 33.4, 3.1), ("to 26x16 bil", 9.0, 3.0)):
        one = row(f"scale/{title}", stock=stock, installed=own)
        rows.append(replace(one, name=f"perf/scale/{title}", pixels=2560 * 1600))
    return report(*rows)


def test_pillow_perfs_table_has_its_columns() -> None:
    text = shown(perf_report(), 100)
    assert "Scale 2560x1600 RGB image" in text
    assert re.search(r"to 320x200 lzs +0\.03340 s +122\.63 Mpx/s +0\.00310 s +1321\.29 Mpx/s +\+977 %", text)


@pytest.mark.parametrize("width", [50, 80, 120])
def test_pillow_perfs_table_fits(width: int) -> None:
    assert max(map(len, shown(perf_report(), width).splitlines())) <= width


def test_numbers_have_three_digits_that_count() -> None:
    assert [milliseconds(v) for v in (0.3124, 0.01234, 0.004567, 0.000123, 0.0000123)] == [
        "312", "12.3", "4.57", "0.123", "0.0123",
    ]  # fmt: skip
    assert [times(v) for v in (0.974, 1.0, 9.949, 12.34, 312.0)] == ["0.97", "1.00", "9.95", "12.3", "312"]


def test_changes_are_listed_worst_first() -> None:
    old = report(row("a/one", stock=4, installed=1), row("a/two", stock=4, installed=1))
    new = report(row("a/one", stock=4, installed=1.5), row("a/two", stock=4, installed=3))
    console = Console(width=100, file=io.StringIO(), color_system=None)
    console.print(changes_text(compare_reports(old, new)))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "2 slower than before" in text
    assert text.index("a/two") < text.index("a/one")


# --- the chart


def test_a_chart_of_its_own_is_well_formed() -> None:
    one = full()
    bars = group_bars(one, one.rows, one.measured[1:])
    root = ElementTree.fromstring(chart(bars, one.measured[1:], title="A & B", standalone=True))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("role") == "img"
    assert root.get("aria-label") == "A & B"
    texts = ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "Resize (3)" in texts
    assert "none" in texts
    assert "11.0 x" in texts


def test_longer_bars_are_faster() -> None:
    rows: list[Row] = [row("a/one", stock=10, installed=1), row("a/two", stock=2, installed=1)]
    one = report(*rows)
    text = chart(row_bars(rows, one.measured[1:]), one.measured[1:], title="t")
    widths = [float(found) for found in re.findall(r'<rect x="[\d.]+" y="[\d.]+" width="([\d.]+)"', text)]
    assert widths[-2] > widths[-1]


# --- the page


class Outline(HTMLParser):
    """Checks that elements close, and collects what accessibility needs."""

    VOID = frozenset({"meta", "br", "rect", "line", "link", "img"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.captions = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        self.captions += tag == "caption"
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> is out of place"

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.seen if name == tag]


@pytest.fixture
def outline() -> Outline:
    parser = Outline()
    parser.feed(page(full()))
    assert parser.open == []
    return parser


def test_the_page_is_whole_and_accessible(outline: Outline) -> None:
    assert outline.of("html") == [{"lang": "en"}]
    assert len(outline.of("h1")) == 1
    assert len(outline.of("table")) == outline.captions >= 5
    assert all(head.get("scope") in ("col", "row") for head in outline.of("th"))
    figures = [one for one in outline.of("svg") if one.get("role") == "img"]
    assert len(figures) == 1
    assert figures[0]["aria-label"]
    assert all(one.get("aria-hidden") == "true" for one in outline.of("svg") if one not in figures)
    identifiers = [attributes["id"] for _, attributes in outline.seen if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    labels = [one["aria-labelledby"] for one in outline.of("section")]
    assert set(labels) <= set(identifiers)


def test_the_page_loads_nothing(outline: Outline) -> None:
    text = page(full())
    assert "http:" not in text
    assert "https:" not in text
    assert not outline.of("script")
    assert not outline.of("link")
    assert any("default-src 'none'" in (one.get("content") or "") for one in outline.of("meta"))


def test_the_page_says_what_it_must() -> None:
    text = page(full())
    assert "radius &lt;10&gt; &amp; more" in text
    assert "&lt;no network&gt;" in text
    for word in (
        "prefers-color-scheme: dark",
        "@media print",
        "AMD EPYC",
        "simdinstall bench --against stock",
    ):
        assert word in text
    assert "SIGSEGV" in text


def test_the_page_of_stock_alone() -> None:
    one = report(
        row("a/a", stock=1.0), builds=(Build(label=STOCK, title="stock Pillow 13.0.0", version="13.0.0"),)
    )
    parser = Outline()
    parser.feed(page(one))
    assert parser.open == []


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_real_browser_shows_and_prints_it(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(page(full()), encoding="utf-8")
    browser = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    browser += [f"--user-data-dir={tmp_path / 'profile'}", f"--print-to-pdf={tmp_path / 'page.pdf'}"]
    printed = subprocess.run(
        [*browser, (tmp_path / "page.html").as_uri()], capture_output=True, text=True, timeout=600, check=True
    )
    assert "CONSOLE" not in printed.stderr
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
    dumped = subprocess.run(
        [*browser[:-1], "--dump-dom", (tmp_path / "page.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    assert "radius &lt;10&gt; &amp; more" in dumped.stdout
    assert dumped.stdout.count("<caption>") == page(full()).count("<caption>")


def test_comparisons_keep_their_bounds() -> None:
    found = Comparison(ratio=2.0, low=1.9, high=2.1, spread=0.02, verdict="faster")
    assert 'title="1.90 to 2.10"' in page(
        report(
            replace(
                row("a/a", stock=2.0),
                cells=(cell(STOCK, 2.0), replace(cell(INSTALLED, 1.0), comparison=found)),
            )
        )
    )
