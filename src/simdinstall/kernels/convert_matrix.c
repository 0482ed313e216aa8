/*
 * ImagingConvertMatrix: each band of the result is a sum of products with the bands of
 * the image, in floats and in stock's order, plus a half, rounded down and clipped.
 * Stock adds the half as a double; a sum of two floats that is rounded to double first
 * and to float then is the same as one rounded to float at once (53 >= 2 * 24 + 2).
 */
#include "convert_matrix.h"

#include "convert_lanes.h"
#include "convert_rows.h"

struct bands {
    vecf red, green, blue;
};

LANES_INLINE struct bands
to_bands(vec rgb) {
    const vec byte = v_set32(0xff);
    struct bands bands = {
        f_from_int(v_and(rgb, byte)), f_from_int(v_and(v_shr32(rgb, 8), byte)),
        f_from_int(v_and(v_shr32(rgb, 16), byte))
    };
    return bands;
}

/* At most 255, but not yet at least 0. No number becomes INT32_MIN, and so 0. */
LANES_INLINE vec
product(struct bands in, const float *row) {
    vecf sum = f_add(f_mul(f_set(row[0]), in.red), f_mul(f_set(row[1]), in.green));
    sum = f_add(f_add(sum, f_mul(f_set(row[2]), in.blue)), f_set(row[3]));
    return f_truncate(f_min(f_set(255), f_add(sum, f_set(.5f))));
}

LANES_INLINE void
matrix_to_one(vec *v, int vectors, const float *matrix) {
    int i;

    for (i = 0; i < vectors; i++) {
        v[i] = product(to_bands(v[i]), matrix);
    }
}

LANES_INLINE void
matrix_to_three(vec *v, int vectors, const float *matrix) {
    static const uint8_t by_pixel[16] = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};
    int i;

    for (i = 0; i < vectors; i++) {
        const struct bands in = to_bands(v[i]);
        const vec first = v_pack32_signed(product(in, matrix), product(in, matrix + 4));
        /* Stock leaves the fourth byte to chance; here it is 255. */
        const vec second = v_pack32_signed(product(in, matrix + 8), v_set32(255));
        v[i] = v_shuffle8(v_pack16(first, second), v_repeat128(by_pixel));
    }
}

static void
matrix_row_to_one(uint8_t *out, const uint8_t *in, int pixels, const float *matrix) {
    convert_row(out, in, pixels, NULL, matrix_to_one, matrix, 4, 1, STEP_VECTORS(1));
}

static void
matrix_row_to_three(uint8_t *out, const uint8_t *in, int pixels, const float *matrix) {
    convert_row(out, in, pixels, NULL, matrix_to_three, matrix, 4, 4, STEP_VECTORS(4));
}

Imaging
SIMD_NAME(convert_matrix)(MATRIX_PARAMETERS) {
    Imaging out = ImagingNewDirty(mode, im->xsize, im->ysize);
    ImagingSectionCookie cookie;
    int y;

    if (!out) {
        return NULL;
    }
    ImagingSectionEnter(&cookie);
    for (y = 0; y < im->ysize; y++) {
        (mode == IMAGING_MODE_L ? matrix_row_to_one : matrix_row_to_three)(
            (uint8_t *)out->image[y], (const uint8_t *)im->image[y], im->xsize, m
        );
    }
    ImagingSectionLeave(&cookie);
    return out;
}
