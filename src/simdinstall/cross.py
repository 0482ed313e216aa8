"""Wheels for another kind of machine than this one: what is known of it, and which tags it takes.

The interpreter here stands for the one there: the same CPython release and ABI, on a
machine with the same sizes of types (LP64).
"""

from __future__ import annotations

import platform
from dataclasses import replace

from simdinstall.cpu import Cpu
from simdinstall.environment import Environment

#: Machines that zig compiles for and official wheels exist for, besides x86-64.
MACHINES = ("aarch64",)


def cpu_of(machine: str) -> Cpu:
    """Any CPU of that kind: what every one of them can do."""
    return Cpu(
        architecture=machine,
        vendor="generic",
        name="",
        microarchitecture=machine,
        features=frozenset(),
        level=machine,
        notes=("named by --target, not looked at",),
    )


def environment_for(target: Environment, machine: str) -> Environment:
    """The environment as it would be there: the tags of the other machine."""
    here = platform.machine()
    return replace(target, tags=tuple(tag.replace(here, machine) for tag in target.tags if here in tag))


def is_foreign(machine: str) -> bool:
    """Whether what is compiled for a machine cannot be run here."""
    return machine != platform.machine()
