/*
 * Rows of pixels, a few vectors at a time.
 *
 * A row's pixels of one, two or four bytes become 32-bit lanes; an operation is done to
 * these; and the lanes become pixels of one, two or four bytes again.
 */
#ifndef SIMDINSTALL_CONVERT_ROWS_H
#define SIMDINSTALL_CONVERT_ROWS_H

#include "lanes.h"

/* Most vectors of one step. convert.h has the same as a number of pixels. */
#define STEP_VECTORS_MAX 4

/* What becomes of the lanes of an operation, see convert.h. */
struct arrangement {
    uint32_t order, flip, set;
};

/*
 * Changes `vectors` vectors, by numbers of its own if it needs them. A row's operation is
 * inlined into its loop.
 */
typedef void
operation(vec *v, int vectors, const float *numbers);

LANES_INLINE vec
whole_order(uint32_t order) {
    static const uint8_t pixel[16] = {0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12};
    return v_add32(v_set32(order), v_repeat128(pixel));
}

LANES_INLINE void
load_step(vec *v, const uint8_t *in, int from, int vectors) {
    int i;

    for (i = 0; i < vectors; i++) {
        const uint8_t *p = in + i * from * VEC_PIXELS;
        v[i] = from == 1 ? v_load_bytes(p) : from == 2 ? v_load_words(p) : v_load(p);
    }
}

LANES_INLINE void
arrange_step(vec *v, const struct arrangement *how, int vectors) {
    const vec order = whole_order(how->order);
    const vec flip = v_set32(how->flip), set = v_set32(how->set);
    int i;

    for (i = 0; i < vectors; i++) {
        v[i] = v_or(v_xor(v_shuffle8(v[i], order), flip), set);
    }
}

LANES_INLINE void
store_step(uint8_t *out, const vec *v, int to, int vectors) {
    int i;

    if (to == 1) {
        v_store(out, v_narrow_to_bytes(v[0], v[1], v[2], v[3]));
    } else if (to == 2) {
        v_store(out, v_narrow_to_words(v[0], v[1]));
    } else {
        for (i = 0; i < vectors; i++) {
            v_store(out + i * VEC_BYTES, v[i]);
        }
    }
}

/*
 * `pixels` must be enough for a step, and `in` and `out` must not overlap: a row whose
 * length is no multiple of the step ends in one that reaches back into the one before.
 * Without an arrangement the pixels stay as the operation has left them.
 */
LANES_INLINE void
convert_row(
    uint8_t *out, const uint8_t *in, int pixels, const struct arrangement *arrangement,
    operation *operate, const float *numbers, int from, int to, int vectors
) {
    const struct arrangement how = arrangement ? *arrangement : (struct arrangement){0, 0, 0};
    const int step = vectors * VEC_PIXELS, last = pixels - step;
    vec v[STEP_VECTORS_MAX];
    int x;

    for (x = 0;; x = x + step < last ? x + step : last) {
        const uint8_t *source = in + (size_t)x * from;
        uint8_t *target = out + (size_t)x * to;

        load_step(v, source, from, vectors);
        operate(v, vectors, numbers);
        if (arrangement) {
            arrange_step(v, &how, vectors);
        }
        store_step(target, v, to, vectors);
        if (x == last) {
            return;
        }
        fetch_to_read(source, step * from);
        fetch_to_write(target, step * to);
    }
}

/*
 * Vectors of a step: as many as make whole vectors of the result, and where its pixels
 * have 4 bytes, a cache line. Some operations want two.
 */
#define STEP_VECTORS(to) ((to) == 1 ? 4 : (to) == 2 ? 2 : VEC_BYTES < 64 ? 64 / VEC_BYTES : 1)
#define STEP_VECTORS_OF_PAIRS (VEC_BYTES < 32 ? 4 : 2)

#define CONVERT_ROW_(operation, from, to, how_or_null, vectors)                       \
    static void operation##_##from##_##to(                                            \
        uint8_t *out, const uint8_t *in, int pixels, const struct arrangement *how    \
    ) {                                                                               \
        (void)how;                                                                    \
        convert_row(                                                                  \
            out, in, pixels, how_or_null, operation, NULL, from, to, vectors          \
        );                                                                            \
    }

/* A row of that operation, with and without an arrangement of its result. */
#define CONVERT_ROW(operation, from, to) \
    CONVERT_ROW_(operation, from, to, NULL, STEP_VECTORS(to))
#define CONVERT_ROW_ARRANGED(operation, from, to) \
    CONVERT_ROW_(operation, from, to, how, STEP_VECTORS(to))
#define CONVERT_ROW_OF_PAIRS(operation) \
    CONVERT_ROW_(operation, 4, 4, NULL, STEP_VECTORS_OF_PAIRS)

/* An operation that does the same to each vector. */
#define EACH_VECTOR(operation)                                                \
    LANES_INLINE void operation(vec *v, int vectors, const float *numbers) { \
        int i_;                                                               \
        (void)numbers;                                                        \
        for (i_ = 0; i_ < vectors; i_++) {                                    \
            v[i_] = operation##_vector(v[i_]);                                \
        }                                                                     \
    }

#endif
