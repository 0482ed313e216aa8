/* Filters of bytes in whole numbers: filter_whole.h says when they are stock's. */
#include "filter_whole.h"

#include <math.h>

#include "lanes.h"

/* ------------------------------------------------------------------ which kernels */

#define DENOMINATOR_MAX 63

#define VALUES_MAX 25

/* k[i] * d as whole numbers; 0 if they are none, or none that fit a signed byte. */
static int
numerators(int8_t n[VALUES_MAX], int count, const float *k, int d) {
    int i;

    for (i = 0; i < count; i++) {
        float scaled = k[i] * d;
        if (!(scaled > -127.5f && scaled < 127.5f)) {
            return 0;
        }
        n[i] = (int8_t)lrintf(scaled);
        if ((float)n[i] / (float)d != k[i]) {
            return 0;
        }
    }
    return 1;
}

/* Pairs of taps with a factor. 0 if the sum of a pair's products could exceed 16 bits. */
static int
pair_up(struct whole_kernel *whole, int size, const int8_t *n) {
    int i, used = 0;

    memset(whole, 0, sizeof(*whole));
    for (i = 0; i < size * size; i++) {
        struct tap tap = {size / 2 - i / size, i % size - size / 2};
        if (n[i] == 0) {
            continue;
        }
        whole->taps[used / 2][used % 2] = tap;
        if (used % 2 == 0) { /* also the second one's, with factor 0, if there is no other */
            whole->taps[used / 2][1] = tap;
        }
        whole->factors[used / 2] |= (uint16_t)((uint8_t)n[i] << used % 2 * 8);
        used++;
    }
    whole->pairs = (used + 1) / 2;
    for (i = 0; i < whole->pairs; i++) {
        int a = (int8_t)whole->factors[i], b = (int8_t)(whole->factors[i] >> 8);
        /* 255 * 128 fits; of unlike signs each fits by itself */
        if (a + b > 128 || a + b < -128) {
            return 0;
        }
    }
    return 1;
}

/* Whether sums, offset and division keep what filter_whole.h asks for. */
static int
in_range(struct whole_kernel *whole, const int8_t n[VALUES_MAX], float offset, int d) {
    const float scaled_offset = offset * d;
    int above = 0, below = 0, bias, i;

    if (!(scaled_offset > -32768 && scaled_offset < 32768) ||
        scaled_offset != rintf(scaled_offset) || scaled_offset / d != offset) {
        return 0;
    }
    for (i = 0; i < VALUES_MAX; i++) {
        above += n[i] > 0 ? n[i] * 255 : 0;
        below += n[i] < 0 ? n[i] * 255 : 0;
    }
    bias = (int)scaled_offset + d / 2;
    if (bias + above > INT16_MAX || bias + below < INT16_MIN || bias < INT16_MIN) {
        return 0;
    }
    whole->bias = (int16_t)bias;
    whole->shift = 31 - __builtin_clz((unsigned)d);
    if ((d & (d - 1)) == 0) {
        return 1;
    }
    /*
     * With e = multiplier * d - 2**(16 + shift), 0 < e <= d < 2**(shift + 1), the quotient
     * is right for all x with x * e < 2**(16 + shift), so for x < 2**15.
     */
    whole->multiplier = (uint16_t)((1u << (16 + whole->shift)) / (unsigned)d + 1);
    return ((float)(above - below) / d + fabsf(offset) + 1) * (2 * d) < 1 << 18;
}

int
SIMD_NAME(filter_whole_plan)(struct whole_kernel *whole, int size, const float *k, float offset) {
    int8_t n[VALUES_MAX] = {0};
    int d;

    for (d = 1; d <= DENOMINATOR_MAX; d++) {
        if ((d % 2 == 1 || (d & (d - 1)) == 0) && numerators(n, size * size, k, d)) {
            return pair_up(whole, size, n) && in_range(whole, n, offset, d);
        }
    }
    return 0;
}

/* ------------------------------------------------------------------ the rows */

/* Vectors of the result made at a time. */
#define TOGETHER 2

/* Bytes of a result's row that are in use; the others become 0, as in stock. */
static vec
used_bytes(Imaging im) {
    uint32_t used = im->pixelsize == 4 && im->bands == 3   ? 0x00ffffff
                    : im->pixelsize == 4 && im->bands == 2 ? 0xff0000ff
                                                           : 0xffffffff;
    return v_set32(used);
}

LANES_INLINE vec
divide(vec x, vec multiplier, __m128i shift, int by_multiplier) {
    x = LANES_OP(max_epi16)(x, v_zero());
    if (by_multiplier) {
        x = v_mulhiu16(x, multiplier);
    }
    return LANES_OP(srl_epi16)(x, shift);
}

LANES_INLINE void
filter_at(
    char *out, ptrdiff_t at, const char *const (*taps)[2], const struct whole_kernel *whole,
    vec used, int by_multiplier
) {
    const vec multiplier = v_set16((short)whole->multiplier);
    const __m128i shift = _mm_cvtsi32_si128(whole->shift);
    vec sums[TOGETHER][2];
    int i, j;

    for (j = 0; j < TOGETHER; j++) {
        sums[j][0] = sums[j][1] = v_set16(whole->bias);
    }
    for (i = 0; i < whole->pairs; i++) {
        const vec factors = v_set16((short)whole->factors[i]);
        for (j = 0; j < TOGETHER; j++) {
            vec a = v_load(taps[i][0] + at + j * VEC_BYTES);
            vec b = v_load(taps[i][1] + at + j * VEC_BYTES);
            sums[j][0] = v_add16(sums[j][0], v_maddu8(v_low8(a, b), factors));
            sums[j][1] = v_add16(sums[j][1], v_maddu8(v_high8(a, b), factors));
        }
    }
    for (j = 0; j < TOGETHER; j++) {
        vec low = divide(sums[j][0], multiplier, shift, by_multiplier);
        vec high = divide(sums[j][1], multiplier, shift, by_multiplier);
        v_store(out + at + j * VEC_BYTES, v_and(v_pack16(low, high), used));
    }
}

/* The last vectors end with the row and so may do some bytes a second time. */
LANES_INLINE void
filter_row(
    char *out, ptrdiff_t begin, ptrdiff_t end, const char *const (*taps)[2],
    const struct whole_kernel *whole, vec used, int by_multiplier
) {
    const ptrdiff_t step = TOGETHER * VEC_BYTES;
    ptrdiff_t at;

    for (at = begin; at < end; at += step) {
        filter_at(out, at < end - step ? at : end - step, taps, whole, used, by_multiplier);
    }
}

int
SIMD_NAME(filter_whole)(Imaging imOut, Imaging im, const struct whole_kernel *whole, int reach) {
    const ptrdiff_t begin = (ptrdiff_t)reach * im->pixelsize, end = im->linesize - begin;
    const char *taps[WHOLE_PAIRS_MAX][2];
    const vec used = used_bytes(im);
    int y, i, j;

    if (end - begin < TOGETHER * VEC_BYTES) {
        return 0;
    }
    for (y = reach; y < im->ysize - reach; y++) {
        for (i = 0; i < whole->pairs; i++) {
            for (j = 0; j < 2; j++) {
                const struct tap *tap = &whole->taps[i][j];
                taps[i][j] = im->image[y + tap->row] + (ptrdiff_t)tap->column * im->pixelsize;
            }
        }
        if (whole->multiplier) {
            filter_row(imOut->image[y], begin, end, taps, whole, used, 1);
        } else {
            filter_row(imOut->image[y], begin, end, taps, whole, used, 0);
        }
    }
    return 1;
}
