/*
 * Undoing the filter of a PNG's row, in place. PNG specification, chapter 9.2.
 *
 * Names as there: x the byte that is wanted, a the one to its left, b the one above, c the one
 * left above; left is one pixel, `bpp` bytes, away. What is sought depends on the pixel before, so
 * that pixels come one after the other; what counts is how many steps lie between one
 * pixel and the next. Whatever does not depend on the pixel before is worked out ahead,
 * for a chunk of the row at a time.
 */
#ifndef SIMDINSTALL_PNG_UNFILTER_H
#define SIMDINSTALL_PNG_UNFILTER_H

#include "lanes.h"
#include "zip_codec.h"

/* A chunk has whole vectors, and whole pixels of 1, 2, 3, 4, 6 or 8 bytes. */
#define CHUNK 384
/* Pixels are read and written 16 bytes at a time: so many more than there are. */
#define BEYOND 64

/* ------------------------------------------------------------------ a + x */

/* Adds to each byte all those of `a` that are a multiple of `bpp` before it, within 16 bytes. */
LANES_INLINE __m128i
running_sums(__m128i a, int bpp) {
    switch (bpp) {
        case 1:
            a = _mm_add_epi8(a, _mm_slli_si128(a, 1));
            /* fall through */
        case 2:
            a = _mm_add_epi8(a, _mm_slli_si128(a, 2));
            /* fall through */
        case 4:
            a = _mm_add_epi8(a, _mm_slli_si128(a, 4));
            /* fall through */
        case 8:
            return _mm_add_epi8(a, _mm_slli_si128(a, 8));
        case 3:
            a = _mm_add_epi8(a, _mm_slli_si128(a, 3));
            /* fall through */
        default: /* 6 */
            a = _mm_add_epi8(a, _mm_slli_si128(a, 6));
            return _mm_add_epi8(a, _mm_slli_si128(a, 12));
    }
}

LANES_INLINE void
undo_sub_of(int bpp, uint8_t *row, int bytes) {
    uint8_t order[16], rest[16] = {0};
    __m128i last, sums = _mm_setzero_si128();
    int i;

    /* The last pixel of 16 bytes, as often as it fits into the next 16. */
    for (i = 0; i < 16; i++) {
        order[i] = (uint8_t)(16 - bpp + i % bpp);
    }
    last = _mm_loadu_si128((const __m128i *)order);
    for (i = 0; i <= bytes - 16; i += 16) {
        __m128i *place = (__m128i *)(row + i);

        sums = _mm_add_epi8(
            running_sums(_mm_loadu_si128(place), bpp), _mm_shuffle_epi8(sums, last)
        );
        _mm_storeu_si128(place, sums);
    }
    if (i < bytes) {
        memcpy(rest, row + i, bytes - i);
        sums = _mm_add_epi8(
            running_sums(_mm_loadu_si128((const __m128i *)rest), bpp),
            _mm_shuffle_epi8(sums, last)
        );
        _mm_storeu_si128((__m128i *)rest, sums);
        memcpy(row + i, rest, bytes - i);
    }
}

static void
undo_sub(uint8_t *row, int bytes, int bpp) {
    switch (bpp) {
        case 1:
            undo_sub_of(1, row, bytes);
            break;
        case 2:
            undo_sub_of(2, row, bytes);
            break;
        case 3:
            undo_sub_of(3, row, bytes);
            break;
        case 4:
            undo_sub_of(4, row, bytes);
            break;
        case 6:
            undo_sub_of(6, row, bytes);
            break;
        default:
            undo_sub_of(8, row, bytes);
            break;
    }
}

/* ------------------------------------------------------------------ b + x */

static void
undo_up(uint8_t *restrict row, const uint8_t *restrict above, int bytes) {
    int i;

    for (i = 0; i < bytes; i++) {
        row[i] = (uint8_t)(row[i] + above[i]);
    }
}

/* ------------------------------------------------------------------ (a + b) / 2 + x */

/*
 * Half of a sum rounded down is, of inverted bytes, half of it rounded up, which is one
 * instruction. So `a` stays inverted, and two steps lie between pixels.
 */
static void
undo_average(uint8_t *row, const uint8_t *above, int bytes, int bpp) {
    uint8_t x[CHUNK + BEYOND], b[CHUNK + BEYOND], out[CHUNK + BEYOND];
    const __m128i ones = _mm_set1_epi8(-1);
    __m128i a = ones;
    int i, j;

    for (i = 0; i < bytes; i += CHUNK) {
        int count = bytes - i < CHUNK ? bytes - i : CHUNK;

        memcpy(x, row + i, count);
        for (j = 0; j < count; j++) {
            b[j] = (uint8_t)~above[i + j];
        }
        for (j = 0; j < count; j += bpp) {
            __m128i b_here = _mm_loadl_epi64((const __m128i *)(b + j));
            __m128i x_here = _mm_loadl_epi64((const __m128i *)(x + j));

            a = _mm_sub_epi8(_mm_avg_epu8(a, b_here), x_here);
            _mm_storel_epi64((__m128i *)(out + j), a);
        }
        for (j = 0; j < count; j++) {
            row[i + j] = (uint8_t)~out[j];
        }
    }
}

/* ------------------------------------------------------------------ paeth(a, b, c) + x */

/*
 * The predictor as a function of `a`, which comes late, b and c being known. With d = b - c:
 * b is no farther from a + b - c than c is where a lies on b's side of c - d/2; and a is the nearest
 * unless it lies between b and c - 2d, neither included. So a is compared with three numbers
 * that are there already, and what is added to x is added to all candidates in advance.
 */
struct paeth_terms {
    int16_t low[CHUNK + BEYOND], high[CHUNK + BEYOND]; /* b and c - 2d */
    int16_t between[CHUNK + BEYOND];                   /* the first above c - d/2, or at it */
    int16_t at_least[CHUNK + BEYOND], below[CHUNK + BEYOND]; /* x + b or x + c, by `between` */
    int16_t x[CHUNK + BEYOND];
};

LANES_INLINE void
paeth_prepare(
    struct paeth_terms *t, const uint8_t *x, const uint8_t *b, const uint8_t *c, int count
) {
    int i;

    for (i = 0; i < count; i++) {
        int d = b[i] - c[i], far = c[i] - 2 * d;
        int less = d < 0 ? b[i] : c[i], more = d < 0 ? c[i] : b[i];

        t->low[i] = (int16_t)(b[i] < far ? b[i] : far);
        t->high[i] = (int16_t)(b[i] < far ? far : b[i]);
        t->between[i] = (int16_t)(c[i] - ((d - (d < 0)) >> 1));
        t->below[i] = (uint8_t)(less + x[i]);
        t->at_least[i] = (uint8_t)(more + x[i]);
        t->x[i] = x[i];
    }
}

/* yes where the mask has ones, else no */
LANES_INLINE __m128i
where(__m128i mask, __m128i yes, __m128i no) {
#if SIMD_LEVEL == SIMD_LEVEL_AVX512
    return _mm_ternarylogic_epi32(mask, yes, no, 0xca);
#else
    return _mm_blendv_epi8(no, yes, mask);
#endif
}

LANES_INLINE __m128i
paeth_load(const int16_t *p, int wide) {
    return wide ? _mm_loadu_si128((const __m128i *)p) : _mm_loadl_epi64((const __m128i *)p);
}

/* All pixels of a chunk; 16-bit lanes, of which the upper halves are always zero. */
LANES_INLINE __m128i
paeth_pixels(
    const struct paeth_terms *t, int16_t *out, int count, int bpp, __m128i a, int wide
) {
    int i;

    for (i = 0; i < count; i += bpp) {
        __m128i inside = _mm_and_si128(
            _mm_cmpgt_epi16(a, paeth_load(t->low + i, wide)),
            _mm_cmpgt_epi16(paeth_load(t->high + i, wide), a)
        );
        __m128i b_or_c = where(
            _mm_cmpgt_epi16(paeth_load(t->between + i, wide), a),
            paeth_load(t->below + i, wide), paeth_load(t->at_least + i, wide)
        );

        a = where(inside, b_or_c, _mm_add_epi8(a, paeth_load(t->x + i, wide)));
        if (wide) {
            _mm_storeu_si128((__m128i *)(out + i), a);
        } else {
            _mm_storel_epi64((__m128i *)(out + i), a);
        }
    }
    return a;
}

static void
undo_paeth(uint8_t *row, const uint8_t *above, int bytes, int bpp) {
    struct paeth_terms terms;
    uint8_t left[CHUNK];
    int16_t out[CHUNK + BEYOND];
    __m128i a = _mm_setzero_si128();
    int i, j;

    for (i = 0; i < bytes; i += CHUNK) {
        int count = bytes - i < CHUNK ? bytes - i : CHUNK;
        const uint8_t *c = above + i - bpp;

        if (!i) {
            memset(left, 0, bpp);
            memcpy(left + bpp, above, count - bpp);
            c = left;
        }
        paeth_prepare(&terms, row + i, above + i, c, count);
        a = bpp > 4 ? paeth_pixels(&terms, out, count, bpp, a, 1)
                    : paeth_pixels(&terms, out, count, bpp, a, 0);
        for (j = 0; j < count; j++) {
            row[i + j] = (uint8_t)out[j];
        }
    }
}

/* ------------------------------------------------------------------ a row */

/*
 * `row` begins with its filter's number, `above` with its first pixel. Returns 0 where there is
 * no such filter.
 */
static int
unfilter_row(uint8_t *row, const uint8_t *above, int bytes, int bpp) {
    switch (*row++) {
        case PNG_NONE:
            return 1;
        case PNG_SUB:
            undo_sub(row, bytes, bpp);
            return 1;
        case PNG_UP:
            undo_up(row, above, bytes);
            return 1;
        case PNG_AVERAGE:
            undo_average(row, above, bytes, bpp);
            return 1;
        case PNG_PAETH:
            undo_paeth(row, above, bytes, bpp);
            return 1;
        default:
            return 0;
    }
}

#endif
