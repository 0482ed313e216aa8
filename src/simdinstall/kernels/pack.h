/*
 * Pixels of four bytes as files and arrays have them, in three: what tobytes, frombytes and
 * most codecs do with RGB. Whoever asks Pillow for such a shuffler gets one of these.
 */
#ifndef SIMDINSTALL_PACK_H
#define SIMDINSTALL_PACK_H

#include "dispatch.h"
#include "pillow.h"

static inline int
pack_fits(ModeID mode, RawModeID rawmode, int *bits) {
    (void)mode;
    (void)rawmode;
    (void)bits;
    return 1;
}

/* NULL, which is to decline, where there is no shuffler of ours for the one that stock has. */
SIMD_KERNEL(ImagingShuffler, find_packer, (ModeID mode, RawModeID rawmode, int *bits))
SIMD_KERNEL(ImagingShuffler, find_unpacker, (ModeID mode, RawModeID rawmode, int *bits))

/* Stock's functions. */
ImagingShuffler
pack_find_packer(ModeID mode, RawModeID rawmode, int *bits);
ImagingShuffler
pack_find_unpacker(ModeID mode, RawModeID rawmode, int *bits);

#endif
