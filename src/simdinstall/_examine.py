"""What the Pillow of an interpreter does when it is really used, as lines of JSON.

:mod:`simdinstall.health` hands the text of this file to the target interpreter on its
standard input. It needs nothing but the standard library and PIL, and writes nothing.
Each fact is a line of its own, printed at once: whatever PIL does to the process, what
was found before is not lost. Arguments: ``speed`` to measure, ``torch`` to look for it.
"""

import sys

# The current folder is the caller's; a json.py in it must not be taken for the real one.
if __name__ == "__main__" and sys.path[:1] == [""]:
    del sys.path[0]

import ctypes
import importlib
import importlib.util
import json
import os
import re
import time
import warnings

#: Start-up files may print too: each of our lines begins with this.
MARK = "simdinstall-examine:"

EXTENSIONS = ("_imaging", "_imagingft", "_imagingcms", "_webp", "_avif", "_imagingmath", "_imagingmorph")
LEVELS = ("none", "sse4", "avx2", "avx512")

#: Of the image that is measured on: some ten milliseconds an operation for stock code.
SIZE = (960, 600)
ROUNDS = 3


def tell(**facts):
    # type: (object) -> None
    """Print facts as one line."""
    print("\n" + MARK + json.dumps(facts), flush=True)


def imported():
    # type: () -> dict[str, object]
    """Whether ``from PIL import Image`` works, and what was found by it."""
    found = {"file": None, "version": None, "error": None}  # type: dict[str, object]
    try:
        import PIL

        found["file"] = getattr(PIL, "__file__", None)
        found["version"] = getattr(PIL, "__version__", None)
        from PIL import Image

        assert Image
    except Exception as error:  # An import can raise anything at all.
        found["error"] = "{}: {}".format(type(error).__name__, error)
    return found


def extensions():
    # type: () -> dict[str, object]
    """For each compiled module that is there: nothing, or why it cannot be loaded."""
    import PIL

    said = {}  # type: dict[str, object]
    names = os.listdir(os.path.dirname(PIL.__file__))
    for extension in EXTENSIONS:
        if not any(name.startswith(extension + ".") for name in names):
            continue
        tell(loading=extension)  # A library that is cut short kills the process.
        try:
            importlib.import_module("PIL." + extension)
            said[extension] = None
        except Exception as error:
            said[extension] = "{}: {}".format(type(error).__name__, error)
    return said


def features():
    # type: () -> dict[str, object]
    """Name and version of each feature; False for one that is not there."""
    from PIL import features as asked

    said = {}  # type: dict[str, object]
    known = (getattr(asked, "modules", {}), getattr(asked, "codecs", {}), getattr(asked, "features", {}))
    for name in (name for group in known for name in group):
        if name == "tkinter":  # Loading Tk takes longer than all the rest.
            continue
        try:
            said[name] = asked.check(name) and (asked.version(name) or True)
        except Exception:
            said[name] = False
    return said


def mapped():
    # type: () -> list[str]
    """The shared libraries that this process has loaded."""
    with open("/proc/self/maps", errors="surrogateescape") as lines:
        paths = {line.split(None, 5)[5].rstrip("\n") for line in lines if line.count("/")}
    return sorted(path for path in paths if ".so" in os.path.basename(path))


class Kernels:
    """The kernel library beside PIL, as ``PIL/_simd.py`` describes it."""

    class Entry(ctypes.Structure):
        """One kernel of one function."""

        _fields_ = (
            ("function", ctypes.c_char_p),
            ("kernel", ctypes.c_char_p),
            ("level", ctypes.c_int),
            ("calls", ctypes.c_ulonglong),
        )

    def __init__(self, path):
        # type: (str) -> None
        self.library = ctypes.CDLL(path)
        self.library.pillow_simd_build.restype = ctypes.c_char_p
        self.library.pillow_simd_entries.argtypes = [ctypes.POINTER(ctypes.POINTER(self.Entry))]

    def level(self):
        # type: () -> int
        """The level in use."""
        return int(self.library.pillow_simd_level())

    def set_level(self, level):
        # type: (int) -> int
        """Ask for a level; the one that is in use then."""
        return int(self.library.pillow_simd_set_level(level))

    def called(self):
        # type: () -> list[list[object]]
        """Function, kernel, level and calls of whatever ran since the counters were zeroed."""
        first = ctypes.POINTER(self.Entry)()
        count = self.library.pillow_simd_entries(ctypes.byref(first))
        rows = [first[i] for i in range(count) if first[i].calls]
        return [[r.function.decode(), r.kernel.decode(), LEVELS[r.level], r.calls] for r in rows]


def kernels():
    # type: () -> Kernels | None
    """The kernel library of the PIL that is loaded, if it is one of ours."""
    import PIL

    path = os.path.join(os.path.dirname(PIL.__file__), "libpillow_simd.so")
    return Kernels(path) if os.path.exists(path) else None


def operations():
    # type: () -> dict[str, object]
    """Operations that every Pillow has, and whose time tells how they are done."""
    from PIL import Image, ImageFilter

    noise = os.urandom(SIZE[0] * SIZE[1] * 3)
    image = Image.frombytes("RGB", SIZE, noise)
    grey = Image.frombytes("L", SIZE, noise[: SIZE[0] * SIZE[1]])
    lanczos = getattr(Image, "LANCZOS", 1)
    small = (SIZE[0] // 4, SIZE[1] // 4)
    return {
        "resize RGB": lambda: image.resize(small, lanczos),
        "resize L": lambda: grey.resize(small, lanczos),
        "gaussian blur": lambda: image.filter(ImageFilter.GaussianBlur(4)),
        "5x5 filter": lambda: image.filter(ImageFilter.Kernel((5, 5), [1] * 25)),
    }


def cost(call):
    # type: (object) -> float
    """CPU milliseconds of one call."""
    start = time.process_time_ns()
    call()  # type: ignore[operator]
    return (time.process_time_ns() - start) / 1e6


def speed(library):
    # type: (Kernels | None) -> dict[str, object]
    """The best CPU milliseconds of each operation: with its kernels, and with stock's code.

    Both in this one process, in turns. Without a kernel library there is one time only.
    """
    wanted = operations()
    top = library.level() if library else 0
    levels = [top, 0] if library and top else [top]
    best = {name: [float("inf")] * len(levels) for name in wanted}
    try:
        for _ in range(ROUNDS):
            for index, level in enumerate(levels):
                if library:
                    library.set_level(level)
                for name, call in wanted.items():
                    best[name][index] = min(best[name][index], cost(call))
    finally:
        if library:
            library.set_level(top)
    return dict(best)


def torch():
    # type: () -> dict[str, object] | None
    """PyTorch's version and CUDA build, from its files: importing it takes seconds.

    The driver is asked what CUDA it is for; that starts nothing on the device.
    """
    spec = importlib.util.find_spec("torch")
    if spec is None or not spec.origin:
        return None
    try:
        with open(os.path.join(os.path.dirname(spec.origin), "version.py")) as file:
            text = file.read()
    except OSError:
        return None

    def value(name):
        # type: (str) -> str | None
        found = re.search(r"^{}\s*(?::[^=\n]*)?=\s*['\"]([^'\"]+)".format(name), text, re.MULTILINE)
        return found.group(1) if found else None

    driver = None
    try:
        number = ctypes.c_int()
        if ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(number)) == 0:
            driver = "{}.{}".format(number.value // 1000, number.value % 1000 // 10)
    except (OSError, AttributeError):
        driver = None
    return {"version": value("__version__"), "cuda": value("cuda"), "hip": value("hip"), "driver": driver}


def main():
    # type: () -> None
    """Print what was found, line by line."""
    warnings.simplefilter("ignore")
    if "torch" in sys.argv[1:]:
        tell(torch=torch())
    pil = imported()
    tell(pil=pil)
    if pil["error"] is None:
        tell(extensions=extensions())
        tell(features=features())
        tell(mapped=mapped())
        library = kernels()
        if library:
            build = library.library.pillow_simd_build()
            tell(kernels={"level": LEVELS[library.level()], "build": build.decode()})
        if "speed" in sys.argv[1:]:
            if library:
                library.library.pillow_simd_reset()
            tell(speed=speed(library), called=library.called() if library else [])
    tell(end=True)


if __name__ == "__main__":
    main()
