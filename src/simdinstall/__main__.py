"""``python -m simdinstall`` and the ``simdinstall`` command."""

from __future__ import annotations

import sys

from simdinstall import interrupt


def main() -> int:
    """Run the command line and return its exit code; what Ctrl-C does, see :mod:`interrupt`."""
    # Importing all modules takes a quarter of a second: time enough to think again.
    interrupt.leave_at_once()
    from simdinstall.cli import main as run

    interrupt.raise_once()
    try:
        return run()
    except KeyboardInterrupt:
        print(interrupt.message(), file=sys.stderr)
        return interrupt.EXIT_INTERRUPTED
    finally:
        interrupt.ignore()


if __name__ == "__main__":
    sys.exit(main())
