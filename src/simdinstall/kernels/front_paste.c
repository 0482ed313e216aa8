/* Image.paste and what is made of it: Image.composite, crop, ImageOps.expand, drawing with a mask. */
#include "dispatch.h"
#include "pillow.h"

#ifdef SIMD_KERNEL_paste
#include "paste.h"
#endif

#ifdef PILLOW_PROTOTYPE_ImagingPaste

typedef int
paste_function(
    Imaging imOut, Imaging imIn, Imaging imMask, int dx0, int dy0, int dx1, int dy1
);
typedef int
paste_guard(
    Imaging imOut, Imaging imIn, Imaging imMask, int dx0, int dy0, int dx1, int dy1
);

static SIMD_ROW_TYPE(paste_guard, paste_function) paste_rows[] = {
#ifdef SIMD_KERNEL_paste
    SIMD_AVX512("paste", paste_fits, paste)
    SIMD_AVX2("paste", paste_fits, paste)
    SIMD_SSE4("paste", paste_fits, paste)
#endif
    SIMD_STOCK
};
SIMD_FRONT(ImagingPaste, paste_rows)

SIMD_PUBLIC int
ImagingPaste(
    Imaging imOut, Imaging imIn, Imaging imMask, int dx0, int dy0, int dx1, int dy1
) {
    SIMD_SERVE(
        int, SIMD_DECLINED_INT, paste_rows, (imOut, imIn, imMask, dx0, dy0, dx1, dy1)
    )
}

#endif

#ifdef PILLOW_PROTOTYPE_ImagingFill2

typedef int
fill_masked_function(
    Imaging imOut, const void *ink, Imaging imMask, int dx0, int dy0, int dx1, int dy1
);
typedef int
fill_masked_guard(
    Imaging imOut, const void *ink, Imaging imMask, int dx0, int dy0, int dx1, int dy1
);

static SIMD_ROW_TYPE(fill_masked_guard, fill_masked_function) fill_masked_rows[] = {
#ifdef SIMD_KERNEL_paste
    SIMD_AVX512("paste", fill_masked_fits, fill_masked)
    SIMD_AVX2("paste", fill_masked_fits, fill_masked)
    SIMD_SSE4("paste", fill_masked_fits, fill_masked)
#endif
    SIMD_STOCK
};
SIMD_FRONT(ImagingFill2, fill_masked_rows)

SIMD_PUBLIC int
ImagingFill2(
    Imaging imOut, const void *ink, Imaging imMask, int dx0, int dy0, int dx1, int dy1
) {
    SIMD_SERVE(
        int, SIMD_DECLINED_INT, fill_masked_rows, (imOut, ink, imMask, dx0, dy0, dx1, dy1)
    )
}

#endif
