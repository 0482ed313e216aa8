"""Start the worker: ``python [-I] …/_probe [DIRECTORY …] -- [DIRECTORY …]``.

The first directories go to the front of the module search path, so that ``import PIL``
finds the build below them; the others go to its end. This package's own folder leaves
the path again: nothing of ours may stand in the way of a module that the build wants.
"""

import importlib.util
import os
import sys


def start() -> None:
    """Load this folder as a package called ``simdinstall_probe`` and hand over."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if entry != here and os.path.abspath(entry) != here]
    border = sys.argv.index("--")
    sys.path[:] = [*sys.argv[1:border], *sys.path, *sys.argv[border + 1 :]]
    spec = importlib.util.spec_from_file_location(
        "simdinstall_probe",
        os.path.join(here, "__init__.py"),
        submodule_search_locations=[here],
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["simdinstall_probe"] = package
    spec.loader.exec_module(package)
    importlib.import_module("simdinstall_probe.worker").main()


if __name__ == "__main__":
    start()
