/*
 * JPEG's decoder and encoder, as stock has them: libjpeg and a buffer of one line, which a
 * shuffler copies from or to a row of the image. What is done here is to choose where that line
 * lies; all else is left to stock's functions.
 *
 * They take the buffer and the shuffler from the codec's state for each line, so a shuffler of
 * ours, which is called between two lines, can put another address there. When a call
 * returns, the state holds what stock put there.
 */
#ifndef SIMDINSTALL_JPEG_CODEC_H
#define SIMDINSTALL_JPEG_CODEC_H

#include "codec.h"
#include "dispatch.h"
#include "pillow.h"

/*
 * Whether pixels have the same bytes in the image and in the file. Shufflers do the same to all
 * pixels: they move, invert, drop or replace bytes, which would show in bytes that all differ.
 */
static inline int
jpeg_copies(Imaging im, ImagingCodecState state) {
    uint8_t in[16], out[16] = {0};
    int i;

    if ((im->pixelsize != 1 && im->pixelsize != 4) || state->bits != im->pixelsize * 8) {
        return 0;
    }
    for (i = 0; i < 16; i++) {
        in[i] = (uint8_t)(i * 11 + 5);
    }
    codec_shuffler(state)(out, in, 16 / im->pixelsize);
    return memcmp(in, out, 16) == 0;
}

#endif
