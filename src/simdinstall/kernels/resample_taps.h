/*
 * The filter taps of a resampling along one axis, as the kernels read them.
 *
 * For bands of 16 and 32 bits they are stock's own doubles: output i is the sum of `count`
 * positions from `start` on, each times its weight.
 *
 * For 8-bit bands they are recoded. Source positions are taken in groups of four. Group g begins at position 4g; with 2 or
 * 4 `phases` there are also groups that begin in between, counted in the same row. Every
 * output looks at the same number of groups, `groups`: those that begin at `start`,
 * `start` + `phases` and so on; positions in there that it does not use have
 * coefficient 0. Of these groups only `count`, after the first `lead`, hold a used
 * position (one, if there is no used position at all). More phases mean fewer groups for small windows: the six positions of
 * Lanczos are in two groups, if one begins at every second position, else in up to three.
 *
 * Stock's coefficients k have 22 bits after the point; k fits into 24 bits with its
 * sign. A group's four coefficients are stored as three 32-bit words whose form the
 * instruction set decides; resample_bytes.c has the arithmetic.
 *
 *   AVX-512 VNNI  k = d2 * 2**16 + d1 * 2**8 + d0, all signed bytes. Word i: the four di.
 *   else          k = high * 2**16 + low, a signed byte and a signed 16-bit number.
 *                 Word 0: the four high; word 1: low of positions 0 and 2; word 2: low
 *                 of positions 1 and 3.
 */
#ifndef SIMDINSTALL_RESAMPLE_TAPS_H
#define SIMDINSTALL_RESAMPLE_TAPS_H

#include <stdatomic.h>
#include <stdint.h>

#include "dispatch.h"

enum taps_kind {
    TAPS_ACROSS, /* as many phases as are useful */
    TAPS_DOWN,   /* one phase */
    TAPS_DOUBLES,
};

/* Sample [from, to) of a line of `in` pixels at `out` places. */
struct axis {
    int in;
    float from;
    float to;
    int out;
    int filter;
    enum taps_kind kind;
};

struct window {
    int32_t start;
    int32_t lead;
    int32_t count;
};

#define TAPS_WORDS 3 /* per group */

struct taps {
    struct axis axis;
    int phases;             /* 1, 2 or 4 */
    int groups;             /* per output; with doubles, the most weights of any output */
    struct window *windows; /* one per output, `start` never falls */
    uint32_t *words;        /* [output][group][TAPS_WORDS] */
    double *weights;        /* [output][groups] */
    atomic_int references;
    unsigned int last_use;
};

/*
 * The taps of an axis, from the cache if it has them. NULL if there is no memory, or if
 * the numbers are outside what the kernels are proven for; then stock must do the work.
 */
const struct taps *
SIMD_NAME(taps_get)(const struct axis *axis);

void
SIMD_NAME(taps_release)(const struct taps *taps);

/* All groups that outputs 0 to `output` look at begin before 4 * the returned number. */
static inline int
taps_end_group(const struct taps *taps, int output) {
    return (taps->windows[output].start + taps->phases - 1) / taps->phases + taps->groups;
}

#endif
