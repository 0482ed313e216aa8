/* PNG: the choice of each row's filter, which is nearly half of the time that saving takes. */
#ifndef SIMDINSTALL_ZIP_ENCODE_H
#define SIMDINSTALL_ZIP_ENCODE_H

#include "zip_codec.h"

static inline int
zip_encode_fits(Imaging im, ImagingCodecState state, uint8_t *buf, int bytes) {
    (void)im;
    (void)buf;
    (void)bytes;
    return zip_fits(state);
}

SIMD_KERNEL(int, zip_encode, (Imaging im, ImagingCodecState state, uint8_t *buf, int bytes))

/* What follows the last row: stock's function, which ends the stream. */
int
zip_encode_end(Imaging im, ImagingCodecState state, uint8_t *buf, int bytes);

#endif
