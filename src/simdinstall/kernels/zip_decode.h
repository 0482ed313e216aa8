/* PNG: undoing the filters of rows, which is half of the time that loading takes. */
#ifndef SIMDINSTALL_ZIP_DECODE_H
#define SIMDINSTALL_ZIP_DECODE_H

#include "zip_codec.h"

static inline int
zip_decode_fits(Imaging im, ImagingCodecState state, uint8_t *buf, long bytes) {
    (void)im;
    (void)buf;
    (void)bytes;
    return zip_fits(state);
}

SIMD_KERNEL(int, zip_decode, (Imaging im, ImagingCodecState state, uint8_t *buf, long bytes))

#endif
