/*
 * Rows of bytes from two images to a third, where each byte depends on the two that lie at
 * its place alone. For kernels; include lanes.h first.
 */
#ifndef SIMDINSTALL_BYTE_ROWS_H
#define SIMDINSTALL_BYTE_ROWS_H

/* What an operation needs besides the pixels. */
struct terms {
    float factor; /* or divisor */
    float addend;
};

typedef vec
bytes_operation(vec a, vec b, const struct terms *t);
typedef vec
words_operation(vec a, vec b);
typedef vec
floats_operation(vec a, vec b, const struct terms *t);

/* The operation on bytes in 16-bit lanes each; it gives 0 to 255. */
LANES_INLINE vec
by_words(vec a, vec b, words_operation *operation) {
    vec zero = v_zero();

    return v_pack16(
        operation(v_low8(a, zero), v_low8(b, zero)), operation(v_high8(a, zero), v_high8(b, zero))
    );
}

/* The operation on bytes in 32-bit lanes each; what it gives below 0 becomes 0. */
LANES_INLINE vec
by_floats(vec a, vec b, const struct terms *t, floats_operation *operation) {
    vec zero = v_zero();
    vec a_low = v_low8(a, zero), a_high = v_high8(a, zero);
    vec b_low = v_low8(b, zero), b_high = v_high8(b, zero);

    return v_pack16(
        v_pack32(
            operation(v_low16(a_low, zero), v_low16(b_low, zero), t),
            operation(v_high16(a_low, zero), v_high16(b_low, zero), t)
        ),
        v_pack32(
            operation(v_low16(a_high, zero), v_low16(b_high, zero), t),
            operation(v_high16(a_high, zero), v_high16(b_high, zero), t)
        )
    );
}

/* All rows of `out`, which is no larger than the others and shares no memory with them. */
LANES_INLINE void
each_row(Imaging out, Imaging in1, Imaging in2, const struct terms *t, bytes_operation *operation) {
    int y, i, bytes = out->xsize * out->pixelsize;

    for (y = 0; y < out->ysize; y++) {
        const uint8_t *a = (const uint8_t *)in1->image[y], *b = (const uint8_t *)in2->image[y];
        uint8_t *to = (uint8_t *)out->image[y];

        for (i = 0; i <= bytes - VEC_BYTES; i += VEC_BYTES) {
            v_store(to + i, operation(v_load(a + i), v_load(b + i), t));
            if (i % 64 == 0) {
                fetch_to_read(a + i, 64);
                fetch_to_read(b + i, 64);
                fetch_to_write(to + i, 64);
            }
        }
        if (i < bytes) {
            /* The last bytes go through vectors that may be read and written whole. */
            uint8_t rest[2][sizeof(vec)] = {{0}};

            memcpy(rest[0], a + i, bytes - i);
            memcpy(rest[1], b + i, bytes - i);
            v_store(rest[0], operation(v_load(rest[0]), v_load(rest[1]), t));
            memcpy(to + i, rest[0], bytes - i);
        }
    }
}

#endif
