/* ImagingConvert with Pillow-SIMD's converters of rows. */
#include "Imaging.h"
#include "pillow_simd.h"

#include "Convert.c"

typedef void
converter(UINT8 *out, const UINT8 *in, int pixels);

static converter *
find_converter(ModeID from, ModeID to) {
    if (from == IMAGING_MODE_RGBA && to == IMAGING_MODE_RGBa) {
        return rgbA2rgba;
    }
    if (from == IMAGING_MODE_RGBa) {
        return rgba2rgbA;
    }
    if (to == IMAGING_MODE_L) {
        return rgb2l;
    }
    if (to == IMAGING_MODE_I) {
        return rgb2i;
    }
    return from == IMAGING_MODE_RGBA ? rgba2la : rgb2la;
}

Imaging
SIMD_NAME(pillow_simd_convert)(CONVERT_PARAMETERS) {
    converter *convert = find_converter(imIn->mode, mode);
    ImagingSectionCookie cookie;
    int y;
#if PILLOW_PROTOTYPE_ImagingConvert != 2
    Imaging imOut = NULL;
#endif

    (void)palette;
    (void)dither;
    if (!imOut) {
        imOut = ImagingNewDirty(mode, imIn->xsize, imIn->ysize);
    }
    if (!imOut) {
        return NULL;
    }
    ImagingSectionEnter(&cookie);
    IMAGE_LOCK(imIn);
    for (y = 0; y < imIn->ysize; y++) {
        convert((UINT8 *)imOut->image[y], (UINT8 *)imIn->image[y], imIn->xsize);
    }
    IMAGE_UNLOCK(imIn);
    ImagingSectionLeave(&cookie);
    return imOut;
}
