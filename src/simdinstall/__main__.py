"""``python -m simdinstall`` and the ``simdinstall`` command."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line; Ctrl-C while modules are still being imported is an interruption too."""
    try:
        from simdinstall.cli import main as run

        return run()
    except KeyboardInterrupt:
        print("interrupted; nothing was changed", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
