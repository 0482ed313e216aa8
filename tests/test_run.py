"""run.py: the only door to other programs."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from simdinstall.run import ChildEnded, CommandFailed, run, signal_name, start

PYTHON = sys.executable


def test_output_status_and_cpu_time_come_back() -> None:
    done = run([PYTHON, "-c", "import sys; print('out'); print('err', file=sys.stderr); sum(range(10**6))"])
    assert (done.returncode, done.stdout, done.stderr) == (0, "out\n", "err\n")
    assert done.cpu_seconds > 0


def test_a_failure_carries_the_whole_output_and_names_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(CommandFailed) as failure:
        run([PYTHON, "-c", "print('the reason'); raise SystemExit(3)"], log=log)
    assert failure.value.completed.returncode == 3
    assert "the reason" in failure.value.why
    assert failure.value.log == log
    assert "the reason" in log.read_text()
    assert "[status 3]" in log.read_text()


def test_unchecked_failures_are_results() -> None:
    assert run([PYTHON, "-c", "raise SystemExit(3)"], check=False).returncode == 3


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(CommandFailed, match="exited with 127") as failure:
        run(["/nonexistent/program"])
    assert "cannot be started" in failure.value.why


def test_a_signal_is_named() -> None:
    with pytest.raises(CommandFailed, match="SIGILL"):
        run([PYTHON, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGILL)"])
    assert signal_name(250) == "signal 250"


def test_no_shell_interprets_arguments() -> None:
    assert run([PYTHON, "-c", "import sys; print(sys.argv[1])", "$(id); *"]).stdout == "$(id); *\n"


def test_input_and_environment_are_what_was_given() -> None:
    done = run(
        [PYTHON, "-c", "import os, sys; print(sys.stdin.read() + os.environ['A'], 'HOME' in os.environ)"],
        input="in ",
        env={"A": "a"},
    )
    assert done.stdout == "in a False\n"


def test_a_timeout_ends_grandchildren_too(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    script = f"sleep 600 & echo $! > {mark}.new; mv {mark}.new {mark}; wait"
    for seconds in (1, 10, 100):  # more where the machine is so busy that nothing started
        with pytest.raises(CommandFailed, match="SIGKILL"):
            run(["/bin/sh", "-c", script], timeout=seconds)
        if mark.exists():
            break
    eventually(lambda: ended(int(mark.read_text())))


def ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except OSError:
        return True


def eventually(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_an_interrupt_ends_the_command(tmp_path: Path) -> None:
    mark = tmp_path / "started"
    script = f"from simdinstall.run import run; run(['/bin/sh', '-c', 'touch {mark}; sleep 600'])"
    process = subprocess.Popen([PYTHON, "-c", script], stderr=subprocess.PIPE, text=True)
    eventually(mark.exists)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=300)
    assert "KeyboardInterrupt" in stderr


def test_a_child_is_spoken_to_line_by_line() -> None:
    child = start([PYTHON, "-uc", "import sys\nfor line in sys.stdin: print(line.upper(), end='')"])
    child.send("one")
    assert child.receive(120) == "ONE"
    child.send("two")
    assert child.receive(120) == "TWO"
    assert child.close() == 0


def test_a_child_that_dies_says_how_and_what_it_said() -> None:
    script = "import os, sys; print('last words', file=sys.stderr); input(); os.kill(os.getpid(), 11)"
    child = start([PYTHON, "-c", script])
    child.send("go")
    with pytest.raises(ChildEnded, match="SIGSEGV") as end:
        child.receive(120)
    assert "last words" in end.value.completed.stderr
    child.close()


def test_a_silent_child_is_ended() -> None:
    child = start([PYTHON, "-c", "import time; time.sleep(60)"])
    with pytest.raises(ChildEnded, match="SIGKILL") as end:
        child.receive(0.2)
    assert "no answer within 0.2 s" in end.value.why
    child.close()


def test_a_child_that_cannot_be_started() -> None:
    with pytest.raises(ChildEnded, match="exited with 127"):
        start(["/nonexistent/program"])
