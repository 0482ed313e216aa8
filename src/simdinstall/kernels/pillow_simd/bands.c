/* ImagingGetBand and ImagingSplit as Pillow-SIMD has them. */
#include "Imaging.h"
#include "pillow_simd.h"

#define ImagingGetBand SIMD_NAME(pillow_simd_get_band)
static int
ImagingSplit(Imaging, Imaging[4]);

#include "Bands.c"

/* Up to 12.3 it returned the number of bands, 0 after an error; since then 0 and -1. */
int
SIMD_NAME(pillow_simd_split)(Imaging imIn, Imaging bands[4]) {
    int split = ImagingSplit(imIn, bands);

#if PILLOW_RELEASE_NUMBER >= 130000
    return split ? 0 : -1;
#else
    return split;
#endif
}
