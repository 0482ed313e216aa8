/*
 * Filters of bytes in whole numbers, where these provably give the bytes that stock's floats
 * give.
 *
 * Stock computes, for each byte, in floats and some order,
 *
 *     v = offset + 0.5 + sum of sample * k[i],
 *
 * cuts v to 0 .. 255 and truncates. Most kernels are fractions: k[i] is the float nearest to
 * n[i] / d. Then v is, but for rounding, (N + offset * d) / d + 1/2 with the whole number
 * N = sum of sample * n[i], and truncating it gives
 *
 *     floor((N + offset * d + floor(d / 2)) / d).
 *
 * - d is a power of two: every float involved is a multiple of 1 / 2d and below 2**23 of
 *   these, so there is no rounding at all.
 * - d is odd: v before rounding is at least 1 / 2d away from every whole number. Each of at
 *   most 25 products and 26 additions is off by at most 2**-24 of its result, and so is each
 *   k[i]; with A a bound of all partial sums that is less than 33 * A * 2**-24 in all. Rounding
 *   cannot carry v over a whole number if A * 2**-18 < 1 / 2d.
 *
 * - another d: the same, but for ties, in which v is a whole number before rounding, and
 *   rounding decides. About one sample in d is one. With a large d, as in SMOOTH_MORE with
 *   100, these samples are done once more in stock's floats; with a small one, as in DETAIL
 *   with 6, all are.
 */
#ifndef SIMDINSTALL_FILTER_WHOLE_H
#define SIMDINSTALL_FILTER_WHOLE_H

#include "dispatch.h"
#include "pillow.h"

#define WHOLE_PAIRS_MAX 13

/* One sample: how many rows below the result's, and how many pixels to the right of it. */
struct tap {
    int row, column;
};

/* The samples that a kernel wants, those with factor 0 left out, two and two. */
struct whole_kernel {
    int pairs;
    struct tap taps[WHOLE_PAIRS_MAX][2];
    uint32_t factors[WHOLE_PAIRS_MAX]; /* two signed bytes, the first tap's below, twice */
    int16_t bias;                      /* offset * d + floor(d / 2) */
    uint16_t multiplier;               /* x / d = (x * multiplier >> 16) >> shift, or if it is */
    int shift;                         /* 0, x >> shift; for 0 <= x < 2**15 */
    int16_t denominator;
    int ties; /* whether there can be any */
    int size; /* the kernel itself */
    const float *k;
    float offset;
};

/* Returns 0 if whole numbers will not do for this kernel. */
int
SIMD_NAME(filter_whole_plan)(struct whole_kernel *whole, int size, const float *k, float offset);

/*
 * All pixels but those at the edges, `reach` from them. Returns the first row that is not
 * done: the image may be too narrow for the vectors, or have too many ties.
 */
int
SIMD_NAME(filter_whole)(Imaging imOut, Imaging im, const struct whole_kernel *whole, int reach);

#endif
