/* Reduce: the mean of cells of whole pixels, the same bytes as stock. */
#ifndef SIMDINSTALL_REDUCE_H
#define SIMDINSTALL_REDUCE_H

#include "dispatch.h"
#include "pillow.h"

/* Up to here, 256 times the number of pixels in a cell fits an int, in stock and here. */
#define REDUCE_PIXELS_MAX ((1 << 23) - 1)

/* `box` is left, top, width, height. */
static inline int
reduce_fits(Imaging im, int xscale, int yscale, int box[4]) {
    if (im->mode == IMAGING_MODE_P || im->mode == IMAGING_MODE_1) {
        return 0;
    }
    return im->type == IMAGING_TYPE_UINT8 && xscale >= 1 && yscale >= 1 &&
           (int64_t)xscale * yscale <= REDUCE_PIXELS_MAX && box[0] >= 0 && box[1] >= 0 &&
           box[2] >= 1 && box[3] >= 1 && box[2] <= im->xsize - box[0] &&
           box[3] <= im->ysize - box[1];
}

SIMD_KERNEL(Imaging, reduce, (Imaging im, int xscale, int yscale, int box[4]))

#endif
