/*
 * Two images, byte by byte. Whatever a byte means, as in stock: those that no band uses are
 * worked out too.
 *
 * All divisions are of whole numbers and cut off. By 255 and by 127 they are a multiplication
 * and a shift: with m = ceil(2^k / d) and e = m * d - 2^k, floor(x * m / 2^k) is floor(x / d)
 * while x * e < 2^k. The tests go through every pair of bytes.
 */
#include "chops.h"

#include "lanes.h"

#include "byte_rows.h"

/* Of 16-bit lanes. k = 23, e = 127: right for all of them, 65535 * 127 < 2^23. */
LANES_INLINE vec
divided_by_255(vec x) {
    return v_shr16(v_mulhiu16(x, v_set16(0x8081)), 7);
}

/* k = 22, e = 125: right up to 33554, and a byte times one below 128 is at most 32385. */
LANES_INLINE vec
divided_by_127(vec x) {
    return v_shr16(v_mulhiu16(x, v_set16(33027)), 6);
}

LANES_INLINE vec
not_byte(vec a) {
    return v_xor(a, v_set16(255));
}

LANES_INLINE vec
multiply_words(vec a, vec b) {
    return divided_by_255(v_mullo16(a, b));
}

LANES_INLINE vec
screen_words(vec a, vec b) {
    return not_byte(multiply_words(not_byte(a), not_byte(b)));
}

/* (255 - a) * a * b / 65536 + a * screen / 255, which is 255 at most. */
LANES_INLINE vec
soft_light_words(vec a, vec b) {
    return v_add16(
        v_mulhiu16(not_byte(a), v_mullo16(a, b)), multiply_words(a, screen_words(a, b))
    );
}

/* a * b / 127 where b < 128, else the same of the complements, complemented. */
LANES_INLINE vec
hard_light_words(vec a, vec b) {
    vec complement = v_and(v_sar16(v_shl16(b, 8), 15), v_set16(255));
    vec product = v_mullo16(v_xor(a, complement), v_xor(b, complement));

    return v_xor(divided_by_127(product), complement);
}

LANES_INLINE vec
overlay_words(vec a, vec b) {
    return hard_light_words(b, a);
}

/*
 * As stock: the sum is divided and added to in floats, cut off, then clipped. A value that no
 * 32-bit integer holds becomes the least one when cut off, and 0 when clipped.
 */
LANES_INLINE vec
scaled(vec sum, const struct terms *t) {
    vecf quotient = LANES_OP(div_ps)(f_from_int(sum), f_set(t->factor));

    return LANES_OP(min_epi32)(f_truncate(f_add(quotient, f_set(t->addend))), v_set32(255));
}

LANES_INLINE vec
add_floats(vec a, vec b, const struct terms *t) {
    return scaled(v_add32(a, b), t);
}

LANES_INLINE vec
subtract_floats(vec a, vec b, const struct terms *t) {
    return scaled(v_sub32(a, b), t);
}

/* The operations on whole vectors of bytes. */

#define BYTES(name, expression)                                   \
    LANES_INLINE vec name##_bytes(vec a, vec b, const struct terms *t) { \
        (void)t;                                                  \
        return expression;                                        \
    }

BYTES(lighter, LANES_OP(max_epu8)(a, b))
BYTES(darker, LANES_OP(min_epu8)(a, b))
BYTES(difference, v_or(LANES_OP(subs_epu8)(a, b), LANES_OP(subs_epu8)(b, a)))
BYTES(plain_add, LANES_OP(adds_epu8)(a, b))
BYTES(plain_subtract, LANES_OP(subs_epu8)(a, b))
BYTES(multiply, by_words(a, b, multiply_words))
BYTES(screen, by_words(a, b, screen_words))
BYTES(soft_light, by_words(a, b, soft_light_words))
BYTES(hard_light, by_words(a, b, hard_light_words))
BYTES(overlay, by_words(a, b, overlay_words))
BYTES(add, by_floats(a, b, t, add_floats))
BYTES(subtract, by_floats(a, b, t, subtract_floats))

/* As large as both images. */
static Imaging
new_for(Imaging im1, Imaging im2) {
    return ImagingNewDirty(
        im1->mode, im1->xsize < im2->xsize ? im1->xsize : im2->xsize,
        im1->ysize < im2->ysize ? im1->ysize : im2->ysize
    );
}

#define CHOP(name)                                                    \
    Imaging SIMD_NAME(chop_##name)(Imaging imIn1, Imaging imIn2) {    \
        Imaging imOut = new_for(imIn1, imIn2);                        \
                                                                      \
        if (imOut) {                                                  \
            each_row(imOut, imIn1, imIn2, NULL, name##_bytes);        \
        }                                                             \
        return imOut;                                                 \
    }

/* With the usual scale and offset it is all whole numbers, and clipping is saturation. */
#define SCALED_CHOP(name)                                                                  \
    Imaging SIMD_NAME(chop_##name)(Imaging imIn1, Imaging imIn2, float scale, int offset) { \
        struct terms t = {scale, (float)offset};                                           \
        Imaging imOut = new_for(imIn1, imIn2);                                             \
                                                                                           \
        if (imOut && scale == 1 && offset == 0) {                                          \
            each_row(imOut, imIn1, imIn2, &t, plain_##name##_bytes);                       \
        } else if (imOut) {                                                                \
            each_row(imOut, imIn1, imIn2, &t, name##_bytes);                               \
        }                                                                                  \
        return imOut;                                                                      \
    }

CHOP(lighter)
CHOP(darker)
CHOP(difference)
CHOP(multiply)
CHOP(screen)
CHOP(soft_light)
CHOP(hard_light)
CHOP(overlay)
SCALED_CHOP(add)
SCALED_CHOP(subtract)
