/*
 * What the codecs for deflated data need of Pillow's codec state and of zlib.
 *
 * A codec is called with one piece of the file after the other and keeps everything in its
 * state. A kernel leaves the state at each return as stock would, so that the next call may
 * go to either.
 *
 * No kernel here uses vectors of 64 bytes: some CPUs run slower for a while after those, and
 * zlib, which takes most of the time, would with them.
 *
 * zlib is the one that the extension itself calls: the dynamic linker looks the same names up
 * for both, and zlib-ng (../zlib_ng/slots.c) binds both.
 */
#ifndef SIMDINSTALL_ZIP_CODEC_H
#define SIMDINSTALL_ZIP_CODEC_H

#include "codec.h"
#include "dispatch.h"
#include "pillow.h"

#define Z_NO_FLUSH 0
#define Z_OK 0
#define Z_STREAM_END 1
#define Z_DATA_ERROR (-3)
#define Z_MEM_ERROR (-4)
#define Z_BUF_ERROR (-5)

extern int
inflate(z_stream_s *stream, int flush);
extern int
inflateEnd(z_stream_s *stream);
extern int
deflate(z_stream_s *stream, int flush);
extern int
deflateEnd(z_stream_s *stream);

/* ZIPSTATE, field `mode` */
#define ZIP_PNG 0

/* Filters of PNG's rows, by their numbers in the file. */
enum { PNG_NONE, PNG_SUB, PNG_UP, PNG_AVERAGE, PNG_PAETH, PNG_FILTERS };

/* struct ImagingCodecStateInstance, field `errcode` */
#define IMAGING_CODEC_BROKEN (-2)
#define IMAGING_CODEC_UNKNOWN (-3)
#define IMAGING_CODEC_CONFIG (-8)
#define IMAGING_CODEC_MEMORY (-9)

/* Bytes of a pixel, for filters; 1 where a byte holds several pixels. */
static inline int
zip_pixel_bytes(ImagingCodecState state) {
    return (int)(((unsigned int)state->bits + 7) / 8);
}

/* A PNG whose codec has been set up, and has not ended. Pixels of 5 or 7 bytes are none. */
static inline int
zip_fits(ImagingCodecState state) {
    const ZIPSTATE *context = state->context;
    int bpp = zip_pixel_bytes(state);

    return state->state == 1 && context->mode == ZIP_PNG && context->previous &&
           ((bpp > 0 && bpp <= 4) || bpp == 6 || bpp == 8) && state->bytes >= bpp;
}

/* What Pillow calls an error of zlib. */
static inline int
zip_error(int error) {
    return error == Z_DATA_ERROR  ? IMAGING_CODEC_BROKEN
           : error == Z_MEM_ERROR ? IMAGING_CODEC_MEMORY
                                  : IMAGING_CODEC_CONFIG;
}

#endif
