/* Image.transpose with FLIP_LEFT_RIGHT, FLIP_TOP_BOTTOM and ROTATE_180. */
#ifndef SIMDINSTALL_FLIP_H
#define SIMDINSTALL_FLIP_H

#include "dispatch.h"
#include "pillow.h"

SIMD_KERNEL(Imaging, flip_left_right, (Imaging imOut, Imaging imIn))
SIMD_KERNEL(Imaging, flip_top_bottom, (Imaging imOut, Imaging imIn))
SIMD_KERNEL(Imaging, rotate180, (Imaging imOut, Imaging imIn))

/* What stock refuses is left to it. */
static inline int
flip_fits(Imaging imOut, Imaging imIn) {
    return imOut && imIn && imOut != imIn && imIn->mode == imOut->mode &&
           imIn->xsize == imOut->xsize && imIn->ysize == imOut->ysize &&
           imIn->xsize > 0 && imIn->ysize > 0 &&
           (imIn->pixelsize == 1 || imIn->pixelsize == 2 || imIn->pixelsize == 4);
}

#endif
