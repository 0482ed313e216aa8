/* Image.transpose with TRANSPOSE, TRANSVERSE, ROTATE_90 and ROTATE_270: rows to columns. */
#ifndef SIMDINSTALL_TRANSPOSE_H
#define SIMDINSTALL_TRANSPOSE_H

#include "dispatch.h"
#include "pillow.h"

SIMD_KERNEL(Imaging, transpose, (Imaging imOut, Imaging imIn))
SIMD_KERNEL(Imaging, transverse, (Imaging imOut, Imaging imIn))
SIMD_KERNEL(Imaging, rotate90, (Imaging imOut, Imaging imIn))
SIMD_KERNEL(Imaging, rotate270, (Imaging imOut, Imaging imIn))

/* Sides shorter than 16 bytes, and what stock refuses, are left to it. */
static inline int
transpose_fits(Imaging imOut, Imaging imIn) {
    return imOut && imIn && imOut != imIn && imIn->mode == imOut->mode &&
           imIn->xsize == imOut->ysize && imIn->ysize == imOut->xsize &&
           (imIn->pixelsize == 1 || imIn->pixelsize == 2 || imIn->pixelsize == 4) &&
           imIn->xsize * imIn->pixelsize >= 16 && imIn->ysize * imIn->pixelsize >= 16;
}

#endif
