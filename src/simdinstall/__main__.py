"""``python -m simdinstall`` is the ``simdinstall`` command."""

from __future__ import annotations

import sys

from simdinstall.cli import main

if __name__ == "__main__":
    sys.exit(main())
