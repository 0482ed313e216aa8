/* Image.alpha_composite with the bytes of stock. */
#ifndef SIMDINSTALL_ALPHA_COMPOSITE_H
#define SIMDINSTALL_ALPHA_COMPOSITE_H

#include "dispatch.h"
#include "pillow.h"

SIMD_KERNEL(Imaging, alpha_composite, (Imaging imDst, Imaging imSrc))

/* What stock refuses is left to it. */
static inline int
alpha_composite_fits(Imaging imDst, Imaging imSrc) {
    return imDst && imSrc && imDst->mode == imSrc->mode &&
           (imDst->mode == IMAGING_MODE_RGBA || imDst->mode == IMAGING_MODE_LA) &&
           imDst->xsize == imSrc->xsize && imDst->ysize == imSrc->ysize &&
           imDst->xsize > 0 && imDst->ysize > 0;
}

#endif
