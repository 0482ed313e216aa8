"""Names the commands of tools/backend.py; everything else is in pyproject.toml."""

import sys
from pathlib import Path

from setuptools import setup

sys.path.insert(0, str(Path(__file__).parent / "tools"))

from backend import BuildWithKernels, TaggedWheel

setup(cmdclass={"build_py": BuildWithKernels, "bdist_wheel": TaggedWheel})
