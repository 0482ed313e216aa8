/*
 * Exact conversions between modes: the bytes of stock's ImagingConvert.
 *
 * Every pair of modes that the kernel serves is a line of CONVERSIONS below:
 *
 *     C(from, to, row, order, flip, set)
 *
 * `row` (convert.c) makes 32 bits of every pixel of a row. After that each pixel's bytes
 * are put in `order`, the bits of `flip` are turned over and those of `set` set; a mode
 * of fewer bytes per pixel takes the lowest ones, saturated.
 */
#ifndef SIMDINSTALL_CONVERT_H
#define SIMDINSTALL_CONVERT_H

#include "dispatch.h"
#include "pillow.h"

/* Which byte becomes the first, the second ...; Z: none, it becomes 0. */
#define ORDER(a, b, c, d) ((uint32_t)(a) | (b) << 8 | (c) << 16 | (uint32_t)(d) << 24)
#define Z 0x80

#define AS_IS ORDER(0, 1, 2, 3)
#define FIRST ORDER(0, Z, Z, Z)    /* one number */
#define SWAPPED ORDER(1, 0, Z, Z)  /* the bytes of a 16-bit number */
#define GREY ORDER(0, 0, 0, Z)
#define GREY_ALPHA ORDER(0, 0, 0, 3)
#define VALUE ORDER(Z, Z, 0, Z)    /* of HSV */
#define VALUE_ALPHA ORDER(Z, Z, 0, 3)
#define BLACK ORDER(Z, Z, Z, 0)    /* of CMYK */
#define LOW_BYTE ORDER(Z, 0, Z, Z) /* of a 16-bit number, high byte first */

#define OPAQUE 0xff000000u
#define NO_COLOUR 0xff808000u /* of YCbCr */

/* To 12.2 stock could not do 1 to LA, to 12.3 some conversions of I;16N. */
#if PILLOW_RELEASE_NUMBER >= 120300
#define SINCE_12_3(c) c
#else
#define SINCE_12_3(c)
#endif
#if PILLOW_RELEASE_NUMBER >= 130000
#define SINCE_13_0(c) c
#else
#define SINCE_13_0(c)
#endif

/* From a mode to each of the three that differ in the meaning of their last byte only. */
#define TO_RGBS(C, from, row, order, flip, set) \
    C(from, RGB, row, order, flip, set)         \
    C(from, RGBA, row, order, flip, set)        \
    C(from, RGBX, row, order, flip, set)

/* What RGB, RGBA and RGBX have in common. */
#define FROM_RGBS(C, from)                             \
    C(from, 1, threshold_4_1, FIRST, 0, 0)             \
    C(from, L, luma_4_1, FIRST, 0, 0)                  \
    C(from, I, luma_4_4, FIRST, 0, 0)                  \
    C(from, F, luma_float_4_4, AS_IS, 0, 0)            \
    C(from, CMYK, bytes_4_4, ORDER(0, 1, 2, Z), ~OPAQUE, 0) \
    C(from, YCbCr, rgb_to_ycbcr_4_4, AS_IS, 0, 0)      \
    C(from, HSV, rgb_to_hsv_4_4, AS_IS, 0, 0)

/* Native and little-endian 16 bits are the same on every CPU that this is for. */
#define CONVERSIONS(C)                                  \
    TO_RGBS(C, 1, bits_1_4, GREY, 0, OPAQUE)            \
    SINCE_12_3(C(1, LA, bits_1_4, GREY, 0, OPAQUE))     \
    C(1, I, bits_1_4, FIRST, 0, 0)                      \
    C(1, F, bits_float_1_4, AS_IS, 0, 0)                \
    C(1, CMYK, bits_1_4, BLACK, OPAQUE, 0)              \
    C(1, YCbCr, bits_1_4, FIRST, 0, NO_COLOUR)          \
    C(1, HSV, bits_1_4, VALUE, 0, OPAQUE)               \
                                                        \
    TO_RGBS(C, L, bytes_1_4, GREY, 0, OPAQUE)           \
    C(L, LA, bytes_1_4, GREY, 0, OPAQUE)                \
    C(L, I, bytes_1_4, FIRST, 0, 0)                     \
    C(L, F, floats_1_4, AS_IS, 0, 0)                     \
    C(L, CMYK, bytes_1_4, BLACK, OPAQUE, 0)             \
    C(L, YCbCr, bytes_1_4, FIRST, 0, NO_COLOUR)         \
    C(L, HSV, bytes_1_4, VALUE, 0, OPAQUE)              \
    C(L, I_16, bytes_1_2, FIRST, 0, 0)                  \
    C(L, I_16L, bytes_1_2, FIRST, 0, 0)                 \
    C(L, I_16N, bytes_1_2, FIRST, 0, 0)                 \
    C(L, I_16B, bytes_1_2, LOW_BYTE, 0, 0)              \
                                                        \
    TO_RGBS(C, LA, bytes_4_4, GREY_ALPHA, 0, 0)         \
    C(LA, L, bytes_4_1, FIRST, 0, 0)                    \
    C(LA, La, premultiply_4_4, GREY_ALPHA, 0, 0)        \
    C(LA, CMYK, bytes_4_4, BLACK, OPAQUE, 0)            \
    C(LA, YCbCr, bytes_4_4, FIRST, 0, NO_COLOUR)        \
    C(LA, HSV, bytes_4_4, VALUE_ALPHA, 0, 0)            \
    C(La, LA, unpremultiply_4_4, GREY_ALPHA, 0, 0)      \
                                                        \
    FROM_RGBS(C, RGB)                                   \
    C(RGB, LA, luma_4_4, GREY, 0, OPAQUE)               \
    C(RGB, La, luma_4_4, GREY, 0, OPAQUE)               \
    C(RGB, RGBA, bytes_4_4, AS_IS, 0, OPAQUE)           \
    C(RGB, RGBa, bytes_4_4, AS_IS, 0, OPAQUE)           \
    C(RGB, RGBX, bytes_4_4, AS_IS, 0, OPAQUE)           \
    C(RGB, I_16, luma_4_2, FIRST, 0, 0)                 \
    C(RGB, I_16L, luma_4_2, FIRST, 0, 0)                \
    C(RGB, I_16N, luma_4_2, FIRST, 0, 0)                \
    C(RGB, I_16B, luma_4_2, LOW_BYTE, 0, 0)             \
                                                        \
    FROM_RGBS(C, RGBA)                                  \
    C(RGBA, LA, luma_4_4, GREY_ALPHA, 0, 0)             \
    C(RGBA, RGB, bytes_4_4, AS_IS, 0, OPAQUE)           \
    C(RGBA, RGBX, bytes_4_4, AS_IS, 0, OPAQUE)          \
    C(RGBA, RGBa, premultiply_4_4, AS_IS, 0, 0)         \
    C(RGBa, RGBA, unpremultiply_4_4, AS_IS, 0, 0)       \
    C(RGBa, RGB, unpremultiply_4_4, AS_IS, 0, OPAQUE)   \
                                                        \
    FROM_RGBS(C, RGBX)                                  \
    C(RGBX, LA, luma_4_4, GREY, 0, OPAQUE)              \
    C(RGBX, RGB, bytes_4_4, AS_IS, 0, OPAQUE)           \
                                                        \
    TO_RGBS(C, CMYK, cmyk_to_rgb_4_4, AS_IS, 0, OPAQUE) \
    C(CMYK, HSV, cmyk_to_hsv_4_4, AS_IS, 0, OPAQUE)     \
                                                        \
    C(YCbCr, L, bytes_4_1, FIRST, 0, 0)                 \
    C(YCbCr, LA, bytes_4_4, GREY, 0, OPAQUE)            \
    C(YCbCr, RGB, ycbcr_to_rgb_4_4, AS_IS, 0, 0)        \
    C(HSV, RGB, hsv_to_rgb_4_4, AS_IS, 0, 0)            \
                                                        \
    TO_RGBS(C, I, clip8_4_4, GREY, 0, OPAQUE)           \
    C(I, L, clip8_4_1, AS_IS, 0, 0)                     \
    C(I, F, floats_4_4, AS_IS, 0, 0)                     \
    C(I, HSV, clip8_4_4, VALUE, 0, OPAQUE)              \
    C(I, I_16, clip16_4_2, AS_IS, 0, 0)                 \
    C(I, I_16L, clip16_4_2, AS_IS, 0, 0)                \
    SINCE_13_0(C(I, I_16N, clip16_4_2, AS_IS, 0, 0))    \
    C(I, I_16B, clip16_4_2, SWAPPED, 0, 0)              \
    C(F, L, float_to_byte_4_1, AS_IS, 0, 0)             \
    C(F, I, float_to_int_4_4, AS_IS, 0, 0)              \
                                                        \
    C(I_16, RGB, clip8_2_4, GREY, 0, OPAQUE)            \
    C(I_16, L, clip8_2_1, AS_IS, 0, 0)                  \
    C(I_16L, L, clip8_2_1, AS_IS, 0, 0)                 \
    C(I_16N, L, clip8_2_1, AS_IS, 0, 0)                 \
    C(I_16B, L, clip8_swapped_2_1, AS_IS, 0, 0)         \
    C(I_16, I, bytes_2_4, AS_IS, 0, 0)                  \
    C(I_16L, I, bytes_2_4, AS_IS, 0, 0)                 \
    SINCE_13_0(C(I_16N, I, bytes_2_4, AS_IS, 0, 0))     \
    C(I_16B, I, swapped_2_4, AS_IS, 0, 0)               \
    C(I_16, F, floats_2_4, AS_IS, 0, 0)                  \
    C(I_16L, F, floats_2_4, AS_IS, 0, 0)                 \
    SINCE_13_0(C(I_16N, F, floats_2_4, AS_IS, 0, 0))     \
    C(I_16B, F, float_swapped_2_4, AS_IS, 0, 0)

/* The number of each conversion, and the table that gives it; 0: none. */
enum {
    CONVERSION_NONE,
#define C(from, to, row, order, flip, set) CONVERSION_##from##_##to,
    CONVERSIONS(C)
#undef C
};

#define CONVERT_MODES 32

static inline int
convert_number(ModeID from, ModeID to) {
    static const uint8_t numbers[CONVERT_MODES][CONVERT_MODES] = {
#define C(from, to, row, order, flip, set) \
    [IMAGING_MODE_##from][IMAGING_MODE_##to] = CONVERSION_##from##_##to,
        CONVERSIONS(C)
#undef C
    };
    if ((unsigned)from >= CONVERT_MODES || (unsigned)to >= CONVERT_MODES) {
        return CONVERSION_NONE;
    }
    return numbers[from][to];
}

/* Whether two images have memory in common: stock then sees what it has just written. */
static inline int
convert_overlaps(Imaging a, Imaging b) {
    int y;

    for (y = 0; y < a->ysize; y++) {
        if (a->image[y] < b->image[y] + b->linesize && b->image[y] < a->image[y] + a->linesize) {
            return 1;
        }
    }
    return 0;
}

/*
 * An image with a palette is converted by way of a table of 256 pixels: the palette's
 * entries, converted from RGBA. It has to have some pixels to be worth that.
 */
#define PALETTE_PIXELS 1024

static inline int
convert_palette_fits(Imaging im, ModeID to) {
    return im->palette && (int64_t)im->xsize * im->ysize >= PALETTE_PIXELS &&
           (to == IMAGING_MODE_RGBA || to == IMAGING_MODE_RGB || to == IMAGING_MODE_RGBX ||
            to == IMAGING_MODE_1 || to == IMAGING_MODE_L || to == IMAGING_MODE_LA ||
            to == IMAGING_MODE_I || to == IMAGING_MODE_F || to == IMAGING_MODE_CMYK ||
            to == IMAGING_MODE_YCbCr || to == IMAGING_MODE_HSV);
}

/*
 * Finding a palette and dithering are left to stock, and so are narrow images and whatever
 * it refuses. Rows that are narrower than a step of one level are served by the one below.
 */
static inline int
convert_fits_from(int least_width, CONVERT_PARAMETERS) {
    (void)palette;
    if (!imIn || imIn->xsize < least_width) {
        return 0;
    }
    if (imIn->mode == IMAGING_MODE_P) {
        if (!convert_palette_fits(imIn, mode)) {
            return 0;
        }
    } else if ((dither && mode == IMAGING_MODE_1) || !convert_number(imIn->mode, mode)) {
        return 0;
    }
#if PILLOW_PROTOTYPE_ImagingConvert == 2
    if (imOut && (imOut->mode != mode || imOut->xsize != imIn->xsize ||
                  imOut->ysize != imIn->ysize || convert_overlaps(imOut, imIn))) {
        return 0;
    }
#endif
    return 1;
}

/* The longest step of a row: four vectors of 4-byte pixels. */
#define STEP_PIXELS_SSE4 16
#define STEP_PIXELS_AVX2 32
#define STEP_PIXELS_AVX512 64

#define CONVERT_FITS(isa, least_width)                            \
    static inline int convert_fits_##isa(CONVERT_PARAMETERS) {    \
        return convert_fits_from(least_width, CONVERT_ARGUMENTS); \
    }
CONVERT_FITS(sse4, STEP_PIXELS_SSE4)
CONVERT_FITS(avx2, STEP_PIXELS_AVX2)
CONVERT_FITS(avx512, STEP_PIXELS_AVX512)
#undef CONVERT_FITS

SIMD_KERNEL(Imaging, convert, (CONVERT_PARAMETERS))

#endif
