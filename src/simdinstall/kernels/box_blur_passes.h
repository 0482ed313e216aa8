/*
 * One pass of box_blur.c over one column: a vector of 16-bit lanes, a line in each.
 * box_blur.c has the arithmetic.
 */
#ifndef SIMDINSTALL_BOX_BLUR_PASSES_H
#define SIMDINSTALL_BOX_BLUR_PASSES_H

#include "box_blur.h"
#include "lanes.h"

/* Where in a ring, in bytes, the pixels lie that one position needs, and where its result goes. */
struct step {
    uint32_t left, right, out;
};

LANES_INLINE vec
at(const vec *ring, uint32_t offset) {
    return *(const vec *)((const char *)ring + offset);
}

LANES_INLINE void
put(vec *ring, uint32_t offset, vec pixels) {
    *(vec *)((char *)ring + offset) = pixels;
}

/* Columns of a bundle. */
#define COLUMNS_MAX 3

/* Those that are done side by side where each takes six registers or more. */
#define COLUMNS_TOGETHER (SIMD_LEVEL == SIMD_LEVEL_AVX512 ? 3 : 2)

/* A line of pixels, the ring that holds its reach, and what is done to it. */
struct course {
    struct box_weights weights;
    int length;         /* positions of a line */
    int ring_size;      /* positions that a ring holds */
    struct step *steps; /* for the positions -1 to length - 1 */
};

/* ------------------------------------------------------------------ any radius */

/* The weights of a pair (outer, inner) of differences, for v_madd16(): fw, ww - fw. */
struct weight_pairs {
    vec high, low;
};

LANES_INLINE vec
weight_pair(int32_t outer, int32_t inner) {
    return v_set32((uint16_t)outer | (uint32_t)inner << 16);
}

/*
 * Each weight is split, high * 4096 + low, so that both halves fit a signed 16-bit
 * lane: box_blur_fits() holds fw to 2**23, and ww is at most 2**24.
 */
LANES_INLINE struct weight_pairs
split_weights(struct box_weights w) {
    int32_t outer = (int32_t)w.fw, inner = (int32_t)(w.ww - w.fw);
    struct weight_pairs pairs = {
        weight_pair(outer >> 12, inner >> 12), weight_pair(outer & 4095, inner & 4095)
    };
    return pairs;
}

/* Vectors of running numbers of a column: 32-bit lanes, the rounding included. */
#define BULK 2

LANES_INLINE vec
advance(vec *bulk, vec differences, struct weight_pairs weights) {
    vec high = v_shl32(v_madd16(differences, weights.high), 12);
    *bulk = v_madd16_add(v_add32(*bulk, high), differences, weights.low);
    return v_shr32(*bulk, 24);
}

/* What a position of a column becomes, and what it leaves for the next one. */
LANES_INLINE vec
blurred(
    vec bulk[BULK], vec *left, vec next_left, vec *right, vec next_right,
    struct weight_pairs weights
) {
    vec outer = v_sub16(next_right, *left), inner = v_sub16(*right, next_left);
    vec a = advance(&bulk[0], v_low16(outer, inner), weights);
    vec b = advance(&bulk[1], v_high16(outer, inner), weights);

    *left = next_left;
    *right = next_right;
    return v_pack32(a, b);
}

/* A constant number of columns from position `from` to `to`. */
LANES_INLINE void
blur_columns_by(
    vec *out, const vec *in, const struct course *c, int from, int to, vec *bulks, int columns
) {
    const struct weight_pairs weights = split_weights(c->weights);
    const struct step *step = c->steps + from, *const end = c->steps + to;
    /* One by one: compilers copy arrays in halves of vectors, which a load then waits for. */
    vec bulk[3 * BULK] = {
        bulks[0],
        bulks[1],
        columns > 1 ? bulks[2] : v_zero(),
        columns > 1 ? bulks[3] : v_zero(),
        columns > 2 ? bulks[4] : v_zero(),
        columns > 2 ? bulks[5] : v_zero(),
    };
    vec left[COLUMNS_TOGETHER], right[COLUMNS_TOGETHER];
    int k;

    for (k = 0; k < columns; k++) {
        left[k] = at(in + k, step[-1].left);
        right[k] = at(in + k, step[-1].right);
    }
    for (; step < end; step++) {
        const struct step s = *step;

        for (k = 0; k < columns; k++) {
            vec l = at(in + k, s.left), r = at(in + k, s.right);

            put(out + k, s.out, blurred(bulk + k * BULK, &left[k], l, &right[k], r, weights));
        }
    }
    for (k = 0; k < columns * BULK; k++) {
        bulks[k] = bulk[k];
    }
}

LANES_INLINE void
widen_more(vec out[2], vec words) {
    out[0] = v_low16(words, v_zero());
    out[1] = v_high16(words, v_zero());
}

/* bulk(-1) of a column. `in` has the first positions, up to the radius. */
static void
start_column(vec *bulk, const vec *in, const struct course *c) {
    int r = c->weights.radius;
    /* Positions -1-r to -1 are the first pixel, the next `inside` those of the line,
       and where the line ends before the radius does, the rest is the last pixel. */
    int inside = r < c->length - 1 ? r : c->length - 1, x, k;
    vec first[2], rim[2], pixel[2], sum[2];

    widen_more(first, in[0]);
    widen_more(rim, at(in, c->steps[inside].out));
    for (k = 0; k < 2; k++) {
        sum[k] = v_add32(
            v_mullo32(first[k], v_set32(r + 1)), v_mullo32(rim[k], v_set32(r - inside))
        );
    }
    for (x = 0; x < inside; x++) {
        widen_more(pixel, at(in, c->steps[x].out));
        for (k = 0; k < 2; k++) {
            sum[k] = v_add32(sum[k], pixel[k]);
        }
    }
    for (k = 0; k < 2; k++) {
        vec inner = v_mullo32(sum[k], v_set32(c->weights.ww));
        vec outer = v_mullo32(v_add32(first[k], rim[k]), v_set32(c->weights.fw));
        sum[k] = v_add32(v_add32(inner, outer), v_set32(1 << 23));
    }
    bulk[0] = sum[0];
    bulk[1] = sum[1];
}

/* ------------------------------------------------------------------ a radius below 64 */

/*
 * The sums of so few pixels fit signed 16-bit lanes. With
 *
 *     S = p[x-r] + ... + p[x+r]        e = p[x-r-1] + p[x+r+1]
 *
 * and each weight split into high * 2**16 + low, low signed, the upper half of
 * bulk + 2**23 = S * ww + e * fw + 2**23 is
 *
 *     S * high(ww) + e * high(fw) + 2**7 + floor((S * low(ww) + e * low(fw)) / 2**16)
 *
 * of which only the last term needs 32 bits: S is at most 127 * 255 and e 2 * 255, so it is less
 * than 2**31. As (2 * r + 1) * ww + 2 * fw is at most 2**24, bulk + 2**23 is less than 2**32, and
 * its upper half may be worked out modulo 2**16. The result is the upper byte of that.
 */
#define SHORT_RADIUS_MAX 63

struct short_weights {
    vec high_ww, high_fw; /* 16 bits */
    vec low;              /* pairs, for v_madd16(): ww, fw */
};

LANES_INLINE struct short_weights
split_short(struct box_weights w) {
    int32_t ww = (int32_t)w.ww, fw = (int32_t)w.fw;
    struct short_weights split = {
        v_set16((ww - (int16_t)ww) >> 16), v_set16((fw - (int16_t)fw) >> 16), weight_pair(ww, fw)
    };
    return split;
}

/*
 * `sum` is that of the pixels from x-r-1, which is on the left, to x+r: S with one of the rims.
 * Without that it is S, and then, with the one on the right, what the next position begins with.
 */
LANES_INLINE vec
blurred_short(vec *sum, vec left, vec right, struct short_weights weights) {
    vec inside = v_sub16(*sum, left), rims = v_add16(left, right);
    vec a = v_shr32(v_madd16(v_low16(inside, rims), weights.low), 16);
    vec b = v_shr32(v_madd16(v_high16(inside, rims), weights.low), 16);
    vec high = v_add16(v_mullo16(inside, weights.high_ww), v_mullo16(rims, weights.high_fw));

    *sum = v_add16(inside, right);
    return v_shr16(v_add16(v_add16(high, v_set16(1 << 7)), v_pack32(a, b)), 8);
}

LANES_INLINE void
blur_columns_short(
    vec *out, const vec *in, const struct course *c, int from, int to, vec *state, int columns
) {
    const struct short_weights weights = split_short(c->weights);
    const struct step *step = c->steps + from, *const end = c->steps + to;
    vec sums[COLUMNS_MAX] = {
        state[0], state[BULK], columns > 2 ? state[2 * BULK] : v_zero()
    };
    int k;

    for (; step < end; step++) {
        const struct step s = *step;

        for (k = 0; k < columns; k++) {
            vec left = at(in + k, s.left), right = at(in + k, s.right);

            put(out + k, s.out, blurred_short(&sums[k], left, right, weights));
        }
    }
    for (k = 0; k < columns; k++) {
        state[k * BULK] = sums[k];
    }
}

/* The sum that position 0 begins with. `in` has the first positions, up to the radius. */
static vec
start_short(const vec *in, const struct course *c) {
    int r = c->weights.radius, inside = r < c->length - 1 ? r : c->length - 1, x;
    vec sum = v_add16(
        v_mullo16(in[0], v_set16(r + 1)),
        v_mullo16(at(in, c->steps[inside].out), v_set16(r + 1 - inside))
    );

    for (x = 0; x < inside; x++) {
        sum = v_add16(sum, at(in, c->steps[x].out));
    }
    return sum;
}

/* ------------------------------------------------------------------ a radius below 1 */

/*
 * With r = 0 and p, a, b the pixel and its neighbours, and as ww is 2**24 - 2 * fw or 1 less,
 *
 *     bulk + 2**23 = p * 2**24 + e * fw + 2**23 - (0 or p)     where e = a + b - 2 * p
 *
 * With fw = high * 2**16 + low, all but the lowest 16 bits of that are
 *
 *     p * 2**8 + 2**7 + e * high + floor(e * low / 2**16)
 *
 * and 1 less if the lowest 16 bits of e * low are less than the 0 or p. The result is their
 * upper byte, in arithmetic modulo 2**16.
 */
LANES_INLINE vec
blurred_near(vec *last_rise, vec pixel, vec right, vec high, vec low, int less) {
    vec rise = v_sub16(right, pixel), e = v_sub16(rise, *last_rise);
    vec sum = v_add16(v_shl16(pixel, 8), v_set16(1 << 7));

    *last_rise = rise;
    sum = v_add16(sum, v_add16(v_mullo16(e, high), v_mulhi16(e, low)));
    if (less) {
        vec lowest = v_mullo16(e, low);
        sum = v_sub16(sum, v_minu16(v_subsu16(pixel, lowest), v_set16(1)));
    }
    return v_shr16(sum, 8);
}

LANES_INLINE void
blur_columns_near(
    vec *out, const vec *in, const struct course *c, int from, int to, int columns, int less
) {
    const int32_t fw = (int32_t)c->weights.fw;
    const vec low = v_set16((int16_t)fw), high = v_set16((fw - (int16_t)fw) >> 16);
    const struct step *step = c->steps + from, *const end = c->steps + to;
    vec pixel[COLUMNS_MAX], rise[COLUMNS_MAX];
    int k;

    for (k = 0; k < columns; k++) {
        pixel[k] = at(in + k, step[-1].right);
        rise[k] = v_sub16(pixel[k], at(in + k, step->left));
    }
    for (; step < end; step++) {
        const struct step s = *step;

        for (k = 0; k < columns; k++) {
            vec next = at(in + k, s.right);

            put(out + k, s.out, blurred_near(&rise[k], pixel[k], next, high, low, less));
            pixel[k] = next;
        }
    }
}

/* ------------------------------------------------------------------ all of them */

LANES_INLINE void
blur_together(
    vec *out, const vec *in, const struct course *c, int from, int to, vec *bulk, int columns
) {
    int k;

    for (k = 0; from == 0 && k < columns; k++) {
        start_column(bulk + k * BULK, in + k, c);
    }
    blur_columns_by(out, in, c, from, to, bulk, columns);
}

/* The columns of a bundle from position `from` to `to`. `state` has BULK vectors for each. */
LANES_INLINE void
blur_bundle(
    vec *out, const vec *in, const struct course *c, int from, int to, vec *state, int columns
) {
    const int first = columns < COLUMNS_TOGETHER ? columns : COLUMNS_TOGETHER;
    int k;

    if (c->weights.radius == 0) {
        if (c->weights.ww + 2 * c->weights.fw < 1 << 24) {
            blur_columns_near(out, in, c, from, to, columns, 1);
        } else {
            blur_columns_near(out, in, c, from, to, columns, 0);
        }
    } else if (c->weights.radius <= SHORT_RADIUS_MAX) {
        for (k = 0; from == 0 && k < columns; k++) {
            state[k * BULK] = start_short(in + k, c);
        }
        blur_columns_short(out, in, c, from, to, state, columns);
    } else {
        blur_together(out, in, c, from, to, state, first);
        if (first < columns) {
            blur_together(
                out + first, in + first, c, from, to, state + first * BULK, columns - first
            );
        }
    }
}

#endif
