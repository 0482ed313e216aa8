/*
 * Four pixels at a time, in one vector of 16 bytes. 12 of them are in threes; the other 4 are
 * read or written as well as long as the line has them, and written over by the next step.
 */
#include "pack.h"

#include <smmintrin.h>

/* Pixels that 16 bytes in threes reach into. */
#define REACH 6

/* For _mm_shuffle_epi8(), to which -1 is a zero. */
static const int8_t to_rgb[16] = {0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1};
static const int8_t to_bgr[16] = {2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1};
static const int8_t from_rgb[16] = {0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1};
static const int8_t from_bgr[16] = {2, 1, 0, -1, 5, 4, 3, -1, 8, 7, 6, -1, 11, 10, 9, -1};

static inline __m128i
load(const void *from) {
    return _mm_loadu_si128(from);
}

static inline void
pack(uint8_t *out, const uint8_t *in, int pixels, const int8_t *order) {
    const __m128i shuffle = load(order);

    for (; pixels >= REACH; pixels -= 4, in += 16, out += 12) {
        _mm_storeu_si128((__m128i *)out, _mm_shuffle_epi8(load(in), shuffle));
    }
    for (; pixels > 0; pixels--, in += 4, out += 3) {
        out[0] = in[order[0]];
        out[1] = in[order[1]];
        out[2] = in[order[2]];
    }
}

/* The fourth byte of each pixel becomes 255. */
static inline void
unpack(uint8_t *out, const uint8_t *in, int pixels, const int8_t *order) {
    const __m128i shuffle = load(order), fourth = _mm_set1_epi32((int)0xff000000);

    for (; pixels >= REACH; pixels -= 4, in += 12, out += 16) {
        __m128i four = _mm_shuffle_epi8(load(in), shuffle);
        _mm_storeu_si128((__m128i *)out, _mm_or_si128(four, fourth));
    }
    for (; pixels > 0; pixels--, in += 3, out += 4) {
        out[0] = in[order[0]];
        out[1] = in[order[1]];
        out[2] = in[order[2]];
        out[3] = 255;
    }
}

static void
pack_rgb(uint8_t *out, const uint8_t *in, int pixels) {
    pack(out, in, pixels, to_rgb);
}

static void
pack_bgr(uint8_t *out, const uint8_t *in, int pixels) {
    pack(out, in, pixels, to_bgr);
}

static void
unpack_rgb(uint8_t *out, const uint8_t *in, int pixels) {
    unpack(out, in, pixels, from_rgb);
}

static void
unpack_bgr(uint8_t *out, const uint8_t *in, int pixels) {
    unpack(out, in, pixels, from_bgr);
}

ImagingShuffler
SIMD_NAME(find_packer)(ModeID mode, RawModeID rawmode, int *bits) {
    ImagingShuffler stock = pack_find_packer(mode, rawmode, bits);
    return stock == ImagingPackRGB ? pack_rgb : stock == ImagingPackBGR ? pack_bgr : NULL;
}

ImagingShuffler
SIMD_NAME(find_unpacker)(ModeID mode, RawModeID rawmode, int *bits) {
    ImagingShuffler stock = pack_find_unpacker(mode, rawmode, bits);
    return stock == ImagingUnpackRGB ? unpack_rgb : stock == ImagingUnpackBGR ? unpack_bgr : NULL;
}
