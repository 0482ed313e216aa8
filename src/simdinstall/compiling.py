"""One compiler in one folder: units in, a shared object out, failures as errors with a log."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from simdinstall.errors import BuildError, NoSpaceError
from simdinstall.linked import ISA_BITS, ISA_NEEDED, object_symbols, shape
from simdinstall.run import CommandFailed, Runner, end_running
from simdinstall.toolchain import Toolchain

#: What the linker is told for both objects. Symbols are bound when the library is
#: loaded, so that a missing one shows at import and not in the middle of a resize.
LINK_OPTIONS: tuple[str, ...] = (
    *("--hash-style=gnu", "--build-id=sha1"),
    *("-z", "noexecstack", "-z", "relro", "-z", "now"),
)

#: For assemblers that know it (:meth:`Builder.takes`): no jump lies across 32 bytes or ends there.
#: Intel's CPUs from Skylake to Cascade Lake do not keep such a one decoded (erratum SKX102),
#: which makes a short loop up to a tenth slower or faster by where it happens to lie.
NO_JUMP_ACROSS = "-Wa,-mbranches-within-32B-boundaries"

#: A note as linkers write it for ``-z x86-64-v3``, for those that cannot. Its section
#: has a name of its own, since lld drops what it does not know from .note.gnu.property.
_ISA_NOTE = """
__asm__(
    ".pushsection .note.simd.isa, \\"a\\", @note\\n"
    ".balign 8\\n"
    ".long 4, 16, 5\\n"
    ".asciz \\"GNU\\"\\n"
    ".long %d, 4, %d, 0\\n"
    ".popsection\\n");
"""


_Work = TypeVar("_Work")


def in_parallel(
    work: Callable[[_Work], str],
    pieces: Sequence[_Work],
    jobs: int,
    tell: Callable[[int], None] = lambda n: None,
) -> list[str]:
    """The results in the order of the pieces. The first failure ends what has not begun."""
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        pending = [pool.submit(work, piece) for piece in pieces]
        try:
            results: list[str] = []
            for future in pending:
                tell(len(results))
                results.append(future.result())
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            if not isinstance(error, Exception):
                end_running()
            raise
        return results


class Builder:
    """Runs one toolchain in one folder; turns its failures into errors with a log."""

    def __init__(self, toolchain: Toolchain, *, scratch: Path, log: Path, run: Runner) -> None:
        self._toolchain = toolchain
        self._scratch = scratch
        self._log = log
        self._run = run
        self._output: dict[str, str] = {}
        (scratch / "tmp").mkdir()
        self._environment = toolchain.environment(scratch / "tmp")

    def compile(self, source: str, output: str, flags: Sequence[str]) -> str:
        """Compile one file; both names are relative to the folder. Returns the object's."""
        self._call(self._toolchain.compile_argv(source, output, flags), output)
        return output

    def precompile(self, text: str, name: str, flags: Sequence[str]) -> str:
        """A header that gcc has read already; for units with the same flags."""
        (self._scratch / name).write_text(text, encoding="utf-8")
        self._call(
            [
                *self._toolchain.argv,
                *self._toolchain.translate(flags),
                *self._toolchain.tuning,
                "-x",
                "c-header",
                name,
                "-o",
                f"{name}.gch",
            ],
            name,
        )
        return name

    def compile_text(self, text: str, output: str) -> str:
        """Compile a few lines that come from no file."""
        source = f"{output.removesuffix('.o')}.c"
        (self._scratch / source).write_text(text, encoding="utf-8")
        return self.compile(source, output, ("-O1", "-fPIC", "-g0"))

    def takes(self, flag: str) -> bool:
        """Whether the compiler, and the assembler behind it, know a flag."""
        (self._scratch / "takes.c").write_text("int takes;\n", encoding="utf-8")
        command = self._toolchain.compile_argv("takes.c", "takes.o", [flag])
        return self._run(command, cwd=self._scratch, env=self._environment, check=False).returncode == 0

    def undefined(self, objects: Iterable[str]) -> frozenset[str]:
        """The symbols that these objects want and none of them has."""
        wanted: set[str] = set()
        had: set[str] = set()
        for name in objects:
            for symbol, defined in object_symbols(self._scratch / name):
                (had if defined else wanted).add(symbol)
        return frozenset(wanted - had)

    def link_shared(
        self,
        objects: Sequence[str],
        output: str,
        *,
        needed: Sequence[str],
        options: Sequence[str] = (),
        level: str | None = None,
    ) -> Path:
        """Link a shared object that names ``needed`` and is marked as needing ``level``.

        The libraries themselves need not be there: what is undefined stays undefined, and
        without a version, which the dynamic linker takes for the oldest.
        """
        inputs = [*objects, *self._stubs(needed)]
        # lld, zig's linker, does not know -z x86-64-v3 and only warns.
        by_linker = level is not None and self._toolchain.kind != "zig"
        mark = ("-z", level) if by_linker and level is not None else ()
        self._link(inputs, output, [*LINK_OPTIONS, *options, *mark])
        if level is not None and not shape(self._scratch / output).isa & ISA_BITS[level]:
            bits = sum(ISA_BITS[x] for x in ISA_BITS if x <= level)
            note = self.compile_text(_ISA_NOTE % (ISA_NEEDED, bits), "isa_note.o")
            self._link([note, *inputs], output, [*LINK_OPTIONS, *options])
        return self._scratch / output

    def _stubs(self, names: Sequence[str]) -> list[str]:
        """Empty libraries by these names: linking them gives the entries in NEEDED."""
        (self._scratch / "stubs").mkdir(exist_ok=True)
        for name in names:
            self._link(["empty.o"], f"stubs/{name}", ["-soname", name])
        return [f"stubs/{name}" for name in names]

    def _link(self, inputs: Sequence[str], output: str, options: Sequence[str]) -> None:
        self._call(self._toolchain.link_argv(inputs, output, [*options, "--no-as-needed"]), output)
        self.write_log((output,))

    def write_log(self, names: Iterable[str]) -> None:
        """Append what these commands said, in this order, whatever the order they ran in."""
        with self._log.open("a", encoding="utf-8") as file:
            for name in names:
                file.write(self._output.pop(name, ""))

    def _call(self, command: Sequence[str], output: str) -> None:
        try:
            completed = self._run(command, cwd=self._scratch, env=self._environment)
        except CommandFailed as error:
            said = error.completed.output
            self._output[output] = f"$ {' '.join(command)}\n{said}[status {error.completed.returncode}]\n"
            self.write_log((output,))
            if os.strerror(errno.ENOSPC) in said:
                raise NoSpaceError(
                    "no space left to compile",
                    why=f"{self._toolchain.path.name} wrote below {self._scratch}",
                    hint="make room, or set TMPDIR to another folder",
                ) from error
            tail = "\n".join((said.strip() or error.why).splitlines()[-30:])
            raise BuildError(
                f"{self._toolchain.kind} failed on {Path(output).name}",
                why=tail,
                hint="try another compiler: --compiler gcc, clang or zig",
                log=self._log,
            ) from error
        self._output[output] = f"$ {' '.join(command)}\n{completed.output}"
