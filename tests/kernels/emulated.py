"""Run by test_emulated.py, maybe on an emulated CPU: what serves what, and hashes of the results."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path


def main(folder: Path) -> None:
    sys.path[:0] = [str(folder), str(Path(__file__).parent)]
    import ctypes

    from PIL import Image, ImageFilter

    class Entry(ctypes.Structure):
        _fields_ = (
            ("function", ctypes.c_char_p),
            ("kernel", ctypes.c_char_p),
            ("level", ctypes.c_int),
            ("calls", ctypes.c_ulonglong),
        )

    library = ctypes.CDLL(str(folder / "PIL" / "libpillow_simd.so"))
    size = 97, 61
    data = bytes(i * i % 251 for i in range(size[0] * size[1] * 4))
    rgba = Image.frombytes("RGBA", size, data)
    rgb = rgba.convert("RGB")
    grey = rgb.convert("L")
    lut = ImageFilter.Color3DLUT.generate(5, lambda r, g, b: (r * r, g, 1 - b))
    results = [
        *(
            im.resize(to, how)
            for im in (rgb, rgba, grey)
            for to in ((31, 20), (130, 90))
            for how in (1, 3, 4)
        ),
        *(im.reduce(factor) for im in (rgb, grey) for factor in (2, 3, 5)),
        *(im.filter(ImageFilter.GaussianBlur(r)) for im in (rgb, rgba, grey) for r in (0.7, 4)),
        *(im.filter(f) for im in (rgb, grey) for f in (ImageFilter.SHARPEN, ImageFilter.BLUR)),
        rgb.filter(lut),
        Image.alpha_composite(rgba, rgba.transpose(0)),
        rgba.convert("RGBa"),
        *rgba.split(),
    ]
    names = ("none", "sse4", "avx2", "avx512")
    first = ctypes.POINTER(Entry)()
    count = library.pillow_simd_entries(ctypes.byref(first))
    trace = {
        f"{e.function.decode()} {e.kernel.decode()} {names[e.level]}": e.calls
        for e in (first[i] for i in range(count))
        if e.calls
    }
    digests = [hashlib.sha256(im.tobytes()).hexdigest()[:16] for im in results]
    print(json.dumps({"level": names[library.pillow_simd_level()], "trace": trace, "digests": digests}))


main(Path(sys.argv[1]))
