"""`simdinstall --cache DIR|URL`: the install command, with a build that others made.

This is run on every node of a cluster: it imports little, and prints plain text.
"""

from __future__ import annotations

from argparse import Namespace

from simdinstall import cpu, environment, install
from simdinstall.cache import cells, node, signing
from simdinstall.cache.trial import Trial
from simdinstall.commands.frame import (
    Output,
    agreed,
    scratch_folder,
    settled_target,
    tell_recovery,
)
from simdinstall.errors import EXIT_WOULD_CHANGE
from simdinstall.install import Transaction
from simdinstall.progress import on_stderr
from simdinstall.verdict import Verdict
from simdinstall.wheel import Wheel


def install_from_cache(arguments: Namespace, output: Output) -> int:
    """Pick, check and install the best build of a cache; nothing is compiled or fetched from elsewhere."""
    seen = cpu.detect(override=arguments.cpu)
    target, recovery = settled_target(arguments)
    tell_recovery(recovery)
    environment.require_supported(target)
    where = node.place(arguments.cache)
    trusted = signing.load_trusted(arguments.trust) if arguments.trust else None
    listed = node.catalogue(where, trusted=trusted)
    march = None if arguments.march == "auto" else cpu.resolve_march(arguments.march, seen)
    if march is not None:
        cpu.require_runnable(march, seen)
    choice = node.choose(
        listed,
        cpu=seen,
        tags=target.tags,
        release=arguments.pillow,
        march=march,
        fidelity=arguments.fidelity,
        kind=cells.kind_named(rebuilt=arguments.rebuild, zlib_ng=arguments.zlib_ng) or None,
    )
    entry = choice.entry
    status = install.status(target)
    same = (
        status.ours
        and status.intact
        and status.version == entry.version
        and (status.provenance or {}).get("added", {}).get("PIL/libpillow_simd.so") == entry.library
    )

    def give(outcome: tuple[Wheel, Verdict, Transaction] | None = None) -> None:
        if not output.json:
            return
        from simdinstall import report

        document = report.document(
            "install",
            cache=where.address,
            wheel=entry.to_json(),
            why=choice.why,
            signed_by=listed.signer or None,
            would_change=not same,
        )
        if outcome is not None:
            document |= report.outcome_json(*outcome[:2])
            document["transaction"] = report.transaction_json(outcome[2])
        output.give(document)

    output.say(f"{entry.file}\n  from {where.address}: {choice.why}")
    if same or arguments.check or arguments.dry_run:
        output.say("nothing to do: it is installed and intact" if same else "nothing was changed")
        give()
        return EXIT_WOULD_CHANGE if arguments.check and not same else 0
    if not agreed(arguments, f"Put it in the place of Pillow {target.pil_version or '(none)'}?"):
        output.say("nothing was changed")
        return 0
    with scratch_folder() as scratch, on_stderr() as progress:
        progress("fetching")
        wheel = node.fetched(where, entry, scratch, cpu=seen)
        trial = Trial(wheel, entry)
        transaction = install.install(wheel, trial, target, progress=progress)
    assert trial.verdict is not None
    output.say(_installed(wheel, trial.verdict, transaction))
    give((wheel, trial.verdict, transaction))
    return 0


def _installed(wheel: Wheel, verdict: Verdict, transaction: Transaction) -> str:
    """What is there now, what serves it, and how to undo it."""
    served = sorted({ran.kernel for ran in verdict.trace if ran.kernel != "stock"})
    lines = [
        f"Pillow {wheel.release} with SIMD kernels installed ({wheel.version} in {transaction.site})",
        f"  kernels tried here: {', '.join(served) or 'none'} ({verdict.level})",
        f"  the very same bytes as stock: {', '.join(verdict.exact) or 'none'}",
    ]
    if bounded := dict.fromkeys(row.operation for row in verdict.bounded):
        lines.append(f"  at most {verdict.largest_difference:g} of 255 away: {', '.join(bounded)}")
    lines += [f"  {limit}" for limit in verdict.limits]
    lines += [f"  note: {note}" for note in transaction.notes]
    return "\n".join([*lines, "  undo: simdinstall rollback", "  which kernels run: python -m PIL._simd"])
