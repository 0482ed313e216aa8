/* ImagingFilter: ImageFilter.Kernel and the named 3x3 and 5x5 filters. */
#include "dispatch.h"
#include "pillow.h"

#ifdef PILLOW_PROTOTYPE_ImagingFilter

#ifdef SIMD_KERNEL_filter
#include "filter.h"
#endif
#if defined(SIMD_KERNEL_pillow_simd_filter) || defined(SIMD_KERNEL_pillow_simd_filter_bounded)
#include "pillow_simd/pillow_simd.h"
#endif

typedef Imaging
filter_function(Imaging im, int xsize, int ysize, const float *kernel, float offset);
typedef int
filter_guard(Imaging im, int xsize, int ysize, const float *kernel, float offset);

static SIMD_ROW_TYPE(filter_guard, filter_function) rows[] = {
#ifdef SIMD_KERNEL_filter
    SIMD_AVX512("filter", filter_fits, filter)
    SIMD_AVX2("filter", filter_fits, filter)
    SIMD_SSE4("filter", filter_fits, filter)
#endif
#ifdef SIMD_KERNEL_pillow_simd_filter
    SIMD_AVX2("pillow_simd_filter", pillow_simd_filter_fits, pillow_simd_filter)
    SIMD_SSE4("pillow_simd_filter", pillow_simd_filter_fits, pillow_simd_filter)
#endif
#ifdef SIMD_KERNEL_pillow_simd_filter_bounded
    SIMD_AVX2("pillow_simd_filter_bounded", pillow_simd_filter_bounded_fits, pillow_simd_filter)
    SIMD_SSE4("pillow_simd_filter_bounded", pillow_simd_filter_bounded_fits, pillow_simd_filter)
#endif
    SIMD_STOCK
};
SIMD_FRONT(ImagingFilter, rows)

SIMD_PUBLIC Imaging
ImagingFilter(Imaging im, int xsize, int ysize, const float *kernel, float offset) {
    SIMD_SERVE(Imaging, SIMD_DECLINED, rows, (im, xsize, ysize, kernel, offset))
}

#endif
