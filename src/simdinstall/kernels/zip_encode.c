/*
 * ImagingZipEncode for PNG, between stock's set-up and stock's end. Same bytes as stock with
 * the same zlib: it is given the same rows, one at a time.
 */
#include "zip_encode.h"

#include "png_filter.h"

static int
failed(ImagingCodecState state, int error) {
    ZIPSTATE *context = state->context;

    state->errcode = zip_error(error);
    free(context->paeth);
    free(context->average);
    free(context->up);
    free(context->prior);
    free(context->previous);
    deflateEnd(&context->z_stream);
    return -1;
}

/* The row as it goes into the file, after its filter's number. */
static uint8_t *
filtered(ImagingCodecState state, ZIPSTATE *context) {
    uint8_t *rows[PNG_FILTERS] = {
        state->buffer, context->prior, context->up, context->average, context->paeth
    };

    return rows[choose_filter(
        rows, context->previous, state->bytes, zip_pixel_bytes(state), context->optimize
    )];
}

int
SIMD_NAME(zip_encode)(Imaging im, ImagingCodecState state, uint8_t *buf, int bytes) {
    ZIPSTATE *context = state->context;
    z_stream_s *z = &context->z_stream;
    ImagingShuffler shuffle = codec_shuffler(state);
    ImagingSectionCookie cookie;
    int error = 0, written;

    z->next_out = buf;
    z->avail_out = (unsigned int)bytes;
    if (z->next_in && z->avail_in > 0) {
        /* What there was no room for in the last call. */
        error = deflate(z, Z_NO_FLUSH);
        if (error < 0) {
            return failed(state, error);
        }
    }
    ImagingSectionEnter(&cookie);
    while (z->avail_out > 0 && state->y < state->ysize && error >= 0) {
        uint8_t *row = state->buffer;

        shuffle(row + 1, codec_row(im, state, state->y), state->xsize);
        state->y++;
        context->output = filtered(state, context);
        z->next_in = context->output;
        z->avail_in = (unsigned int)state->bytes + 1;
        error = deflate(z, Z_NO_FLUSH);
        if (error >= 0) {
            state->buffer = context->previous;
            context->previous = row;
        }
    }
    ImagingSectionLeave(&cookie);
    if (error < 0) {
        return failed(state, error);
    }
    written = bytes - (int)z->avail_out;
    if (!z->avail_out) {
        return written;
    }
    return written + zip_encode_end(im, state, buf + written, bytes - written);
}
