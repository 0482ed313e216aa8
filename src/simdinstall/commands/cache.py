"""`simdinstall cache …`: wheels for a whole cluster, built once."""

from __future__ import annotations

import os
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.live import Live

from simdinstall import cpu, environment, report
from simdinstall.cache import (
    builder,
    cells,
    changes,
    check,
    cluster_plan,
    node,
    show,
    signing,
    simple_index,
    snippets,
)
from simdinstall.cache.builder import FINAL, Progress, Wanted
from simdinstall.cache.catalogue import House
from simdinstall.cache.executors import Executor, LocalProcesses
from simdinstall.cache.variants import all_pages as pages
from simdinstall.commands.frame import Command, Output, open_services
from simdinstall.errors import EXIT_WOULD_CHANGE, UsageError, VerifyError
from simdinstall.options import (
    Group,
    compiler_name,
    cpu_option,
    index_options,
    output_options,
    path,
    repeated,
)
from simdinstall.progress import stderr_console

EVERY_LEVEL = "portable,x86-64-v2,x86-64-v3,x86-64-v4"


def _where(group: Group, help: str) -> None:
    group.positional("where", metavar="DIR|URL", complete="directory", help=help)


def _trust(group: Group) -> None:
    group.value(
        "--trust",
        parse=path,
        metavar="KEY.pub",
        complete="file",
        help="require a signature by this key, or by one of a file of allowed signers",
    )


def _sign(group: Group) -> None:
    group.value(
        "--sign",
        parse=path,
        metavar="KEY",
        complete="file",
        help="sign the catalogue with this private key (ssh-keygen -t ed25519)",
    )
    group.flag("--unsigned", help="go on without a signature, though the cache has one")


def trusted_keys(arguments: Namespace) -> frozenset[bytes] | None:
    """The keys of ``--trust``; None when no signature is asked for."""
    return signing.load_trusted(arguments.trust) if arguments.trust else None


# ------------------------------------------------------------------------- build


def _build_options(group: Group) -> None:
    group.positional("where", metavar="DIR", parse=path, complete="directory", help="the cache's folder")
    group.value("--pillow", metavar="VERSIONS", help="Pillow releases, by commas (default: the newest)")
    group.value(
        "--python",
        metavar="VERSIONS|PATHS",
        help="Pythons, by commas: 3.12, 3.11-3.14, 3.14t or paths (default: the active one's version)",
    )
    group.value("--march", default=EVERY_LEVEL, metavar="LEVELS", help=f"by commas (default: {EVERY_LEVEL})")
    group.value(
        "--platform",
        default="manylinux_x86_64",
        metavar="NAMES",
        help="by commas: manylinux_x86_64 (default), musllinux_x86_64",
    )
    group.value("--fidelity", default="exact", choices=("exact", "bounded"), help="see `simdinstall --help`")
    group.value(
        "--compiler",
        default="auto",
        parse=compiler_name,
        metavar="auto|gcc|clang|zig|PATH",
        help="the C compiler of those who build",
    )
    group.value(
        "--jobs",
        parse=_count,
        default=max(1, len(os.sched_getaffinity(0)) // 2),
        metavar="N",
        help="how many processes build on this machine at once",
    )
    group.flag("--quick", help="verify at each wheel's best level only")
    group.flag("--no-verify", help="do not verify; wheels are marked so, and nodes check them before use")
    group.flag("--rebuild", help="compile Pillow's own core too, on the official wheel's libraries")
    group.flag("--zlib-ng", help="compile zlib-ng and have Pillow's core use it")
    group.flag("--anew", help="build also what is there and up to date")
    group.flag(
        "--variants", help="PREVIEW: wheel variants (PEP 825, a draft) too, in simple/variants, for uv"
    )
    group.value("--dask", metavar="ADDRESS", help="build on the workers of a Dask scheduler that runs")
    group.flag("--slurm", help="build in jobs of this cluster's Slurm")
    group.value("--slurm-partition", default="", metavar="NAME", help="the partition of the jobs")
    group.value(
        "--slurm-constraint",
        repeat=True,
        metavar="FEATURE",
        help="nodes with this feature; repeated: a group of jobs for each (default: one for each level that "
        "the nodes' features name)",
    )
    group.value("--slurm-account", default="", metavar="NAME", help="whom the jobs are charged to")
    group.value("--slurm-walltime", default="02:00:00", metavar="H:M:S", help="the jobs' longest time")
    group.value("--slurm-jobs", default=1, parse=_count, metavar="N", help="jobs in each group (default: 1)")
    group.value("--slurm-cores", default=2, parse=_count, metavar="N", help="cores of each job (default: 2)")
    group.value("--slurm-memory", default="4GB", metavar="SIZE", help="memory of each job (default: 4GB)")
    group.value("--slurm-interface", default="", metavar="NAME", help="network interface between the nodes")
    group.value(
        "--slurm-option", repeat=True, metavar="TEXT", help="a further option of sbatch; may be repeated"
    )
    group.value(
        "--patience",
        parse=float,
        default=600.0,
        metavar="SECONDS",
        help="how long to wait for the first worker of a cluster",
    )
    _sign(group)
    index_options(group)
    output_options(group)


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError("at least 1 is needed")
    return number


def _build(arguments: Namespace, output: Output) -> int:
    here = cpu.detect()
    marches = cells.parse_marches(arguments.march, here)
    signer = signing.load_secret(arguments.sign) if arguments.sign else None
    house = House(arguments.where, pages=pages)
    platforms = cells.parse_platforms(arguments.platform)
    pythons = builder.resolve_pythons(arguments.python or _active_python())
    with open_services(offline=arguments.offline, lifetime=arguments.index_lifetime) as services:
        if arguments.pillow:
            releases = cells.parse_releases(arguments.pillow)
        else:
            tags = cells.tags(pythons[0], platforms[0])
            releases = (services.fetcher.newest("pillow", tags=tags, python=pythons[0].name.rstrip("t")),)
        matrix = cells.matrix(
            releases,
            pythons,
            marches,
            platforms=platforms,
            fidelity=arguments.fidelity,
            kind=cells.kind_named(rebuilt=arguments.rebuild, zlib_ng=arguments.zlib_ng),
        )
        fetcher = services.fetcher
        services.progress.__exit__(None, None, None)  # type: ignore[attr-defined]
        with _watching(output) as watch:
            summary = builder.build_matrix(
                matrix,
                marches,
                house=house,
                fetcher=fetcher,
                executor=_executor(arguments),
                wanted=Wanted(
                    compiler=arguments.compiler,
                    kernels=arguments.kernels,
                    quick=arguments.quick,
                    verify=not arguments.no_verify,
                    anew=arguments.anew,
                    patience=arguments.patience,
                    variants=arguments.variants,
                ),
                signer=signer,
                unsigned=arguments.unsigned,
                watch=watch,
            )
    output.note(fetcher.notes)
    output.show(show.summary_text(summary, arguments.where))
    output.give(
        report.document(
            "cache-build",
            cells=[
                {
                    "cell": cells.to_json(row.cell),
                    "state": row.state,
                    "why": row.why,
                    "seconds": round(row.seconds, 1),
                    "log": str(row.log) if row.log else None,
                }
                for row in summary.cells
            ],
            repeated=summary.repeated,
            generation=summary.catalogue.generation,
        )
    )
    return 6 if summary.of("failed") else 0


def _active_python() -> str:
    env = environment.inspect(None)
    return str(env.python)


def _executor(arguments: Namespace) -> Callable[[int], Executor]:
    """Who builds: a Dask cluster, Slurm's jobs, or processes here."""
    if arguments.dask and arguments.slurm:
        raise UsageError("--dask and --slurm exclude each other", hint="say where to build")
    if not (arguments.dask or arguments.slurm):
        return lambda jobs: LocalProcesses(min(jobs, arguments.jobs))
    # Imported here: distributed takes a second, and is an extra.
    from simdinstall.cache import dask_cluster

    if arguments.dask:
        return lambda jobs: dask_cluster.connect(arguments.dask, patience=arguments.patience)
    jobs_wanted = dask_cluster.SlurmJobs(
        logs=arguments.where.absolute() / "logs",
        constraints=_constraints(arguments),
        jobs=arguments.slurm_jobs,
        partition=arguments.slurm_partition,
        account=arguments.slurm_account,
        walltime=arguments.slurm_walltime,
        cores=arguments.slurm_cores,
        memory=arguments.slurm_memory,
        interface=arguments.slurm_interface,
        options=tuple(repeated(arguments, "slurm_option")),
    )
    return lambda jobs: dask_cluster.slurm(jobs_wanted, patience=arguments.patience)


def _constraints(arguments: Namespace) -> tuple[str, ...]:
    """A group of jobs for each feature named, else for each that tells a level, else one for any node."""
    if named := repeated(arguments, "slurm_constraint"):
        return tuple(named)
    features = {node.feature for node in cluster_plan.slurm_nodes() if node.feature}
    return tuple(sorted(features)) or ("",)


@contextmanager
def _watching(output: Output) -> Iterator[Callable[[Sequence[Progress]], None]]:
    """A live table on a terminal; elsewhere a line whenever a cell's state changes."""
    console = stderr_console()
    if not console.is_terminal:
        told: dict[str, str] = {}

        def line(rows: Sequence[Progress]) -> None:
            for row in rows:
                if row.state != told.get(row.cell.key, "queued"):
                    after = f" after {row.seconds:.0f} s" if row.seconds and row.state in FINAL else ""
                    more = f": {row.why}" if row.why else ""
                    console.print(f"{row.cell.title}: {row.state}{after}{more}", markup=False, soft_wrap=True)
                told[row.cell.key] = row.state

        yield line
        return
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        yield lambda rows: live.update(show.cells_table(rows, time.monotonic()))


# --------------------------------------------------------------- list and verify


def _list_options(group: Group) -> None:
    _where(group, "the cache")
    _trust(group)
    output_options(group)


def _list(arguments: Namespace, output: Output) -> int:
    listed = node.catalogue(node.place(arguments.where), trusted=trusted_keys(arguments))
    output.show(show.list_text(listed))
    output.give(
        report.document(
            "cache-list",
            generation=listed.generation,
            signer=listed.signer or None,
            wheels=[entry.to_json() for entry in listed.entries],
        )
    )
    return 0


def _verify(arguments: Namespace, output: Output) -> int:
    found = check.check(node.place(arguments.where), trusted=trusted_keys(arguments))
    signed = "signature good" if arguments.trust else "signature not asked for (--trust KEY.pub)"
    document = report.document(
        "cache-verify",
        wheels=found.wheels,
        pages=found.pages,
        signed_by=found.signed_by or None,
        signature_checked=bool(arguments.trust),
        problems=list(found.problems),
    )
    if found.problems:
        output.give(document)
        if output.json:
            return VerifyError.exit_code
        raise VerifyError(
            f"the cache {arguments.where} is not as its catalogue says",
            why="\n".join(found.problems[:20]),
            hint="`simdinstall cache build` with --anew makes it anew; or take it from a backup",
        )
    output.show(f"{found.wheels} wheels and {found.pages} pages are as the catalogue says; {signed}")
    output.give(document)
    return 0


# -------------------------------------------------------------- diff and prune


def _diff_options(group: Group) -> None:
    group.positional("before", metavar="OLD", complete="directory", help="a cache: folder or URL")
    group.positional("after", metavar="NEW", complete="directory", help="another one")
    output_options(group)


def _diff(arguments: Namespace, output: Output) -> int:
    before, after = (node.catalogue(node.place(at)) for at in (arguments.before, arguments.after))
    found = changes.compare(before, after)
    output.show(show.difference_text(found))
    output.give(report.document("cache-diff", **found.to_json()))
    return EXIT_WOULD_CHANGE if found else 0


def _prune_options(group: Group) -> None:
    group.positional("where", metavar="DIR", parse=path, complete="directory", help="the cache's folder")
    group.value(
        "--keep-latest",
        parse=_count,
        metavar="N",
        help="keep the N newest releases of each Python, platform and level (default: all)",
    )
    group.flag("--dry-run", help="show what would go, and stop")
    _sign(group)
    output_options(group)


def _prune(arguments: Namespace, output: Output) -> int:
    signer = signing.load_secret(arguments.sign) if arguments.sign else None
    house = House(arguments.where, pages=pages)
    listed = house.read()
    gone = changes.superseded(listed, arguments.keep_latest) if arguments.keep_latest else ()
    for entry in gone:
        output.show(f"{'would go' if arguments.dry_run else 'gone'}: {entry.cell}")
    freed = 0
    if not arguments.dry_run:
        cells_gone = frozenset(entry.cell for entry in gone)
        before = house.size()
        house.publish(
            lambda catalogue: catalogue.without(cells_gone),
            signer=signer,
            unsigned=arguments.unsigned,
            clean=True,
        )
        freed = before - house.size()
        output.show(
            f"{len(gone)} wheels gone, {len(listed.entries) - len(gone)} kept, {freed / 1e6:.1f} MB freed"
        )
    output.give(report.document("cache-prune", removed=[entry.cell for entry in gone], bytes_freed=freed))
    return 0


# -------------------------------------------------------------------------- plan


def _plan_options(group: Group) -> None:
    group.value(
        "--nodes",
        default="slurm",
        metavar="FILE|slurm",
        complete="file",
        help="the nodes' CPUs: a file or folder with what `simdinstall cpu --json` says on each, lines "
        "`node level`, or slurm for its features (default)",
    )
    output_options(group)


def _plan(arguments: Namespace, output: Output) -> int:
    nodes = (
        cluster_plan.slurm_nodes()
        if arguments.nodes == "slurm"
        else cluster_plan.read_nodes(Path(arguments.nodes).expanduser())
    )
    made = cluster_plan.plan(nodes, login=cpu.detect())
    output.show(show.plan_text(made))
    output.give(report.document("cache-plan", **made.to_json()))
    return 0


# ------------------------------------------------------------------- url and env


def _kind(group: Group) -> None:
    group.flag("--rebuild", help="the index of builds with a core that was compiled too")
    group.flag("--zlib-ng", help="the index of builds with zlib-ng")


def _url_options(group: Group) -> None:
    _where(group, "the cache")
    _kind(group)
    cpu_option(group)
    _trust(group)
    output_options(group)


def _address(arguments: Namespace) -> tuple[str, str, str]:
    """The URL of the index for this CPU, the address of the cache, and the level."""
    where = node.place(arguments.where)
    listed = node.catalogue(where, trusted=trusted_keys(arguments))
    asked = cells.kind_named(rebuilt=arguments.rebuild, zlib_ng=arguments.zlib_ng)
    kind = node.settled_kind(simple_index.kinds(listed), asked or None)
    level = node.best_level(listed, cpu.detect(override=arguments.cpu), kind)
    address = (
        where.address if "://" in arguments.where else str(Path(arguments.where).expanduser().absolute())
    )
    return where.url(f"{simple_index.folder(level, kind)}/"), address, level


def _url(arguments: Namespace, output: Output) -> int:
    url, _, level = _address(arguments)
    if not output.json:
        print(url)
    output.give(report.document("cache-url", url=url, level=level))
    return 0


def _env_options(group: Group) -> None:
    _where(group, "the cache")
    group.value(
        "--format",
        default="all",
        choices=("all", *snippets.FORMATS),
        help="for which tool (default: all)",
    )
    _kind(group)
    cpu_option(group)
    _trust(group)
    output_options(group)


def _env(arguments: Namespace, output: Output) -> int:
    url, address, level = _address(arguments)
    chosen = snippets.FORMATS if arguments.format == "all" else (arguments.format,)
    texts = {name: snippets.FORMATS[name](url, address) for name in chosen}
    if not output.json:
        sys.stdout.write("\n".join(texts.values()))
    output.give(report.document("cache-env", url=url, level=level, lines=texts))
    return 0


COMMANDS = (
    Command(
        name="cache",
        summary="build wheels for many CPUs and Pythons, and let each node take its best",
        children=(
            Command(
                name="build",
                summary="build and verify what is missing or out of date, and publish it",
                set_up=_build_options,
                run=_build,
            ),
            Command(
                name="list",
                summary="every wheel of a cache",
                set_up=_list_options,
                run=_list,
            ),
            Command(
                name="verify",
                summary="check every file, hash, page and the signature of a cache",
                set_up=_list_options,
                run=_verify,
            ),
            Command(
                name="plan",
                summary="the smallest set of builds that gives each node of a cluster its best",
                set_up=_plan_options,
                run=_plan,
            ),
            Command(
                name="diff",
                summary="what differs between two caches; exit 1 if anything does",
                set_up=_diff_options,
                run=_diff,
            ),
            Command(
                name="prune",
                summary="remove old releases and what nothing names any more",
                set_up=_prune_options,
                run=_prune,
            ),
            Command(
                name="url",
                summary="the URL of the index for this CPU, for plain pip and uv",
                set_up=_url_options,
                run=_url,
            ),
            Command(
                name="env",
                summary="lines for pip.conf, uv.toml, environment modules, Ansible, Dockerfiles",
                set_up=_env_options,
                run=_env,
            ),
        ),
    ),
)
