"""``python -m simdinstall.cache.worker``: a local process that builds cells, one after another.

A line of JSON comes in for each task, a line goes out for each outcome. It ends when its
input does, and so never outlives the builder by more than one cell.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from simdinstall.cache import cells
from simdinstall.cache.task import Failure, Host, Outcome, Source, Task, describe, perform


def task_line(task: Task) -> str:
    """A task as a line. Its sources are files."""
    data = asdict(task)
    data["cell"] = cells.to_json(task.cell)
    return json.dumps(data)


def read_task(line: str) -> Task:
    """The inverse of :func:`task_line`."""
    data = json.loads(line)
    data["cell"] = cells.from_json(data["cell"])
    data["pillow"] = Source(**data["pillow"])
    data["pillow_simd"] = Source(**data["pillow_simd"]) if data["pillow_simd"] else None
    data["more"] = tuple(Source(**source) for source in data["more"])
    return Task(**data)


def read_outcome(line: str) -> Outcome:
    """An outcome from the line that a worker wrote."""
    data = json.loads(line)
    data["failure"] = Failure(**data["failure"]) if data["failure"] else None
    return Outcome(**data)


def read_host(line: str) -> Host:
    """What a worker said of itself."""
    data = json.loads(line)
    return Host(**{**data, "pythons": tuple(data["pythons"])})


def main(into: Path) -> None:
    """Say who this is, then work until the input ends. Wheels go to the folder ``into``."""
    # The protocol has stdout to itself; whatever else is printed goes to stderr.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    print(json.dumps(asdict(describe())), file=answers, flush=True)
    for line in sys.stdin:
        outcome = perform(read_task(line), into=into)
        print(json.dumps(asdict(outcome)), file=answers, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
