/* Exact box blur: the bytes of stock's ImagingBoxBlur. box_blur.c has the arithmetic. */
#ifndef SIMDINSTALL_BOX_BLUR_H
#define SIMDINSTALL_BOX_BLUR_H

#include "dispatch.h"
#include "pillow.h"

/* Radius without its fraction, and the weights that stock makes of it. */
struct box_weights {
    int radius;
    uint32_t ww, fw;
};

static inline struct box_weights
box_weights(float radius) {
    struct box_weights w;
    /* The same expressions, in the same types, as stock's. */
    w.radius = (int)radius;
    w.ww = (uint32_t)(1 << 24) / (radius * 2 + 1);
    w.fw = ((1 << 24) - (w.radius * 2 + 1) * w.ww) / 2;
    return w;
}

/*
 * The kernel wants weights that fit its 16-bit factors. Stock's do up to a radius of
 * about 2**22, where a float no longer holds 2 * radius + 1.
 */
static inline int
box_blur_radius_fits(float radius) {
    struct box_weights w;

    if (!(radius >= 0 && radius < 1 << 22)) {
        return 0;
    }
    w = box_weights(radius);
    return w.ww <= 1 << 24 && w.fw <= 1 << 23;
}

/* Whatever stock refuses or merely copies is left to it. */
static inline int
box_blur_fits(Imaging imOut, Imaging imIn, float xradius, float yradius, int n) {
    return n >= 1 && (xradius != 0 || yradius != 0) && box_blur_radius_fits(xradius) &&
           box_blur_radius_fits(yradius) && imIn->type == IMAGING_TYPE_UINT8 &&
           imOut->type == IMAGING_TYPE_UINT8 && imIn->mode == imOut->mode &&
           imIn->bands == imOut->bands && imIn->xsize == imOut->xsize &&
           imIn->ysize == imOut->ysize && imIn->xsize > 0 && imIn->ysize > 0 &&
           (imIn->mode == IMAGING_MODE_L || imIn->mode == IMAGING_MODE_LA ||
            imIn->mode == IMAGING_MODE_La || imIn->mode == IMAGING_MODE_RGB ||
            imIn->mode == IMAGING_MODE_RGBA || imIn->mode == IMAGING_MODE_RGBa ||
            imIn->mode == IMAGING_MODE_RGBX || imIn->mode == IMAGING_MODE_CMYK);
}

SIMD_KERNEL(
    Imaging, box_blur, (Imaging imOut, Imaging imIn, float xradius, float yradius, int n)
)

#endif
