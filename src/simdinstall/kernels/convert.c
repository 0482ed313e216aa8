/*
 * Conversions between modes, the bytes of stock's ImagingConvert.
 *
 * convert.h lists what is converted by what, convert_rows.h goes through the rows, and
 * here are the operations on 32-bit lanes. Where stock divides or rounds, the way here
 * gives the same for every input: tests/kernels/test_convert.py tries them all.
 */
#include "convert.h"

#include "convert_colour.h"
#include "convert_rows.h"

/* ------------------------------------------------------------------ numbers */

LANES_INLINE void
bytes(vec *v, int vectors, const float *numbers) {
    (void)v;
    (void)vectors;
    (void)numbers;
}

/* 255 for all but 0. */
LANES_INLINE vec
bits_vector(vec value) {
    return v_shr32(v_sub32(v_zero(), value), 24);
}
EACH_VECTOR(bits)

LANES_INLINE vec
floats_vector(vec value) {
    return f_bits(f_from_int(value));
}
EACH_VECTOR(floats)

LANES_INLINE vec
bits_float_vector(vec value) {
    return floats_vector(bits_vector(value));
}
EACH_VECTOR(bits_float)

/* The bytes of a 16-bit number. */
LANES_INLINE vec
swapped_vector(vec value) {
    return v_or(v_shr32(value, 8), v_and(v_shl32(value, 8), v_set32(0xff00)));
}
EACH_VECTOR(swapped)

LANES_INLINE vec
float_swapped_vector(vec value) {
    return floats_vector(swapped_vector(value));
}
EACH_VECTOR(float_swapped)

LANES_INLINE vec
clip8_vector(vec value) {
    return v_min32(v_max32(value, v_zero()), v_set32(255));
}
EACH_VECTOR(clip8)

LANES_INLINE vec
clip8_swapped_vector(vec value) {
    return clip8_vector(swapped_vector(value));
}
EACH_VECTOR(clip8_swapped)

LANES_INLINE vec
clip16_vector(vec value) {
    return v_min32(v_max32(value, v_zero()), v_set32(65535));
}
EACH_VECTOR(clip16)

/* What is no number becomes INT32_MIN here and in stock, of which a byte takes 0. */
LANES_INLINE vec
float_to_int_vector(vec value) {
    return f_truncate(f_from_bits(value));
}
EACH_VECTOR(float_to_int)

LANES_INLINE vec
float_to_byte_vector(vec value) {
    return f_truncate(f_min(f_set(255), f_from_bits(value)));
}
EACH_VECTOR(float_to_byte)

/* ------------------------------------------------------------------ luma */

/* (19595 r + 38470 g + 7471 b + 32768) >> 16, and the alpha as it was */
LANES_INLINE vec
luma_vector(vec rgb) {
    static const uint8_t green_twice[16] = {1, Z, 1, Z, 5,  Z, 5,  Z,
                                            9, Z, 9, Z, 13, Z, 13, Z};
    const vec red_blue = v_and(rgb, v_set32(0x00ff00ff));
    const vec green = v_shuffle8(rgb, v_repeat128(green_twice));
    vec sum = v_madd16_add(v_set32(0x8000), red_blue, v_set32(7471 << 16 | 19595));
    sum = v_madd16_add(sum, green, v_set32(19235 << 16 | 19235));
    return v_or(v_shr32(sum, 16), v_and(rgb, v_set32(0xff000000)));
}
EACH_VECTOR(luma)

/* 299 r + 587 g + 114 b */
LANES_INLINE vec
luma_1000(vec rgb) {
    const vec red_blue = v_and(rgb, v_set32(0x00ff00ff));
    const vec green_alpha = v_and(v_shr32(rgb, 8), v_set32(0x00ff00ff));
    return v_madd16_add(
        v_madd16(red_blue, v_set32(114 << 16 | 299)), green_alpha, v_set32(587)
    );
}

LANES_INLINE vec
luma_float_vector(vec rgb) {
    return f_bits(f_div(f_from_int(luma_1000(rgb)), f_set(1000)));
}
EACH_VECTOR(luma_float)

/* Negative and so all ones at the top where the luma is 128 and more. */
LANES_INLINE vec
threshold_vector(vec rgb) {
    return v_shr32(v_sub32(v_set32(128000 - 1), luma_1000(rgb)), 24);
}
EACH_VECTOR(threshold)

/* ------------------------------------------------------------------ alpha */

/*
 * The product of bytes in 16-bit lanes, divided by 255 and rounded. Stock's
 * (((p + 128) >> 8) + p + 128) >> 8 is the upper half of 257 (p + 128).
 */
LANES_INLINE vec
multiply_255(vec a, vec b) {
    return v_mulhiu16(v_add16(v_mullo16(a, b), v_set16(128)), v_set16(257));
}

LANES_INLINE vec
premultiply_vector(vec rgba) {
    static const uint8_t alpha_twice[16] = {3,  Z, 3,  Z, 7,  Z, 7,  Z,
                                            11, Z, 11, Z, 15, Z, 15, Z};
    const vec bytes = v_set32(0x00ff00ff);
    const vec alpha = v_shuffle8(rgba, v_repeat128(alpha_twice));
    const vec alpha_and_255 = v_or(v_and(alpha, v_set32(0xff)), v_set32(0x00ff0000));
    const vec red_blue = multiply_255(v_and(rgba, bytes), alpha);
    /* 255 for the alpha itself, which so stays what it is */
    const vec green_alpha = multiply_255(v_shr16(rgba, 8), alpha_and_255);
    return v_or(red_blue, v_shl16(green_alpha, 8));
}
EACH_VECTOR(premultiply)

/*
 * 255 * colour / alpha, rounded down, at most 255; the colour as it is for alpha 0. The
 * true quotients are at least 1 / alpha below the next integer, or integers. Half of
 * that is added, so that the float's error, a hundred times less, cannot matter.
 */
LANES_INLINE vec
unpremultiply_vector(vec rgba) {
    static const uint8_t by_pixel[16] = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};
    const vec byte = v_set32(0xff), alpha = v_shr32(rgba, 24);
    const vecf factor = f_div(f_set(255), f_from_int(alpha)), half = f_set(.5f / 255);
    const vec red = v_and(rgba, byte), green = v_and(v_shr32(rgba, 8), byte);
    const vec blue = v_and(v_shr32(rgba, 16), byte);
    /* 65025 and, divided by 0, INT32_MIN: signed, to become 255 and 0. */
    const vec red_green = v_pack32_signed(
        f_truncate(f_mul(f_add(f_from_int(red), half), factor)),
        f_truncate(f_mul(f_add(f_from_int(green), half), factor))
    );
    const vec blue_alpha = v_pack32_signed(
        f_truncate(f_mul(f_add(f_from_int(blue), half), factor)), alpha
    );
    const vec divided = v_shuffle8(v_pack16(red_green, blue_alpha), v_repeat128(by_pixel));
    return v_or(divided, v_and(rgba, v_equal32(alpha, v_zero())));
}
EACH_VECTOR(unpremultiply)

/* ------------------------------------------------------------------ colour */

/* The last byte is of no use. */
LANES_INLINE vec
cmyk_to_rgb_vector(vec cmyk) {
    static const uint8_t black_twice[16] = {3,  Z, 3,  Z, 7,  Z, 7,  Z,
                                            11, Z, 11, Z, 15, Z, 15, Z};
    const vec white =
        v_sub16(v_set16(255), v_shuffle8(cmyk, v_repeat128(black_twice)));
    const vec cyan_yellow = v_and(cmyk, v_set32(0x00ff00ff));
    const vec magenta = v_and(v_shr32(cmyk, 8), v_set32(0xff));
    const vec red_blue = v_sub16(white, multiply_255(cyan_yellow, white));
    const vec green = v_sub16(white, multiply_255(magenta, white));
    return v_or(red_blue, v_shl16(green, 8));
}
EACH_VECTOR(cmyk_to_rgb)
EACH_VECTOR(rgb_to_hsv)
EACH_VECTOR(hsv_to_rgb)

LANES_INLINE vec
cmyk_to_hsv_vector(vec cmyk) {
    return rgb_to_hsv_vector(cmyk_to_rgb_vector(cmyk));
}
EACH_VECTOR(cmyk_to_hsv)

LANES_INLINE void
rgb_to_ycbcr(vec *v, int vectors, const float *numbers) {
    int i;

    (void)numbers;
    for (i = 0; i < vectors; i += 2) {
        struct planes ycbcr = rgb_to_ycbcr_planes(to_planes(v + i));
        from_planes(v + i, &ycbcr);
    }
}

LANES_INLINE void
ycbcr_to_rgb(vec *v, int vectors, const float *numbers) {
    int i;

    (void)numbers;
    for (i = 0; i < vectors; i += 2) {
        struct planes rgb = ycbcr_to_rgb_planes(to_planes(v + i));
        from_planes(v + i, &rgb);
    }
}

/* ------------------------------------------------------------------ rows */

CONVERT_ROW(bits_float, 1, 4)
CONVERT_ROW(floats, 1, 4)
CONVERT_ROW(floats, 2, 4)
CONVERT_ROW(floats, 4, 4)
CONVERT_ROW(float_swapped, 2, 4)
CONVERT_ROW(float_to_byte, 4, 1)
CONVERT_ROW(float_to_int, 4, 4)
CONVERT_ROW(swapped, 2, 4)
CONVERT_ROW(clip8, 2, 1)
CONVERT_ROW(clip8, 4, 1)
CONVERT_ROW(clip8_swapped, 2, 1)
CONVERT_ROW(threshold, 4, 1)
CONVERT_ROW(luma_float, 4, 4)
CONVERT_ROW(rgb_to_hsv, 4, 4)
CONVERT_ROW(hsv_to_rgb, 4, 4)
CONVERT_ROW_OF_PAIRS(rgb_to_ycbcr)
CONVERT_ROW_OF_PAIRS(ycbcr_to_rgb)
CONVERT_ROW(bytes, 2, 4)
CONVERT_ROW_ARRANGED(bytes, 1, 2)
CONVERT_ROW_ARRANGED(bytes, 1, 4)
CONVERT_ROW_ARRANGED(bytes, 4, 1)
CONVERT_ROW_ARRANGED(bytes, 4, 4)
CONVERT_ROW_ARRANGED(bits, 1, 4)
CONVERT_ROW_ARRANGED(clip8, 2, 4)
CONVERT_ROW_ARRANGED(clip8, 4, 4)
CONVERT_ROW_ARRANGED(clip16, 4, 2)
CONVERT_ROW_ARRANGED(luma, 4, 1)
CONVERT_ROW_ARRANGED(luma, 4, 2)
CONVERT_ROW_ARRANGED(luma, 4, 4)
CONVERT_ROW_ARRANGED(premultiply, 4, 4)
CONVERT_ROW_ARRANGED(unpremultiply, 4, 4)
CONVERT_ROW_ARRANGED(cmyk_to_rgb, 4, 4)
CONVERT_ROW_ARRANGED(cmyk_to_hsv, 4, 4)

static const struct {
    void (*row)(uint8_t *out, const uint8_t *in, int pixels, const struct arrangement *how);
    struct arrangement how;
} conversions[] = {
#define C(from, to, row, order, flip, set) \
    [CONVERSION_##from##_##to] = {row, {order, flip, set}},
    CONVERSIONS(C)
#undef C
};

static void
convert_rows(Imaging out, Imaging in, int number) {
    int y;

    for (y = 0; y < in->ysize; y++) {
        conversions[number].row(
            (uint8_t *)out->image[y], (const uint8_t *)in->image[y], in->xsize,
            &conversions[number].how
        );
    }
}

/* ------------------------------------------------------------------ palettes */

/*
 * One load, one store for each pixel, eight at a time: on the CPUs looked at the
 * instructions that gather a vector from a table take longer.
 */
#define LOOK_UP(name, type)                                                          \
    static void name(type *out, const uint8_t *in, int pixels, const type *table) { \
        int x = 0, i;                                                                \
                                                                                     \
        for (; x <= pixels - 8; x += 8) {                                            \
            uint64_t eight;                                                          \
            memcpy(&eight, in + x, 8);                                               \
            __builtin_prefetch((const char *)(out + x) + FETCH_AHEAD, 1);                  \
            for (i = 0; i < 8; i++) {                                                \
                out[x + i] = table[eight >> 8 * i & 255];                            \
            }                                                                        \
        }                                                                            \
        for (; x < pixels; x++) {                                                    \
            out[x] = table[in[x]];                                                   \
        }                                                                            \
    }
LOOK_UP(look_up_pixels, uint32_t)
LOOK_UP(look_up_bytes, uint8_t)

/* Only LA and RGBA get the palette's alpha; else it is 255. */
static void
convert_by_palette(Imaging out, Imaging in) {
    const int number = convert_number(IMAGING_MODE_RGBA, out->mode);
    const int has_alpha = out->mode == IMAGING_MODE_RGBA || out->mode == IMAGING_MODE_RGBX ||
                          out->mode == IMAGING_MODE_LA;
    uint32_t entries[256], table[256];
    int i, y;

    memcpy(entries, in->palette->palette, sizeof(entries));
    for (i = 0; i < 256 && !has_alpha; i++) {
        entries[i] |= OPAQUE;
    }
    if (out->mode == IMAGING_MODE_RGBA || out->mode == IMAGING_MODE_RGBX) {
        memcpy(table, entries, sizeof(table));
    } else {
        conversions[number].row(
            (uint8_t *)table, (const uint8_t *)entries, 256, &conversions[number].how
        );
    }
    for (y = 0; y < in->ysize; y++) {
        const uint8_t *row = (const uint8_t *)in->image[y];
        if (out->mode == IMAGING_MODE_L || out->mode == IMAGING_MODE_1) {
            look_up_bytes((uint8_t *)out->image[y], row, in->xsize, (const uint8_t *)table);
        } else {
            look_up_pixels((uint32_t *)(void *)out->image[y], row, in->xsize, table);
        }
    }
}

/* ------------------------------------------------------------------ images */

Imaging
SIMD_NAME(convert)(CONVERT_PARAMETERS) {
    ImagingSectionCookie cookie;
#if PILLOW_PROTOTYPE_ImagingConvert != 2
    Imaging imOut = NULL;
#endif

    (void)palette;
    (void)dither;
    if (!imOut) {
        imOut = ImagingNewDirty(mode, imIn->xsize, imIn->ysize);
    }
    if (!imOut) {
        return NULL;
    }
    ImagingSectionEnter(&cookie);
    IMAGE_LOCK(imIn);
    if (imIn->mode == IMAGING_MODE_P) {
        convert_by_palette(imOut, imIn);
    } else {
        convert_rows(imOut, imIn, convert_number(imIn->mode, mode));
    }
    IMAGE_UNLOCK(imIn);
    ImagingSectionLeave(&cookie);
    return imOut;
}
