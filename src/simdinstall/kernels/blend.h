/* Image.blend with the bytes of stock. */
#ifndef SIMDINSTALL_BLEND_H
#define SIMDINSTALL_BLEND_H

#include "dispatch.h"
#include "pillow.h"

SIMD_KERNEL(Imaging, blend, (Imaging imIn1, Imaging imIn2, float alpha))

/* What stock refuses, and what it answers with a copy, is left to it. */
static inline int
blend_fits(Imaging imIn1, Imaging imIn2, float alpha) {
    return imIn1 && imIn2 && imIn1 != imIn2 && imIn1->type == IMAGING_TYPE_UINT8 &&
           imIn2->type == IMAGING_TYPE_UINT8 && !imIn1->palette && !imIn2->palette &&
           imIn1->mode != IMAGING_MODE_1 && imIn2->mode != IMAGING_MODE_1 &&
           imIn1->bands == imIn2->bands && imIn1->pixelsize == imIn2->pixelsize &&
           imIn1->xsize == imIn2->xsize && imIn1->ysize == imIn2->ysize &&
           imIn1->xsize > 0 && imIn1->ysize > 0 && alpha != 0 && alpha != 1;
}

#endif
