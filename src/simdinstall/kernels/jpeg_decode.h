/* JPEG: where libjpeg puts the lines that it decodes. */
#ifndef SIMDINSTALL_JPEG_DECODE_H
#define SIMDINSTALL_JPEG_DECODE_H

#include "jpeg_codec.h"

static inline int
jpeg_decode_fits(Imaging im, ImagingCodecState state, uint8_t *buf, long bytes) {
    (void)im;
    (void)buf;
    (void)bytes;
    return state->buffer && state->bytes > 0;
}

SIMD_KERNEL(int, jpeg_decode, (Imaging im, ImagingCodecState state, uint8_t *buf, long bytes))

/* Stock's function. */
int
jpeg_decode_lines(Imaging im, ImagingCodecState state, uint8_t *buf, long bytes);

#endif
