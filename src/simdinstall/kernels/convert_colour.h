/*
 * HSV and YCbCr: the results of stock's arithmetic by shorter ways. Stock computes in
 * floating point, or adds up tables of rounded products. The ways here are proven by
 * trying all 2**24 colours: tests/kernels/test_convert.py, test_every_colour.
 */
#ifndef SIMDINSTALL_CONVERT_COLOUR_H
#define SIMDINSTALL_CONVERT_COLOUR_H

#include "convert_lanes.h"

/* ------------------------------------------------------------------ RGB to HSV */

/*
 * Stock follows Python's colorsys. With max, min and the middle one of r, g, b, and
 * t = (max - middle) / (max - min), rounded to float, its hue is, in sixths of a turn,
 *
 *     base + 1 - t    or    base - 1 + t
 *
 * where base is 0, 2 or 4 for a maximum of r, g, b, and the latter holds where the next
 * band after the maximum, in the order r, g, b, r, is the minimum. (Stock has 2 + rc - bc
 * and the like, and one of rc, gc, bc is always 1.) A sixth of that is a float again, in
 * stock by way of doubles, which rounds to the same; a turn is added to a negative one.
 * Saturation is the integer part of 255 * (max - min) / max.
 */
LANES_INLINE vec
rgb_to_hsv_vector(vec rgb) {
    static const uint8_t next_band[16] = {1, 2, 0, 3, 5, 6, 4, 7, 9, 10, 8, 11, 13, 14, 12, 15};
    static const uint8_t previous_band[16] = {2, 0, 1, 3, 6, 4,  5,  7,
                                              10, 8, 9, 11, 14, 12, 13, 15};
    const vec byte = v_set32(0xff), sign = v_set32(0x80000000);
    const vec next = v_shuffle8(rgb, v_repeat128(next_band));
    const vec previous = v_shuffle8(rgb, v_repeat128(previous_band));
    const vec least_of_two = v_min8(rgb, next), most_of_two = v_max8(rgb, next);
    /* The same in the three bands of a pixel. */
    const vec most = v_max8(most_of_two, previous), least = v_min8(least_of_two, previous);
    const vec middle = v_max8(least_of_two, v_min8(most_of_two, previous));

    const vec is_most = v_equal8(rgb, most);
    const vec rising = v_and(is_most, v_equal8(next, least));
    /* Sign bits of 32-bit lanes: what holds of red, of green; blue is the rest. */
    const vec red = v_shl32(is_most, 24), green = v_shl32(is_most, 16);
    const vec up = v_and(
        f_bits(f_select(
            f_select(f_from_bits(v_shl32(rising, 8)), f_from_bits(v_shl32(rising, 16)), green),
            f_from_bits(v_shl32(rising, 24)), red
        )),
        sign
    );
    const vecf base = f_select(f_select(f_set(4), f_set(2), green), f_set(0), red);

    const vecf value = f_from_int(v_and(most, byte));
    const vec range = v_and(v_sub8(most, least), byte);
    const vecf width = f_from_int(range);
    const vecf t = f_div(f_from_int(v_and(v_sub8(most, middle), byte)), width);
    /* base + 1 - t, or with both signs turned over */
    const vecf one = f_from_bits(v_xor(f_bits(f_set(1)), up));
    const vecf minus_t = f_from_bits(v_xor(f_bits(t), v_without(up, sign)));
    const vecf sixths = f_add(f_add(base, one), minus_t);
    const vecf part = f_div(sixths, f_set(6));
    const vecf turn = f_add(part, f_from_bits(v_and(f_bits(f_set(1)), v_sar32(f_bits(part), 31))));

    const vec hue = f_truncate(f_mul(turn, f_set(255)));
    const vec saturation = f_truncate(f_div(f_mul(width, f_set(255)), value));
    /* Divided by 0 where the range is. */
    const vec both = v_without(
        v_equal32(range, v_zero()), v_or(hue, v_shl32(saturation, 8))
    );
    return v_or(
        both, v_or(v_and(most, v_set32(0x00ff0000)), v_and(rgb, v_set32(0xff000000)))
    );
}

/* ------------------------------------------------------------------ HSV to RGB */

/*
 * One band of RGB. It is value - value * saturation * lack / 255**2, rounded, where lack
 * goes from 0 (no less than the value) up to 255 and is a piecewise linear function of
 * the hue, six times of which is turn / 255. `brightest` is where in the turn the lack
 * is 0, `wrap` the same one turn on or back. Half of an integer can never come out.
 */
LANES_INLINE vec
lack_of(vec turn, uint32_t brightest) {
    vec away = v_abs16(v_sub16(turn, v_set32(brightest)));
    return v_min16(v_subsu16(away, v_set32(255)), v_set32(255));
}

LANES_INLINE vec
hsv_to_band(vecf value_and_half, vecf value_times_saturation, vec lack) {
    vecf product = f_mul(value_times_saturation, f_from_int(lack));
    return f_truncate(f_sub(value_and_half, f_mul(product, f_set(1 / 65025.f))));
}

LANES_INLINE vec
hsv_to_rgb_vector(vec hsv) {
    const vec byte = v_set32(0xff);
    const vec turn = v_mullo16(v_and(hsv, byte), v_set32(6));
    const vecf saturation = f_from_int(v_and(v_shr32(hsv, 8), byte));
    const vecf value = f_from_int(v_and(v_shr32(hsv, 16), byte));
    const vecf product = f_mul(value, saturation), half_more = f_add(value, f_set(.5f));
    /* Red is darkest half a turn away: brightest where the others are not. */
    const vec red = hsv_to_band(half_more, product, v_sub16(byte, lack_of(turn, 3 * 255)));
    const vec green = hsv_to_band(half_more, product, lack_of(turn, 2 * 255));
    const vec blue = hsv_to_band(half_more, product, lack_of(turn, 4 * 255));

    return v_or(
        v_or(red, v_shl32(green, 8)),
        v_or(v_shl32(blue, 16), v_and(hsv, v_set32(0xff000000)))
    );
}

/* ------------------------------------------------------------------ YCbCr */

/*
 * Stock adds up tables of 64 times the products of the JFIF equations, each rounded.
 * Such a table is a line, rounded:
 *
 *     table[x] = multiple * x + (((x << shift) + before) * factor >> 16) - after
 *
 * The numbers were found by search, so that the line passes through the whole table, and
 * so that tables of one band begin alike where that is possible.
 */
struct line {
    int shift, multiple, before, factor, after;
};

/* Without `after`. */
LANES_INLINE vec
on_line(vec x, struct line line) {
    vec sum = v_add16(v_shl16(x, line.shift), v_set16(line.before));
    vec rest = v_mulhiu16(sum, v_set16(line.factor));
    return line.multiple ? v_add16(v_mullo16(x, v_set16(line.multiple)), rest) : rest;
}

LANES_INLINE vec
table(vec x, struct line line) {
    return v_sub16(on_line(x, line), v_set16(line.after));
}

/*
 * Stock rounds down plus a half, but negative numbers up. So the negative of a table
 * that falls from 0 is a line that begins below 0, and has 0 there instead.
 */
LANES_INLINE vec
falling_table(vec x, struct line line) {
    return v_subsu16(on_line(x, line), v_set16(line.after));
}

/* Two vectors of pixels as one vector of 16-bit lanes per band, and back. */
struct planes {
    vec band[4];
};

LANES_INLINE struct planes
to_planes(const vec *pixels) {
    static const uint8_t by_band[16] = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};
    const vec order = v_repeat128(by_band);
    const vec a = v_shuffle8(pixels[0], order), b = v_shuffle8(pixels[1], order);
    const vec first = v_low32(a, b), last = v_high32(a, b);
    struct planes planes = {{
        v_low8(first, v_zero()), v_high8(first, v_zero()),
        v_low8(last, v_zero()), v_high8(last, v_zero()),
    }};
    return planes;
}

/* Saturates. */
LANES_INLINE void
from_planes(vec *pixels, const struct planes *planes) {
    const vec even = v_pack16(planes->band[0], planes->band[2]);
    const vec odd = v_pack16(planes->band[1], planes->band[3]);
    const vec first = v_low8(even, odd), last = v_high8(even, odd);
    pixels[0] = v_low16(first, last);
    pixels[1] = v_high16(first, last);
}

LANES_INLINE struct planes
rgb_to_ycbcr_planes(struct planes rgb) {
    static const struct line y_r = {3, 16, 1116, 25691, 437}, y_g = {4, 32, 33, 22807, 11};
    static const struct line y_b = {3, 0, 28927, 59769, 26381};
    static const struct line cb_r = {3, 8, 1116, 22932, 391}, cb_g = {4, 8, 1614, 54068, 1332};
    static const struct line cr_g = {4, 16, 927, 44221, 626};
    static const struct line cr_b = {3, 0, 28927, 42630, 18817};
    const vec centre = v_set16(128 * 64);
    const vec r = rgb.band[0], g = rgb.band[1], b = rgb.band[2];
    const vec y = v_add16(v_add16(table(r, y_r), table(g, y_g)), table(b, y_b));
    const vec minus_cb = v_add16(falling_table(r, cb_r), falling_table(g, cb_g));
    const vec minus_cr = v_add16(falling_table(g, cr_g), falling_table(b, cr_b));
    const vec cb = v_sub16(v_add16(v_shl16(b, 5), centre), minus_cb);
    const vec cr = v_sub16(v_add16(v_shl16(r, 5), centre), minus_cr);
    struct planes ycbcr = {{v_sar16(y, 6), v_sar16(cb, 6), v_sar16(cr, 6), rgb.band[3]}};
    return ycbcr;
}

/*
 * The tables of the way back pass through 0 at 128, so that one side is rounded up and
 * the other down. `above` is all ones, that is -1, where x is above a limit.
 */
LANES_INLINE struct planes
ycbcr_to_rgb_planes(struct planes ycbcr) {
    static const struct line r_cr = {1, 88, 5, 56622, 11488}, g_cr = {1, 44, 5, 55867, 5854};
    static const struct line b_cb = {2, 112, 3353, 23069, 15695};
    static const struct line g_cb = {2, 20, 3353, 33175, 4516};
    const vec y = ycbcr.band[0], cb = ycbcr.band[1], cr = ycbcr.band[2];
    const vec red = v_add16(table(cr, r_cr), v_greater16(cr, v_set16(127)));
    const vec blue = v_add16(table(cb, b_cb), v_greater16(cb, v_set16(127)));
    const vec above = v_add16(
        v_greater16(cb, v_set16(128)), v_greater16(cr, v_set16(128))
    );
    /* The lines are of minus the tables. */
    const vec minus_green = v_add16(v_add16(table(cb, g_cb), table(cr, g_cr)), above);
    const vec green = v_sub16(v_zero(), minus_green);
    struct planes rgb = {{
        v_add16(y, v_sar16(red, 6)), v_add16(y, v_sar16(green, 6)),
        v_add16(y, v_sar16(blue, 6)), ycbcr.band[3],
    }};
    return rgb;
}

#endif
