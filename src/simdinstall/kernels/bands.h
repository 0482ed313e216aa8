/* Bands: Image.split, getchannel, merge, putalpha, with the bytes of stock. */
#ifndef SIMDINSTALL_BANDS_H
#define SIMDINSTALL_BANDS_H

#include "dispatch.h"
#include "pillow.h"

/* Up to 12.3 ImagingSplit gave the number of bands, 0 after an error; since then 0 and -1. */
#if PILLOW_RELEASE_NUMBER < 130000
#define SPLIT_DONE(im) ((im)->bands)
#define SPLIT_FAILED 0
#else
#define SPLIT_DONE(im) 0
#define SPLIT_FAILED -1
#endif

SIMD_KERNEL(Imaging, get_band, (Imaging imIn, int band))
SIMD_KERNEL(int, split, (Imaging imIn, Imaging bands[4]))
SIMD_KERNEL(Imaging, merge, (ModeID mode, Imaging bands[4]))
SIMD_KERNEL(Imaging, put_band, (Imaging imOut, Imaging imIn, int band))
SIMD_KERNEL(Imaging, fill_band, (Imaging imOut, int band, int color))

/* Images of one band are copied whole, and what stock refuses is left to it. */
static inline int
several_bands(Imaging im) {
    return im && im->type == IMAGING_TYPE_UINT8 && im->pixelsize == 4 && im->bands >= 2 &&
           im->bands <= 4 && im->xsize > 0 && im->ysize > 0;
}

static inline int
one_band(Imaging im) {
    return im && im->type == IMAGING_TYPE_UINT8 && im->pixelsize == 1 && im->bands == 1;
}

static inline int
get_band_fits(Imaging imIn, int band) {
    return several_bands(imIn) && band >= 0 && band < imIn->bands;
}

static inline int
split_fits(Imaging imIn, Imaging bands[4]) {
    (void)bands;
    return several_bands(imIn);
}

/* How many bands a mode that bands are merged into has; 0 for those left to stock. */
static inline int
merged_bands(ModeID mode) {
    return mode == IMAGING_MODE_LA || mode == IMAGING_MODE_La ? 2
           : mode == IMAGING_MODE_RGB || mode == IMAGING_MODE_YCbCr ||
                   mode == IMAGING_MODE_HSV || mode == IMAGING_MODE_LAB
               ? 3
           : mode == IMAGING_MODE_RGBA || mode == IMAGING_MODE_CMYK ||
                   mode == IMAGING_MODE_RGBX || mode == IMAGING_MODE_RGBa
               ? 4
               : 0;
}

static inline int
merge_fits(ModeID mode, Imaging bands[4]) {
    int wanted = merged_bands(mode), i;

    if (!wanted) {
        return 0;
    }
    for (i = 0; i < 4; i++) {
        if (i >= wanted ? bands[i] != NULL
                        : !one_band(bands[i]) || bands[i]->xsize != bands[0]->xsize ||
                              bands[i]->ysize != bands[0]->ysize) {
            return 0;
        }
    }
    return bands[0]->xsize > 0 && bands[0]->ysize > 0;
}

static inline int
put_band_fits(Imaging imOut, Imaging imIn, int band) {
    return several_bands(imOut) && one_band(imIn) && imIn->xsize == imOut->xsize &&
           imIn->ysize == imOut->ysize && band >= 0 && band < imOut->bands;
}

static inline int
fill_band_fits(Imaging imOut, int band, int color) {
    (void)color;
    return several_bands(imOut) && band >= 0 && band < imOut->bands;
}

#endif
