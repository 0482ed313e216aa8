/* JPEG: where libjpeg finds the lines that it encodes. */
#ifndef SIMDINSTALL_JPEG_ENCODE_H
#define SIMDINSTALL_JPEG_ENCODE_H

#include "jpeg_codec.h"

/* Where pixels are as libjpeg wants them, it reads the rows themselves. */
static inline int
jpeg_encode_fits(Imaging im, ImagingCodecState state, uint8_t *buf, int bytes) {
    (void)buf;
    (void)bytes;
    return state->buffer && jpeg_copies(im, state);
}

SIMD_KERNEL(int, jpeg_encode, (Imaging im, ImagingCodecState state, uint8_t *buf, int bytes))

/* Stock's function. */
int
jpeg_encode_lines(Imaging im, ImagingCodecState state, uint8_t *buf, int bytes);

#endif
