/* Which shuffler turns pixels of an image into those of a file, and back. */
#include "dispatch.h"
#include "pillow.h"

#ifdef SIMD_KERNEL_pack
#include "pack.h"
#endif

typedef ImagingShuffler
find_function(ModeID mode, RawModeID rawmode, int *bits);
typedef int
find_guard(ModeID mode, RawModeID rawmode, int *bits);

#ifdef PILLOW_PROTOTYPE_ImagingFindPacker

static SIMD_ROW_TYPE(find_guard, find_function) packer_rows[] = {
#ifdef SIMD_KERNEL_pack
    SIMD_SSE4("pack", pack_fits, find_packer)
#endif
    SIMD_STOCK
};
SIMD_FRONT(ImagingFindPacker, packer_rows)

SIMD_PUBLIC ImagingShuffler
ImagingFindPacker(ModeID mode, RawModeID rawmode, int *bits) {
    SIMD_SERVE(ImagingShuffler, NULL, packer_rows, (mode, rawmode, bits))
}

#ifdef SIMD_KERNEL_pack
ImagingShuffler
pack_find_packer(ModeID mode, RawModeID rawmode, int *bits) {
    return SIMD_STOCK_OF(packer_rows)(mode, rawmode, bits);
}
#endif

#endif

#ifdef PILLOW_PROTOTYPE_ImagingFindUnpacker

static SIMD_ROW_TYPE(find_guard, find_function) unpacker_rows[] = {
#ifdef SIMD_KERNEL_pack
    SIMD_SSE4("pack", pack_fits, find_unpacker)
#endif
    SIMD_STOCK
};
SIMD_FRONT(ImagingFindUnpacker, unpacker_rows)

SIMD_PUBLIC ImagingShuffler
ImagingFindUnpacker(ModeID mode, RawModeID rawmode, int *bits) {
    SIMD_SERVE(ImagingShuffler, NULL, unpacker_rows, (mode, rawmode, bits))
}

#ifdef SIMD_KERNEL_pack
ImagingShuffler
pack_find_unpacker(ModeID mode, RawModeID rawmode, int *bits) {
    return SIMD_STOCK_OF(unpacker_rows)(mode, rawmode, bits);
}
#endif

#endif
