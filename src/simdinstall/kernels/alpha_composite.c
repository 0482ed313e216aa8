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
#define ALPHA 0xff000000u /* the last byte of a pixel, as x86 loads it */

/* In each 128-bit part, 32-bit lane j everywhere. */
#define BROADCAST32(a, j) LANES_OP(shuffle_epi32)(a, (j) * 0x55)

/* a where `test` has only zeros in a 32-bit lane, else b. */
LANES_INLINE vec
where_zero(vec test, vec a, vec b) {
#if LANES_LEVEL == SIMD_LEVEL_AVX512
    return _mm512_mask_blend_epi32(_mm512_cmpeq_epi32_mask(test, v_zero()), b, a);
#elif LANES_LEVEL == SIMD_LEVEL_AVX2
    return _mm256_blendv_epi8(b, a, _mm256_cmpeq_epi32(test, v_zero()));
#else
    return _mm_blendv_epi8(b, a, _mm_cmpeq_epi32(test, v_zero()));
#endif
}

/*
 * floor(a * 255 * FULL / sum) for lanes with a > 0, hence 65025 >= sum >= 255 a > 0.
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

/* x / 255 / 2**more_bits of 32-bit lanes to which half of the divisor was added. */
LANES_INLINE vec
divided_by_255(vec x, int more_bits) {
    return v_shr32(v_add32(v_shr32(x, 8), x), 8 + more_bits);
}

/* The weighted sum of four bands of one pixel in each 128-bit part. */
LANES_INLINE vec
mixed(vec bytes, vec weights) {
    vec sum = v_madd16_add(v_set32(0x80 << 7), bytes, weights);

    return divided_by_255(sum, 7);
}

LANES_INLINE vec
composite(vec below, vec above) {
    vec zero = v_zero();
    vec below_alpha = v_shr32(below, 24), alpha = v_shr32(above, 24);
    vec sum = v_add32(
        v_mullo16(alpha, v_set32(255)),
        v_mullo16(below_alpha, v_sub32(v_set32(255), alpha))
    );
    vec w = weight(alpha, sum);
    /* The two weights of a pixel as a pair of 16-bit lanes. */
    vec weights = v_or(w, v_shl32(v_sub32(v_set32(FULL), w), 16));
    /* Bytes of both images side by side, two pixels in each half of a part. */
    vec first = v_low8(above, below), second = v_high8(above, below);
    vec result = v_pack16(
        v_pack32(
            mixed(v_low8(first, zero), BROADCAST32(weights, 0)),
            mixed(v_high8(first, zero), BROADCAST32(weights, 1))
        ),
        v_pack32(
            mixed(v_low8(second, zero), BROADCAST32(weights, 2)),
            mixed(v_high8(second, zero), BROADCAST32(weights, 3))
        )
    );
    vec result_alpha = v_shl32(divided_by_255(v_add32(sum, v_set32(0x80)), 0), 24);

    result = v_or(v_andnot(v_set32(ALPHA), result), result_alpha);
    return where_zero(alpha, below, result);
}

static void
composite_row(uint8_t *out, const uint8_t *below, const uint8_t *above, int pixels) {
    int x = 0;

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
