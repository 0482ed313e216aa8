"""`simdinstall [install]` and `simdinstall wheel`: what can be said, and who does it.

What builds is imported only when something is to be built: a node that takes its wheel
from a cache has no use for it.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

from simdinstall import cross
from simdinstall.commands.frame import Command, Output, require_answer
from simdinstall.options import (
    Group,
    Parser,
    ask_options,
    build_options,
    cpu_option,
    output_options,
    path,
    target_options,
)


def _install_options(group: Group) -> None:
    build_options(group)
    target_options(group)
    cpu_option(group)
    group.value(
        "--cache",
        metavar="DIR|URL",
        complete="directory",
        help="take the best build of a wheel cache (`simdinstall cache build`); nothing is compiled",
    )
    group.value(
        "--trust",
        parse=path,
        metavar="KEY.pub",
        complete="file",
        help="with --cache: require a signature by this key",
    )
    group.flag("--dry-run", help="show the plan and stop")
    group.flag("--check", help="exit 1 if something would change, 0 if not; change nothing")
    group.flag("--conda", help="in a conda environment: take conda's Pillow out, record and all")
    group.flag(
        "--install-deps",
        help="have the package manager install a compiler where there is none,"
        " and with --libs system what Pillow is compiled with",
    )
    ask_options(group)
    output_options(group)


def install_arguments(environ: Mapping[str, str], **changes: object) -> Namespace:
    """The arguments of `install` as without options, with ``changes``: for commands that end in it."""
    parser = Parser(prog="simdinstall install", allow_abbrev=False)
    _install_options(Group(parser, environ))
    return Namespace(**{**vars(parser.parse_args([])), **changes})


def run_install(arguments: Namespace, output: Output) -> int:
    """Put a Pillow with kernels in: one from a cache, or one built now."""
    if not (arguments.check or arguments.dry_run):
        require_answer(arguments)
    if arguments.cache:
        from simdinstall.commands.cached import install_from_cache

        return install_from_cache(arguments, output)
    from simdinstall.commands.built import install_built

    return install_built(arguments, output)


def _wheel_options(group: Group) -> None:
    build_options(group)
    target_options(group)
    cpu_option(group)
    group.value(
        "--target",
        choices=cross.MACHINES,
        help="with --rebuild: compile for another kind of machine, by zig, on its official wheel;"
        " there are no kernels for it, and the result is not run here without --verify-with",
    )
    group.value(
        "--verify-with",
        parse=path,
        metavar="PYTHON",
        complete="file",
        help="with --target: an interpreter for that machine, as a script that starts it under qemu",
    )
    group.value(
        "--output",
        "-o",
        default=Path(),
        parse=path,
        metavar="DIR",
        complete="directory",
        help="where the wheel goes (default: here)",
    )
    output_options(group)


def _wheel(arguments: Namespace, output: Output) -> int:
    from simdinstall.commands.built import wheel

    return wheel(arguments, output)


COMMANDS = (
    Command(
        name="install",
        summary="put SIMD kernels into an environment's Pillow (the default)",
        set_up=_install_options,
        run=run_install,
    ),
    Command(
        name="wheel",
        summary="build and verify a wheel without installing it",
        set_up=_wheel_options,
        run=_wheel,
    ),
)
