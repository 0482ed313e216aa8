"""Counts of which branches Pillow's own core takes, for gcc to compile it by.

A core that counts is put into the official wheel, and runs the operations of the bench's suite
for which there are mostly no kernels. What it leaves is kept, by everything that it depends on,
since two trainings need not count the same: a build with it can be repeated as long as it is
there.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from simdinstall import archive, compiling, graft, measure
from simdinstall.abi import Abi
from simdinstall.cpu import March
from simdinstall.errors import BuildError
from simdinstall.fetch import Download
from simdinstall.measure import Build, Operation, Probe, ProbeDied, ProbeError
from simdinstall.progress import Progress, silent
from simdinstall.rebuild import Rebuild
from simdinstall.run import Runner
from simdinstall.run import run as run_command
from simdinstall.store import Store, digest, file_digest
from simdinstall.toolchain import Toolchain

#: The suite and those of its groups that are run.
SUITE = "wide"
GROUPS = frozenset({"Rank filter", "Draw", "Convert", "Quantize", "Measure", "Load", "Save"})

#: These are extensions of their own, which no rebuild compiles.
_NOT_THE_CORE = ("WebP", "AVIF")


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """A folder of counts, one file for each unit, and its hash."""

    folder: Path
    sha256: str


def profile(
    rebuild: Rebuild,
    official: Download,
    *,
    abi: Abi,
    march: March,
    toolchain: Toolchain,
    python: Path,
    store: Store,
    run: Runner = run_command,
    progress: Progress = silent,
) -> Profile:
    """The counts for a core that is to be compiled, kept or made now. It has to run here.

    Raises BuildError and NoSpaceError.
    """
    key = digest(
        {
            "release": official.version,
            "official": official.sha256,
            "rebuild": rebuild.digest,
            "march": [march.name, march.level, march.target],
            "compiler": [toolchain.identity, toolchain.tuning],
            "code": [file_digest(Path(name)) for name in (graft.__file__, compiling.__file__, __file__)],
        }
    )

    def make(folder: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="simdinstall-training-") as name:
            scratch = Path(name)
            counts = scratch / "counts"
            for part in ("core", "counts", "work"):
                (scratch / part).mkdir()
            (store.root / "logs").mkdir(parents=True, exist_ok=True)
            core = graft.compile_core(
                rebuild.materials,
                official=abi,
                march=march,
                toolchain=toolchain,
                scratch=scratch / "core",
                log=store.root / "logs" / f"training-{key[:16]}.log",
                run=run,
                progress=progress,
                counts=counts,
            )
            archive.extract(official.path, scratch / "built")
            [extension] = (scratch / "built").glob("PIL/_imaging.*.so")
            extension.write_bytes(core.content)
            _train(Build(label="training", python=python, path=scratch / "built"), scratch / "work", progress)
            files = sorted(counts.glob("*.gcda"))
            if not files:
                raise BuildError("the training left no counts", why=f"of {toolchain.identity}")
            for file in files:
                shutil.copyfile(file, folder / file.name)

    found = store.put("profiles", key, make).path
    return Profile(folder=found, sha256=digest({f.name: file_digest(f) for f in found.glob("*.gcda")}))


def rows(probe: Probe) -> tuple[Operation, ...]:
    """What is run, with the files that it reads made."""
    found = tuple(
        one
        for one in measure.catalogue(probe, SUITE)
        if one.group in GROUPS and not one.title.startswith(_NOT_THE_CORE)
    )
    for name in dict.fromkeys(name for one in found for name in one.assets):
        if not (probe.folder / name).exists():
            with contextlib.suppress(ProbeError):  # a row that cannot be prepared is left out
                probe.ask("asset", name=name)
    return found


def _train(build: Build, folder: Path, progress: Progress) -> None:
    try:
        # Its counts are written when it ends by itself.
        with Probe(build, folder=folder) as probe:
            suite = rows(probe)
            for number, operation in enumerate(suite):
                progress(f"training: {operation.title}", number, len(suite))
                with contextlib.suppress(ProbeError):
                    measure.prepare(probe, SUITE, operation.name)
    except (ProbeDied, ProbeError) as error:
        raise BuildError(
            "the training failed", why=": ".join(filter(None, (error.what, error.why)))
        ) from error
