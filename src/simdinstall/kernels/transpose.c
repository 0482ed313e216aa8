/*
 * Rows to columns, in tiles that fit into the registers.
 *
 * A tile has as many columns as pixels fit into 16 bytes, and as many rows as fit into a
 * vector. Part j of a vector (16 bytes) works on its own rows, so that what comes out is a
 * whole vector of each row of the result.
 *
 * All four functions are this one, with the rows of the source or of the result counted
 * from the bottom.
 */
#include "transpose.h"

#include "lanes.h"

/* A cache line: tiles are done until all that was touched of source and result is whole lines. */
#define LINE 64
/* Bytes of a row of the source that are done before going back to its beginning. */
#define BREADTH 512
/* Squares between the one at work and the one that is fetched from memory. */
#define AHEAD 2

/* An image's rows from the top or from the bottom. */
struct rows {
    char **first;
    ptrdiff_t step;
};

static struct rows
rows_of(Imaging im, int upside_down) {
    struct rows rows = {im->image, 1};

    if (upside_down) {
        rows.first += im->ysize - 1;
        rows.step = -1;
    }
    return rows;
}

LANES_INLINE uint8_t *
row(struct rows rows, int y) {
    return (uint8_t *)rows.first[y * rows.step];
}

LANES_INLINE vec
low(vec a, vec b, int size) {
    return size == 1 ? v_low8(a, b) : size == 2 ? v_low16(a, b) : v_low32(a, b);
}

LANES_INLINE vec
high(vec a, vec b, int size) {
    return size == 1 ? v_high8(a, b) : size == 2 ? v_high16(a, b) : v_high32(a, b);
}

/*
 * One tile: 16 bytes at `in[y] + from` of each row become `bytes` at `row(out, x + k) + to`.
 *
 * Interleaving row i with row i + n / 2 moves the highest bit of a pixel's row number to the
 * lowest place of its column number, and the highest of the column number to the lowest of the
 * row number. Done once for each bit, rows and columns have changed places.
 */
LANES_INLINE void
tile(struct rows out, int x, size_t to, const uint8_t *const *in, size_t from, int bytes, int size) {
    int n = 16 / size, bit, i;
    vec a[16], b[16];

    for (i = 0; i < n; i++) {
        a[i] = v_load_parts(in + i, n, from);
    }
    for (bit = 1; bit < n; bit *= 2) {
        for (i = 0; i < n / 2; i++) {
            b[2 * i] = low(a[i], a[i + n / 2], size);
            b[2 * i + 1] = high(a[i], a[i + n / 2], size);
        }
        for (i = 0; i < n; i++) {
            a[i] = b[i];
        }
    }
    for (i = 0; i < n; i++) {
        if (bytes == VEC_BYTES) {
            v_store(row(out, x + i) + to, a[i]);
        } else {
            v_store(b, a[i]);
            memcpy(row(out, x + i) + to, b, bytes);
        }
    }
}

/* A line of each of up to LINE / size rows of the source. */
LANES_INLINE void
square(struct rows out, struct rows in, int x, int x_end, int y, int y_count, int size) {
    const uint8_t *from[LINE];
    int tall = VEC_BYTES / size, wide = 16 / size, i, left;

    for (i = 0; i < LINE / size; i++) {
        /* Rows that are not there are given by the last one, and not stored. */
        from[i] = row(in, y + (i < y_count ? i : y_count - 1));
    }
    for (; x < x_end; x += wide) {
        if (x > x_end - wide) {
            x = x_end - wide; /* at the right edge some columns are done twice */
        }
        for (i = 0; i < y_count; i += tall) {
            left = (y_count - i) * size;
            tile(
                out, x, (size_t)(y + i) * size, from + i, (size_t)x * size,
                left < VEC_BYTES ? left : VEC_BYTES, size
            );
        }
    }
}


/*
 * Asks for the memory that a square will need. In both images it is a line here and a line
 * there, which no processor foresees; waiting for it takes longer than all the rest.
 */
LANES_INLINE void
fetch_square(struct rows out, struct rows in, int x, int y, int size) {
    int i;

    for (i = 0; i < LINE / size; i++) {
        __builtin_prefetch(row(in, y + i) + (size_t)x * size);
        __builtin_prefetch(row(out, x + i) + (size_t)y * size, 1);
    }
}

/* Columns from left to right, a square's height of them after the other. */
LANES_INLINE void
turn_columns(struct rows out, struct rows in, int left, int right, int ysize, int size) {
    int side = LINE / size, wide = 16 / size;
    int x, y, x_end, from, count;

    for (y = 0; y < ysize; y += side) {
        /* The last rows reach back into those before, if there are any. */
        from = y + side <= ysize ? y : ysize < side ? 0 : ysize - side;
        count = ysize - from < side ? ysize - from : side;
        for (x = left; x < right; x += side) {
            if (y + (AHEAD + 1) * side <= ysize && x + side <= right) {
                fetch_square(out, in, x, y + AHEAD * side, size);
            }
            x_end = x + side < right ? x + side : right;
            square(out, in, x_end - x < wide ? x_end - wide : x, x_end, from, count, size);
        }
    }
}

LANES_INLINE void
turn(struct rows out, struct rows in, int xsize, int ysize, int size) {
    int breadth = BREADTH / size, left;

    for (left = 0; left < xsize; left += breadth) {
        turn_columns(out, in, left, left + breadth < xsize ? left + breadth : xsize, ysize, size);
    }
}

static Imaging
exchange(Imaging imOut, Imaging imIn, int out_upside_down, int in_upside_down) {
    ImagingSectionCookie cookie;
    struct rows out = rows_of(imOut, out_upside_down), in = rows_of(imIn, in_upside_down);

    ImagingCopyPalette(imOut, imIn);

    ImagingSectionEnter(&cookie);
    IMAGE_LOCK(imIn);
    switch (imIn->pixelsize) {
        case 1:
            turn(out, in, imIn->xsize, imIn->ysize, 1);
            break;
        case 2:
            turn(out, in, imIn->xsize, imIn->ysize, 2);
            break;
        default:
            turn(out, in, imIn->xsize, imIn->ysize, 4);
    }
    IMAGE_UNLOCK(imIn);
    ImagingSectionLeave(&cookie);
    return imOut;
}

Imaging
SIMD_NAME(transpose)(Imaging imOut, Imaging imIn) {
    return exchange(imOut, imIn, 0, 0);
}

Imaging
SIMD_NAME(rotate90)(Imaging imOut, Imaging imIn) {
    return exchange(imOut, imIn, 1, 0);
}

Imaging
SIMD_NAME(rotate270)(Imaging imOut, Imaging imIn) {
    return exchange(imOut, imIn, 0, 1);
}

Imaging
SIMD_NAME(transverse)(Imaging imOut, Imaging imIn) {
    return exchange(imOut, imIn, 1, 1);
}
