/* Bands: Image.split, getchannel, merge, putalpha. */
#include "dispatch.h"
#include "pillow.h"

#ifdef SIMD_KERNEL_bands
#include "bands.h"
#endif
#ifdef SIMD_KERNEL_pillow_simd_bands
#include "pillow_simd/pillow_simd.h"
#endif

#ifdef PILLOW_PROTOTYPE_ImagingGetBand

typedef Imaging
get_band_function(Imaging imIn, int band);
typedef int
get_band_guard(Imaging imIn, int band);

static SIMD_ROW_TYPE(get_band_guard, get_band_function) get_band_rows[] = {
#ifdef SIMD_KERNEL_bands
    SIMD_AVX512("bands", get_band_fits, get_band)
    SIMD_AVX2("bands", get_band_fits, get_band)
    SIMD_SSE4("bands", get_band_fits, get_band)
#endif
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
#ifdef SIMD_KERNEL_bands
    SIMD_AVX512("bands", split_fits, split)
    SIMD_AVX2("bands", split_fits, split)
    SIMD_SSE4("bands", split_fits, split)
#endif
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

#ifdef PILLOW_PROTOTYPE_ImagingMerge

typedef Imaging
merge_function(ModeID mode, Imaging bands[4]);
typedef int
merge_guard(ModeID mode, Imaging bands[4]);

static SIMD_ROW_TYPE(merge_guard, merge_function) merge_rows[] = {
#ifdef SIMD_KERNEL_bands
    SIMD_AVX512("bands", merge_fits, merge)
    SIMD_AVX2("bands", merge_fits, merge)
    SIMD_SSE4("bands", merge_fits, merge)
#endif
    SIMD_STOCK
};
SIMD_FRONT(ImagingMerge, merge_rows)

SIMD_PUBLIC Imaging
ImagingMerge(ModeID mode, Imaging bands[4]) {
    SIMD_SERVE(Imaging, SIMD_DECLINED, merge_rows, (mode, bands))
}

#endif

#ifdef PILLOW_PROTOTYPE_ImagingPutBand

typedef Imaging
put_band_function(Imaging imOut, Imaging imIn, int band);
typedef int
put_band_guard(Imaging imOut, Imaging imIn, int band);

static SIMD_ROW_TYPE(put_band_guard, put_band_function) put_band_rows[] = {
#ifdef SIMD_KERNEL_bands
    SIMD_AVX512("bands", put_band_fits, put_band)
    SIMD_AVX2("bands", put_band_fits, put_band)
    SIMD_SSE4("bands", put_band_fits, put_band)
#endif
    SIMD_STOCK
};
SIMD_FRONT(ImagingPutBand, put_band_rows)

SIMD_PUBLIC Imaging
ImagingPutBand(Imaging imOut, Imaging imIn, int band) {
    SIMD_SERVE(Imaging, SIMD_DECLINED, put_band_rows, (imOut, imIn, band))
}

#endif

#ifdef PILLOW_PROTOTYPE_ImagingFillBand

typedef Imaging
fill_band_function(Imaging imOut, int band, int color);
typedef int
fill_band_guard(Imaging imOut, int band, int color);

static SIMD_ROW_TYPE(fill_band_guard, fill_band_function) fill_band_rows[] = {
#ifdef SIMD_KERNEL_bands
    SIMD_AVX512("bands", fill_band_fits, fill_band)
    SIMD_AVX2("bands", fill_band_fits, fill_band)
    SIMD_SSE4("bands", fill_band_fits, fill_band)
#endif
    SIMD_STOCK
};
SIMD_FRONT(ImagingFillBand, fill_band_rows)

SIMD_PUBLIC Imaging
ImagingFillBand(Imaging imOut, int band, int color) {
    SIMD_SERVE(Imaging, SIMD_DECLINED, fill_band_rows, (imOut, band, color))
}

#endif
