/* Image.paste of an image, or of a colour through a mask, with the bytes of stock. */
#ifndef SIMDINSTALL_PASTE_H
#define SIMDINSTALL_PASTE_H

#include "dispatch.h"
#include "pillow.h"

SIMD_KERNEL(
    int, paste, (Imaging imOut, Imaging imIn, Imaging imMask, int dx0, int dy0, int dx1, int dy1)
)
SIMD_KERNEL(
    int,
    fill_masked,
    (Imaging imOut, const void *ink, Imaging imMask, int dx0, int dy0, int dx1, int dy1)
)

/* Places beyond this are left to stock, whose sums differ from release to release. */
#define PASTE_FARTHEST (1 << 30)

/*
 * Whether the box is of the size of `im`, an image that is pasted or a mask. Arrow's arrays
 * may be the very memory that is written to: left to stock.
 */
static inline int
paste_box_fits(Imaging imOut, Imaging im, int dx0, int dy0, int dx1, int dy1) {
    return imOut && im && imOut != im && !im->arrow_array_capsule && dx0 > -PASTE_FARTHEST &&
           dy0 > -PASTE_FARTHEST && dx1 < PASTE_FARTHEST && dy1 < PASTE_FARTHEST &&
           dx0 <= dx1 && dy0 <= dy1 && dx1 - dx0 == im->xsize && dy1 - dy0 == im->ysize;
}

static inline int
paste_mask_fits(Imaging imOut, Imaging imMask, int dx0, int dy0, int dx1, int dy1) {
    return paste_box_fits(imOut, imMask, dx0, dy0, dx1, dy1) &&
           (imOut->pixelsize == 1 || imOut->pixelsize == 4);
}

static inline int
paste_fits(Imaging imOut, Imaging imIn, Imaging imMask, int dx0, int dy0, int dx1, int dy1) {
    if (!paste_box_fits(imOut, imIn, dx0, dy0, dx1, dy1) ||
        imIn->pixelsize != imOut->pixelsize) {
        return 0;
    }
    if (!imMask) {
        return 1;
    }
    return paste_mask_fits(imOut, imMask, dx0, dy0, dx1, dy1) &&
           (imMask->mode == IMAGING_MODE_1 || imMask->mode == IMAGING_MODE_L ||
            imMask->mode == IMAGING_MODE_LA || imMask->mode == IMAGING_MODE_RGBA);
}

static inline int
fill_masked_fits(
    Imaging imOut, const void *ink, Imaging imMask, int dx0, int dy0, int dx1, int dy1
) {
    return paste_mask_fits(imOut, imMask, dx0, dy0, dx1, dy1) && ink &&
           (imMask->mode == IMAGING_MODE_1 || imMask->mode == IMAGING_MODE_L ||
            imMask->mode == IMAGING_MODE_RGBA);
}

#endif
