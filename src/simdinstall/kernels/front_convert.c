/*
 * ImagingConvert: Image.convert, and a resize of images with alpha before and after.
 * ImagingConvertMatrix: Image.convert with a matrix.
 */
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
    SIMD_AVX512("convert", convert_fits_avx512, convert)
    SIMD_AVX2("convert", convert_fits_avx2, convert)
    SIMD_SSE4("convert", convert_fits_sse4, convert)
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

#ifdef PILLOW_PROTOTYPE_ImagingConvertMatrix

#ifdef SIMD_KERNEL_convert_matrix
#include "convert_matrix.h"
#endif

typedef Imaging
matrix_function(MATRIX_PARAMETERS);
typedef int
matrix_guard(MATRIX_PARAMETERS);

static SIMD_ROW_TYPE(matrix_guard, matrix_function) matrix_rows[] = {
#ifdef SIMD_KERNEL_convert_matrix
    SIMD_AVX512("convert_matrix", convert_matrix_fits_avx512, convert_matrix)
    SIMD_AVX2("convert_matrix", convert_matrix_fits_avx2, convert_matrix)
    SIMD_SSE4("convert_matrix", convert_matrix_fits_sse4, convert_matrix)
#endif
    SIMD_STOCK
};
SIMD_FRONT(ImagingConvertMatrix, matrix_rows)

SIMD_PUBLIC Imaging
ImagingConvertMatrix(MATRIX_PARAMETERS) {
    SIMD_SERVE(Imaging, SIMD_DECLINED, matrix_rows, (im, mode, m))
}

#endif
