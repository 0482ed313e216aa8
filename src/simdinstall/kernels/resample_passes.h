/* The passes of Resample, by kind of pixel. */
#ifndef SIMDINSTALL_RESAMPLE_PASSES_H
#define SIMDINSTALL_RESAMPLE_PASSES_H

#include "dispatch.h"
#include "pillow.h"
#include "resample_taps.h"

/*
 * From `in` to `out`, which has the size and mode that the result shall have: a pass along
 * lines if there are taps for `across`, then one along columns if there are for `down`; at
 * least one of them. Gives the interpreter's lock away meanwhile. Returns 0, with nothing
 * done, if there is no memory.
 */
typedef int
resample_passes(Imaging out, Imaging in, const struct taps *across, const struct taps *down);

/* Pixels of 8-bit bands; taps in words. */
resample_passes SIMD_NAME(resample_bytes);

/* Pixels of one band of 16 or 32 bits; taps of kind TAPS_DOUBLES. */
resample_passes SIMD_NAME(resample_doubles);

#endif
