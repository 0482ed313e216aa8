"""interrupt.py: in processes of their own, interrupted by themselves."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from simdinstall.interrupt import Held


def start(tmp_path: Path, body: str, *, ignored: bool = False) -> subprocess.CompletedProcess[str]:
    """Run ``body`` as the work of a ``python -m`` program, framed as simdinstall's own is."""
    (tmp_path / "program.py").write_text(
        "import gc, os, signal, sys, time\n"
        "from simdinstall import interrupt\n"
        "def press():\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "interrupt.leave_at_once()\n"
        "if 'early' in sys.argv:\n"
        "    press()\n"
        "interrupt.raise_once()\n"
        "try:\n"
        f"{textwrap.indent(textwrap.dedent(body), '    ')}\n"
        "    code = 0\n"
        "except KeyboardInterrupt:\n"
        "    print(interrupt.message())\n"
        "    code = 130\n"
        "finally:\n"
        "    interrupt.ignore()\n"
        "press()\n"
        "sys.exit(code)\n"
    )
    return subprocess.run(
        [sys.executable, "-m", "program", *(["early"] if body == "pass" else [])],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        # What a shell does for `command &` in a script.
        preexec_fn=(lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) if ignored else None,
    )


@pytest.mark.parametrize(
    "body",
    [
        "press(); time.sleep(5)",
        # How dataclasses and named tuples make their methods; Python ends by SIGINT after that.
        "exec('press(); time.sleep(5)')",
        # Only printed there, unless it comes again.
        """
        class Doomed:
            def __del__(self):
                press()
                time.sleep(0.01)
        doomed = Doomed()
        del doomed
        time.sleep(5)
        """,
        # Impatience does not stop the tidying up.
        """
        try:
            press()
            time.sleep(5)
        finally:
            press()
            time.sleep(0.02)
            press()
        """,
        # Held, and not lost.
        """
        with interrupt.Held():
            press()
            time.sleep(0.02)
            print('tidied')
        time.sleep(5)
        """,
    ],
    ids=["plain", "exec", "destructor", "twice", "held"],
)
def test_ctrl_c_is_one_exception_and_its_exit_code(tmp_path: Path, body: str) -> None:
    done = start(tmp_path, body)
    assert (done.returncode, done.stderr) == (130, "")
    assert done.stdout.splitlines()[-1] == "interrupted; nothing half done was left"
    assert ("tidied" in done.stdout) == ("Held" in body)


def test_what_was_finished_before_is_said(tmp_path: Path) -> None:
    done = start(tmp_path, "interrupt.finished('a was exchanged for b'); press(); time.sleep(5)")
    assert (done.returncode, done.stdout) == (130, "interrupted; a was exchanged for b\n")


def test_before_the_work_it_ends_at_once(tmp_path: Path) -> None:
    done = start(tmp_path, "pass")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted; nothing was changed\n")


def test_after_the_work_it_changes_nothing(tmp_path: Path) -> None:
    done = start(tmp_path, "print('worked')")
    assert (done.returncode, done.stdout, done.stderr) == (0, "worked\n", "")


def test_where_it_was_ignored_it_stays_ignored(tmp_path: Path) -> None:
    done = start(tmp_path, "press(); print('worked')", ignored=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "worked\n", "")


def test_held_gives_the_handler_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Held():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
