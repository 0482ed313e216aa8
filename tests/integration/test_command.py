"""The command on real environments: real pip, real index, real builds."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from targets import VERSION, Target

pytestmark = [pytest.mark.network, pytest.mark.integration]


def test_a_plain_environment_becomes_fast_whole_and_undoable(fast: Target) -> None:
    assert fast.run(VERSION) == "13.0.0"
    assert "13.0.0+simd." in fast.pip("list")
    assert "No broken requirements" in fast.pip("check")
    status = json.loads(fast.simdinstall("status", "--json"))
    assert (status["ours"], status["intact"]) == (True, True)
    assert {row["function"] for row in status["kernels"]} >= {"ImagingResample", "ImagingBoxBlur"}


def test_kernels_serve_and_are_counted(fast: Target) -> None:
    counted = fast.run(
        "from PIL import Image, _simd\n"
        "Image.new('RGB', (300, 200)).resize((100, 50))\n"
        "print(sum(e.calls for e in _simd.entries()"
        " if e.function == 'ImagingResample' and e.kernel != 'stock'))"
    )
    assert int(counted) == 1
    lowered = fast.run("from PIL import _simd; print(_simd.level())", PILLOW_SIMD="none")
    assert lowered == "none"


def test_the_second_time_there_is_nothing_to_do(fast: Target) -> None:
    assert "nothing to do" in fast.simdinstall("--pillow", "13.0.0", "--yes")
    fast.simdinstall("--pillow", "13.0.0", "--check")
    fast.simdinstall("--pillow", "13.0.0", "--march", "portable", "--check", code=1)


def test_rollback_brings_back_every_byte_and_can_be_taken_back(target: Target) -> None:
    target.pip("install", "-q", "pillow==12.3.0")
    site = Path(target.run("import sysconfig; print(sysconfig.get_path('platlib'))"))

    def tree() -> dict[str, bytes]:
        return {
            str(path.relative_to(site)): path.read_bytes()
            for path in site.rglob("*")
            if path.is_file() and ".simdinstall" not in path.parts and path.suffix != ".pyc"
        }

    before = tree()
    target.simdinstall("--pillow", "13.0.0", "--yes")
    assert target.run(VERSION) == "13.0.0"
    target.simdinstall("rollback", "--yes")
    assert tree() == before
    assert target.run(VERSION) == "12.3.0"
    target.simdinstall("rollback", "--yes")
    assert target.run(VERSION) == "13.0.0"
    assert target.simdinstall("history").count("\n") >= 4


def test_none_there_before_and_pip_uninstalls_it(target: Target) -> None:
    target.simdinstall("--pillow", "13.0.0", "--yes")
    target.pip("uninstall", "-y", "pillow")
    site = Path(target.run("import sysconfig; print(sysconfig.get_path('platlib'))"))
    assert not list(site.glob("[Pp][Ii]*ll*")) or not (site / "PIL").exists()
    assert not (site / "PIL").exists()
    assert not (site / "pillow.libs").exists()


def test_a_wheel_is_built_without_touching_anything(target: Target, tmp_path: Path) -> None:
    out = tmp_path / "wheels"
    document = json.loads(
        target.simdinstall("wheel", "--pillow", "13.0.0", "--march", "portable", "-o", out, "--json")
    )
    [wheel] = out.glob("*.whl")
    assert str(wheel) == document["wheel"]["path"]
    assert wheel.name.startswith("pillow-13.0.0+simd.portable-")
    assert "pillow" not in target.pip("list").lower()
    target.pip("install", "-q", "--no-index", str(wheel))
    assert target.run(VERSION) == "13.0.0"
    again = tmp_path / "again"
    target.simdinstall("wheel", "--pillow", "13.0.0", "--march", "portable", "-o", again)
    assert next(again.glob("*.whl")).read_bytes() == wheel.read_bytes()


def test_offline_works_from_the_cache_and_says_so_when_it_cannot(
    fast: Target, target: Target, tmp_path: Path
) -> None:
    target.simdinstall("--pillow", "13.0.0", "--offline", "--yes")
    assert target.run(VERSION) == "13.0.0"
    empty = Target(tmp_path / "other", tmp_path / "empty-cache")
    # Folders of wheels that pip knows are at hand without a network too.
    empty.environ |= {"PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": "", "PIP_EXTRA_INDEX_URL": ""}
    assert "--offline" in empty.simdinstall("--offline", "--check", code=5)


def test_releases_that_are_not_to_be_had(fast: Target) -> None:
    assert "there is no pillow 99.0" in fast.simdinstall("--pillow", "99.0", "--check", code=5)
    assert "has no wheel for this Python" in fast.simdinstall("--pillow", "9.0.0", "--check", code=5)
    assert "is no version" in fast.simdinstall("--pillow", "newest", "--check", code=2)


def test_exact_is_exact(target: Target) -> None:
    document = json.loads(target.simdinstall("--pillow", "13.0.0", "--fidelity", "exact", "--yes", "--json"))
    verdict = document["verdict"]
    assert verdict["ok"]
    assert {row["grade"] for row in verdict["graded"]} == {"exact"}
    assert max(row["raw_difference"] for row in verdict["graded"]) == 0


def test_a_level_above_this_machine_is_built_and_says_what_was_not_verified(
    target: Target, tmp_path: Path
) -> None:
    document = json.loads(
        target.simdinstall(
            "wheel",
            "--pillow",
            "13.0.0",
            "--march",
            "x86-64-v4",
            "--cpu",
            "x86-64-v2",
            "-o",
            tmp_path,
            "--json",
        )
    )
    assert document["wheel"]["version"] == "13.0.0+simd.v4"


def test_spawn_fork_pickle_and_subinterpreters_work(fast: Target) -> None:
    script = fast.prefix / "work.py"
    script.write_text(
        "import multiprocessing, pickle\n"
        "from PIL import Image\n"
        "def half(data):\n"
        "    return pickle.dumps(pickle.loads(data).resize((5, 5)))\n"
        "if __name__ == '__main__':\n"
        "    data = pickle.dumps(Image.new('RGB', (10, 10), 'red'))\n"
        "    for method in ('spawn', 'fork'):\n"
        "        with multiprocessing.get_context(method).Pool(2) as pool:\n"
        "            for result in pool.map(half, [data] * 4):\n"
        "                assert pickle.loads(result).getpixel((2, 2)) == (255, 0, 0)\n"
        "    print('done')\n"
    )
    done = subprocess.run([fast.python, script], capture_output=True, text=True)
    assert done.stdout.strip() == "done", done.stderr
