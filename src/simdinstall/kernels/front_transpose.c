/* Image.transpose: turns by right angles and mirror images. */
#include "dispatch.h"
#include "pillow.h"

#ifdef SIMD_KERNEL_flip
#include "flip.h"
#endif
#ifdef SIMD_KERNEL_transpose
#include "transpose.h"
#endif

#ifdef PILLOW_PROTOTYPE_ImagingFlipLeftRight

typedef Imaging
flip_left_right_function(Imaging imOut, Imaging imIn);
typedef int
flip_left_right_guard(Imaging imOut, Imaging imIn);

static SIMD_ROW_TYPE(flip_left_right_guard, flip_left_right_function) flip_left_right_rows[] = {
#ifdef SIMD_KERNEL_flip
    SIMD_AVX512("flip", flip_fits, flip_left_right)
    SIMD_AVX2("flip", flip_fits, flip_left_right)
    SIMD_SSE4("flip", flip_fits, flip_left_right)
#endif
    SIMD_STOCK
};
SIMD_FRONT(ImagingFlipLeftRight, flip_left_right_rows)

SIMD_PUBLIC Imaging
ImagingFlipLeftRight(Imaging imOut, Imaging imIn) {
    SIMD_SERVE(Imaging, SIMD_DECLINED, flip_left_right_rows, (imOut, imIn))
}

#endif

#ifdef PILLOW_PROTOTYPE_ImagingFlipTopBottom

typedef Imaging
flip_top_bottom_function(Imaging imOut, Imaging imIn);
typedef int
flip_top_bottom_guard(Imaging imOut, Imaging imIn);

static SIMD_ROW_TYPE(flip_top_bottom_guard, flip_top_bottom_function) flip_top_bottom_rows[] = {
#ifdef SIMD_KERNEL_flip
    SIMD_AVX512("flip", flip_fits, flip_top_bottom)
    SIMD_AVX2("flip", flip_fits, flip_top_bottom)
    SIMD_SSE4("flip", flip_fits, flip_top_bottom)
#endif
    SIMD_STOCK
};
SIMD_FRONT(ImagingFlipTopBottom, flip_top_bottom_rows)

SIMD_PUBLIC Imaging
ImagingFlipTopBottom(Imaging imOut, Imaging imIn) {
    SIMD_SERVE(Imaging, SIMD_DECLINED, flip_top_bottom_rows, (imOut, imIn))
}

#endif

#ifdef PILLOW_PROTOTYPE_ImagingRotate180

typedef Imaging
rotate180_function(Imaging imOut, Imaging imIn);
typedef int
rotate180_guard(Imaging imOut, Imaging imIn);

static SIMD_ROW_TYPE(rotate180_guard, rotate180_function) rotate180_rows[] = {
#ifdef SIMD_KERNEL_flip
    SIMD_AVX512("flip", flip_fits, rotate180)
    SIMD_AVX2("flip", flip_fits, rotate180)
    SIMD_SSE4("flip", flip_fits, rotate180)
#endif
    SIMD_STOCK
};
SIMD_FRONT(ImagingRotate180, rotate180_rows)

SIMD_PUBLIC Imaging
ImagingRotate180(Imaging imOut, Imaging imIn) {
    SIMD_SERVE(Imaging, SIMD_DECLINED, rotate180_rows, (imOut, imIn))
}

#endif

#ifdef PILLOW_PROTOTYPE_ImagingRotate90

typedef Imaging
rotate90_function(Imaging imOut, Imaging imIn);
typedef int
rotate90_guard(Imaging imOut, Imaging imIn);

static SIMD_ROW_TYPE(rotate90_guard, rotate90_function) rotate90_rows[] = {
#ifdef SIMD_KERNEL_transpose
    SIMD_AVX512("transpose", transpose_fits, rotate90)
    SIMD_AVX2("transpose", transpose_fits, rotate90)
    SIMD_SSE4("transpose", transpose_fits, rotate90)
#endif
    SIMD_STOCK
};
SIMD_FRONT(ImagingRotate90, rotate90_rows)

SIMD_PUBLIC Imaging
ImagingRotate90(Imaging imOut, Imaging imIn) {
    SIMD_SERVE(Imaging, SIMD_DECLINED, rotate90_rows, (imOut, imIn))
}

#endif

#ifdef PILLOW_PROTOTYPE_ImagingRotate270

typedef Imaging
rotate270_function(Imaging imOut, Imaging imIn);
typedef int
rotate270_guard(Imaging imOut, Imaging imIn);

static SIMD_ROW_TYPE(rotate270_guard, rotate270_function) rotate270_rows[] = {
#ifdef SIMD_KERNEL_transpose
    SIMD_AVX512("transpose", transpose_fits, rotate270)
    SIMD_AVX2("transpose", transpose_fits, rotate270)
    SIMD_SSE4("transpose", transpose_fits, rotate270)
#endif
    SIMD_STOCK
};
SIMD_FRONT(ImagingRotate270, rotate270_rows)

SIMD_PUBLIC Imaging
ImagingRotate270(Imaging imOut, Imaging imIn) {
    SIMD_SERVE(Imaging, SIMD_DECLINED, rotate270_rows, (imOut, imIn))
}

#endif

#ifdef PILLOW_PROTOTYPE_ImagingTranspose

typedef Imaging
transpose_function(Imaging imOut, Imaging imIn);
typedef int
transpose_guard(Imaging imOut, Imaging imIn);

static SIMD_ROW_TYPE(transpose_guard, transpose_function) transpose_rows[] = {
#ifdef SIMD_KERNEL_transpose
    SIMD_AVX512("transpose", transpose_fits, transpose)
    SIMD_AVX2("transpose", transpose_fits, transpose)
    SIMD_SSE4("transpose", transpose_fits, transpose)
#endif
    SIMD_STOCK
};
SIMD_FRONT(ImagingTranspose, transpose_rows)

SIMD_PUBLIC Imaging
ImagingTranspose(Imaging imOut, Imaging imIn) {
    SIMD_SERVE(Imaging, SIMD_DECLINED, transpose_rows, (imOut, imIn))
}

#endif

#ifdef PILLOW_PROTOTYPE_ImagingTransverse

typedef Imaging
transverse_function(Imaging imOut, Imaging imIn);
typedef int
transverse_guard(Imaging imOut, Imaging imIn);

static SIMD_ROW_TYPE(transverse_guard, transverse_function) transverse_rows[] = {
#ifdef SIMD_KERNEL_transpose
    SIMD_AVX512("transpose", transpose_fits, transverse)
    SIMD_AVX2("transpose", transpose_fits, transverse)
    SIMD_SSE4("transpose", transpose_fits, transverse)
#endif
    SIMD_STOCK
};
SIMD_FRONT(ImagingTransverse, transverse_rows)

SIMD_PUBLIC Imaging
ImagingTransverse(Imaging imOut, Imaging imIn) {
    SIMD_SERVE(Imaging, SIMD_DECLINED, transverse_rows, (imOut, imIn))
}

#endif
