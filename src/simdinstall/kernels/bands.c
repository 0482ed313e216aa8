/*
 * Bands out of pixels of four bytes, and into them.
 *
 * Four vectors of pixels and one vector of each band hold the same pixels. Between them
 * stands a transposition of 4x4 bytes within each 128-bit part, and one of the parts.
 */
#include "bands.h"

/* Vectors of 64 bytes lie across two cache lines nearly always: merging takes a tenth longer. */
#if SIMD_LEVEL == SIMD_LEVEL_AVX512
#define LANES_LEVEL SIMD_LEVEL_AVX2
#endif
#include "lanes.h"

/* Which byte of a pixel a band is in: images of two bands have the second in the last byte. */
static int
place_of(Imaging im, int band) {
    return im->bands == 2 && band == 1 ? 3 : band;
}

/* Bytes 4 * p + k of each 128-bit part to 4 * k + p; the same the other way round. */
LANES_INLINE vec
exchange_bytes(vec a) {
    static const uint8_t order[16] = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};

    return v_shuffle8(a, v_repeat128(order));
}

/* Lanes of 32 bits: lane v * parts + p comes from lane p * 4 + v. */
LANES_INLINE vec
parts_to_row(vec a) {
#if LANES_LEVEL == SIMD_LEVEL_AVX512
    return v_permute32(a, _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
#elif LANES_LEVEL == SIMD_LEVEL_AVX2
    return v_permute32(a, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
#else
    return a;
#endif
}

/* ... and back. */
LANES_INLINE vec
row_to_parts(vec a) {
#if LANES_LEVEL == SIMD_LEVEL_AVX512
    return parts_to_row(a);
#elif LANES_LEVEL == SIMD_LEVEL_AVX2
    return v_permute32(a, _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7));
#else
    return a;
#endif
}

/* The 32-bit lanes of four vectors, in each part rows to columns. */
LANES_INLINE void
exchange_lanes(vec a[4]) {
    vec low01 = v_low32(a[0], a[1]), high01 = v_high32(a[0], a[1]);
    vec low23 = v_low32(a[2], a[3]), high23 = v_high32(a[2], a[3]);

    a[0] = v_low64(low01, low23);
    a[1] = v_high64(low01, low23);
    a[2] = v_low64(high01, high23);
    a[3] = v_high64(high01, high23);
}

/* VEC_BYTES pixels to a vector of each byte of theirs. */
LANES_INLINE void
pixels_to_bands(vec band[4], const uint8_t *in) {
    int i;

    for (i = 0; i < 4; i++) {
        band[i] = exchange_bytes(v_load(in + i * VEC_BYTES));
    }
    exchange_lanes(band);
    for (i = 0; i < 4; i++) {
        band[i] = parts_to_row(band[i]);
    }
}

/* The reverse, with bytes of zero where there is no band. */
LANES_INLINE void
bands_to_pixels(uint8_t *out, const vec *band) {
    vec pixels[4];
    int i;

    for (i = 0; i < 4; i++) {
        pixels[i] = row_to_parts(band[i]);
    }
    exchange_lanes(pixels);
    for (i = 0; i < 4; i++) {
        v_store(out + i * VEC_BYTES, exchange_bytes(pixels[i]));
    }
}

/* VEC_BYTES pixels to the byte of theirs that lies `bits` up. */
LANES_INLINE vec
one_of_bands(const uint8_t *in, int bits) {
    vec only = v_set32(0xff), a[4];
    int i;

    for (i = 0; i < 4; i++) {
        a[i] = v_and(v_shr32(v_load(in + i * VEC_BYTES), bits), only);
    }
    return v_narrow_to_bytes(a[0], a[1], a[2], a[3]);
}

/*
 * Rows are done VEC_BYTES pixels at a time. The last time reaches back into what was done
 * before; a row with fewer pixels goes pixel by pixel.
 */
#define EACH_STEP(x, pixels)                                                  \
    for (int left_ = (pixels), x = 0; left_ > 0;                              \
         left_ -= VEC_BYTES, x += left_ < VEC_BYTES ? left_ : VEC_BYTES)

static void
get_row(uint8_t *out, const uint8_t *in, int pixels, int place) {
    int x;

    if (pixels < VEC_BYTES) {
        for (x = 0; x < pixels; x++) {
            out[x] = in[x * 4 + place];
        }
        return;
    }
    EACH_STEP(i, pixels) {
        v_store(out + i, one_of_bands(in + i * 4, place * 8));
        fetch_to_read(in + i * 4, 4 * VEC_BYTES);
        fetch_to_write(out + i, VEC_BYTES);
    }
}

Imaging
SIMD_NAME(get_band)(Imaging imIn, int band) {
    Imaging imOut = ImagingNewDirty(IMAGING_MODE_L, imIn->xsize, imIn->ysize);
    int y;

    for (y = 0; imOut && y < imOut->ysize; y++) {
        get_row(
            (uint8_t *)imOut->image[y], (const uint8_t *)imIn->image[y], imOut->xsize,
            place_of(imIn, band)
        );
    }
    return imOut;
}

LANES_INLINE void
split_row(uint8_t *const *out, const uint8_t *in, int pixels, int bands) {
    int x, k;

    if (pixels < VEC_BYTES) {
        for (x = 0; x < pixels; x++) {
            for (k = 0; k < bands; k++) {
                out[k][x] = in[x * 4 + (bands == 2 ? k * 3 : k)];
            }
        }
        return;
    }
    EACH_STEP(i, pixels) {
        vec band[4];

        pixels_to_bands(band, in + i * 4);
        for (k = 0; k < bands; k++) {
            v_store(out[k] + i, band[bands == 2 ? k * 3 : k]);
            fetch_to_write(out[k] + i, VEC_BYTES);
        }
        fetch_to_read(in + i * 4, 4 * VEC_BYTES);
    }
}

int
SIMD_NAME(split)(Imaging imIn, Imaging bands[4]) {
    int y, k;

    for (k = 0; k < imIn->bands; k++) {
        bands[k] = ImagingNewDirty(IMAGING_MODE_L, imIn->xsize, imIn->ysize);
        if (!bands[k]) {
            while (k-- > 0) {
                ImagingDelete(bands[k]);
            }
            return SPLIT_FAILED;
        }
    }
    for (y = 0; y < imIn->ysize; y++) {
        const uint8_t *in = (const uint8_t *)imIn->image[y];
        uint8_t *out[4];

        for (k = 0; k < imIn->bands; k++) {
            out[k] = (uint8_t *)bands[k]->image[y];
        }
        if (imIn->bands == 2) {
            split_row(out, in, imIn->xsize, 2);
        } else if (imIn->bands == 3) {
            split_row(out, in, imIn->xsize, 3);
        } else {
            split_row(out, in, imIn->xsize, 4);
        }
    }
    return SPLIT_DONE(imIn);
}

LANES_INLINE void
merge_row(uint8_t *out, const uint8_t *const *in, int pixels, int bands) {
    int x, k;

    if (pixels < VEC_BYTES) {
        memset(out, 0, (size_t)pixels * 4);
        for (x = 0; x < pixels; x++) {
            for (k = 0; k < bands; k++) {
                out[x * 4 + (bands == 2 ? k * 3 : k)] = in[k][x];
            }
        }
        return;
    }
    EACH_STEP(i, pixels) {
        vec band[4] = {v_zero(), v_zero(), v_zero(), v_zero()};

        for (k = 0; k < bands; k++) {
            band[bands == 2 ? k * 3 : k] = v_load(in[k] + i);
            fetch_to_read(in[k] + i, VEC_BYTES);
        }
        bands_to_pixels(out + i * 4, band);
        fetch_to_write(out + i * 4, 4 * VEC_BYTES);
    }
}

Imaging
SIMD_NAME(merge)(ModeID mode, Imaging bands[4]) {
    Imaging imOut = ImagingNewDirty(mode, bands[0]->xsize, bands[0]->ysize);
    int y, k;

    for (y = 0; imOut && y < imOut->ysize; y++) {
        const uint8_t *in[4];
        uint8_t *out = (uint8_t *)imOut->image[y];

        for (k = 0; k < imOut->bands; k++) {
            in[k] = (const uint8_t *)bands[k]->image[y];
        }
        if (imOut->bands == 2) {
            merge_row(out, in, imOut->xsize, 2);
        } else if (imOut->bands == 3) {
            merge_row(out, in, imOut->xsize, 3);
        } else {
            merge_row(out, in, imOut->xsize, 4);
        }
    }
    return imOut;
}

/* The pixels at `out` with the low byte of each 32-bit lane of `value` in place of the band. */
LANES_INLINE void
put(uint8_t *out, vec value, vec others, int bits) {
    v_store(out, v_or(v_and(v_load(out), others), v_shl32(value, bits)));
}

Imaging
SIMD_NAME(put_band)(Imaging imOut, Imaging imIn, int band) {
    int place = place_of(imOut, band), pixels = imOut->xsize, x, y;
    vec others = v_set32(~(0xffu << (place * 8)));

    for (y = 0; y < imOut->ysize; y++) {
        const uint8_t *in = (const uint8_t *)imIn->image[y];
        uint8_t *out = (uint8_t *)imOut->image[y];

        for (x = 0; x <= pixels - VEC_PIXELS; x += VEC_PIXELS) {
            put(out + x * 4, v_load_bytes(in + x), others, place * 8);
        }
        for (; x < pixels; x++) {
            out[x * 4 + place] = in[x];
        }
    }
    return imOut;
}

Imaging
SIMD_NAME(fill_band)(Imaging imOut, int band, int color) {
    int place = place_of(imOut, band), pixels = imOut->xsize, x, y;
    vec others = v_set32(~(0xffu << (place * 8))), value;

    color = color < 0 ? 0 : color > 255 ? 255 : color;
    value = v_set32(color);
    for (y = 0; y < imOut->ysize; y++) {
        uint8_t *out = (uint8_t *)imOut->image[y];

        for (x = 0; x <= pixels - VEC_PIXELS; x += VEC_PIXELS) {
            put(out + x * 4, value, others, place * 8);
        }
        for (; x < pixels; x++) {
            out[x * 4 + place] = color;
        }
    }
    return imOut;
}
