/* ImagingBoxBlur: ImageFilter.BoxBlur, and each pass of a Gaussian blur. */
#include "dispatch.h"
#include "pillow.h"

#ifdef PILLOW_PROTOTYPE_ImagingBoxBlur

#ifdef SIMD_KERNEL_box_blur
#include "box_blur.h"
#endif
#ifdef SIMD_KERNEL_pillow_simd_box_blur
#include "pillow_simd/pillow_simd.h"
#endif

typedef Imaging
box_blur_function(Imaging imOut, Imaging imIn, float xradius, float yradius, int n);
typedef int
box_blur_guard(Imaging imOut, Imaging imIn, float xradius, float yradius, int n);

static SIMD_ROW_TYPE(box_blur_guard, box_blur_function) rows[] = {
#ifdef SIMD_KERNEL_box_blur
    SIMD_AVX512("box_blur", box_blur_fits, box_blur)
    SIMD_AVX2("box_blur", box_blur_fits, box_blur)
    SIMD_SSE4("box_blur", box_blur_fits, box_blur)
#endif
#ifdef SIMD_KERNEL_pillow_simd_box_blur
    SIMD_AVX2("pillow_simd_box_blur", pillow_simd_box_blur_fits, pillow_simd_box_blur)
    SIMD_SSE4("pillow_simd_box_blur", pillow_simd_box_blur_fits, pillow_simd_box_blur)
#endif
    SIMD_STOCK
};
SIMD_FRONT(ImagingBoxBlur, rows)

SIMD_PUBLIC Imaging
ImagingBoxBlur(Imaging imOut, Imaging imIn, float xradius, float yradius, int n) {
    SIMD_SERVE(Imaging, SIMD_DECLINED, rows, (imOut, imIn, xradius, yradius, n))
}

#endif
