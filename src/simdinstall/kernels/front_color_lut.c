/* ImagingColorLUT3D_linear: ImageFilter.Color3DLUT. */
#include "dispatch.h"
#include "pillow.h"

#ifdef PILLOW_PROTOTYPE_ImagingColorLUT3D_linear

#ifdef SIMD_KERNEL_color_lut
#include "color_lut.h"
#endif
#ifdef SIMD_KERNEL_pillow_simd_color_lut
#include "pillow_simd/pillow_simd.h"
#endif

typedef Imaging
color_lut_function(
    Imaging imOut,
    Imaging imIn,
    int table_channels,
    int size1D,
    int size2D,
    int size3D,
    int16_t *table
);
typedef int
color_lut_guard(
    Imaging imOut,
    Imaging imIn,
    int table_channels,
    int size1D,
    int size2D,
    int size3D,
    int16_t *table
);

static SIMD_ROW_TYPE(color_lut_guard, color_lut_function) rows[] = {
#ifdef SIMD_KERNEL_color_lut
    SIMD_AVX512("color_lut", color_lut_fits, color_lut)
    SIMD_AVX2("color_lut", color_lut_fits, color_lut)
    SIMD_SSE4("color_lut", color_lut_fits, color_lut)
#endif
#ifdef SIMD_KERNEL_pillow_simd_color_lut
    SIMD_AVX2("pillow_simd_color_lut", pillow_simd_color_lut_fits, pillow_simd_color_lut)
    SIMD_SSE4("pillow_simd_color_lut", pillow_simd_color_lut_fits, pillow_simd_color_lut)
#endif
    SIMD_STOCK
};
SIMD_FRONT(ImagingColorLUT3D_linear, rows)

SIMD_PUBLIC Imaging
ImagingColorLUT3D_linear(
    Imaging imOut,
    Imaging imIn,
    int table_channels,
    int size1D,
    int size2D,
    int size3D,
    int16_t *table
) {
    SIMD_SERVE(
        Imaging,
        SIMD_DECLINED,
        rows,
        (imOut, imIn, table_channels, size1D, size2D, size3D, table)
    )
}

#endif
