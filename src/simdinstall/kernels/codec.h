/*
 * What decoders and encoders have in common: the place of a line in the image, and a shuffler,
 * which turns its pixels into those of a file, or back. Pillow keeps both in the codec's state.
 */
#ifndef SIMDINSTALL_CODEC_H
#define SIMDINSTALL_CODEC_H

#include "pillow.h"

static inline ImagingShuffler
codec_shuffler(ImagingCodecState state) {
    ImagingShuffler shuffle;

    memcpy(&shuffle, &state->shuffle, sizeof(shuffle));
    return shuffle;
}

static inline void
codec_set_shuffler(ImagingCodecState state, ImagingShuffler shuffle) {
    memcpy(&state->shuffle, &shuffle, sizeof(shuffle));
}

/* Where the line of that number begins in the image. */
static inline uint8_t *
codec_row(Imaging im, ImagingCodecState state, int y) {
    return (uint8_t *)im->image[y + state->yoff] + (ptrdiff_t)state->xoff * im->pixelsize;
}

#endif
