/*
 * Pixels as box_blur.c works on them: 16 bits each, the lines of an image in the lanes of
 * vectors. Here is the way from rows of bytes to such vectors and back.
 *
 * A bundle is what is widened at once. Of most modes it is one vector of bytes, which
 * becomes two of words. A pixel of three bands has a fourth byte that holds nothing, as a
 * rule the same in the whole image; it stays the same in a blur, so two vectors of such
 * pixels become three of words, without it.
 */
#ifndef SIMDINSTALL_BOX_BLUR_LINES_H
#define SIMDINSTALL_BOX_BLUR_LINES_H

#include "lanes.h"

/* Positions that are read and written together: a square of 1-byte pixels, see below. */
#define CHUNK 16

/* How pixels lie in a bundle. Constant wherever it is passed on, so that code is chosen by it. */
enum layout { BYTES, FOUR_BANDS, THREE_BANDS };

#define BUNDLE_VECTORS(layout) ((layout) == THREE_BANDS ? 2 : 1)
#define BUNDLE_WORDS(layout) ((layout) == THREE_BANDS ? 3 : 2)
#define BUNDLE_BYTES(layout) (BUNDLE_VECTORS(layout) * VEC_BYTES)
#define BUNDLE_MAX 2 /* vectors */
#define PIXEL_BYTES(layout) ((layout) == BYTES ? 1 : 4)
/* Rows of a bundle, where it is one position of several rows. */
#define BUNDLE_ROWS(layout) (BUNDLE_BYTES(layout) / PIXEL_BYTES(layout))

/* The bands of four pixels one after the other, and back. */
static const int8_t by_band[16] = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};

/*
 * What three-band pixels are expected to have as their fourth bytes, in each byte, and what
 * differs from it in those that were met: in the fourth bytes, or, if they are laid out
 * as THREE_BANDS, in the upper half of each 128-bit part.
 */
struct unused {
    vec bytes, wrong;
};

LANES_INLINE void
widen(vec *words, const vec *bytes, struct unused *unused, int layout) {
    const vec zero = v_zero();

    if (layout == THREE_BANDS) {
        const vec order = v_repeat128(by_band);
        vec a = v_shuffle8(bytes[0], order), b = v_shuffle8(bytes[1], order);
        vec third_and_unused = v_high32(a, b);

        words[0] = v_low8(a, zero);
        words[1] = v_low8(b, zero);
        words[2] = v_low8(third_and_unused, zero);
        unused->wrong = v_or(unused->wrong, v_xor(third_and_unused, unused->bytes));
    } else {
        words[0] = v_low8(bytes[0], zero);
        words[1] = v_high8(bytes[0], zero);
        unused->wrong = v_or(unused->wrong, v_xor(bytes[0], unused->bytes));
    }
}

LANES_INLINE void
narrow(vec *bytes, const vec *words, vec unused, int layout) {
    vec first = v_pack16(words[0], words[1]);

    if (layout == THREE_BANDS) {
        const vec order = v_repeat128(by_band);
        vec third = v_pack16(words[2], words[2]);

        third = v_low32(third, unused);
        bytes[0] = v_shuffle8(v_low64(first, third), order);
        bytes[1] = v_shuffle8(v_high64(first, third), order);
    } else {
        bytes[0] = first;
    }
}

/* Whether all fourth bytes were as expected. */
static int
as_expected(const struct unused *unused, int layout) {
    uint8_t wrong[VEC_BYTES];
    int i, any = 0;

    v_store(wrong, unused->wrong);
    for (i = 0; i < VEC_BYTES; i++) {
        any |= (layout == THREE_BANDS ? i & 8 : i % 4 == 3) ? wrong[i] : 0;
    }
    return !any;
}

/* ------------------------------------------------------------------ rows side by side */

/*
 * Along x, a bundle is one position of several rows. They are read and written in squares:
 * 16 bytes, so 4 or 16 pixels, of as many rows, in each 128-bit part of the vectors.
 */

/*
 * Transpose a square of pixels in each 128-bit part: 4x4 of 4 bytes, 16x16 of 1 byte.
 * Interleaving the first half of the vectors with the second one moves one bit of each
 * pixel's row number into its column number, so log2(side) rounds exchange them.
 */
LANES_INLINE void
transpose(vec *square, int pixelsize) {
    const int side = 16 / pixelsize;
    vec turned[16];
    int round, i;

    for (round = 1; round < side; round *= 2) {
        for (i = 0; i < side / 2; i++) {
            vec a = square[i], b = square[i + side / 2];
            turned[2 * i] = pixelsize == 4 ? v_low32(a, b) : v_low8(a, b);
            turned[2 * i + 1] = pixelsize == 4 ? v_high32(a, b) : v_high8(a, b);
        }
        for (i = 0; i < side; i++) {
            square[i] = turned[i];
        }
    }
}

LANES_INLINE void
load_square(
    vec *words, const uint8_t *const *rows, ptrdiff_t at, struct unused *unused, int layout
) {
    const int pixelsize = PIXEL_BYTES(layout), side = 16 / pixelsize;
    vec squares[BUNDLE_MAX][16];
    int i, k;

    for (k = 0; k < BUNDLE_VECTORS(layout); k++) {
        for (i = 0; i < side; i++) {
            squares[k][i] = v_load_parts(rows + k * VEC_BYTES / pixelsize + i, side, at);
        }
        transpose(squares[k], pixelsize);
    }
    for (i = 0; i < side; i++) {
        vec bytes[BUNDLE_MAX];

        for (k = 0; k < BUNDLE_VECTORS(layout); k++) {
            bytes[k] = squares[k][i];
        }
        widen(words + i * BUNDLE_WORDS(layout), bytes, unused, layout);
    }
}

LANES_INLINE void
store_square(uint8_t *const *rows, ptrdiff_t at, const vec *words, vec unused, int layout) {
    const int pixelsize = PIXEL_BYTES(layout), side = 16 / pixelsize;
    vec squares[BUNDLE_MAX][16];
    int i, k;

    for (i = 0; i < side; i++) {
        vec bytes[BUNDLE_MAX];

        narrow(bytes, words + i * BUNDLE_WORDS(layout), unused, layout);
        for (k = 0; k < BUNDLE_VECTORS(layout); k++) {
            squares[k][i] = bytes[k];
        }
    }
    for (k = 0; k < BUNDLE_VECTORS(layout); k++) {
        transpose(squares[k], pixelsize);
        for (i = 0; i < side; i++) {
            v_store_parts(rows + k * VEC_BYTES / pixelsize + i, side, at, squares[k][i]);
        }
    }
}

/* One 128-bit part of a vector in which all are the same. */
LANES_INLINE __m128i
part_of(vec a) {
#if LANES_LEVEL == SIMD_LEVEL_AVX512
    return _mm512_castsi512_si128(a);
#elif LANES_LEVEL == SIMD_LEVEL_AVX2
    return _mm256_castsi256_si128(a);
#else
    return a;
#endif
}

/* Where the rows end inside a square, a buffer of the full size stands in for them. */
struct margin {
    uint8_t bytes[VEC_BYTES][16];
    const uint8_t *in[VEC_BYTES];
    uint8_t *out[VEC_BYTES];
};

LANES_INLINE void
load_rows(
    vec *words, const uint8_t *const *rows, ptrdiff_t at, ptrdiff_t end, struct unused *unused,
    int layout
) {
    const int square = 16 / PIXEL_BYTES(layout) * BUNDLE_WORDS(layout);
    struct margin margin;
    int i;

    for (; at + 16 <= end; at += 16, words += square) {
        load_square(words, rows, at, unused, layout);
    }
    if (at < end) {
        for (i = 0; i < BUNDLE_ROWS(layout); i++) {
            margin.in[i] = margin.bytes[i];
            _mm_storeu_si128((__m128i *)margin.bytes[i], part_of(unused->bytes));
            memcpy(margin.bytes[i], rows[i] + at, end - at);
        }
        load_square(words, margin.in, 0, unused, layout);
    }
}

LANES_INLINE void
store_rows(
    uint8_t *const *rows, ptrdiff_t at, ptrdiff_t end, const vec *words, vec unused, int layout
) {
    const int square = 16 / PIXEL_BYTES(layout) * BUNDLE_WORDS(layout);
    struct margin margin;
    int i;

    for (; at + 16 <= end; at += 16, words += square) {
        store_square(rows, at, words, unused, layout);
    }
    if (at < end) {
        for (i = 0; i < BUNDLE_ROWS(layout); i++) {
            margin.out[i] = margin.bytes[i];
        }
        store_square(margin.out, 0, words, unused, layout);
        for (i = 0; i < BUNDLE_ROWS(layout); i++) {
            memcpy(rows[i] + at, margin.bytes[i], end - at);
        }
    }
}

/* ------------------------------------------------------------------ a stripe of rows */

/*
 * Along y, bundles are side by side in a row, the last perhaps not whole. The words of the
 * next one are `pitch` vectors further on.
 */
LANES_INLINE void
load_stripe(
    vec *words, ptrdiff_t pitch, char *const *rows, int count, int at, int bytes,
    struct unused *unused, int layout
) {
    int y, i, k;

    for (y = 0; y < count; y++) {
        const char *row = rows[y] + at;
        vec *to = words + y * BUNDLE_WORDS(layout), bundle[BUNDLE_MAX];
        char margin[BUNDLE_MAX * VEC_BYTES] = {0};

        for (i = 0; i < bytes; i += BUNDLE_BYTES(layout), to += pitch) {
            const char *from = row + i;

            if (i + BUNDLE_BYTES(layout) > bytes) {
                from = memcpy(margin, from, bytes - i);
            }
            for (k = 0; k < BUNDLE_VECTORS(layout); k++) {
                bundle[k] = v_load(from + k * VEC_BYTES);
            }
            widen(to, bundle, unused, layout);
        }
    }
}

LANES_INLINE void
store_stripe(
    char *const *rows, int count, int at, int bytes, const vec *words, ptrdiff_t pitch,
    vec unused, int layout
) {
    int y, i, k;

    for (y = 0; y < count; y++) {
        char *row = rows[y] + at, margin[BUNDLE_MAX * VEC_BYTES];
        const vec *from = words + y * BUNDLE_WORDS(layout);
        vec bundle[BUNDLE_MAX];

        for (i = 0; i < bytes; i += BUNDLE_BYTES(layout), from += pitch) {
            int whole = i + BUNDLE_BYTES(layout) <= bytes;

            narrow(bundle, from, unused, layout);
            for (k = 0; k < BUNDLE_VECTORS(layout); k++) {
                v_store((whole ? row + i : margin) + k * VEC_BYTES, bundle[k]);
            }
            if (!whole) {
                memcpy(row + i, margin, bytes - i);
            }
        }
    }
}

#endif
