"""Run by test_kill.py in a process of its own, to be killed: installs, rolls back or recovers.

Arguments: action, environment as pickle, wheel, mode ("rename" or "mirror"), number of the
checkpoint at which this process kills itself (-1: never; the parent does).
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from pathlib import Path

from install_parts import GOOD, as_wheel
from simdinstall.exchange import rename
from simdinstall.install import install, recover, rollback
from test_exchange import weak_rename


def main() -> None:
    action, environment, wheel, mode, number = sys.argv[1:]
    env = pickle.loads(Path(environment).read_bytes())
    how = weak_rename if mode == "mirror" else rename
    reached = 0

    def checkpoint(name: str) -> None:
        nonlocal reached
        if reached == int(number):
            os.kill(os.getpid(), signal.SIGKILL)
        reached += 1
        print(name, flush=True)

    print("ready", flush=True)
    if action == "install":
        install(
            as_wheel(Path(wheel), "13.0.0+simd.v3"), GOOD, env, checkpoint=checkpoint, rename=how, grace=0.05
        )
    elif action == "rollback":
        rollback(env, checkpoint=checkpoint, rename=how, grace=0.05)
    else:
        recover(env, checkpoint=checkpoint, rename=how)
    print("done", flush=True)


if __name__ == "__main__":
    main()
