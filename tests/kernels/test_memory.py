"""Memory that stays warm between images: what can be seen of it is what stock shows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path
from typing import Any

import pytest
from fronted import Simd

from conftest import SANITIZED, sources

pytestmark = pytest.mark.skipif(SANITIZED, reason="measures the memory of whole processes")

#: Bytes of one block of the default size.
BLOCK = 16 << 20

MEMORY = """
import ctypes, json, os, sys
from PIL import Image
class Library:
    def __init__(self):
        self.c = ctypes.CDLL(os.path.join(os.path.dirname(Image.__file__), "libpillow_simd.so"))
    def ask(self):
        found = (ctypes.c_ulonglong * 5)()
        self.c.pillow_simd_memory(found)
        return dict(zip(("limit", "kept", "lent", "served", "reused"), found))
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
"""


def run(folder: Path, code: str, **environ: str) -> Any:
    """What a new process with the Pillow in that folder prints, read as JSON."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PILLOW_", "MALLOC_"))}
    ran = subprocess.run(
        [sys.executable, "-c", MEMORY + textwrap.dedent(code)],
        env=clean | {"PYTHONPATH": str(folder)} | environ,
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert ran.returncode == 0, f"{ran.returncode}: {ran.stderr}"
    return json.loads(ran.stdout)


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """The official Pillow alone."""
    assert request.config.cache is not None
    wheel, _ = sources(Path(request.config.cache.mkdir("pillow")))
    folder = tmp_path_factory.mktemp("stock")
    with zipfile.ZipFile(wheel.path) as packed:
        packed.extractall(folder)
    return folder


def test_blocks_are_reused(simd: Simd) -> None:
    found = run(
        simd.folder,
        """
        library = Library()
        for _ in range(5):
            Image.new("RGB", (2560, 1600), (1, 2, 3))
        print(json.dumps(library.ask()))
        """,
    )
    assert found["limit"] == 64 << 20
    assert (found["served"], found["reused"], found["lent"]) == (5, 4, 0)
    assert 0 < found["kept"] <= BLOCK + (1 << 20)


@pytest.mark.parametrize("switch", [{"PILLOW_SIMD_MEMORY": "0"}, {"PILLOW_SIMD": "none"}])
def test_it_can_be_switched_off(simd: Simd, switch: dict[str, str]) -> None:
    code = """
        library = Library()
        for _ in range(3):
            Image.new("RGB", (2560, 1600))
        print(json.dumps(library.ask()))
        """
    assert run(simd.folder, code, **switch)["served"] == 0


@pytest.mark.parametrize(
    ("text", "mebibytes"),
    [("0", 0), ("5", 5), ("128", 128), ("", 64), ("-1", 64), ("many", 64), ("9" * 40, 1 << 20)],
)
def test_the_variable(simd: Simd, text: str, mebibytes: int) -> None:
    code = "print(json.dumps(Library().ask()))"
    assert run(simd.folder, code, PILLOW_SIMD_MEMORY=text)["limit"] == mebibytes << 20


STATISTICS = """
    import gc
    seen = []
    def look(what):
        core = Image.core
        settings = core.get_alignment(), core.get_block_size(), core.get_blocks_max()
        # Whether realloc had to move a block is malloc's affair.
        statistics = {k: v for k, v in core.get_stats().items() if k != "reallocated_blocks"}
        seen.append((what, settings, statistics))
    def images(*sizes, mode="RGB"):
        made = [Image.new(mode, size, 7) for size in sizes]
        return [image.getpixel((image.width - 1, image.height - 1)) for image in made]
    BIG, SMALL, HUGE, WIDE = (2000, 1500), (50, 40), (5000, 3000), (6_000_000, 2)
    gc.disable()
    Image.core.reset_stats()
    for blocks_max in (0, 3, 0, 1, 2, 0):
        alive = Image.new("RGBA", BIG)   # made before the cache changes, freed after it
        Image.core.set_blocks_max(blocks_max)
        look(("cache", blocks_max, images(SMALL, BIG)))
        del alive
        look(images(BIG, HUGE, WIDE))
        for block_size in (4096, 1 << 20, 16 << 20):
            Image.core.set_block_size(block_size)
            for alignment in (1, 64, 32):
                Image.core.set_alignment(alignment)
                look(images(BIG, SMALL, mode="L"))
        look(images(HUGE, (700, 500), mode="F"))
        Image.core.clear_cache(1)
        look("cleared to 1")
        held = [Image.new("RGB", BIG) for _ in range(4)]
        look("held")
        Image.core.clear_cache()
        del held[::2]
        look("cleared")
        del held
        look("freed")
        Image.core.reset_stats()
        Image.core.set_alignment(1)
    print(json.dumps(seen))
"""


def test_statistics_and_settings_are_those_of_stock(simd: Simd, stock: Path) -> None:
    expected = run(stock, STATISTICS)
    assert run(simd.folder, STATISTICS) == expected
    assert run(simd.folder, STATISTICS, PILLOW_SIMD_MEMORY="0") == expected
    assert run(simd.folder, STATISTICS, PILLOW_SIMD_MEMORY="1") == expected


def test_new_images_are_black_on_memory_that_was_used(simd: Simd) -> None:
    """ImagingNew clears, whatever lay there; ImagingNewDirty need not."""
    found = run(
        simd.folder,
        """
        library, clean = Library(), 0
        for size in ((2560, 1600), (2558, 1600), (2560, 1590), (600, 300), (7000, 5000), (2500000, 2)):
            for _ in range(3):
                Image.new("RGBA", size, (255, 254, 253, 252))
                clean += Image.Image()._new(Image.core.new("RGBA", size)).getextrema() == ((0, 0),) * 4
        print(json.dumps((clean, library.ask())))
        """,
    )
    assert found[0] == 18
    assert found[1]["reused"] > 10


def test_what_an_idle_process_keeps_is_bounded(simd: Simd) -> None:
    code = """
        library = Library()
        before = resident()
        for _ in range(2):
            images = [Image.new("RGB", (1500 + 300 * n, 1100), (1, 2, 3)) for n in range(20)]
            most = resident() - before
            del images
        print(json.dumps((most, resident() - before, library.ask())))
        """
    for mebibytes in (3, 24, 64):
        most, idle, pool = run(simd.folder, code, PILLOW_SIMD_MEMORY=str(mebibytes))
        assert most > 300 << 20
        assert pool["kept"] <= mebibytes << 20
        # The rest: tables of rows, and what Python itself keeps.
        assert idle <= (mebibytes + 6) << 20
        assert pool["lent"] == 0


def test_what_the_heap_keeps_is_bounded(simd: Simd) -> None:
    found = run(
        simd.folder,
        """
        image = Image.new("RGB", (2560, 1600))
        before = resident()
        for _ in range(4):
            image.tobytes()
        print(json.dumps(resident() - before))
        """,
    )
    assert found <= 34 << 20


def test_clear_cache_gives_everything_back(simd: Simd) -> None:
    found = run(
        simd.folder,
        """
        library, steps = Library(), []
        def look():
            steps.append((resident(), library.ask()["kept"]))
        images = [Image.new("RGB", (2560, 1600), (1, 2, 3)) for _ in range(3)]
        del images
        look()
        Image.core.clear_cache()
        look()
        print(json.dumps(steps))
        """,
    )
    (warm, kept), (cold, nothing) = found
    assert kept > 40 << 20
    assert nothing == 0
    assert warm - cold > 40 << 20


def test_another_limit_in_a_running_process(simd: Simd) -> None:
    """Through PIL._simd, which the wheel has."""
    module = Path(__file__).parents[2] / "src/simdinstall/kernels/_simd.py"
    (simd.folder / "PIL" / "_simd.py").write_text(module.read_text())
    found = run(
        simd.folder,
        """
        from PIL import _simd
        Image.new("RGB", (2560, 1600))
        seen = [_simd.memory()]
        _simd.set_memory(0)
        Image.new("RGB", (2560, 1600))
        seen.append(_simd.memory())
        _simd.set_memory(20)
        Image.new("RGB", (2560, 1600))
        seen.append(_simd.memory())
        print(json.dumps(seen))
        """,
    )
    assert [limit for limit, *_ in found] == [64 << 20, 0, 20 << 20]
    assert [kept > 0 for _, kept, *_ in found] == [True, False, True]
    assert [served for *_, served, _ in found] == [1, 1, 2]


def test_without_huge_pages(simd: Simd) -> None:
    """As where /sys/kernel/mm/transparent_hugepage/enabled is `never`."""
    found = run(
        simd.folder,
        """
        assert ctypes.CDLL(None).prctl(41, 1, 0, 0, 0) == 0   # PR_SET_THP_DISABLE
        image = Image.new("RGB", (2560, 1600), (1, 2, 3))
        image = image.transpose(2).resize((3000, 2000)).convert("L")
        print(json.dumps((image.getextrema(), Library().ask()["served"])))
        """,
    )
    assert found[0] == [2, 2]
    assert found[1] >= 3


def test_no_memory_is_the_error_of_stock(simd: Simd, stock: Path) -> None:
    code = """
        import resource
        from PIL import Image
        def attempt(mode, size):
            try:
                return Image.core.new(mode, size).size
            except Exception as error:
                return type(error).__name__, str(error)
        Image.new("RGB", (2560, 1600))
        seen = [attempt("L", (2**31 - 1, 1)), attempt("RGB", (536870910, 1)), attempt("RGB", (536870911, 1))]
        seen += [attempt("L", (-1, 5)), attempt("I", (0, 5))]
        used = int(open("/proc/self/statm").read().split()[0]) * 4096
        resource.setrlimit(resource.RLIMIT_AS, (used + (40 << 20),) * 2)
        Image.core.reset_stats()
        for size in ((2000, 2000), (9000, 9000), (300_000_000, 1), (2000, 2000), (30000, 40000)):
            outcome, statistics = attempt("RGBA", size), Image.core.get_stats()
            # How many blocks there were before none was left is the system's affair.
            failed = statistics["allocated_blocks"] - statistics["freed_blocks"]
            seen.append((outcome, failed, statistics["new_count"]))
        print(json.dumps(seen))
        """
    assert run(simd.folder, code) == run(stock, code)


def test_what_is_kept_does_not_make_an_allocation_fail(simd: Simd) -> None:
    """A block that only fits when the kept ones are given up still succeeds."""
    found = run(
        simd.folder,
        """
        import resource
        library = Library()
        images = [Image.new("RGB", (2560, 1600)) for _ in range(3)]
        del images
        before = library.ask()["kept"]
        used = int(open("/proc/self/statm").read().split()[0]) * 4096
        resource.setrlimit(resource.RLIMIT_AS, (used + (10 << 20),) * 2)
        Image.core.set_block_size(1 << 30)
        Image.core.reset_stats()
        size = Image.core.new("RGB", (3300, 3300)).size
        print(json.dumps((before, size, library.ask()["kept"], Image.core.get_stats()["allocated_blocks"])))
        """,
    )
    assert found[0] > 40 << 20
    assert found[1:2] + found[3:] == [[3300, 3300], 1]


THREADS = """
    import random, threading
    def work(seed, rounds=25):
        rng = random.Random(seed)
        held = []
        for _ in range(rounds):
            size = rng.choice(((500, 375), (900, 300), (640, 480), (2560, 200)))
            colour = rng.randrange(256)
            image = Image.new(rng.choice(("L", "F", "I")), size, colour)
            held.append((image, colour))
            if len(held) > 4:
                image, colour = held.pop(rng.randrange(5))
                assert image.getextrema() == (colour, colour), (image, colour)
            assert Image.core.new("I", size).getextrema() == (0, 0)
        for image, colour in held:
            assert image.getextrema() == (colour, colour)
    def all_at_once(count):
        failed = []
        def careful(seed):
            try:
                work(seed)
            except BaseException as error:
                failed.append(repr(error))
        threads = [threading.Thread(target=careful, args=(n,)) for n in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return failed
"""


def test_sixteen_threads(simd: Simd) -> None:
    code = THREADS + "    print(json.dumps((all_at_once(16), Library().ask())))"
    failed, pool = run(simd.folder, code, PILLOW_SIMD_MEMORY="8")
    assert not failed
    assert pool["lent"] == 0
    assert pool["kept"] <= 8 << 20
    assert pool["served"] > 500
    assert pool["reused"] > 100


def test_fork_while_threads_work(simd: Simd) -> None:
    """The child can use the pool, whatever the parent's threads were about."""
    code = (
        THREADS
        + """
    import time, warnings
    warnings.simplefilter("ignore")
    background = [threading.Thread(target=work, args=(n, 40)) for n in range(4)]
    for thread in background:
        thread.start()
    ended = []
    for n in range(8):
        child = os.fork()
        if not child:
            try:
                work(100 + n, 6)
                os._exit(0)
            finally:
                os._exit(9)
        time.sleep(0.005)
        ended.append(os.waitpid(child, 0)[1])
    for thread in background:
        thread.join()
    print(json.dumps((ended, Library().ask()["lent"])))
"""
    )
    assert run(simd.folder, code) == [[0] * 8, 0]
