"""The import graph is the pipeline; this holds it to DESIGN.md's order."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import simdinstall

SOURCE = Path(simdinstall.__file__).parent
MODULES = sorted(p for p in SOURCE.rglob("*.py") if p.name != "__main__.py")

#: Each module may import only those before it.
ORDER = [
    "interrupt",
    "errors",
    "progress",
    "run",
    "cpu",
    "_inspect",
    "interpreter",
    "distributions",
    "ownership",
    "environment",
    "cross",
    "package_managers",
    "conda",
    "archive",
    "kernels",
    "toolchain",
    "indexes",
    "transfer",
    "listing",
    "fetch",
    "dwarf",
    "abi",
    "patches",
    "layouts",
    "tree",
    "store",
    "tuned",
    "linked",
    "compiling",
    "library",
    "prebuilt",
    "zlib_ng",
    "pillow_source",
    "headers",
    "codec_abi",
    "graft",
    "rebuild",
    "system_libs",
    "source_build",
    "plan",
    "wheel",
    "build",
    "_probe",
    "samples",
    "measure",
    "checks",
    "verdict",
    "verify",
    "training",
    "tune",
    "exchange",
    "journal",
    "staging",
    "transaction",
    "install",
    "_examine",
    "health",
    "remedies",
    "doctor",
    "hold",
    "dockerfile",
    "peers",
    "bench_report",
    "bench_changes",
    "bench",
    "bench_table",
    "bench_chart",
    "bench_html",
    "report",
    "doctor_text",
    "checkup",
    "pipeline",
    "cache",
    "options",
    "commands",
    "cli",
]


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found


def name(path: Path) -> str:
    return path.relative_to(SOURCE).with_suffix("").parts[0]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_follow_the_pipeline(path: Path) -> None:
    if path.name == "__init__.py" and path.parent == SOURCE:
        return
    own = name(path)
    assert own in ORDER, f"{own} has no place in the pipeline: add it to ORDER"
    for imported in imports(path):
        parts = imported.split(".")
        if parts[0] == "simdinstall" and len(parts) > 1 and parts[1] in ORDER and parts[1] != own:
            assert ORDER.index(parts[1]) < ORDER.index(own), f"{own} imports {parts[1]}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_only_run_starts_programs(path: Path) -> None:
    if name(path) == "run":
        return
    forbidden = {"subprocess", "os.system", "os.popen", "os.posix_spawn", "os.execv"}
    assert not imports(path) & forbidden
