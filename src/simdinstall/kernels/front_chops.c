/* Two images, byte by byte: ImageChops and Image.blend. */
#include "dispatch.h"
#include "pillow.h"

#ifdef SIMD_KERNEL_blend
#include "blend.h"
#endif
#ifdef SIMD_KERNEL_chops
#include "chops.h"
#endif

#ifdef PILLOW_PROTOTYPE_ImagingChopLighter

typedef Imaging
chop_lighter_function(Imaging imIn1, Imaging imIn2);
typedef int
chop_lighter_guard(Imaging imIn1, Imaging imIn2);

static SIMD_ROW_TYPE(chop_lighter_guard, chop_lighter_function) chop_lighter_rows[] = {
#ifdef SIMD_KERNEL_chops
    SIMD_AVX512("chops", chops_fits, chop_lighter)
    SIMD_AVX2("chops", chops_fits, chop_lighter)
    SIMD_SSE4("chops", chops_fits, chop_lighter)
#endif
    SIMD_STOCK
};
SIMD_FRONT(ImagingChopLighter, chop_lighter_rows)

SIMD_PUBLIC Imaging
ImagingChopLighter(Imaging imIn1, Imaging imIn2) {
    SIMD_SERVE(Imaging, SIMD_DECLINED, chop_lighter_rows, (imIn1, imIn2))
}

#endif

#ifdef PILLOW_PROTOTYPE_ImagingChopDarker

typedef Imaging
chop_darker_function(Imaging imIn1, Imaging imIn2);
typedef int
chop_darker_guard(Imaging imIn1, Imaging imIn2);

static SIMD_ROW_TYPE(chop_darker_guard, chop_darker_function) chop_darker_rows[] = {
#ifdef SIMD_KERNEL_chops
    SIMD_AVX512("chops", chops_fits, chop_darker)
    SIMD_AVX2("chops", chops_fits, chop_darker)
    SIMD_SSE4("chops", chops_fits, chop_darker)
#endif
    SIMD_STOCK
};
SIMD_FRONT(ImagingChopDarker, chop_darker_rows)

SIMD_PUBLIC Imaging
ImagingChopDarker(Imaging imIn1, Imaging imIn2) {
    SIMD_SERVE(Imaging, SIMD_DECLINED, chop_darker_rows, (imIn1, imIn2))
}

#endif

#ifdef PILLOW_PROTOTYPE_ImagingChopDifference

typedef Imaging
chop_difference_function(Imaging imIn1, Imaging imIn2);
typedef int
chop_difference_guard(Imaging imIn1, Imaging imIn2);

static SIMD_ROW_TYPE(chop_difference_guard, chop_difference_function) chop_difference_rows[] = {
#ifdef SIMD_KERNEL_chops
    SIMD_AVX512("chops", chops_fits, chop_difference)
    SIMD_AVX2("chops", chops_fits, chop_difference)
    SIMD_SSE4("chops", chops_fits, chop_difference)
#endif
    SIMD_STOCK
};
SIMD_FRONT(ImagingChopDifference, chop_difference_rows)

SIMD_PUBLIC Imaging
ImagingChopDifference(Imaging imIn1, Imaging imIn2) {
    SIMD_SERVE(Imaging, SIMD_DECLINED, chop_difference_rows, (imIn1, imIn2))
}

#endif

#ifdef PILLOW_PROTOTYPE_ImagingChopMultiply

typedef Imaging
chop_multiply_function(Imaging imIn1, Imaging imIn2);
typedef int
chop_multiply_guard(Imaging imIn1, Imaging imIn2);

static SIMD_ROW_TYPE(chop_multiply_guard, chop_multiply_function) chop_multiply_rows[] = {
#ifdef SIMD_KERNEL_chops
    SIMD_AVX512("chops", chops_fits, chop_multiply)
    SIMD_AVX2("chops", chops_fits, chop_multiply)
    SIMD_SSE4("chops", chops_fits, chop_multiply)
#endif
    SIMD_STOCK
};
SIMD_FRONT(ImagingChopMultiply, chop_multiply_rows)

SIMD_PUBLIC Imaging
ImagingChopMultiply(Imaging imIn1, Imaging imIn2) {
    SIMD_SERVE(Imaging, SIMD_DECLINED, chop_multiply_rows, (imIn1, imIn2))
}

#endif

#ifdef PILLOW_PROTOTYPE_ImagingChopScreen

typedef Imaging
chop_screen_function(Imaging imIn1, Imaging imIn2);
typedef int
chop_screen_guard(Imaging imIn1, Imaging imIn2);

static SIMD_ROW_TYPE(chop_screen_guard, chop_screen_function) chop_screen_rows[] = {
#ifdef SIMD_KERNEL_chops
    SIMD_AVX512("chops", chops_fits, chop_screen)
    SIMD_AVX2("chops", chops_fits, chop_screen)
    SIMD_SSE4("chops", chops_fits, chop_screen)
#endif
    SIMD_STOCK
};
SIMD_FRONT(ImagingChopScreen, chop_screen_rows)

SIMD_PUBLIC Imaging
ImagingChopScreen(Imaging imIn1, Imaging imIn2) {
    SIMD_SERVE(Imaging, SIMD_DECLINED, chop_screen_rows, (imIn1, imIn2))
}

#endif

#ifdef PILLOW_PROTOTYPE_ImagingChopSoftLight

typedef Imaging
chop_soft_light_function(Imaging imIn1, Imaging imIn2);
typedef int
chop_soft_light_guard(Imaging imIn1, Imaging imIn2);

static SIMD_ROW_TYPE(chop_soft_light_guard, chop_soft_light_function) chop_soft_light_rows[] = {
#ifdef SIMD_KERNEL_chops
    SIMD_AVX512("chops", chops_fits, chop_soft_light)
    SIMD_AVX2("chops", chops_fits, chop_soft_light)
    SIMD_SSE4("chops", chops_fits, chop_soft_light)
#endif
    SIMD_STOCK
};
SIMD_FRONT(ImagingChopSoftLight, chop_soft_light_rows)

SIMD_PUBLIC Imaging
ImagingChopSoftLight(Imaging imIn1, Imaging imIn2) {
    SIMD_SERVE(Imaging, SIMD_DECLINED, chop_soft_light_rows, (imIn1, imIn2))
}

#endif

#ifdef PILLOW_PROTOTYPE_ImagingChopHardLight

typedef Imaging
chop_hard_light_function(Imaging imIn1, Imaging imIn2);
typedef int
chop_hard_light_guard(Imaging imIn1, Imaging imIn2);

static SIMD_ROW_TYPE(chop_hard_light_guard, chop_hard_light_function) chop_hard_light_rows[] = {
#ifdef SIMD_KERNEL_chops
    SIMD_AVX512("chops", chops_fits, chop_hard_light)
    SIMD_AVX2("chops", chops_fits, chop_hard_light)
    SIMD_SSE4("chops", chops_fits, chop_hard_light)
#endif
    SIMD_STOCK
};
SIMD_FRONT(ImagingChopHardLight, chop_hard_light_rows)

SIMD_PUBLIC Imaging
ImagingChopHardLight(Imaging imIn1, Imaging imIn2) {
    SIMD_SERVE(Imaging, SIMD_DECLINED, chop_hard_light_rows, (imIn1, imIn2))
}

#endif

#ifdef PILLOW_PROTOTYPE_ImagingOverlay

typedef Imaging
chop_overlay_function(Imaging imIn1, Imaging imIn2);
typedef int
chop_overlay_guard(Imaging imIn1, Imaging imIn2);

static SIMD_ROW_TYPE(chop_overlay_guard, chop_overlay_function) chop_overlay_rows[] = {
#ifdef SIMD_KERNEL_chops
    SIMD_AVX512("chops", chops_fits, chop_overlay)
    SIMD_AVX2("chops", chops_fits, chop_overlay)
    SIMD_SSE4("chops", chops_fits, chop_overlay)
#endif
    SIMD_STOCK
};
SIMD_FRONT(ImagingOverlay, chop_overlay_rows)

SIMD_PUBLIC Imaging
ImagingOverlay(Imaging imIn1, Imaging imIn2) {
    SIMD_SERVE(Imaging, SIMD_DECLINED, chop_overlay_rows, (imIn1, imIn2))
}

#endif

#ifdef PILLOW_PROTOTYPE_ImagingChopAdd

typedef Imaging
chop_add_function(Imaging imIn1, Imaging imIn2, float scale, int offset);
typedef int
chop_add_guard(Imaging imIn1, Imaging imIn2, float scale, int offset);

static SIMD_ROW_TYPE(chop_add_guard, chop_add_function) chop_add_rows[] = {
#ifdef SIMD_KERNEL_chops
    SIMD_AVX512("chops", chops_scaled_fits, chop_add)
    SIMD_AVX2("chops", chops_scaled_fits, chop_add)
    SIMD_SSE4("chops", chops_scaled_fits, chop_add)
#endif
    SIMD_STOCK
};
SIMD_FRONT(ImagingChopAdd, chop_add_rows)

SIMD_PUBLIC Imaging
ImagingChopAdd(Imaging imIn1, Imaging imIn2, float scale, int offset) {
    SIMD_SERVE(Imaging, SIMD_DECLINED, chop_add_rows, (imIn1, imIn2, scale, offset))
}

#endif

#ifdef PILLOW_PROTOTYPE_ImagingChopSubtract

typedef Imaging
chop_subtract_function(Imaging imIn1, Imaging imIn2, float scale, int offset);
typedef int
chop_subtract_guard(Imaging imIn1, Imaging imIn2, float scale, int offset);

static SIMD_ROW_TYPE(chop_subtract_guard, chop_subtract_function) chop_subtract_rows[] = {
#ifdef SIMD_KERNEL_chops
    SIMD_AVX512("chops", chops_scaled_fits, chop_subtract)
    SIMD_AVX2("chops", chops_scaled_fits, chop_subtract)
    SIMD_SSE4("chops", chops_scaled_fits, chop_subtract)
#endif
    SIMD_STOCK
};
SIMD_FRONT(ImagingChopSubtract, chop_subtract_rows)

SIMD_PUBLIC Imaging
ImagingChopSubtract(Imaging imIn1, Imaging imIn2, float scale, int offset) {
    SIMD_SERVE(Imaging, SIMD_DECLINED, chop_subtract_rows, (imIn1, imIn2, scale, offset))
}

#endif

#ifdef PILLOW_PROTOTYPE_ImagingBlend

typedef Imaging
blend_function(Imaging imIn1, Imaging imIn2, float alpha);
typedef int
blend_guard(Imaging imIn1, Imaging imIn2, float alpha);

static SIMD_ROW_TYPE(blend_guard, blend_function) blend_rows[] = {
#ifdef SIMD_KERNEL_blend
    SIMD_AVX512("blend", blend_fits, blend)
    SIMD_AVX2("blend", blend_fits, blend)
    SIMD_SSE4("blend", blend_fits, blend)
#endif
    SIMD_STOCK
};
SIMD_FRONT(ImagingBlend, blend_rows)

SIMD_PUBLIC Imaging
ImagingBlend(Imaging imIn1, Imaging imIn2, float alpha) {
    SIMD_SERVE(Imaging, SIMD_DECLINED, blend_rows, (imIn1, imIn2, alpha))
}

#endif
