/*
 * Pillow-SIMD's kernels as the fronts see them, and their guards.
 *
 * A guard says yes only to calls that the kernel was proven for. Whatever is invalid,
 * rare, or no faster here than in Pillow goes to stock, which also knows the right error.
 * Loads and stores of the kernels stay within the rows for every size that is let in.
 */
#ifndef SIMDINSTALL_PILLOW_SIMD_H
#define SIMDINSTALL_PILLOW_SIMD_H

#include <math.h>

#include "dispatch.h"
#include "pillow.h"

/* Bytes in pixels of four, with two to four bands: RGB, RGBA, LA, CMYK and so on. */
static inline int
pillow_simd_is_4u8(Imaging im) {
    return im && im->type == IMAGING_TYPE_UINT8 && im->image32 && im->pixelsize == 4 &&
           im->xsize > 0 && im->ysize > 0;
}

/* ------------------------------------------------------------ ImagingResample */

SIMD_KERNEL(
    Imaging,
    pillow_simd_resample,
    (Imaging imIn, int xsize, int ysize, int filter, float box[4])
)

/*
 * Bounded: coefficients have 16 bits where stock's have 22, so that each of the two
 * passes can be one step away.
 */
static inline int
pillow_simd_resample_fits(
    Imaging imIn, int xsize, int ysize, int filter, float box[4]
) {
    /* Far from where sizes of coefficient tables overflow. */
    const int largest = 1 << 20;

    return pillow_simd_is_4u8(imIn) && xsize > 0 && ysize > 0 && xsize < largest &&
           ysize < largest && imIn->xsize < largest && imIn->ysize < largest &&
           (filter == IMAGING_TRANSFORM_BOX || filter == IMAGING_TRANSFORM_BILINEAR ||
            filter == IMAGING_TRANSFORM_HAMMING || filter == IMAGING_TRANSFORM_BICUBIC ||
            filter == IMAGING_TRANSFORM_LANCZOS) &&
           box[0] >= 0 && box[1] >= 0 && box[2] > box[0] && box[3] > box[1] &&
           box[2] <= imIn->xsize && box[3] <= imIn->ysize &&
           /* Otherwise it is a copy. */
           (xsize != imIn->xsize || ysize != imIn->ysize || box[0] || box[1] ||
            box[2] != xsize || box[3] != ysize);
}

/* -------------------------------------------------------------- ImagingReduce */

SIMD_KERNEL(
    Imaging, pillow_simd_reduce, (Imaging imIn, int xscale, int yscale, int box[4])
)

/* Exact: the same integer sums, the same multiplier, in another order. */
static inline int
pillow_simd_reduce_fits(Imaging imIn, int xscale, int yscale, int box[4]) {
    return pillow_simd_is_4u8(imIn) && xscale > 0 && yscale > 0 && xscale <= 1024 &&
           yscale <= 1024 && box[0] >= 0 && box[1] >= 0 && box[2] > 0 && box[3] > 0 &&
           box[2] <= imIn->xsize && box[3] <= imIn->ysize &&
           box[0] <= imIn->xsize - box[2] && box[1] <= imIn->ysize - box[3];
}

/* ------------------------------------------------------------- ImagingBoxBlur */

SIMD_KERNEL(
    Imaging,
    pillow_simd_box_blur,
    (Imaging imOut, Imaging imIn, float xradius, float yradius, int n)
)

/*
 * Exact: the same sums modulo 2^32. A radius below 1 needs two pixels in its
 * direction; the kernel would read beside the row otherwise.
 */
static inline int
pillow_simd_box_blur_fits(
    Imaging imOut, Imaging imIn, float xradius, float yradius, int n
) {
    return pillow_simd_is_4u8(imIn) && pillow_simd_is_4u8(imOut) &&
           imIn->mode == imOut->mode && imIn->xsize == imOut->xsize &&
           imIn->ysize == imOut->ysize &&
           (imIn->mode == IMAGING_MODE_RGB || imIn->mode == IMAGING_MODE_RGBA ||
            imIn->mode == IMAGING_MODE_RGBa || imIn->mode == IMAGING_MODE_RGBX ||
            imIn->mode == IMAGING_MODE_CMYK || imIn->mode == IMAGING_MODE_LA ||
            imIn->mode == IMAGING_MODE_La) &&
           n > 0 && xradius >= 0 && yradius >= 0 && xradius <= 1 << 22 &&
           yradius <= 1 << 22 && (xradius > 0 || yradius > 0) && imIn->xsize > 1 &&
           imIn->ysize > 1;
}

/* -------------------------------------------------------------- ImagingFilter */

SIMD_KERNEL(
    Imaging,
    pillow_simd_filter,
    (Imaging im, int xsize, int ysize, const float *kernel, float offset)
)

static inline int
pillow_simd_filter_fits_(
    Imaging im, int xsize, int ysize, const float *kernel, float offset, int exact
) {
    /* Fractions that both sums hold without rounding: multiples of 2^-13. */
    const float unit = 1 << 13;
    float total = fabsf(offset);
    int i, whole = offset == floorf(offset), dyadic = offset * unit == floorf(offset * unit);
    int small = 1;

    if (!im || im->type != IMAGING_TYPE_UINT8 || (xsize != 3 && xsize != 5) ||
        ysize != xsize || im->xsize < xsize || im->ysize < ysize ||
        !(im->image8 ? im->pixelsize == 1 : pillow_simd_is_4u8(im))) {
        return 0;
    }
    for (i = 0; i < xsize * ysize; i++) {
        total += fabsf(kernel[i]) * 255;
        whole = whole && kernel[i] == floorf(kernel[i]);
        dyadic = dyadic && kernel[i] * unit == floorf(kernel[i] * unit);
        small = small && fabsf(kernel[i]) < 4;
    }
    if (exact) {
        /*
         * Stock sums in single precision: 24 bits hold every partial sum of such
         * numbers below 2^11. The kernel sums integers if all are below 4 in size, and
         * floats that it rounds to even otherwise: the same only without fractions.
         */
        return total < 1 << 10 && (whole || (dyadic && small && !im->image8));
    }
    /* Single precision, in another order, stays within a quarter step up to here. */
    return total < 1 << 16;
}

/* Exact for kernels whose sums need no rounding. */
static inline int
pillow_simd_filter_fits(
    Imaging im, int xsize, int ysize, const float *kernel, float offset
) {
    return pillow_simd_filter_fits_(im, xsize, ysize, kernel, offset, 1);
}

/* Bounded for all others: rounding of the kernel to 2^-13, and of halves to even. */
static inline int
pillow_simd_filter_bounded_fits(
    Imaging im, int xsize, int ysize, const float *kernel, float offset
) {
    return pillow_simd_filter_fits_(im, xsize, ysize, kernel, offset, 0);
}

/* ------------------------------------------------------ ImagingAlphaComposite */

SIMD_KERNEL(Imaging, pillow_simd_alpha_composite, (Imaging imDst, Imaging imSrc))

/* Bounded: 8 bits for the weights where stock has 15. */
static inline int
pillow_simd_alpha_composite_fits(Imaging imDst, Imaging imSrc) {
    return pillow_simd_is_4u8(imDst) && pillow_simd_is_4u8(imSrc) &&
           (imDst->mode == IMAGING_MODE_RGBA || imDst->mode == IMAGING_MODE_LA) &&
           imDst->mode == imSrc->mode && imDst->xsize == imSrc->xsize &&
           imDst->ysize == imSrc->ysize;
}

/* --------------------------------------------------- ImagingColorLUT3D_linear */

SIMD_KERNEL(
    Imaging,
    pillow_simd_color_lut,
    (Imaging imOut,
     Imaging imIn,
     int table_channels,
     int size1D,
     int size2D,
     int size3D,
     int16_t *table)
)

/*
 * Bounded: 9 bits for the weights where stock has 15. The kernel looks at the table
 * itself and declines what overflows; see there. A table much larger than the image
 * costs more to prepare than the image does.
 */
static inline int
pillow_simd_color_lut_fits(
    Imaging imOut,
    Imaging imIn,
    int table_channels,
    int size1D,
    int size2D,
    int size3D,
    int16_t *table
) {
    return table && pillow_simd_is_4u8(imIn) && pillow_simd_is_4u8(imOut) &&
           imIn->xsize == imOut->xsize && imIn->ysize == imOut->ysize &&
           (table_channels == 3 || table_channels == 4) && imIn->bands >= 3 &&
           imOut->bands >= table_channels &&
           !(imOut->bands > table_channels && imOut->bands > imIn->bands) &&
           size1D >= 2 && size1D <= 65 && size2D >= 2 && size2D <= 65 && size3D >= 2 &&
           size3D <= 65 &&
           (int64_t)size1D * size2D * size3D <= (int64_t)imIn->xsize * imIn->ysize * 8;
}

/* ------------------------------------------------------------- ImagingConvert */

SIMD_KERNEL(Imaging, pillow_simd_convert, (CONVERT_PARAMETERS))

static inline int
pillow_simd_converts(CONVERT_PARAMETERS) {
    (void)palette;
    (void)dither;
    (void)mode;
#if PILLOW_PROTOTYPE_ImagingConvert == 2
    if (imOut && (imOut->mode != mode || imOut->xsize != imIn->xsize ||
                  imOut->ysize != imIn->ysize)) {
        return 0;
    }
#endif
    return pillow_simd_is_4u8(imIn);
}

/* Exact: RGBA to RGBa, a product of bytes divided by 255. */
static inline int
pillow_simd_convert_fits(CONVERT_PARAMETERS) {
    return pillow_simd_converts(CONVERT_ARGUMENTS) && imIn->mode == IMAGING_MODE_RGBA &&
           mode == IMAGING_MODE_RGBa;
}

/* Bounded: RGBa to RGBA, and luma with weights of 15 bits where stock has 16. */
static inline int
pillow_simd_convert_bounded_fits(CONVERT_PARAMETERS) {
    if (!pillow_simd_converts(CONVERT_ARGUMENTS)) {
        return 0;
    }
    switch (imIn->mode) {
        case IMAGING_MODE_RGB:
            return mode == IMAGING_MODE_L || mode == IMAGING_MODE_LA ||
                   mode == IMAGING_MODE_La || mode == IMAGING_MODE_I;
        case IMAGING_MODE_RGBX:
        case IMAGING_MODE_RGBA:
            return mode == IMAGING_MODE_L || mode == IMAGING_MODE_LA ||
                   mode == IMAGING_MODE_I;
        case IMAGING_MODE_RGBa:
            return mode == IMAGING_MODE_RGBA;
        default:
            return 0;
    }
}

/* ----------------------------------------------- ImagingGetBand, ImagingSplit */

SIMD_KERNEL(Imaging, pillow_simd_get_band, (Imaging imIn, int band))
SIMD_KERNEL(int, pillow_simd_split, (Imaging imIn, Imaging bands[4]))

/* Exact: bytes are only moved. */
static inline int
pillow_simd_get_band_fits(Imaging imIn, int band) {
    return pillow_simd_is_4u8(imIn) && imIn->bands >= 2 && band >= 0 &&
           band < imIn->bands;
}

static inline int
pillow_simd_split_fits(Imaging imIn, Imaging bands[4]) {
    return bands && pillow_simd_is_4u8(imIn) && imIn->bands >= 2;
}

#endif
