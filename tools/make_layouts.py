"""Write src/simdinstall/layouts/*.json from official wheels.

    python tools/make_layouts.py pillow-13.0.0-cp311-….whl pillow-13.0.0-cp314-cp314t-….whl …

Which Python a wheel is for does not matter, except that free-threaded ones have a layout
of their own.
"""

from __future__ import annotations

import sys
from pathlib import Path

from simdinstall import abi, layouts, wheel


def main(paths: list[str]) -> None:
    """Read each wheel's extension and write its layout."""
    for path in map(Path, paths):
        name, content = wheel.extension(path)
        release, python_abi = path.name.split("-")[1], path.name.split("-")[3]
        threaded = "t" if python_abi.endswith("t") else ""
        target = Path(layouts.__file__).parent / f"{release}{threaded}.json"
        target.write_text(
            layouts.text(release, path.name, abi.read(content, name=Path(name).name)), encoding="utf-8"
        )
        print(target)


if __name__ == "__main__":
    main(sys.argv[1:])
