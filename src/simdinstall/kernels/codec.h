/*
 * What decoders and encoders have in common: a shuffler, which turns a line of pixels of
 * an image into one of a file, or back. Pillow keeps it in the codec's state.
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

#endif
