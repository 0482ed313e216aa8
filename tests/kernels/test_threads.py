"""Sixteen threads at once: shared sources, concurrent calls, levels and memory that change.

Under ThreadSanitizer once more (marker ``sanitizer``): the kernel library is instrumented,
Python and Pillow are not, so what is looked at is every access of the kernels.
"""

from __future__ import annotations

import ctypes
import io
import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fronted import Simd, saved

THREADS = 16
#: How often each thread goes through all operations.
ROUNDS = int(os.environ.get("SIMDINSTALL_THREAD_ROUNDS", "2"))


def operations() -> dict[str, Callable[[Any], Any]]:
    """By name, on RGBA images that all threads share."""
    from PIL import Image, ImageFilter

    lut = ImageFilter.Color3DLUT.generate(7, lambda r, g, b: (g, b, r))
    done: dict[str, Callable[[Any], Any]] = {
        "down": lambda im: im.resize((37, 29), Image.Resampling.LANCZOS),
        "up": lambda im: im.resize((301, 211), Image.Resampling.BICUBIC),
        "box": lambda im: im.convert("RGB").resize(
            (50, 40), Image.Resampling.BILINEAR, (3.5, 2.5, 90.1, 71.7)
        ),
        "floats": lambda im: im.convert("F").resize((60, 50), Image.Resampling.HAMMING),
        "reduce": lambda im: im.reduce((3, 2)),
        "gaussian": lambda im: im.filter(ImageFilter.GaussianBlur(2.7)),
        "box blur": lambda im: im.filter(ImageFilter.BoxBlur((1.5, 9))),
        "unsharp": lambda im: im.filter(ImageFilter.UnsharpMask(2, 150, 3)),
        "3x3": lambda im: im.filter(ImageFilter.SHARPEN),
        "5x5": lambda im: im.filter(ImageFilter.SMOOTH_MORE),
        "lut": lambda im: im.convert("RGB").filter(lut),
        "over": lambda im: Image.alpha_composite(im, im.transpose(Image.Transpose.ROTATE_180)),
        "matrix": lambda im: im.convert("RGB").convert("L", (0.3, 0.5, 0.2, 1)),
        "merge": lambda im: Image.merge("RGBA", im.split()[::-1]),
        "crop": lambda im: im.crop((5, 7, 111, 83)),
        "big": lambda im: Image.new("L", (1024, 513), im.getpixel((0, 0))[0]),
    }
    done |= {f"to {mode}": lambda im, m=mode: im.convert(m) for mode in ("RGBa", "CMYK", "LA", "L", "I")}
    done |= {f"to {mode}": lambda im, m=mode: im.convert("RGB").convert(m) for mode in ("HSV", "YCbCr", "1")}
    done |= {str(way): lambda im, w=way: im.transpose(w) for way in Image.Transpose}
    done |= {kind: lambda im, k=kind: reopened(im.convert("RGB"), k) for kind in ("JPEG", "PNG", "TIFF")}
    # Large enough for its lines to go straight into rows.
    done["large JPEG"] = lambda im: reopened(im.convert("RGB").resize((2100, 1001), 0), "JPEG").reduce(20)
    return done


def reopened(im: Any, kind: str) -> Any:
    """An image as it comes out of a file."""
    from PIL import Image

    return Image.open(io.BytesIO(saved(im, kind))).copy()


def test_sixteen_threads(simd: Simd) -> None:
    rng = random.Random(16)
    images = [simd.image("RGBA", (120 + n, 90 + n), rng.randbytes(50_000)) for n in range(3)]
    done = operations()
    with simd.rows("stock"):
        with simd.at("none"):
            expected = {(n, name): simd.raw(done[name](im)) for n, im in enumerate(images) for name in done}
        ready = threading.Barrier(THREADS)
        working = threading.Event()

        def work(seed: int) -> int:
            order = list(expected) * ROUNDS
            random.Random(seed).shuffle(order)
            ready.wait()
            for n, name in order:
                assert simd.raw(done[name](images[n])) == expected[n, name], (n, name)
            return len(order)

        def change() -> int:
            """Levels, counts and what the pool may keep change under the others' feet."""
            from PIL import Image

            rng, times = random.Random(0), 0
            while not working.wait(0.001):
                simd.set_level(rng.choice(("none", *simd.levels)))
                simd._library.pillow_simd_set_memory(ctypes.c_ulonglong(rng.choice((0, 1 << 20, 64 << 20))))
                Image.core.clear_cache()
                simd.reset()
                times += 1
            return times

        with ThreadPoolExecutor(THREADS + 1) as pool:
            changed = pool.submit(change)
            try:
                counts = list(pool.map(work, range(THREADS)))
            finally:
                working.set()
            assert changed.result() > 3
        simd.set_level(simd.highest)
        simd._library.pillow_simd_set_memory(ctypes.c_ulonglong(64 << 20))
    assert counts == [len(expected) * ROUNDS] * THREADS


def runtime() -> Path | None:
    """Where gcc keeps libtsan, which has to be loaded before Python."""
    if not shutil.which("gcc"):
        return None
    asked = subprocess.run(["gcc", "-print-file-name=libtsan.so"], check=True, capture_output=True, text=True)
    path = Path(asked.stdout.strip())
    return path if path.is_absolute() and path.exists() else None


@pytest.mark.sanitizer
def test_under_thread_sanitizer() -> None:
    tsan = runtime()
    if tsan is None:
        pytest.skip("needs gcc with libtsan")
    environ = os.environ | {
        "LD_PRELOAD": str(tsan),
        "TSAN_OPTIONS": "halt_on_error=0:exitcode=66:report_signal_unsafe=0:ignore_noninstrumented_modules=1",
        "SIMDINSTALL_TEST_SANITIZE": "thread",
        "SIMDINSTALL_THREAD_ROUNDS": "1",
    }
    # Its shadow memory wants the addresses of programs and libraries where they used to be.
    fixed = [setarch, "-R"] if (setarch := shutil.which("setarch")) else []
    command = [*fixed, sys.executable, "-m", "pytest", "-q", "-x", "-m", "not sanitizer", "-s", __file__]
    ran = subprocess.run(command, env=environ, capture_output=True, text=True)
    output = ran.stdout[-4000:] + ran.stderr[-8000:]
    assert "WARNING: ThreadSanitizer" not in ran.stdout + ran.stderr, output
    assert ran.returncode == 0, output
