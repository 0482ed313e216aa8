/*
 * Rows of four-byte pixels, a vector at a time.
 *
 * What does not fill a vector at the end of a row goes through one on the stack, so that
 * nothing is read or written beside the row and there is one body for all pixels.
 */
#ifndef SIMDINSTALL_PIXELS_H
#define SIMDINSTALL_PIXELS_H

#include <string.h>

#include "lanes.h"

#define ALPHA 0xff000000u /* the last byte of a pixel, as x86 loads it */

/* In each pixel of a vector take the bytes that a, b, c, d name; 128 stands for 0. */
#define P_SHUFFLE(pixels, a, b, c, d)                                                   \
    v_shuffle8(                                                                         \
        pixels,                                                                         \
        v_repeat128((const uint8_t[16]){                                                \
            (a), (b), (c), (d), (a) + 4, (b) + 4, (c) + 4, (d) + 4, (a) + 8, (b) + 8,   \
            (c) + 8, (d) + 8, (a) + 12, (b) + 12, (c) + 12, (d) + 12                    \
        })                                                                              \
    )

/* a where `test` has only zeros in a 32-bit lane, else b. */
LANES_INLINE vec
p_where_zero(vec test, vec a, vec b) {
#if LANES_LEVEL == SIMD_LEVEL_AVX512
    return _mm512_mask_blend_epi32(_mm512_cmpeq_epi32_mask(test, v_zero()), b, a);
#elif LANES_LEVEL == SIMD_LEVEL_AVX2
    return _mm256_blendv_epi8(b, a, _mm256_cmpeq_epi32(test, v_zero()));
#else
    return _mm_blendv_epi8(b, a, _mm_cmpeq_epi32(test, v_zero()));
#endif
}

/* In each 128-bit part, lane j everywhere. */
#define P_BROADCAST32(a, j) LANES_OP(shuffle_epi32)(a, (j) * 0x55)

LANES_INLINE vecf
f_div(vecf a, vecf b) {
    return LANES_OP(div_ps)(a, b);
}

typedef vec
pixel_step(vec);
typedef vec
pixel_step2(vec, vec);

LANES_INLINE void
p_row(uint8_t *out, const uint8_t *in, int pixels, pixel_step *step) {
    int x = 0;

    for (; x <= pixels - VEC_PIXELS; x += VEC_PIXELS) {
        v_store(out + x * 4, step(v_load(in + x * 4)));
    }
    if (x < pixels) {
        uint8_t rest[sizeof(vec)] = {0};
        memcpy(rest, in + x * 4, (pixels - x) * 4);
        v_store(rest, step(v_load(rest)));
        memcpy(out + x * 4, rest, (pixels - x) * 4);
    }
}

LANES_INLINE void
p_row2(
    uint8_t *out, const uint8_t *a, const uint8_t *b, int pixels, pixel_step2 *step
) {
    int x = 0;

    for (; x <= pixels - VEC_PIXELS; x += VEC_PIXELS) {
        v_store(out + x * 4, step(v_load(a + x * 4), v_load(b + x * 4)));
    }
    if (x < pixels) {
        uint8_t rest_a[sizeof(vec)] = {0}, rest_b[sizeof(vec)] = {0};
        memcpy(rest_a, a + x * 4, (pixels - x) * 4);
        memcpy(rest_b, b + x * 4, (pixels - x) * 4);
        v_store(rest_a, step(v_load(rest_a), v_load(rest_b)));
        memcpy(out + x * 4, rest_a, (pixels - x) * 4);
    }
}

/* From pixels to bytes; the step's result is the byte in a 32-bit lane. */
LANES_INLINE void
p_row_to_bytes(uint8_t *out, const uint8_t *in, int pixels, pixel_step *step) {
    int x = 0;

    for (; x <= pixels - VEC_BYTES; x += VEC_BYTES) {
        const uint8_t *p = in + x * 4;
        v_store(
            out + x,
            v_narrow_to_bytes(
                step(v_load(p)),
                step(v_load(p + VEC_BYTES)),
                step(v_load(p + 2 * VEC_BYTES)),
                step(v_load(p + 3 * VEC_BYTES))
            )
        );
    }
    for (; x < pixels; x += VEC_PIXELS) {
        uint8_t rest[sizeof(vec)] = {0};
        int count = pixels - x < VEC_PIXELS ? pixels - x : VEC_PIXELS;
        vec result;
        memcpy(rest, in + x * 4, count * 4);
        result = step(v_load(rest));
        v_store(rest, v_narrow_to_bytes(result, result, result, result));
        memcpy(out + x, rest, count);
    }
}

/* From bytes to pixels; the step gets the byte in a 32-bit lane. */
LANES_INLINE void
p_row_from_bytes(uint8_t *out, const uint8_t *in, int pixels, pixel_step *step) {
    int x = 0;

    for (; x <= pixels - VEC_PIXELS; x += VEC_PIXELS) {
        v_store(out + x * 4, step(v_load_bytes(in + x)));
    }
    if (x < pixels) {
        uint8_t rest[sizeof(vec)] = {0};
        memcpy(rest, in + x, pixels - x);
        v_store(rest, step(v_load_bytes(rest)));
        memcpy(out + x * 4, rest, (pixels - x) * 4);
    }
}

#endif
