/*
 * Unsharp mask, the bytes of stock's ImagingUnsharpMask.
 *
 * Stock blurs the image, and where a byte differs from the blurred one by more than the
 * threshold, moves it away from that by the percentage of the difference, truncated:
 *
 *     byte + (byte - blurred) * percent / 100     cut to 0 .. 255
 *
 * Truncation is towards zero, so what is added depends on the absolute difference a
 * alone, and its sign is that of the difference times that of the percentage p. With
 * p = 100 * i + f the amount is
 *
 *     a * i + (a * f * 2**16 / 100 rounded up >> 16)      a <= 255, f < 100
 *
 * exactly: rounding up a factor by less than 1 adds less than 255 to the product, and
 * the next integer of a * f / 100 is at least 2**16 / 100 = 655 away. Above 255 percent
 * makes no difference any more, so p is cut at 25500, and a * i + 254 fits 16 bits.
 */
#include "unsharp_mask.h"

#include "lanes.h"

#define PERCENT_MAX 25500

struct sharpening {
    vec threshold; /* bytes */
    vec whole;     /* 16 bits: i */
    vec fraction;  /* 16 bits: f * 2**16 / 100, rounded up */
    int negative;  /* the percentage is */
};

static struct sharpening
prepare(int percent, int threshold) {
    struct sharpening s;
    int amount = percent < 0 ? -percent : percent;
    /* A threshold below 0 excludes nothing, but no difference adds nothing. */
    int limit = threshold < 0 ? 0 : threshold < 255 ? threshold : 255;

    if (amount > PERCENT_MAX) {
        amount = PERCENT_MAX;
    }
    s.threshold = v_set32((uint32_t)limit * 0x01010101u);
    s.whole = v_set16(amount / 100);
    s.fraction = v_set16((amount % 100 * 65536 + 99) / 100);
    s.negative = percent < 0;
    return s;
}

/* All bits of the bytes that are 0. */
LANES_INLINE vec
zero_bytes(vec a) {
#if LANES_LEVEL == SIMD_LEVEL_AVX512
    return _mm512_movm_epi8(_mm512_testn_epi8_mask(a, a));
#else
    return LANES_OP(cmpeq_epi8)(a, v_zero());
#endif
}

/* The percentage of 16-bit differences, at most 255. */
LANES_INLINE vec
amount(vec differences, const struct sharpening *s) {
    vec whole = v_mullo16(differences, s->whole);
    vec part = v_mulhiu16(differences, s->fraction);
    return LANES_OP(min_epu16)(v_add16(whole, part), v_set16(255));
}

LANES_INLINE vec
sharpen(vec bytes, vec blurred, const struct sharpening *s) {
    /* One of these is 0 in each byte. */
    vec above = LANES_OP(subs_epu8)(bytes, blurred);
    vec below = LANES_OP(subs_epu8)(blurred, bytes);
    vec difference = v_or(above, below), small, amounts, falls;

    small = zero_bytes(LANES_OP(subs_epu8)(difference, s->threshold));
    difference = v_andnot(small, difference);
    amounts = v_pack16(
        amount(v_low8(difference, v_zero()), s), amount(v_high8(difference, v_zero()), s)
    );
    falls = zero_bytes(s->negative ? below : above);
    bytes = LANES_OP(adds_epu8)(bytes, v_andnot(falls, amounts));
    return LANES_OP(subs_epu8)(bytes, v_and(falls, amounts));
}

static void
sharpen_row(char *out, const char *in, int count, const struct sharpening *s) {
    for (; count >= VEC_BYTES; count -= VEC_BYTES, in += VEC_BYTES, out += VEC_BYTES) {
        v_store(out, sharpen(v_load(in), v_load(out), s));
    }
    if (count > 0) {
        char last[VEC_BYTES] = {0}, blurred[VEC_BYTES] = {0};

        memcpy(last, in, count);
        memcpy(blurred, out, count);
        v_store(last, sharpen(v_load(last), v_load(blurred), s));
        memcpy(out, last, count);
    }
}

Imaging
SIMD_NAME(unsharp_mask)(Imaging imOut, Imaging imIn, float radius, int percent, int threshold) {
    ImagingSectionCookie cookie;
    struct sharpening s;
    int y;

    if (!ImagingGaussianBlur(imOut, imIn, radius, radius, 3)) {
        return NULL;
    }
    ImagingSectionEnter(&cookie);
    s = prepare(percent, threshold);
    for (y = 0; y < imIn->ysize; y++) {
        sharpen_row(imOut->image[y], imIn->image[y], imIn->linesize, &s);
    }
    ImagingSectionLeave(&cookie);
    return imOut;
}
