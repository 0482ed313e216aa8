/* ImagingConvert: Image.convert, and a resize of images with alpha before and after. */
#include "dispatch.h"
#include "pillow.h"

#ifdef PILLOW_PROTOTYPE_ImagingConvert

#ifdef SIMD_KERNEL_convert
#include "convert.h"
#endif
#if defined(SIMD_KERNEL_pillow_simd_convert) || defined(SIMD_KERNEL_pillow_simd_convert_bounded)
#include "pillow_simd/pillow_simd.h"
#endif

typedef Imaging
convert_function(CONVERT_PARAMETERS);
typedef int
convert_guard(CONVERT_PARAMETERS);

static SIMD_ROW_TYPE(convert_guard, convert_function) rows[] = {
#ifdef SIMD_KERNEL_convert
    SIMD_AVX512("convert", convert_fits, convert)
    SIMD_AVX2("convert", convert_fits, convert)
    SIMD_SSE4("convert", convert_fits, convert)
#endif
#ifdef SIMD_KERNEL_pillow_simd_convert
    SIMD_AVX2("pillow_simd_convert", pillow_simd_convert_fits, pillow_simd_convert)
    SIMD_SSE4("pillow_simd_convert", pillow_simd_convert_fits, pillow_simd_convert)
#endif
#ifdef SIMD_KERNEL_pillow_simd_convert_bounded
    SIMD_AVX2(
        "pillow_simd_convert_bounded", pillow_simd_convert_bounded_fits, pillow_simd_convert
    )
    SIMD_SSE4(
        "pillow_simd_convert_bounded", pillow_simd_convert_bounded_fits, pillow_simd_convert
    )
#endif
    SIMD_STOCK
};
SIMD_FRONT(ImagingConvert, rows)

SIMD_PUBLIC Imaging
ImagingConvert(CONVERT_PARAMETERS) {
    SIMD_SERVE(Imaging, SIMD_DECLINED, rows, (CONVERT_ARGUMENTS))
}

#endif
