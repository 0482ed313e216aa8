/* ImagingReduce: Image.reduce, and the first step of thumbnail and reducing_gap. */
#include "dispatch.h"
#include "pillow.h"

#ifdef PILLOW_PROTOTYPE_ImagingReduce

#ifdef SIMD_KERNEL_reduce
#include "reduce.h"
#endif
#ifdef SIMD_KERNEL_pillow_simd_reduce
#include "pillow_simd/pillow_simd.h"
#endif

typedef Imaging
reduce_function(Imaging imIn, int xscale, int yscale, int box[4]);
typedef int
reduce_guard(Imaging imIn, int xscale, int yscale, int box[4]);

static SIMD_ROW_TYPE(reduce_guard, reduce_function) rows[] = {
#ifdef SIMD_KERNEL_reduce
    SIMD_AVX512("reduce", reduce_fits, reduce)
    SIMD_AVX2("reduce", reduce_fits, reduce)
    SIMD_SSE4("reduce", reduce_fits, reduce)
#endif
#ifdef SIMD_KERNEL_pillow_simd_reduce
    SIMD_AVX2("pillow_simd_reduce", pillow_simd_reduce_fits, pillow_simd_reduce)
    SIMD_SSE4("pillow_simd_reduce", pillow_simd_reduce_fits, pillow_simd_reduce)
#endif
    SIMD_STOCK
};
SIMD_FRONT(ImagingReduce, rows)

SIMD_PUBLIC Imaging
ImagingReduce(Imaging imIn, int xscale, int yscale, int box[4]) {
    SIMD_SERVE(Imaging, SIMD_DECLINED, rows, (imIn, xscale, yscale, box))
}

#endif
