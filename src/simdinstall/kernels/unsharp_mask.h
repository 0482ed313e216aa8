/* Exact unsharp mask: the bytes of stock's ImagingUnsharpMask. */
#ifndef SIMDINSTALL_UNSHARP_MASK_H
#define SIMDINSTALL_UNSHARP_MASK_H

#include "dispatch.h"
#include "pillow.h"

/*
 * The blur checks images and radius. Any threshold will do; stock's product of a
 * difference and the percentage has to fit an int.
 */
static inline int
unsharp_mask_fits(Imaging imOut, Imaging imIn, float radius, int percent, int threshold) {
    (void)imOut;
    (void)imIn;
    (void)radius;
    (void)threshold;
    return percent >= -INT_MAX / 255 && percent <= INT_MAX / 255;
}

SIMD_KERNEL(
    Imaging,
    unsharp_mask,
    (Imaging imOut, Imaging imIn, float radius, int percent, int threshold)
)

#endif
