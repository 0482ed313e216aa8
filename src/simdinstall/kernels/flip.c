/*
 * Rows with their pixels in reverse order: a vector is turned round and stored as far
 * from the row's end as it was read from its beginning. And rows as they are, in reverse order.
 */
#include "flip.h"

/* Vectors of 64 bytes lie across two cache lines nearly always: measured, 7 % slower. */
#if SIMD_LEVEL == SIMD_LEVEL_AVX512
#define LANES_LEVEL SIMD_LEVEL_AVX2
#endif
#include "lanes.h"
#include "copy_rows.h"

/* Per size of a pixel: the bytes of 16, pixels reversed, bytes within a pixel not. */
static const uint8_t backwards[5][16] = {
    [1] = {15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0},
    [2] = {14, 15, 12, 13, 10, 11, 8, 9, 6, 7, 4, 5, 2, 3, 0, 1},
    [4] = {12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3},
};

LANES_INLINE vec
reversed(vec a, vec order) {
    a = v_shuffle8(a, order);
#if LANES_LEVEL == SIMD_LEVEL_AVX512
    return _mm512_shuffle_i32x4(a, a, _MM_SHUFFLE(0, 1, 2, 3));
#elif LANES_LEVEL == SIMD_LEVEL_AVX2
    return _mm256_permute4x64_epi64(a, _MM_SHUFFLE(1, 0, 3, 2));
#else
    return a;
#endif
}

static void
reverse_row(uint8_t *out, const uint8_t *in, int bytes, vec order) {
    int last = bytes - VEC_BYTES, i;

    if (last < 0) {
        /* A short row goes through a vector, at whose end it stands before turning. */
        uint8_t few[sizeof(vec)] = {0};

        memcpy(few - last, in, bytes);
        v_store(few, reversed(v_load(few), order));
        memcpy(out, few, bytes);
        return;
    }
    for (i = 0; i < last; i += VEC_BYTES) {
        v_store(out + last - i, reversed(v_load(in + i), order));
        if (i % 64 == 0) {
            fetch_to_read(in + i, 64);
            __builtin_prefetch(out + last - i - FETCH_AHEAD, 1);
        }
    }
    /* The last vector may do some pixels once more. */
    v_store(out, reversed(v_load(in + last), order));
}

/* Row y to row y, or to the one as far from the bottom. */
static Imaging
reverse_rows(Imaging imOut, Imaging imIn, int upside_down) {
    ImagingSectionCookie cookie;
    vec order = v_repeat128(backwards[imIn->pixelsize]);
    int bytes = imIn->xsize * imIn->pixelsize, y;

    ImagingCopyPalette(imOut, imIn);

    ImagingSectionEnter(&cookie);
    IMAGE_LOCK(imIn);
    for (y = 0; y < imIn->ysize; y++) {
        int to = upside_down ? imIn->ysize - 1 - y : y;

        reverse_row((uint8_t *)imOut->image[to], (const uint8_t *)imIn->image[y], bytes, order);
    }
    IMAGE_UNLOCK(imIn);
    ImagingSectionLeave(&cookie);
    return imOut;
}

Imaging
SIMD_NAME(flip_left_right)(Imaging imOut, Imaging imIn) {
    return reverse_rows(imOut, imIn, 0);
}

Imaging
SIMD_NAME(rotate180)(Imaging imOut, Imaging imIn) {
    return reverse_rows(imOut, imIn, 1);
}

Imaging
SIMD_NAME(flip_top_bottom)(Imaging imOut, Imaging imIn) {
    ImagingSectionCookie cookie;
    struct walk to = {imOut->image + imOut->ysize - 1, -1, 0}, from = {imIn->image, 1, 0};

    ImagingCopyPalette(imOut, imIn);

    ImagingSectionEnter(&cookie);
    IMAGE_LOCK(imIn);
    copy_rows(&to, &from, imIn->ysize, imIn->linesize);
    IMAGE_UNLOCK(imIn);
    ImagingSectionLeave(&cookie);
    return imOut;
}
