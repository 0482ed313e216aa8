/* ImagingUnsharpMask: ImageFilter.UnsharpMask. */
#include "dispatch.h"
#include "pillow.h"

#ifdef PILLOW_PROTOTYPE_ImagingUnsharpMask

#ifdef SIMD_KERNEL_unsharp_mask
#include "unsharp_mask.h"
#endif

typedef Imaging
unsharp_mask_function(Imaging imOut, Imaging imIn, float radius, int percent, int threshold);
typedef int
unsharp_mask_guard(Imaging imOut, Imaging imIn, float radius, int percent, int threshold);

static SIMD_ROW_TYPE(unsharp_mask_guard, unsharp_mask_function) rows[] = {
#ifdef SIMD_KERNEL_unsharp_mask
    SIMD_AVX512("unsharp_mask", unsharp_mask_fits, unsharp_mask)
    SIMD_AVX2("unsharp_mask", unsharp_mask_fits, unsharp_mask)
    SIMD_SSE4("unsharp_mask", unsharp_mask_fits, unsharp_mask)
#endif
    SIMD_STOCK
};
SIMD_FRONT(ImagingUnsharpMask, rows)

SIMD_PUBLIC Imaging
ImagingUnsharpMask(Imaging imOut, Imaging imIn, float radius, int percent, int threshold) {
    SIMD_SERVE(Imaging, SIMD_DECLINED, rows, (imOut, imIn, radius, percent, threshold))
}

#endif
