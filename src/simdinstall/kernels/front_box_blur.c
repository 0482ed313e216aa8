/* ImagingBoxBlur: ImageFilter.BoxBlur, and each pass of a Gaussian blur. */
#include "dispatch.h"
#include "pillow.h"

#ifdef PILLOW_PROTOTYPE_ImagingBoxBlur

#ifdef SIMD_KERNEL_box_blur
#include "box_blur.h"

/*
 * The kernel wants weights that fit its 16-bit factors. Stock's do up to a radius of
 * about 2**22, where a float no longer holds 2 * radius + 1.
 */
static int
box_blur_radius_fits(float radius) {
    struct box_weights w;

    if (!(radius >= 0 && radius < 1 << 22)) {
        return 0;
    }
    w = box_weights(radius);
    return w.ww <= 1 << 24 && w.fw <= 1 << 23;
}

/* Whatever stock refuses or merely copies is left to it. */
static int
box_blur_fits(Imaging imOut, Imaging imIn, float xradius, float yradius, int n) {
    return n >= 1 && (xradius != 0 || yradius != 0) && box_blur_radius_fits(xradius) &&
           box_blur_radius_fits(yradius) && imIn->type == IMAGING_TYPE_UINT8 &&
           imOut->type == IMAGING_TYPE_UINT8 && imIn->mode == imOut->mode &&
           imIn->bands == imOut->bands && imIn->xsize == imOut->xsize &&
           imIn->ysize == imOut->ysize && imIn->xsize > 0 && imIn->ysize > 0 &&
           imIn->xsize <= BOX_BLUR_LONGEST && imIn->ysize <= BOX_BLUR_LONGEST &&
           (imIn->mode == IMAGING_MODE_L || imIn->mode == IMAGING_MODE_LA ||
            imIn->mode == IMAGING_MODE_La || imIn->mode == IMAGING_MODE_RGB ||
            imIn->mode == IMAGING_MODE_RGBA || imIn->mode == IMAGING_MODE_RGBa ||
            imIn->mode == IMAGING_MODE_RGBX || imIn->mode == IMAGING_MODE_CMYK);
}
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
