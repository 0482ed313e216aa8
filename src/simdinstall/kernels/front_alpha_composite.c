/* ImagingAlphaComposite: Image.alpha_composite. */
#include "dispatch.h"
#include "pillow.h"

#ifdef PILLOW_PROTOTYPE_ImagingAlphaComposite

#ifdef SIMD_KERNEL_alpha_composite
#include "alpha_composite.h"
#endif
#ifdef SIMD_KERNEL_pillow_simd_alpha_composite
#include "pillow_simd/pillow_simd.h"
#endif

typedef Imaging
alpha_composite_function(Imaging imDst, Imaging imSrc);
typedef int
alpha_composite_guard(Imaging imDst, Imaging imSrc);

static SIMD_ROW_TYPE(alpha_composite_guard, alpha_composite_function) rows[] = {
#ifdef SIMD_KERNEL_alpha_composite
    SIMD_AVX512("alpha_composite", alpha_composite_fits, alpha_composite)
    SIMD_AVX2("alpha_composite", alpha_composite_fits, alpha_composite)
    SIMD_SSE4("alpha_composite", alpha_composite_fits, alpha_composite)
#endif
#ifdef SIMD_KERNEL_pillow_simd_alpha_composite
    SIMD_AVX2(
        "pillow_simd_alpha_composite",
        pillow_simd_alpha_composite_fits,
        pillow_simd_alpha_composite
    )
    SIMD_SSE4(
        "pillow_simd_alpha_composite",
        pillow_simd_alpha_composite_fits,
        pillow_simd_alpha_composite
    )
#endif
    SIMD_STOCK
};
SIMD_FRONT(ImagingAlphaComposite, rows)

SIMD_PUBLIC Imaging
ImagingAlphaComposite(Imaging imDst, Imaging imSrc) {
    SIMD_SERVE(Imaging, SIMD_DECLINED, rows, (imDst, imSrc))
}

#endif
