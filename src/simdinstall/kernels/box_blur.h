/* Exact box blur: the bytes of stock's ImagingBoxBlur. box_blur.c has the arithmetic. */
#ifndef SIMDINSTALL_BOX_BLUR_H
#define SIMDINSTALL_BOX_BLUR_H

#include "dispatch.h"
#include "pillow.h"

/* Strips of lines longer than this would take more memory than stock does. */
#define BOX_BLUR_LONGEST (1 << 18)

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

SIMD_KERNEL(
    Imaging, box_blur, (Imaging imOut, Imaging imIn, float xradius, float yradius, int n)
)

#endif
