/* ImagingGetBand and ImagingSplit: Image.getchannel and Image.split. */
#include "dispatch.h"
#include "pillow.h"

#ifdef SIMD_KERNEL_pillow_simd_bands
#include "pillow_simd/pillow_simd.h"
#endif

#ifdef PILLOW_PROTOTYPE_ImagingGetBand

typedef Imaging
get_band_function(Imaging imIn, int band);
typedef int
get_band_guard(Imaging imIn, int band);

static SIMD_ROW_TYPE(get_band_guard, get_band_function) get_band_rows[] = {
#ifdef SIMD_KERNEL_pillow_simd_bands
    SIMD_AVX2("pillow_simd_bands", pillow_simd_get_band_fits, pillow_simd_get_band)
    SIMD_SSE4("pillow_simd_bands", pillow_simd_get_band_fits, pillow_simd_get_band)
#endif
    SIMD_STOCK
};
SIMD_FRONT(ImagingGetBand, get_band_rows)

SIMD_PUBLIC Imaging
ImagingGetBand(Imaging imIn, int band) {
    SIMD_SERVE(Imaging, SIMD_DECLINED, get_band_rows, (imIn, band))
}

#endif

#ifdef PILLOW_PROTOTYPE_ImagingSplit

typedef int
split_function(Imaging imIn, Imaging bands[4]);
typedef int
split_guard(Imaging imIn, Imaging bands[4]);

static SIMD_ROW_TYPE(split_guard, split_function) split_rows[] = {
#ifdef SIMD_KERNEL_pillow_simd_bands
    SIMD_AVX2("pillow_simd_bands", pillow_simd_split_fits, pillow_simd_split)
    SIMD_SSE4("pillow_simd_bands", pillow_simd_split_fits, pillow_simd_split)
#endif
    SIMD_STOCK
};
SIMD_FRONT(ImagingSplit, split_rows)

SIMD_PUBLIC int
ImagingSplit(Imaging imIn, Imaging bands[4]) {
    SIMD_SERVE(int, SIMD_DECLINED_INT, split_rows, (imIn, bands))
}

#endif
