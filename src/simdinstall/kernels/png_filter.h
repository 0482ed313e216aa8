/*
 * Choosing the filter of a PNG's row: the one whose bytes, read as signed, are the least far
 * from zero in all. PNG specification, chapters 9.2 and 12.7.
 */
#ifndef SIMDINSTALL_PNG_FILTER_H
#define SIMDINSTALL_PNG_FILTER_H

#include "png_lanes.h"
#include "zip_codec.h"

/* |a - b| of unsigned bytes. */
LANES_INLINE vec
distance(vec a, vec b) {
    return v_or(v_subs8(a, b), v_subs8(b, a));
}

/*
 * The neighbour that is nearest to a + b - c; a before b before c. a + b - 2c is the
 * sum of what a and b are above c less what they are below it. Where a sum exceeds 255
 * both of its terms are on one side of c: the other sum is 0 then, and 255 is no less than |a - c|
 * or |b - c|, which is all that is asked of it.
 */
LANES_INLINE vec
paeth_predictor(vec a, vec b, vec c) {
    vec a_above = v_subs8(a, c), a_below = v_subs8(c, a);
    vec b_above = v_subs8(b, c), b_below = v_subs8(c, b);
    vec to_a = v_or(b_above, b_below), to_b = v_or(a_above, a_below);
    vec to_c = distance(v_adds8(a_above, b_above), v_adds8(a_below, b_below));
    vec to_b_or_c = v_min8(to_b, to_c);

    return v_where_equal8(
        v_min8(to_a, to_b_or_c), to_a, a, v_where_equal8(to_b_or_c, to_b, b, c)
    );
}

/* Half of the sum, rounded down. */
LANES_INLINE vec
average_predictor(vec a, vec b) {
    vec odd = v_and(v_xor(a, b), v_set16(0x0101));

    return v_sub8(v_avg8(a, b), odd);
}

/* Some bytes of a row, and those to their left, above, and left above. */
struct png_block {
    uint8_t x[sizeof(vec)], a[sizeof(vec)], b[sizeof(vec)], c[sizeof(vec)];
};

/* At the ends of rows; zeros where there are no pixels. */
static inline void
cut_block(struct png_block *block, const uint8_t *row, const uint8_t *above, int i, int count, int bpp) {
    int before = i < bpp ? bpp - i : 0; /* bytes with nothing to their left */

    memset(block, 0, sizeof(*block));
    memcpy(block->x, row + i, count);
    memcpy(block->b, above + i, count);
    if (before < count) {
        memcpy(block->a + before, row + i + before - bpp, count - before);
        memcpy(block->c + before, above + i + before - bpp, count - before);
    }
}

LANES_INLINE void
filter_block(vec out[PNG_FILTERS], vec sums[PNG_FILTERS], vec x, vec a, vec b, vec c, int average) {
    int f;

    out[PNG_NONE] = x;
    out[PNG_SUB] = v_sub8(x, a);
    out[PNG_UP] = v_sub8(x, b);
    out[PNG_AVERAGE] = average ? v_sub8(x, average_predictor(a, b)) : x;
    out[PNG_PAETH] = v_sub8(x, paeth_predictor(a, b, c));
    for (f = 0; f < PNG_FILTERS; f++) {
        if (f != PNG_AVERAGE || average) {
            sums[f] = v_add64(sums[f], v_sums8(v_abs8(out[f])));
        }
    }
}

LANES_INLINE void
filter_row(
    uint8_t *const rows[PNG_FILTERS], int32_t sums[PNG_FILTERS], const uint8_t *above, int bytes,
    int bpp, int average
) {
    const uint8_t *row = rows[PNG_NONE];
    vec out[PNG_FILTERS], total[PNG_FILTERS];
    int f, i;

    for (f = 0; f < PNG_FILTERS; f++) {
        total[f] = v_zero();
    }
    for (i = 0; i < bytes; i += VEC_BYTES) {
        if (i && i <= bytes - VEC_BYTES) {
            filter_block(
                out, total, v_load(row + i), v_load(row + i - bpp), v_load(above + i),
                v_load(above + i - bpp), average
            );
            for (f = PNG_SUB; f < PNG_FILTERS; f++) {
                if (f != PNG_AVERAGE || average) {
                    v_store(rows[f] + i, out[f]);
                }
            }
        } else {
            int count = bytes - i < VEC_BYTES ? bytes - i : VEC_BYTES;
            struct png_block block;

            cut_block(&block, row, above, i, count, bpp);
            filter_block(
                out, total, v_load(block.x), v_load(block.a), v_load(block.b), v_load(block.c),
                average
            );
            for (f = PNG_SUB; f < PNG_FILTERS; f++) {
                if (f != PNG_AVERAGE || average) {
                    v_store(block.x, out[f]);
                    memcpy(rows[f] + i, block.x, count);
                }
            }
        }
    }
    for (f = 0; f < PNG_FILTERS; f++) {
        sums[f] = (int32_t)(uint32_t)v_total64(total[f]);
    }
}

/*
 * Filters a row in every way and returns the number of the filter to take. rows[0] has the
 * row itself; byte 0 of each is left for its filter's number. Stock asks in this order, and no
 * further once a row is all zeros; its sums are ints that wrap around.
 */
static int
choose_filter(
    uint8_t *const rows[PNG_FILTERS], const uint8_t *above, int bytes, int bpp, int average
) {
    static const int order[] = {PNG_UP, PNG_SUB, PNG_AVERAGE, PNG_PAETH};
    uint8_t *bodies[PNG_FILTERS];
    int32_t sums[PNG_FILTERS];
    int f, i, best = PNG_NONE;

    for (f = 0; f < PNG_FILTERS; f++) {
        bodies[f] = rows[f] + 1;
    }
    if (average) {
        filter_row(bodies, sums, above + 1, bytes, bpp, 1);
    } else {
        filter_row(bodies, sums, above + 1, bytes, bpp, 0);
        sums[PNG_AVERAGE] = INT32_MAX;
    }
    for (i = 0; i < 4 && sums[best] > 0; i++) {
        if (sums[order[i]] < sums[best]) {
            best = order[i];
        }
    }
    return best;
}

#endif
