/* ImagingFilter with Pillow-SIMD's convolutions. */
#include "Imaging.h"
#include "pillow_simd.h"

/* Fractional bits of the integer kernels: 8 for the result, 5 for up to 25 products. */
#define PRECISION_BITS (8 + 5)

/*
 * They widen vectors and then add both halves, so the new half has to be zero. The
 * cast leaves it undefined; this one sets it.
 */
#if SIMD_LEVEL >= SIMD_LEVEL_AVX2
#undef _mm256_castps128_ps256
#define _mm256_castps128_ps256(a) _mm256_zextps128_ps256(a)
#endif

static void
ImagingFilter3x3f_u8(Imaging, Imaging, const float *, float);
static void
ImagingFilter3x3f_4u8(Imaging, Imaging, const float *, float);
static void
ImagingFilter3x3i_4u8(Imaging, Imaging, const INT16 *, INT32);
static void
ImagingFilter5x5f_u8(Imaging, Imaging, const float *, float);
static void
ImagingFilter5x5f_4u8(Imaging, Imaging, const float *, float);
static void
ImagingFilter5x5i_4u8(Imaging, Imaging, const INT16 *, INT32);

#include "FilterSIMD_3x3f_4u8.c"
#include "FilterSIMD_3x3f_u8.c"
#include "FilterSIMD_3x3i_4u8.c"
#include "FilterSIMD_5x5f_4u8.c"
#include "FilterSIMD_5x5f_u8.c"
#include "FilterSIMD_5x5i_4u8.c"

static int
rounded(float value) {
    return (int)(value + (value >= 0 ? 0.5f : -0.5f));
}

Imaging
SIMD_NAME(pillow_simd_filter)(
    Imaging im, int xsize, int ysize, const float *kernel, float offset
) {
    ImagingSectionCookie cookie;
    Imaging imOut;
    INT16 integers[25];
    int i, small = 1;

    for (i = 0; i < xsize * ysize; i++) {
        float scaled = kernel[i] * (1 << PRECISION_BITS);
        small = small && fabsf(scaled) < 32767;
        integers[i] = small ? rounded(scaled) : 0;
    }
    imOut = ImagingNewDirty(im->mode, im->xsize, im->ysize);
    if (!imOut) {
        return NULL;
    }
    ImagingSectionEnter(&cookie);
    IMAGE_LOCK(im);
    if (im->image8) {
        if (xsize == 3) {
            ImagingFilter3x3f_u8(imOut, im, kernel, offset);
        } else {
            ImagingFilter5x5f_u8(imOut, im, kernel, offset);
        }
    } else if (small) {
        /* The guard keeps the offset below 2^16. */
        if (xsize == 3) {
            ImagingFilter3x3i_4u8(
                imOut, im, integers, rounded(offset * (1 << PRECISION_BITS))
            );
        } else {
            ImagingFilter5x5i_4u8(
                imOut, im, integers, rounded(offset * (1 << PRECISION_BITS))
            );
        }
    } else if (xsize == 3) {
        ImagingFilter3x3f_4u8(imOut, im, kernel, offset);
    } else {
        ImagingFilter5x5f_4u8(imOut, im, kernel, offset);
    }
    IMAGE_UNLOCK(im);
    ImagingSectionLeave(&cookie);
    return imOut;
}
