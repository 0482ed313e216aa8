"""Extensions of a few functions, compiled for real, with the debug information of Pillow's."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

#: A libImaging in one file: its struct, its modes, its callbacks, and calls among its functions.
SOURCE = r"""
#include <stdint.h>
#include <stdlib.h>

typedef struct ImagingMemoryInstance *Imaging;
typedef struct ImagingPaletteInstance *ImagingPalette;
typedef void *ImagingSectionCookie;
typedef void (*ImagingShuffler)(uint8_t *out, const uint8_t *in, int pixels);
typedef enum { IMAGING_MODE_UNKNOWN, IMAGING_MODE_L = 6, IMAGING_MODE_RGB = 12 } ModeID;
typedef struct { char *ptr; int size; } ImagingMemoryBlock;
typedef struct { unsigned char locked; } Lock;
#ifndef MODE
#define MODE ModeID
#endif
#ifndef MODE_SIZE
#define MODE_SIZE
#endif
#ifndef MORE
#define MORE
#endif

struct ImagingPaletteInstance { ModeID mode; uint8_t palette[1024]; };
struct ImagingMemoryInstance {
    MODE mode MODE_SIZE;
    int type, bands, xsize, ysize;
    MORE
    ImagingPalette palette;
    uint8_t **image8;
    int32_t **image32;
    char **image;
    ImagingMemoryBlock *blocks;
    int pixelsize, linesize;
    void (*destroy)(Imaging im);
    char band_names[4][3];
    Lock mutex;
};

Imaging ImagingCopy(Imaging im) { return im; }
void ImagingDelete(Imaging im) { free(im); }
void ImagingSectionEnter(ImagingSectionCookie *cookie) { *cookie = cookie; }
__attribute__((noinline)) Imaging ImagingNegative(Imaging im) { im->xsize++; return im; }
int ImagingFill(Imaging im, const void *colour, const int16_t *table) { return im && colour && table; }
ImagingShuffler ImagingFind(ModeID mode, uint32_t *bits, ...) { return mode && bits ? NULL : NULL; }
Imaging ImagingApply(const Imaging im, int (*map)(double *, int), double const x, void *const data[2]) {
    return map && data && x > 0 ? ImagingNegative(ImagingCopy(im)) : NULL;
}
void *PyInit__imaging(void) { return (void *)ImagingApply; }
"""


def compile_extension(
    folder: Path,
    *,
    name: str = "_imaging.cpython-311-x86_64-linux-gnu.so",
    flags: Sequence[str] = (),
    link: Sequence[str] = (),
    source: str = SOURCE,
    debug: str = "-g",
) -> Path:
    """Compile an extension; ``flags`` may define MODE, MODE_SIZE and MORE."""
    below = folder / "src" / "libImaging"
    below.mkdir(parents=True, exist_ok=True)
    (below / "Small.c").write_text(source)
    target = folder / name
    command = ["gcc", "-O1", debug, "-fPIC", "-shared", *flags, "src/libImaging/Small.c", *link, "-o", target]
    subprocess.run(command, cwd=folder, check=True)
    return target
