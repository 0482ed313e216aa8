/*
 * Pillow-SIMD's kernels as the fronts see them.
 *
 * Each guard says yes only to calls that the kernel was proven for. Whatever is
 * invalid, rare or not faster goes to stock, which knows the right error.
 */
#ifndef SIMDINSTALL_PILLOW_SIMD_H
#define SIMDINSTALL_PILLOW_SIMD_H

#include "dispatch.h"
#include "pillow.h"

/* ImagingResample: bounded, 16-bit coefficients instead of stock's 22. */
SIMD_KERNEL(
    Imaging,
    pillow_simd_resample,
    (Imaging imIn, int xsize, int ysize, int filter, float box[4])
)
int
pillow_simd_resample_fits(
    Imaging imIn, int xsize, int ysize, int filter, float box[4]
);

#endif
