"""simdinstall: the fastest Pillow that a CPU can run, in one command, undone in one."""

from __future__ import annotations

__version__ = "0.1.0"
