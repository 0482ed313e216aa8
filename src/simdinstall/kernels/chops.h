/* ImageChops: two images, byte by byte, with the bytes of stock. */
#ifndef SIMDINSTALL_CHOPS_H
#define SIMDINSTALL_CHOPS_H

#include "dispatch.h"
#include "pillow.h"

SIMD_KERNEL(Imaging, chop_lighter, (Imaging imIn1, Imaging imIn2))
SIMD_KERNEL(Imaging, chop_darker, (Imaging imIn1, Imaging imIn2))
SIMD_KERNEL(Imaging, chop_difference, (Imaging imIn1, Imaging imIn2))
SIMD_KERNEL(Imaging, chop_multiply, (Imaging imIn1, Imaging imIn2))
SIMD_KERNEL(Imaging, chop_screen, (Imaging imIn1, Imaging imIn2))
SIMD_KERNEL(Imaging, chop_soft_light, (Imaging imIn1, Imaging imIn2))
SIMD_KERNEL(Imaging, chop_hard_light, (Imaging imIn1, Imaging imIn2))
SIMD_KERNEL(Imaging, chop_overlay, (Imaging imIn1, Imaging imIn2))
SIMD_KERNEL(Imaging, chop_add, (Imaging imIn1, Imaging imIn2, float scale, int offset))
SIMD_KERNEL(Imaging, chop_subtract, (Imaging imIn1, Imaging imIn2, float scale, int offset))

/* What stock refuses is left to it. */
static inline int
chops_fits(Imaging imIn1, Imaging imIn2) {
    return imIn1 && imIn2 && imIn1->type == IMAGING_TYPE_UINT8 &&
           imIn2->type == IMAGING_TYPE_UINT8 && imIn1->bands == imIn2->bands &&
           imIn1->pixelsize == imIn2->pixelsize && imIn1->xsize > 0 && imIn1->ysize > 0 &&
           imIn2->xsize > 0 && imIn2->ysize > 0;
}

static inline int
chops_scaled_fits(Imaging imIn1, Imaging imIn2, float scale, int offset) {
    (void)scale, (void)offset;
    return chops_fits(imIn1, imIn2);
}

#endif
