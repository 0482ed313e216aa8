/*
 * One image over another, both with alpha.
 *
 * Stock weighs the upper pixel by w = floor(a * 255 * 255 * 128 / A) of 255 * 128, where a
 * is its alpha and A / 255 the alpha of the result, and divides the weighted sum, rounded,
 * by 255 * 128. Here four to sixteen pixels do so at once.
 */
#include "alpha_composite.h"

#include "lanes.h"

#define FULL (255 * 128)

/* The lower 16 bits of a 32-bit lane from a, the upper ones from b. */
LANES_INLINE vec
halves(vec a, vec b) {
#if LANES_LEVEL == SIMD_LEVEL_AVX512
    return _mm512_mask_blend_epi16(0xaaaaaaaa, a, b);
#else
    return LANES_OP(blend_epi16)(a, b, 0xaa);
#endif
}

/* Whether each 32-bit lane is `value`. */
LANES_INLINE int
all_are(vec a, uint32_t value) {
#if LANES_LEVEL == SIMD_LEVEL_AVX512
    return _mm512_cmpneq_epi32_mask(a, v_set32(value)) == 0;
#else
    return LANES_OP(movemask_epi8)(LANES_OP(cmpeq_epi32)(a, v_set32(value))) ==
           (int)(0xffffffff >> (32 - VEC_BYTES));
#endif
}

/*
 * floor(a * 255 * FULL / sum) for 65025 >= sum >= 255 a, in the lower 16 bits of a lane: 0 if
 * both are 0, because what the CPU makes of 0 / 0 ends in zeros.
 *
 * Numerator and denominator are exact in single precision: at most 24 significant bits.
 * The rounded quotient is below 2^15. It can be one too large where it was rounded up to
 * an integer, by at most 2^-10, and is never too small. So the remainder is from -64 to
 * 65024, and its lowest 16 bits tell whether it is negative. Those of the numerator are
 * a * 128, because 255 * FULL = 127 * 65536 + 128.
 */
LANES_INLINE vec
weight(vec alpha, vec sum) {
    vecf numerator = f_mul(f_from_int(alpha), f_set(255 * FULL));
    vec quotient = f_truncate(LANES_OP(div_ps)(numerator, f_from_int(sum)));
    vec remainder = v_sub16(v_shl32(alpha, 7), v_mullo16(quotient, sum));
    vec negative = v_shr32(v_add32(remainder, v_set32(64)), 16);

    return v_sub32(quotient, negative);
}

/* 256 times x / 255, rounded as stock does, for x to which half of the divisor was added. */
LANES_INLINE vec
by_255(vec x) {
    return v_add32(v_shr32(x, 8), x);
}

/* The weighted sum of one band of both images, which lie in a pair of 16-bit lanes. */
LANES_INLINE vec
mixed(vec pair, vec weights) {
    return by_255(v_madd16_add(v_set32(0x80 << 7), pair, weights));
}

/*
 * Each 32-bit lane is a pixel: its bands, from the lowest byte up, and last its alpha. Where
 * the upper image has alpha 0, the weight is 0, and dividing what was multiplied gives the
 * pixel below again.
 */
LANES_INLINE vec
composite(vec below, vec above) {
    const vec low_bytes = v_set32(0x00ff00ff);
    vec below_alpha = v_shr32(below, 24), alpha = v_shr32(above, 24);
    vec sum = v_add32(
        v_mullo16(alpha, v_set32(255)),
        v_mullo16(below_alpha, v_sub32(v_set32(255), alpha))
    );
    /* Where all pixels are opaque, as pages and photos are, sum is 255 * 255: no division. */
    vec w = all_are(sum, 255 * 255) ? v_shl32(alpha, 7) : weight(alpha, sum);
    /* The two weights of a pixel as a pair of 16-bit lanes, and so its first two bands ... */
    vec weights = halves(w, v_shl32(v_sub32(v_set32(FULL), w), 16));
    vec pairs = halves(above, v_shl32(below, 16));
    vec band0 = mixed(v_and(pairs, low_bytes), weights);
    vec band1 = mixed(v_shr16(pairs, 8), weights);
    /* ... and the third one. Each result is in the bits from 15 on. */
    vec band2 = mixed(v_and(halves(v_shr32(above, 16), below), low_bytes), weights);
    vec result_alpha = by_255(v_add32(sum, v_set32(0x80))); /* from 8 on */

    vec even = halves(v_shr32(band0, 15), v_shl32(band2, 1));
    vec odd = halves(v_shr32(band1, 15), v_shl32(result_alpha, 8));

    return v_or(even, v_shl16(odd, 8));
}

/* Vectors that are done before more memory is asked for: a cache line. */
#define VECTORS (VEC_BYTES < 64 ? 64 / VEC_BYTES : 1)

static void
composite_row(uint8_t *out, const uint8_t *below, const uint8_t *above, int pixels) {
    int x = 0, i;

    for (; x <= pixels - VECTORS * VEC_PIXELS; x += VECTORS * VEC_PIXELS) {
        size_t at = (size_t)x * 4;

        for (i = 0; i < VECTORS; i++, at += VEC_BYTES) {
            v_store(out + at, composite(v_load(below + at), v_load(above + at)));
        }
        fetch_to_read(below + x * 4, 64);
        fetch_to_read(above + x * 4, 64);
        fetch_to_write(out + x * 4, 64);
    }
    for (; x <= pixels - VEC_PIXELS; x += VEC_PIXELS) {
        v_store(out + x * 4, composite(v_load(below + x * 4), v_load(above + x * 4)));
    }
    if (x < pixels) {
        /* The last pixels go through a vector that may be read and written whole. */
        uint8_t rest[2][sizeof(vec)] = {{0}};
        size_t size = (size_t)(pixels - x) * 4;

        memcpy(rest[0], below + x * 4, size);
        memcpy(rest[1], above + x * 4, size);
        v_store(rest[0], composite(v_load(rest[0]), v_load(rest[1])));
        memcpy(out + x * 4, rest[0], size);
    }
}

Imaging
SIMD_NAME(alpha_composite)(Imaging imDst, Imaging imSrc) {
    Imaging imOut = ImagingNewDirty(imDst->mode, imDst->xsize, imDst->ysize);
    int y;

    if (!imOut) {
        return NULL;
    }
    for (y = 0; y < imOut->ysize; y++) {
        composite_row(
            (uint8_t *)imOut->image[y],
            (const uint8_t *)imDst->image[y],
            (const uint8_t *)imSrc->image[y],
            imOut->xsize
        );
    }
    return imOut;
}
