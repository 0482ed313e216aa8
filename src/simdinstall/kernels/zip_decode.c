/*
 * ImagingZipDecode for PNG, after stock's set-up: the same state machine. Where rows follow
 * one another in the image, zlib is asked for many at a time: near the end of the room that it is
 * given, zlib goes byte by byte.
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
    ImagingShuffler shuffle = codec_shuffler(state);
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

/* A whole row, to its place in the image. */
static void
put_row(Imaging im, ImagingCodecState state, const uint8_t *pixels) {
    codec_shuffler(state)(codec_row(im, state, state->y), pixels, state->xsize);
    state->y++;
}

/* Room for rows that are asked for at a time. */
#define ROOM 65536
/*
 * So many bytes of the file are kept back from zlib meanwhile. Stock, asking for one row at a
 * time, returns after the first row that leaves nothing to read, although a match that was read
 * may hold further rows. With something kept back, no row but the last can have been that one.
 */
#define KEPT_BACK 64

/*
 * What is wrong right behind a row is found while that row is asked for; but not a match of what
 * was never there, which zlib looks for when there is room to copy it to.
 */
static int
needs_room(const z_stream_s *z) {
    return z->msg && !strcmp(z->msg, "invalid distance too far back");
}

/*
 * Decodes up to `rows` rows; what there is of the next one goes to state->buffer. Returns how
 * many there were, or -1 where decoding has stopped.
 */
static int
decode_rows(Imaging im, ImagingCodecState state, uint8_t *room, int rows) {
    ZIPSTATE *context = state->context;
    z_stream_s *z = &context->z_stream;
    const uint8_t *above = context->previous;
    int length = state->bytes + context->prefix, size = rows * length;
    int result, whole, rest, good, i;

    memcpy(room, state->buffer, context->last_output);
    z->next_out = room + context->last_output;
    z->avail_out = (unsigned int)(size - context->last_output);
    z->avail_in -= KEPT_BACK;
    result = inflate(z, Z_NO_FLUSH);
    z->avail_in += KEPT_BACK;
    whole = (size - (int)z->avail_out) / length;
    rest = (size - (int)z->avail_out) % length;
    if (result == Z_OK && whole && !rest) {
        /* With the last byte of a row zlib also reads all that needs no room. */
        z->avail_out = 0;
        result = inflate(z, Z_NO_FLUSH);
        if (result == Z_BUF_ERROR) {
            result = Z_OK;
        }
    }
    good = result < 0 && !rest && whole && !needs_room(z) ? whole - 1 : whole;
    for (i = 0; i < good; i++) {
        uint8_t *row = room + i * length;

        if (!unfilter_row(row, above + 1, state->bytes, zip_pixel_bytes(state))) {
            return stop(state, IMAGING_CODEC_UNKNOWN);
        }
        put_row(im, state, row + context->prefix);
        above = row;
    }
    if (result < 0) {
        return stop(state, zip_error(result));
    }
    if (state->y >= state->ysize || (result == Z_STREAM_END && whole && !rest)) {
        return stop(state, 0);
    }
    if (whole) {
        memcpy(context->previous, above, length);
    }
    memcpy(state->buffer, room + whole * length, rest);
    context->last_output = rest;
    return whole;
}

/* How many rows are to be asked for at a time. */
static int
rows_at_a_time(ImagingCodecState state, const ZIPSTATE *context) {
    int left = state->ysize - state->y, fitting = ROOM / (state->bytes + context->prefix);

    return context->interlaced ? 0 : fitting < left ? fitting : left;
}

static int
decode(Imaging im, ImagingCodecState state, long bytes, uint8_t *room) {
    ZIPSTATE *context = state->context;
    z_stream_s *z = &context->z_stream;
    int length = context->interlaced ? pass_bytes(state, context->pass) : state->bytes;

    while (z->avail_in > 0) {
        uint8_t *row = state->buffer;
        int wanted = length + context->prefix, result;

        if (room && z->avail_in > KEPT_BACK && rows_at_a_time(state, context) > 1) {
            result = decode_rows(im, state, room, rows_at_a_time(state, context));
            if (result < 0) {
                return -1;
            }
            if (result > 0) {
                continue;
            }
        }
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
            put_row(im, state, row + context->prefix);
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

int
SIMD_NAME(zip_decode)(Imaging im, ImagingCodecState state, uint8_t *buf, long bytes) {
    ZIPSTATE *context = state->context;
    uint8_t *room = rows_at_a_time(state, context) > 1 ? malloc(ROOM) : NULL;
    int result;

    context->z_stream.next_in = buf;
    context->z_stream.avail_in = (unsigned int)bytes;
    result = decode(im, state, bytes, room);
    free(room);
    return result;
}
