"""`simdinstall cache …`: wheels for a whole cluster, built once."""

from __future__ import annotations

import os
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import shtab
from rich.live import Live

from simdinstall import cpu, environment, report
from simdinstall.cache import builder, cells, check, node, show, signing, simple_index, snippets
from simdinstall.cache.builder import FINAL, Progress, Wanted
from simdinstall.cache.catalogue import House
from simdinstall.cache.executors import Executor, LocalProcesses
from simdinstall.commands.frame import Command, Output, open_services
from simdinstall.errors import VerifyError
from simdinstall.options import Group, compiler_name, cpu_option, index_options, output_options, path
from simdinstall.progress import stderr_console

EVERY_LEVEL = "portable,x86-64-v2,x86-64-v3,x86-64-v4"


def _where(group: Group, help: str) -> None:
    group.positional("where", metavar="DIR|URL", complete=shtab.DIRECTORY, help=help)


def _trust(group: Group) -> None:
    group.value(
        "--trust",
        parse=path,
        metavar="KEY.pub",
        complete=shtab.FILE,
        help="require a signature by this key, or by one of a file of allowed signers",
    )


def _sign(group: Group) -> None:
    group.value(
        "--sign",
        parse=path,
        metavar="KEY",
        complete=shtab.FILE,
        help="sign the catalogue with this private key (ssh-keygen -t ed25519)",
    )
    group.flag("--unsigned", help="go on without a signature, though the cache has one")


def trusted_keys(arguments: Namespace) -> frozenset[bytes] | None:
    """The keys of ``--trust``; None when no signature is asked for."""
    return signing.load_trusted(arguments.trust) if arguments.trust else None


# ------------------------------------------------------------------------- build


def _build_options(group: Group) -> None:
    group.positional("where", metavar="DIR", parse=path, complete=shtab.DIRECTORY, help="the cache's folder")
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
        help="by commas (default: manylinux_x86_64)",
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
    group.flag("--rebuild", help="build everything anew")
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
    house = House(arguments.where, pages=simple_index.pages)
    pythons = builder.resolve_pythons(arguments.python or _active_python())
    with open_services(offline=arguments.offline, lifetime=arguments.index_lifetime) as services:
        if arguments.pillow:
            releases = cells.parse_releases(arguments.pillow)
        else:
            tags = cells.tags(pythons[0], arguments.platform.split(",")[0])
            releases = (services.fetcher.newest("pillow", tags=tags, python=pythons[0].name.rstrip("t")),)
        matrix = cells.matrix(
            releases,
            pythons,
            marches,
            platforms=[part.strip() for part in arguments.platform.split(",")],
            fidelity=arguments.fidelity,
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
                    quick=arguments.quick,
                    verify=not arguments.no_verify,
                    rebuild=arguments.rebuild,
                    patience=arguments.patience,
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
    return lambda jobs: LocalProcesses(min(jobs, arguments.jobs))


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
            hint="`simdinstall cache build` with --rebuild makes it anew; or take it from a backup",
        )
    output.show(f"{found.wheels} wheels and {found.pages} pages are as the catalogue says; {signed}")
    output.give(document)
    return 0


# ------------------------------------------------------------------- url and env


def _url_options(group: Group) -> None:
    _where(group, "the cache")
    cpu_option(group)
    _trust(group)
    output_options(group)


def _address(arguments: Namespace) -> tuple[str, str, str]:
    """The URL of the index for this CPU, the address of the cache, and the level."""
    where = node.place(arguments.where)
    listed = node.catalogue(where, trusted=trusted_keys(arguments))
    level = node.best_level(listed, cpu.detect(override=arguments.cpu))
    address = (
        where.address if "://" in arguments.where else str(Path(arguments.where).expanduser().absolute())
    )
    return where.url(f"{simple_index.folder(level)}/"), address, level


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
