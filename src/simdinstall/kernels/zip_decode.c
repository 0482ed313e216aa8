/*
 * ImagingZipDecode for PNG, after stock's set-up: the same state machine, with the filters of
 * whole rows undone at once.
 */
#include "zip_decode.h"

#include "png_unfilter.h"

/* Adam7, pass by pass. PNG specification, chapter 8.2. */
static const struct {
    int column, columns_apart, row, rows_apart;
} passes[] = {
    {0, 8, 0, 8}, {4, 8, 0, 8}, {0, 4, 4, 8}, {2, 4, 0, 4},
    {0, 2, 2, 4}, {1, 2, 0, 2}, {0, 1, 1, 2},
};
#define PASSES ((int)(sizeof(passes) / sizeof(passes[0])))

/* How many pixels, and bytes, a row of this pass has. */
static int
pass_pixels(ImagingCodecState state, int pass) {
    return (state->xsize + passes[pass].columns_apart - 1 - passes[pass].column) /
           passes[pass].columns_apart;
}

static int
pass_bytes(ImagingCodecState state, int pass) {
    return (pass_pixels(state, pass) * state->bits + 7) / 8;
}

/* Nothing more will be decoded: all read, or broken. */
static int
stop(ImagingCodecState state, int errcode) {
    ZIPSTATE *context = state->context;

    if (errcode) {
        state->errcode = errcode;
    }
    free(context->previous);
    context->previous = NULL;
    inflateEnd(&context->z_stream);
    return -1;
}

/* The pixels of one row of a pass, to every so manieth column. */
static void
scatter(Imaging im, ImagingCodecState state, const ZIPSTATE *context, int bytes) {
    zip_shuffler *shuffle = zip_shuffler_of(state);
    const uint8_t *in = state->buffer + context->prefix;
    int step = passes[context->pass].columns_apart * im->pixelsize, i;
    uint8_t *out =
        (uint8_t *)im->image[state->y] + passes[context->pass].column * im->pixelsize;

    if (state->bits >= 8) {
        for (i = 0; i < bytes; i += zip_pixel_bytes(state), out += step) {
            shuffle(out, in + i, 1);
        }
    } else {
        int bits = pass_pixels(state, context->pass) * state->bits;

        for (i = 0; i < bits; i += state->bits, out += step) {
            uint8_t first = (uint8_t)(in[i / 8] << (i % 8));
            shuffle(out, &first, 1);
        }
    }
}

/* Goes to the next row of this pass, or of the next one that has any; returns its length. */
static int
next_row(ImagingCodecState state, ZIPSTATE *context, int bytes) {
    state->y += passes[context->pass].rows_apart;
    while (state->y >= state->ysize || bytes <= 0) {
        context->pass++;
        if (context->pass == PASSES) {
            state->y = state->ysize;
            break;
        }
        state->y = passes[context->pass].row;
        bytes = pass_bytes(state, context->pass);
        /* The row above the first one of a pass is black. */
        memset(state->buffer, 0, (size_t)state->bytes + 1);
    }
    return bytes;
}

int
SIMD_NAME(zip_decode)(Imaging im, ImagingCodecState state, uint8_t *buf, long bytes) {
    ZIPSTATE *context = state->context;
    z_stream_s *z = &context->z_stream;
    int length = context->interlaced ? pass_bytes(state, context->pass) : state->bytes;

    z->next_in = buf;
    z->avail_in = (unsigned int)bytes;
    while (z->avail_in > 0) {
        uint8_t *row = state->buffer;
        int wanted = length + context->prefix, result;

        z->next_out = row + context->last_output;
        z->avail_out = (unsigned int)(wanted - context->last_output);
        result = inflate(z, Z_NO_FLUSH);
        if (result < 0) {
            return stop(state, zip_error(result));
        }
        if (z->avail_out > 0) {
            context->last_output = wanted - (int)z->avail_out;
            break;
        }
        if (!unfilter_row(row, context->previous + 1, length, zip_pixel_bytes(state))) {
            return stop(state, IMAGING_CODEC_UNKNOWN);
        }
        if (context->interlaced) {
            scatter(im, state, context, length);
            length = next_row(state, context, length);
        } else {
            zip_shuffler_of(state)(
                (uint8_t *)im->image[state->y + state->yoff] + state->xoff * im->pixelsize,
                row + context->prefix, state->xsize
            );
            state->y++;
        }
        context->last_output = 0;
        if (state->y >= state->ysize || result == Z_STREAM_END) {
            return stop(state, 0);
        }
        state->buffer = context->previous;
        context->previous = row;
    }
    return (int)bytes;
}
