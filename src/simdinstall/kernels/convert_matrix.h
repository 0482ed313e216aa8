/* Exact colour matrix: the bytes of stock's ImagingConvertMatrix. */
#ifndef SIMDINSTALL_CONVERT_MATRIX_H
#define SIMDINSTALL_CONVERT_MATRIX_H

#include "convert.h"

/* To 12.2 stock also took HSV and LAB, by the formula of RGB: it does them itself. */
static inline int
convert_matrix_fits_from(int least_width, MATRIX_PARAMETERS) {
    (void)m;
    return im && im->bands == 3 && im->xsize >= least_width &&
           (mode == IMAGING_MODE_L || mode == IMAGING_MODE_RGB);
}

#define MATRIX_FITS(isa, least_width)                                \
    static inline int convert_matrix_fits_##isa(MATRIX_PARAMETERS) { \
        return convert_matrix_fits_from(least_width, im, mode, m);   \
    }
MATRIX_FITS(sse4, STEP_PIXELS_SSE4)
MATRIX_FITS(avx2, STEP_PIXELS_AVX2)
MATRIX_FITS(avx512, STEP_PIXELS_AVX512)
#undef MATRIX_FITS

SIMD_KERNEL(Imaging, convert_matrix, (MATRIX_PARAMETERS))

#endif
