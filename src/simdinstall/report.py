"""What a person reads: each result as a rich renderable, and as JSON for programs.

Nothing here decides or does anything. Every JSON document starts with ``schema``, a name
and a number; the number rises when a field changes its meaning or goes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from simdinstall.cpu import LEVELS, Cpu

if TYPE_CHECKING:
    # Told of here, made elsewhere: what only tells an error need not import all of it.
    from simdinstall.environment import Environment
    from simdinstall.errors import SimdinstallError
    from simdinstall.install import Status, Transaction
    from simdinstall.journal import Entry
    from simdinstall.plan import Plan, Reason
    from simdinstall.verdict import Graded, Verdict
    from simdinstall.wheel import Wheel


def document(command: str, **fields: Any) -> dict[str, Any]:
    """A JSON document of a command."""
    return {"schema": f"simdinstall.{command}/1", **fields}


def facts(pairs: Iterable[tuple[str, str]]) -> Table:
    """A name and a value on each line, wrapped under themselves."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(name, Text(value))
    return table


def _section(title: str, body: RenderableType) -> Group:
    return Group(Text(title, style="bold"), Padding(body, (0, 0, 0, 2)))


# ---------------------------------------------------------------- errors


def error_text(error: SimdinstallError) -> RenderableType:
    """What failed, why, what to do now; at most a screen."""
    lines: list[RenderableType] = [Text.assemble(("error: ", "bold red"), (error.what, "bold"))]
    if error.why:
        kept = error.why.strip().splitlines()
        if len(kept) > 24:
            kept = ["…", *kept[-24:]]
        lines.append(Padding(Text("\n".join(kept)), (0, 0, 0, 2)))
    if error.hint:
        lines.append(Text.assemble(("now: ", "bold green"), error.hint))
    if error.log is not None:
        lines.append(Text.assemble(("log: ", "bold"), str(error.log)))
    return Group(*lines)


def error_json(error: SimdinstallError) -> dict[str, Any]:
    """The same for programs."""
    return document(
        "error",
        kind=type(error).__name__,
        exit_code=error.exit_code,
        what=error.what,
        why=error.why,
        hint=error.hint,
        log=str(error.log) if error.log else None,
    )


# ---------------------------------------------------------------- cpu


def cpu_text(cpu: Cpu) -> RenderableType:
    """The CPU, and each level with what it lacks."""
    parts: list[RenderableType] = [
        facts(
            [
                ("CPU", cpu.name or cpu.microarchitecture),
                ("microarchitecture", f"{cpu.microarchitecture} ({cpu.vendor}, {cpu.architecture})"),
                ("level", cpu.level),
                ("kernels that can run", ", ".join(cpu.isas()) or "none exist for this CPU yet"),
            ]
        )
    ]
    if cpu.architecture == "x86_64":
        table = Table("level", "", "lacks", box=None, padding=(0, 2), header_style="bold")
        for level in LEVELS:
            missing = cpu.missing(level)
            table.add_row(
                level,
                Text("no", style="red") if missing else Text("yes", style="green"),
                ", ".join(sorted(missing)),
            )
        parts.append(table)
    parts += [Text(f"note: {note}") for note in cpu.notes]
    return Group(*parts)


def cpu_json(cpu: Cpu) -> dict[str, Any]:
    """What :meth:`Cpu.from_json` reads, with each level's missing features."""
    levels = {level: sorted(cpu.missing(level)) for level in LEVELS} if cpu.architecture == "x86_64" else {}
    return {**cpu.to_json(), "isas": list(cpu.isas()), "missing": levels}


# ---------------------------------------------------------------- plan


def plan_text(plan: Plan, *, verbose: bool = False) -> RenderableType:
    """What was found, what will be done, and why."""
    parts: list[RenderableType] = [_section("Found and chosen", _reasons(plan.reasons, verbose=verbose))]
    moved = [f"{owner.name} {owner.version}  ({owner.location})" for owner in plan.removes]
    moved += [f"{folder}  (nobody's)" for folder in plan.environment.leftovers]
    if moved:
        parts.append(_section("Moved aside, kept for rollback", Text("\n".join(moved))))
    if plan.left_out:
        left = "\n".join(f"{item.kernel}: {item.reason}" for item in plan.left_out)
        parts.append(_section("Kernels left out", Text(left)))
    parts += [Text(f"note: {problem}", style="yellow") for problem in plan.environment.problems]
    return Group(*parts)


def _reasons(reasons: Sequence[Reason], *, verbose: bool) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for reason in reasons:
        table.add_row(reason.subject, Text.assemble(reason.choice, "\n", (reason.why, "dim")))
    if verbose:
        table.caption_justify = "left"
    return table


def explanation_text(plan: Plan) -> RenderableType:
    """Every choice with its reason, and the flags of each instruction set."""
    from simdinstall.kernels import BASE_FLAGS, ISA_FLAGS  # Late: the catalogue is long.

    flags = [(isa, " ".join(ISA_FLAGS[isa])) for isa in plan.march.isas]
    kernels = [
        (
            kernel.name,
            f"{', '.join(kernel.functions)}; from {kernel.origin}; "
            + (
                "stock's very bytes"
                if kernel.fidelity == "exact"
                else f"within {kernel.largest_difference} of 255"
            ),
        )
        for kernel in plan.kernels
    ]
    return Group(
        plan_text(plan),
        _section("Flags of every unit", Text(" ".join(BASE_FLAGS))),
        _section("Flags of each instruction set", facts(flags)),
        _section("Kernels", facts(kernels)),
        _section(
            "Patches",
            Text("\n".join(f"{item.slug}  {item.sha256[:16]}" for item in plan.tree.patches) or "none"),
        ),
    )


def plan_json(plan: Plan) -> dict[str, Any]:
    """The plan for programs."""
    return {
        "cpu": plan.cpu.to_json(),
        "environment": plan.environment.to_json(),
        "march": {
            "name": plan.march.name,
            "requested": plan.march.requested,
            "level": plan.march.level,
            "isas": list(plan.march.isas),
            "cflags": list(plan.march.cflags),
        },
        "pillow": plan.release,
        "fidelity": plan.fidelity,
        "compiler": plan.maker.identity,
        "kernel_library": "prebuilt" if plan.prebuilt else "compiled",
        "sources": [
            {"filename": item.filename, "sha256": item.sha256, "url": item.url}
            for item in (plan.sources.pillow, plan.sources.pillow_simd, plan.sources.zlib_ng)
            if item is not None
        ],
        "kernels": [kernel.name for kernel in plan.kernels],
        "left_out": [{"kernel": item.kernel, "reason": item.reason} for item in plan.left_out],
        "patches": [{"slug": item.slug, "sha256": item.sha256} for item in plan.tree.patches],
        "removes": [{"name": owner.name, "version": owner.version} for owner in plan.removes],
        "reasons": [{"subject": r.subject, "choice": r.choice, "why": r.why} for r in plan.reasons],
    }


# ---------------------------------------------------------------- outcome


def wheel_text(wheel: Wheel, verdict: Verdict, *, verbose: bool = False) -> RenderableType:
    """A wheel that was built and verified, not installed."""
    made = "from the cache" if wheel.cached else "built now"
    return Group(
        facts(
            [
                ("wheel", str(wheel.path)),
                ("version", f"{wheel.version} ({made})"),
                ("sha256", wheel.sha256),
            ]
        ),
        *_build_notes(wheel, verbose=verbose),
        verdict_text(verdict),
    )


def _build_notes(wheel: Wheel, *, verbose: bool) -> list[RenderableType]:
    notes: list[RenderableType] = []
    if wheel.repaired:
        notes.append(Text("note: the wheel in the cache was damaged; it was built again"))
    if verbose and wheel.log is not None:
        notes.append(facts([("commands and their output", str(wheel.log))]))
    return notes


def installed_text(
    wheel: Wheel, verdict: Verdict, transaction: Transaction, *, verbose: bool = False
) -> RenderableType:
    """What is there now, how fast and how true it is, and how to undo it."""
    notes = [Text(f"note: {note}") for note in transaction.notes]
    return Group(
        Text.assemble(("Pillow ", "bold"), (wheel.release, "bold"), " with SIMD kernels installed ", "")
        + Text(f"({wheel.version} in {transaction.site})"),
        verdict_text(verdict),
        *notes,
        *_build_notes(wheel, verbose=verbose),
        facts([("undo", "simdinstall rollback"), ("which kernels run", "python -m PIL._simd")]),
    )


def verdict_text(verdict: Verdict) -> RenderableType:
    """Kernels and what they serve, the speed measured, and the fidelity proven."""
    parts: list[RenderableType] = []
    served = _served(verdict)
    if served:
        parts.append(_section("Accelerated", facts(served)))
    if verdict.rows:
        table = Table(
            "operation", "stock ms", "now ms", "times as fast", box=None, padding=(0, 2), header_style="bold"
        )
        for row in verdict.rows:
            table.add_row(
                row.title,
                f"{row.stock * 1000:.2f}",
                f"{row.candidate * 1000:.2f}",
                f"{row.comparison.ratio:.1f}",
            )
        parts.append(
            _section(f"Measured here: {verdict.speedup:.1f} times as fast as stock (geometric mean)", table)
        )
    parts.append(_section("The same as stock?", fidelity_text(verdict)))
    parts += [Text(f"not verified here: {limit}", style="yellow") for limit in verdict.limits]
    return Group(*parts)


def _served(verdict: Verdict) -> list[tuple[str, str]]:
    kernels: dict[str, list[str]] = defaultdict(list)
    for ran in verdict.trace:
        if ran.kernel != "stock" and ran.calls:
            name = f"{ran.kernel} ({ran.level})"
            if name not in kernels[ran.function]:
                kernels[ran.function].append(name)
    return [(function, ", ".join(names)) for function, names in sorted(kernels.items()) if names]


def fidelity_text(verdict: Verdict) -> RenderableType:
    """Which outputs are stock's very bytes, and how far the others may be away."""
    pairs: list[tuple[str, str]] = []
    if verdict.exact:
        pairs.append(("the very same bytes", ", ".join(verdict.exact)))
    if verdict.repacked:
        pairs.append(("the same pixels", f"{', '.join(verdict.repacked)}; zlib-ng packs the files otherwise"))
    worst: dict[str, Graded] = {}
    for row in verdict.bounded:
        if row.operation not in worst or row.largest_difference > worst[row.operation].largest_difference:
            worst[row.operation] = row
    pairs += [
        (
            row.operation,
            f"at most {row.largest_difference:g} of 255 away, in {row.share:.1%} of pixels"
            f" at the worst ({row.mode})",
        )
        for row in worst.values()
    ]
    return facts(pairs)


def outcome_json(wheel: Wheel, verdict: Verdict) -> dict[str, Any]:
    """A wheel and its verdict for programs."""
    return {
        "wheel": {
            "path": str(wheel.path),
            "version": wheel.version,
            "sha256": wheel.sha256,
            "cached": wheel.cached,
            "repaired": wheel.repaired,
        },
        "verdict": verdict.to_json(),
    }


def transaction_json(transaction: Transaction) -> dict[str, Any]:
    """A transaction for programs."""
    return {
        "number": transaction.number,
        "action": transaction.action,
        "site": str(transaction.site),
        "before": transaction.before,
        "after": transaction.after,
        "removed": list(transaction.removed),
        "kept": str(transaction.kept),
        "notes": list(transaction.notes),
    }


# ---------------------------------------------------------------- status, history


def status_text(
    status: Status, environment: Environment, newest: str | None, running: Sequence[Mapping[str, Any]]
) -> RenderableType:
    """What is installed, whether it is ours and intact, which kernels run, what is newer."""
    if status.version is None:
        return Text(f"no Pillow in {status.site}")
    pairs = [("installed", f"{status.name} {status.version} in {status.site}")]
    if status.ours:
        pairs.append(("made for", f"{status.march}, fidelity {status.fidelity}"))
        pairs.append(("kernels that run", _running(running) or "none on this CPU"))
        if status.zlib_ng:
            pairs.append(("zlib", f"zlib-ng {status.zlib_ng}, for Pillow's core alone"))
    else:
        pairs.append(("SIMD kernels", "no: this is not a build of simdinstall"))
    pairs.append(("intact", "yes" if status.intact else "no: " + ", ".join(status.damaged[:5])))
    if status.changed and not status.ours and status.latest is not None:
        pairs.append(("changed since", "something else has replaced the build of simdinstall"))
    if environment.shadowed_by is not None:
        pairs.append(("shadowed by", str(environment.shadowed_by)))
    if newest is not None:
        current = status.version.split("+")[0]
        word = (
            "this is the newest Pillow"
            if newest == current
            else f"Pillow {newest} is out: run simdinstall again"
        )
        pairs.append(("newer", word))
    if status.can_roll_back:
        pairs.append(("undo", "simdinstall rollback"))
    return facts(pairs)


def _running(rows: Sequence[Mapping[str, Any]]) -> str:
    """``avx512: resample, reduce`` and so on: what would serve the functions here, best first."""
    served: set[str] = set()
    kernels: dict[str, dict[str, None]] = {}
    for row in rows:
        if row["kernel"] != "stock" and row["function"] not in served:
            served.add(row["function"])
            kernels.setdefault(row["level"], {})[row["kernel"]] = None
    told = (f"{level}: {', '.join(names)}" for level, names in sorted(kernels.items()))
    return "; ".join(told) + (f" (for {len(served)} functions: python -m PIL._simd)" if served else "")


def status_json(status: Status, newest: str | None, running: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The same for programs."""
    return document(
        "status",
        site=str(status.site),
        name=status.name,
        version=status.version,
        ours=status.ours,
        intact=status.intact,
        damaged=list(status.damaged),
        march=status.march,
        fidelity=status.fidelity,
        zlib_ng=status.zlib_ng,
        kernels=[dict(row) for row in running],
        newest=newest,
        pending=status.pending,
        can_roll_back=status.can_roll_back,
    )


def history_text(entries: Sequence[Entry], site: Path) -> RenderableType:
    """Every change, newest last."""
    if not entries:
        return Text(f"simdinstall has changed nothing in {site}")
    table = Table("no.", "when", "what", "before", "after", box=None, padding=(0, 2), header_style="bold")
    for entry in entries:
        table.add_row(str(entry.number), entry.when, entry.action, entry.before, entry.after)
    return table


def history_json(entries: Sequence[Entry]) -> dict[str, Any]:
    """The same for programs."""
    return document(
        "history",
        entries=[
            {
                "number": entry.number,
                "when": entry.when,
                "action": entry.action,
                "before": entry.before,
                "after": entry.after,
            }
            for entry in entries
        ],
    )
