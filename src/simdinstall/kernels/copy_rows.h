/*
 * Rows of bytes copied from one image to another. For kernels; include lanes.h first.
 *
 * memcpy() knows nothing of the next row, which may begin anywhere. Here memory is asked for
 * across the ends of rows, and big images are copied in half to two thirds of the time.
 */
#ifndef SIMDINSTALL_COPY_ROWS_H
#define SIMDINSTALL_COPY_ROWS_H

/* From row to row of an image, at a certain byte of each; `step` is 1, or -1 to go upwards. */
struct walk {
    char *const *row;
    ptrdiff_t step;
    size_t offset;
};

LANES_INLINE char *
row_of(const struct walk *walk, int y) {
    return walk->row[y * walk->step] + walk->offset;
}

/* What follows `i` in a row by so many bytes, or where the row ends before, in the next one. */
LANES_INLINE const char *
further(const char *row, const char *next, int i, int distance, int bytes) {
    int at = i + distance;

    return at < bytes ? row + at : next + (at - bytes);
}

/* The rows do not overlap. */
static void
copy_row(char *to, const char *from, int bytes, const char *next_to, const char *next_from) {
    const int line = 64, distance = bytes < FETCH_AHEAD ? bytes : FETCH_AHEAD;
    int i, k;

    if (bytes < line) {
        memcpy(to, from, (size_t)bytes);
        return;
    }
    for (i = 0;; i = i + line < bytes - line ? i + line : bytes - line) {
        for (k = 0; k < line; k += VEC_BYTES) {
            v_store(to + i + k, v_load(from + i + k));
        }
        if (i == bytes - line) {
            return; /* some bytes were done twice */
        }
        __builtin_prefetch(further(from, next_from, i, distance, bytes), 0);
        __builtin_prefetch(further(to, next_to, i, distance, bytes), 1);
    }
}

static void
copy_rows(const struct walk *to, const struct walk *from, int rows, int bytes) {
    int y;

    for (y = 0; y < rows; y++) {
        int next = y + 1 < rows ? y + 1 : y;
        copy_row(row_of(to, y), row_of(from, y), bytes, row_of(to, next), row_of(from, next));
    }
}

#endif
