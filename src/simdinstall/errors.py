"""What can go wrong, each kind with an exit code of its own.

An error says what failed, why, and what to do now. Only :mod:`simdinstall.cli`
turns one into text and an exit code; everything else raises.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from simdinstall.interrupt import EXIT_INTERRUPTED as EXIT_INTERRUPTED

#: The exit code of ``--check`` when something would change.
EXIT_WOULD_CHANGE = 1


class SimdinstallError(Exception):
    """The base of every error that a user can meet.

    ``what`` is one sentence without a full stop, ``why`` the cause as far as it
    is known, ``hint`` what to do now, ``log`` a file with the whole story.
    """

    exit_code: ClassVar[int] = 12

    def __init__(self, what: str, *, why: str = "", hint: str = "", log: Path | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.hint = hint
        self.log = log


class UsageError(SimdinstallError):
    """An option or its value is wrong, or a question could not be asked."""

    exit_code = 2


class CpuError(SimdinstallError):
    """An unknown ``--march``, or a level that this CPU does not have."""

    exit_code = 3


class TargetError(SimdinstallError):
    """The target environment is refused, and left as it is."""

    exit_code = 4


class FetchError(SimdinstallError):
    """A release, a file or the network is not there, or a hash does not hold."""

    exit_code = 5


class BuildError(SimdinstallError):
    """No compiler, a failed compilation, or an extension that cannot be fronted."""

    exit_code = 6


class VerifyError(SimdinstallError):
    """The build is not what it must be; nothing was installed."""

    exit_code = 7


class InstallError(SimdinstallError):
    """The installation failed and was undone."""

    exit_code = 8


class BusyError(SimdinstallError):
    """Another simdinstall is at work on the same thing."""

    exit_code = 9


class StateError(SimdinstallError):
    """simdinstall's own records are damaged or contradict what is on disk."""

    exit_code = 10


class NoSpaceError(SimdinstallError):
    """The device is full; nothing half done was left."""

    exit_code = 11


#: Every exit code with its meaning, as ``--help`` and the documentation give it.
EXIT_CODES: dict[int, str] = {
    0: "done, or nothing to do",
    EXIT_WOULD_CHANGE: "--check: something would change",
    2: "wrong option or value, or a question without a terminal (use --yes)",
    3: "unknown --march, or a level that this CPU lacks",
    4: "the target environment is refused",
    5: "a release, file or index cannot be had, or a hash does not hold",
    6: "the build failed",
    7: "verification failed; nothing was installed",
    8: "the installation failed and was undone",
    9: "another simdinstall is at work",
    10: "simdinstall's records are damaged, or Pillow was changed since (`rollback --force`)",
    11: "no space left on the device",
    12: "any other error",
    EXIT_INTERRUPTED: "interrupted",
}
