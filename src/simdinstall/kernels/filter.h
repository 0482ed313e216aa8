/* Exact 3x3 and 5x5 filters: the bytes of stock's ImagingFilter. */
#ifndef SIMDINSTALL_FILTER_H
#define SIMDINSTALL_FILTER_H

#include "dispatch.h"
#include "pillow.h"

/* Before 13.0, 16-bit pixels were filtered by a formula of their own: stock does it. */
static inline int
filter_type_fits(Imaging im) {
    return im->type == IMAGING_TYPE_UINT8 ||
           (im->type == IMAGING_TYPE_INT32 && im->bands == 1) ||
           (im->type == IMAGING_TYPE_I16 && PILLOW_RELEASE_NUMBER >= 130000);
}

/* Any kernel and offset will do. A smaller image than the kernel is merely copied. */
static inline int
filter_fits(Imaging im, int xsize, int ysize, const float *kernel, float offset) {
    (void)kernel;
    (void)offset;
    return (xsize == 3 || xsize == 5) && xsize == ysize && im->xsize >= xsize &&
           im->ysize >= ysize && filter_type_fits(im) && im->bands >= 1 && im->bands <= 4;
}

SIMD_KERNEL(
    Imaging, filter, (Imaging im, int xsize, int ysize, const float *kernel, float offset)
)

#endif
