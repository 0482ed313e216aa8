"""From the nodes' CPUs to the smallest set of builds that gives each node its best.

Nodes come from a file (what `simdinstall cpu --json` says on each) or from Slurm, whose
administrators name what nodes have as features. Apart from asking Slurm this is pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simdinstall.cpu import LEVELS, Cpu, level_of, resolve_march
from simdinstall.errors import CpuError, SimdinstallError, UsageError
from simdinstall.run import CommandFailed, Runner, run

#: The build for machines that no level serves, or whose CPU is not known.
PORTABLE = "portable"


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """A node and its CPU; ``cpu`` is None where nobody knows. ``source``: who says so.

    ``feature`` is the one of Slurm's features that told the CPU.
    """

    name: str
    cpu: Cpu | None
    source: str = ""
    feature: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Build:
    """One build of the plan and the nodes that it is the best for."""

    march: str
    nodes: tuple[str, ...]
    microarchitectures: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterPlan:
    """The builds, the highest level that every node has, and what to think about."""

    builds: tuple[Build, ...]
    common: str
    nodes: int
    unknown: tuple[str, ...]
    foreign: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def marches(self) -> str:
        """What to give to ``--march``."""
        return ",".join(build.march for build in self.builds)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "march": self.marches,
            "common": self.common,
            "nodes": self.nodes,
            "builds": [
                {
                    "march": build.march,
                    "nodes": list(build.nodes),
                    "microarchitectures": list(build.microarchitectures),
                }
                for build in self.builds
            ],
            "unknown": list(self.unknown),
            "foreign": list(self.foreign),
            "warnings": list(self.warnings),
        }


def best_for(cpu: Cpu) -> str:
    """The level whose build has every kernel that a CPU can use, and needs nothing more.

    A CPU with AVX-512 but without VNNI runs AVX2 kernels, so it is served by v3. Of one
    that is known by its level alone, VNNI is taken for granted.
    """
    if cpu.architecture == "x86_64" and cpu.features == LEVELS["x86-64-v4"]:
        return "x86-64-v4"
    isas = cpu.isas()
    if not isas:
        return PORTABLE
    return {"sse4": "x86-64-v2", "avx2": "x86-64-v3", "avx512": "x86-64-v4"}[isas[-1]]


def plan(nodes: Iterable[Node], *, login: Cpu | None = None) -> ClusterPlan:
    """The smallest set of builds. UsageError without nodes."""
    known: dict[tuple[str, frozenset[str]], tuple[Cpu, str]] = {}
    groups: dict[str, list[str]] = {}
    micro: dict[str, set[str]] = {}
    unknown: list[str] = []
    foreign: list[str] = []
    levels: set[str] = set()
    for node in nodes:
        if node.cpu is None:
            unknown.append(node.name)
            continue
        if node.cpu.architecture != "x86_64":
            foreign.append(node.name)
            continue
        # Ten thousand nodes have a handful of CPUs.
        key = node.cpu.microarchitecture, node.cpu.features
        if key not in known:
            known[key] = node.cpu, best_for(node.cpu)
        cpu, march = known[key]
        groups.setdefault(march, []).append(node.name)
        micro.setdefault(march, set()).add(cpu.microarchitecture)
        levels.add(cpu.level)
    if unknown:
        groups.setdefault(PORTABLE, []).extend(unknown)
    count = sum(map(len, groups.values())) + len(foreign)
    if not count:
        raise UsageError(
            "there are no nodes to plan for", hint="give a file with the output of `simdinstall cpu --json`"
        )
    order = (PORTABLE, *LEVELS)
    builds = tuple(
        Build(
            march=march,
            nodes=tuple(sorted(groups[march], key=_natural)),
            microarchitectures=tuple(sorted(micro.get(march, ()))),
        )
        for march in sorted(groups, key=order.index)
    )
    common = min(levels, key=tuple(LEVELS).index) if levels and not unknown else PORTABLE
    return ClusterPlan(
        builds=builds,
        common=common,
        nodes=count,
        unknown=tuple(sorted(unknown, key=_natural)),
        foreign=tuple(sorted(foreign, key=_natural)),
        warnings=_warnings(builds, unknown, foreign, {cpu.level for cpu, _ in known.values()}, login),
    )


def _warnings(
    builds: Iterable[Build],
    unknown: list[str],
    foreign: list[str],
    levels: set[str],
    login: Cpu | None,
) -> tuple[str, ...]:
    found = []
    if unknown:
        found.append(
            f"the CPU of {_some(unknown)} is not known: they get the portable build, which picks at run time"
        )
    if foreign:
        found.append(f"{_some(foreign)} are no x86-64 machines: no build serves them yet")
    if login is not None and levels:
        own = best_for(login)
        others = sorted({build.march for build in builds} - {own})
        if others:
            found.append(
                f"this machine ({login.name}, {login.level}) is not like all nodes: builds for its own "
                f"CPU are not what {', '.join(others)} nodes need; no --march native or auto here for them"
            )
    return tuple(found)


def _some(names: list[str]) -> str:
    shown = ", ".join(sorted(names, key=_natural)[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"


def _natural(name: str) -> tuple[tuple[int, str], ...]:
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in re.findall(r"\d+|\D+", name))


# --------------------------------------------------------------- nodes from files


def read_nodes(path: Path) -> tuple[Node, ...]:
    """The nodes in a file or a folder of files. UsageError, CpuError.

    Taken are: the output of `simdinstall cpu --json`, alone or one after another (the
    node's name is the ``hostname`` beside it, else the file's); ``{"node": cpu}``;
    ``[cpu, …]``; and lines ``node level`` such as ``n17 x86-64-v3`` or ``n18 zen4``.
    """
    try:
        if path.is_dir():
            files = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
            return tuple(node for file in files for node in _read_file(file))
        return _read_file(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be read", why=error.strerror or str(error)) from error


def _read_file(path: Path) -> tuple[Node, ...]:
    text = path.read_text(encoding="utf-8", errors="replace")
    if text.lstrip()[:1] not in ("{", "["):
        return tuple(_lines(text, path))
    documents = list(_documents(text, path))
    kept: dict[str, Cpu] = {}
    found: list[Node] = []
    for number, document in enumerate(documents):
        default = path.stem if len(documents) == 1 else f"{path.stem}-{number + 1}"
        found += _nodes_of(document, default, str(path), kept)
    return tuple(found)


def _documents(text: str, path: Path) -> Iterable[Any]:
    decoder = json.JSONDecoder()
    place = 0
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        try:
            document, place = decoder.raw_decode(text, place)
        except ValueError as error:
            raise UsageError(
                f"{path} is no inventory of nodes", why=str(error), hint="make one: simdinstall cpu --json"
            ) from error
        yield document


def _nodes_of(document: Any, default: str, source: str, kept: dict[str, Cpu]) -> list[Node]:
    if isinstance(document, list):
        return [
            node
            for number, item in enumerate(document)
            for node in _nodes_of(item, f"{default}-{number + 1}", source, kept)
        ]
    if not isinstance(document, dict):
        raise UsageError(f"{source} is no inventory of nodes", hint="make one: simdinstall cpu --json")
    if "cpu" in document and isinstance(document["cpu"], dict):
        name = str(document.get("node") or document.get("hostname") or default)
        return [Node(name=name, cpu=_cpu(document["cpu"], kept), source=source)]
    if "features" in document or "schema" in document:
        name = str(document.get("node") or document.get("hostname") or default)
        return [Node(name=name, cpu=_cpu(document, kept), source=source)]
    return [
        Node(
            name=str(name),
            cpu=_named(told, kept) if isinstance(told, str) else _cpu(told, kept),
            source=source,
        )
        for name, told in document.items()
    ]


def _cpu(data: Any, kept: dict[str, Cpu]) -> Cpu | None:
    """A CPU from JSON; None for null. The same text is read once."""
    if data is None:
        return None
    if not isinstance(data, dict):
        raise CpuError("this is not a CPU file that can be read", why=f"it is {type(data).__name__}")
    key = json.dumps([data.get("microarchitecture"), data.get("features")])
    if key not in kept:
        kept[key] = Cpu.from_json({**data, "schema": data.get("schema", 1)})
    return kept[key]


def _lines(text: str, path: Path) -> Iterable[Node]:
    kept: dict[str, Cpu] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        if len(words) != 2:
            raise UsageError(
                f"{path}, line {number}: a node's name and its level are needed",
                hint="like: n17 x86-64-v3",
            )
        yield Node(name=words[0], cpu=_named(words[1], kept), source=str(path))


def _named(name: str, kept: dict[str, Cpu]) -> Cpu | None:
    """The CPU of a level or microarchitecture; None for `unknown`. CpuError for no such name."""
    if name in ("unknown", "?", "-"):
        return None
    if name not in kept:
        kept[name] = _cpu_named(name)
    return kept[name]


def _cpu_named(name: str) -> Cpu:
    if name in ("aarch64", "arm64", "ppc64le", "riscv64"):
        return Cpu(
            architecture=name, vendor="", name=name, microarchitecture=name, features=frozenset(), level=name
        )
    blank = Cpu(
        architecture="x86_64",
        vendor="generic",
        name="",
        microarchitecture="x86_64",
        features=frozenset(),
        level="x86-64",
    )
    march = resolve_march(name, blank)
    return Cpu(
        architecture="x86_64",
        vendor="generic",
        name=name,
        microarchitecture=march.target,
        features=march.features,
        level=level_of(march.features),
    )


# --------------------------------------------------------------- nodes from Slurm


def slurm_nodes(*, run: Runner = run) -> tuple[Node, ...]:
    """The nodes that `scontrol` knows, by their features. UsageError without a Slurm."""
    try:
        said = run(["scontrol", "--oneliner", "show", "nodes"], timeout=60).stdout
    except CommandFailed as error:
        raise UsageError(
            "Slurm cannot be asked for its nodes",
            why=error.why or error.what,
            hint="run this where `scontrol show nodes` works, or give a file with --nodes FILE",
        ) from error
    kept: dict[str, Cpu] = {}
    found = []
    for line in said.splitlines():
        fields = dict(pair.split("=", 1) for pair in line.split() if "=" in pair)
        if "NodeName" in fields:
            features = re.split(r"[,&|]", fields.get("AvailableFeatures", ""))
            seen, feature = _by_features(features, fields.get("Arch", ""), kept)
            found.append(Node(name=fields["NodeName"], cpu=seen, source="slurm", feature=feature))
    return tuple(found)


def _by_features(features: Iterable[str], arch: str, kept: dict[str, Cpu]) -> tuple[Cpu | None, str]:
    """The best CPU that features such as ``x86_64_v4`` or ``zen3`` speak of, and which one it was."""
    if arch in ("aarch64", "arm64", "ppc64le"):
        return _named(arch, kept), ""
    best: Cpu | None = None
    told_by = ""
    for feature in features:
        name = feature.strip().lower()
        if name in ("", "(null)", "portable", "auto", "native") or not re.fullmatch(r"[a-z][\w.-]*", name):
            continue
        try:
            told = _named(name, kept)
        except SimdinstallError:
            continue
        if told is not None and (best is None or len(told.features) > len(best.features)):
            best, told_by = told, feature.strip()
    return best, told_by
