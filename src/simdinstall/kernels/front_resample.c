/* ImagingResample: resize, thumbnail and everything above them. */
#include "dispatch.h"
#include "pillow.h"

#ifdef PILLOW_PROTOTYPE_ImagingResample

#ifdef SIMD_KERNEL_resample
#include "resample.h"
#endif
#ifdef SIMD_KERNEL_pillow_simd_resample
#include "pillow_simd/pillow_simd.h"
#endif

typedef Imaging
resample_function(Imaging imIn, int xsize, int ysize, int filter, float box[4]);
typedef int
resample_guard(Imaging imIn, int xsize, int ysize, int filter, float box[4]);

static SIMD_ROW_TYPE(resample_guard, resample_function) rows[] = {
#ifdef SIMD_KERNEL_resample
    SIMD_AVX512("resample", resample_fits, resample)
    SIMD_AVX2("resample", resample_fits, resample)
    SIMD_SSE4("resample", resample_fits, resample)
#endif
#ifdef SIMD_KERNEL_pillow_simd_resample
    SIMD_AVX2("pillow_simd_resample", pillow_simd_resample_fits, pillow_simd_resample)
    SIMD_SSE4("pillow_simd_resample", pillow_simd_resample_fits, pillow_simd_resample)
#endif
    SIMD_STOCK
};
SIMD_FRONT(ImagingResample, rows)

SIMD_PUBLIC Imaging
ImagingResample(Imaging imIn, int xsize, int ysize, int filter, float box[4]) {
    SIMD_SERVE(Imaging, SIMD_DECLINED, rows, (imIn, xsize, ysize, filter, box))
}

#endif
