"""A catalogue of one kernel for the small extension of ``extensions.py``.

Its kernel adds 1000 to an image's width where the extension's own function adds 1, so
that a test sees who served a call.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import MappingProxyType

from simdinstall import cpu, kernels
from simdinstall.cpu import Cpu, March
from simdinstall.kernels import Catalogue, Function, Kernel
from simdinstall.tree import Tree, digest

FRONT = r"""
#include "dispatch.h"
#include "pillow.h"
#ifdef PILLOW_PROTOTYPE_ImagingNegative
typedef Imaging negative_function(Imaging im);
typedef int negative_guard(Imaging im);
int wide_negative_fits(Imaging im);
int wide_negative_fits(Imaging im) { return im->xsize < 500; }
SIMD_KERNEL(Imaging, wide_negative, (Imaging im))
static SIMD_ROW_TYPE(negative_guard, negative_function) rows[] = {
    SIMD_AVX2("wide_negative", wide_negative_fits, wide_negative)
    SIMD_SSE4("wide_negative", wide_negative_fits, wide_negative)
    SIMD_STOCK
};
SIMD_FRONT(ImagingNegative, rows)
SIMD_PUBLIC Imaging ImagingNegative(Imaging im) { SIMD_SERVE(Imaging, SIMD_DECLINED, rows, (im)) }
#endif
"""
KERNEL = r"""
#include "dispatch.h"
#include "pillow.h"
#include <emmintrin.h>
Imaging SIMD_NAME(wide_negative)(Imaging im);
Imaging SIMD_NAME(wide_negative)(Imaging im) {
    __m128i thousand = _mm_set1_epi32(1000);
    im->xsize += _mm_cvtsi128_si32(thousand);
    return ImagingCopy(im);
}
"""


def catalogue() -> Catalogue:
    """The kernel ``wide_negative`` in front of ``ImagingNegative``."""
    kernel = Kernel(
        name="wide_negative",
        functions=("ImagingNegative",),
        origin="simdinstall",
        isas=("sse4", "avx2"),
        fidelity="exact",
        largest_difference=0,
        sources=("wide_negative.c",),
        needs=(),
        cflags=(),
        pillow="",
        pillow_simd="",
    )
    function = Function(
        name="ImagingNegative",
        front="front_negative.c",
        prototypes=MappingProxyType({"Imaging(Imaging)": 1}),
        uses=("mode", "xsize", "ImagingCopy()"),
    )
    callbacks = MappingProxyType({"ImagingCopy": "Imaging(Imaging)"})
    return Catalogue(functions=(function,), kernels=(kernel,), callbacks=callbacks)


def tree(root: Path, *, kernel: str = KERNEL, front: str = FRONT) -> Tree:
    """Its sources below ``root``, with the project's own dispatcher."""
    folder = root / "kernels"
    folder.mkdir(parents=True)
    for name in ("dispatch.c", "dispatch.h", "pillow.h"):
        shutil.copy(kernels.sources_dir() / name, folder / name)
    (folder / "front_negative.c").write_text(front)
    (folder / "wide_negative.c").write_text(kernel)
    return Tree(
        root=root,
        kernels_dir=folder,
        include_dirs=(folder,),
        kernels=catalogue().kernels,
        left_out=(),
        patches=(),
        digest=digest(root),
    )


def march(name: str) -> March:
    """A march as it is on a CPU that can everything."""
    able = Cpu(
        architecture="x86_64",
        vendor="test",
        name="",
        microarchitecture="x86_64_v4",
        features=cpu.LEVELS["x86-64-v4"] | {"avx512_vnni"},
        level="x86-64-v4",
        notes=(),
    )
    return cpu.resolve_march(name, able)


_CALL = """
import ctypes, sys
names = "mode type bands xsize ysize palette image8 image32 image blocks pixelsize linesize destroy".split()
pointers = {"palette", "image8", "image32", "image", "blocks", "destroy"}
class Image(ctypes.Structure):
    _fields_ = [(n, ctypes.c_void_p if n in pointers else ctypes.c_int) for n in names]
    _fields_ += [("rest", ctypes.c_char * 64)]
loaded = ctypes.CDLL(sys.argv[1])
image = Image()
image.xsize = int(sys.argv[2])
something = (ctypes.c_void_p * 2)(1, 1)
loaded.ImagingApply.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_double, ctypes.c_void_p]
loaded.ImagingApply.restype = ctypes.c_void_p
assert loaded.PyInit__imaging
loaded.ImagingApply(ctypes.addressof(image), something, 1.0, something)
print(image.xsize)
"""


def call(loader: Path, width: int, **environment: str) -> int:
    """The width after the extension, through its loader, has called its own function."""
    done = subprocess.run(
        [sys.executable, "-c", _CALL, loader, str(width)],
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
        text=True,
    )
    return int(done.stdout)
