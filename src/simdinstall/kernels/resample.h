/* Resample: resize with a filter, the same bytes as stock. */
#ifndef SIMDINSTALL_RESAMPLE_H
#define SIMDINSTALL_RESAMPLE_H

#include "dispatch.h"
#include "pillow.h"

/* The highest filter that this release of Pillow knows. */
#if PILLOW_RELEASE_NUMBER >= 130000
#define RESAMPLE_FILTER_LAST IMAGING_TRANSFORM_MKS2021
#else
#define RESAMPLE_FILTER_LAST IMAGING_TRANSFORM_HAMMING
#endif

/*
 * Can the kernel serve this call? It can unless stock would raise an exception, or the
 * box is not a plain one: every comparison with NaN is false.
 */
static inline int
resample_fits(Imaging im, int xsize, int ysize, int filter, float box[4]) {
    if (im->mode == IMAGING_MODE_P || im->mode == IMAGING_MODE_1) {
        return 0;
    }
    /* Stock reads I;16N as if it were big-endian; nobody has such images. */
    if (im->type == IMAGING_TYPE_I16 && im->mode != IMAGING_MODE_I_16 &&
        im->mode != IMAGING_MODE_I_16L && im->mode != IMAGING_MODE_I_16B) {
        return 0;
    }
    return filter > IMAGING_TRANSFORM_NEAREST && filter <= RESAMPLE_FILTER_LAST &&
           im->xsize > 0 && im->ysize > 0 && xsize > 0 && ysize > 0 && box[0] >= 0 &&
           box[0] <= box[2] && box[2] <= im->xsize && box[1] >= 0 && box[1] <= box[3] &&
           box[3] <= im->ysize;
}

SIMD_KERNEL(
    Imaging, resample, (Imaging im, int xsize, int ysize, int filter, float box[4])
)

#endif
