/* a + alpha * (b - a) in single precision, clipped, cut off: stock's order, lane by lane. */
#include "blend.h"

#include "lanes.h"

#include "byte_rows.h"

LANES_INLINE vecf
mixed(vec a, vec b, const struct terms *t) {
    vecf change = f_mul(f_set(t->factor), f_from_int(v_sub32(b, a)));

    return f_add(f_from_int(a), change);
}

/* With an alpha from 0 to 1 it lies between the two: rounding does not leave 0 to 255. */
LANES_INLINE vec
between_floats(vec a, vec b, const struct terms *t) {
    return f_truncate(mixed(a, b, t));
}

/*
 * With any other it is clipped. What is not a number goes through, is cut off to the least
 * integer and becomes 0, as in stock.
 */
LANES_INLINE vec
beyond_floats(vec a, vec b, const struct terms *t) {
    return f_truncate(f_max(f_set(0), f_min(f_set(255), mixed(a, b, t))));
}

LANES_INLINE vec
between_bytes(vec a, vec b, const struct terms *t) {
    return by_floats(a, b, t, between_floats);
}

LANES_INLINE vec
beyond_bytes(vec a, vec b, const struct terms *t) {
    return by_floats(a, b, t, beyond_floats);
}

Imaging
SIMD_NAME(blend)(Imaging imIn1, Imaging imIn2, float alpha) {
    struct terms t = {alpha, 0};
    Imaging imOut = ImagingNewDirty(imIn1->mode, imIn1->xsize, imIn1->ysize);

    if (imOut && alpha >= 0 && alpha <= 1) {
        each_row(imOut, imIn1, imIn2, &t, between_bytes);
    } else if (imOut) {
        each_row(imOut, imIn1, imIn2, &t, beyond_bytes);
    }
    return imOut;
}
