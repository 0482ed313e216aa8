/* Lines of an image on their way into a JPEG file: not copied first. libjpeg only reads them. */
#include "jpeg_encode.h"

/* The call that is under way in a thread. Shufflers are not told which one that is. */
static __thread ImagingCodecState encoding;

/* Stock's function gives libjpeg what is in the buffer after this. */
static void
take_from_its_row(uint8_t *out, const uint8_t *in, int pixels) {
    (void)out;
    (void)pixels;
    encoding->buffer = (uint8_t *)(uintptr_t)in;
}

int
SIMD_NAME(jpeg_encode)(Imaging im, ImagingCodecState state, uint8_t *buf, int bytes) {
    ImagingShuffler shuffle = codec_shuffler(state);
    uint8_t *own = state->buffer;
    int result;

    encoding = state;
    codec_set_shuffler(state, take_from_its_row);
    result = jpeg_encode_lines(im, state, buf, bytes);
    codec_set_shuffler(state, shuffle);
    state->buffer = own;
    return result;
}
