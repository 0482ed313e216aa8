"""`simdinstall --cache DIR|URL`: the install command, with a build that others made."""

from __future__ import annotations

from argparse import Namespace

from simdinstall import cpu, environment, install, report
from simdinstall.cache import node
from simdinstall.commands.cache import trusted_keys
from simdinstall.commands.frame import (
    Output,
    agreed,
    scratch_folder,
    settled_target,
    tell_recovery,
)
from simdinstall.errors import EXIT_WOULD_CHANGE
from simdinstall.progress import TerminalProgress, stderr_console


def install_from_cache(arguments: Namespace, output: Output) -> int:
    """Pick, check and install the best build of a cache; nothing is compiled or fetched from elsewhere."""
    seen = cpu.detect(override=arguments.cpu)
    target, recovery = settled_target(arguments)
    tell_recovery(recovery)
    environment.require_supported(target)
    where = node.place(arguments.cache)
    listed = node.catalogue(where, trusted=trusted_keys(arguments))
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
    )
    entry = choice.entry
    status = install.status(target)
    same = (
        status.ours
        and status.intact
        and status.version == entry.version
        and (status.provenance or {}).get("added", {}).get("PIL/libpillow_simd.so") == entry.library
    )
    document = report.document(
        "install",
        cache=where.address,
        wheel=entry.to_json(),
        why=choice.why,
        signed_by=listed.signer or None,
        would_change=not same,
    )
    output.show(f"{entry.file}\n  from {where.address}: {choice.why}")
    if same or arguments.check or arguments.dry_run:
        output.show("nothing to do: it is installed and intact" if same else "nothing was changed")
        output.give(document)
        return EXIT_WOULD_CHANGE if arguments.check and not same else 0
    if not agreed(arguments, f"Put it in the place of Pillow {target.pil_version or '(none)'}?"):
        output.show("nothing was changed")
        return 0
    with scratch_folder() as scratch, TerminalProgress(stderr_console()) as progress:
        progress("fetching")
        wheel = node.fetched(where, entry, scratch, cpu=seen)
        progress("checking it here")
        verdict = node.check_here(wheel, target, entry, scratch / "unpacked")
        verdict.require_ok()
        transaction = install.install(wheel, verdict, target, progress=progress)
    output.show(report.installed_text(wheel, verdict, transaction, verbose=output.verbose))
    output.give(
        {
            **document,
            **report.outcome_json(wheel, verdict),
            "transaction": report.transaction_json(transaction),
        }
    )
    return 0
