/* JPEG's decoder and encoder. */
#include "dispatch.h"
#include "pillow.h"

#ifdef SIMD_KERNEL_jpeg_decode
#include "jpeg_decode.h"
#endif
#ifdef SIMD_KERNEL_jpeg_encode
#include "jpeg_encode.h"
#endif

#define LAST(rows) (sizeof(rows) / sizeof((rows)[0]) - 1)

#ifdef PILLOW_PROTOTYPE_ImagingJpegDecode

typedef int
decode_function(Imaging im, ImagingCodecState state, uint8_t *buf, long bytes);
typedef int
decode_guard(Imaging im, ImagingCodecState state, uint8_t *buf, long bytes);

static SIMD_ROW_TYPE(decode_guard, decode_function) decode_rows[] = {
#ifdef SIMD_KERNEL_jpeg_decode
    SIMD_SSE4("jpeg_decode", jpeg_decode_fits, jpeg_decode)
#endif
    SIMD_STOCK
};
SIMD_FRONT(ImagingJpegDecode, decode_rows)

SIMD_PUBLIC int
ImagingJpegDecode(Imaging im, ImagingCodecState state, uint8_t *buf, long bytes) {
    SIMD_SERVE(int, SIMD_DECLINED_INT, decode_rows, (im, state, buf, bytes))
}

#ifdef SIMD_KERNEL_jpeg_decode
int
jpeg_decode_lines(Imaging im, ImagingCodecState state, uint8_t *buf, long bytes) {
    return decode_rows[LAST(decode_rows)].run(im, state, buf, bytes);
}
#endif

#endif

#ifdef PILLOW_PROTOTYPE_ImagingJpegEncode

typedef int
encode_function(Imaging im, ImagingCodecState state, uint8_t *buf, int bytes);
typedef int
encode_guard(Imaging im, ImagingCodecState state, uint8_t *buf, int bytes);

static SIMD_ROW_TYPE(encode_guard, encode_function) encode_rows[] = {
#ifdef SIMD_KERNEL_jpeg_encode
    SIMD_SSE4("jpeg_encode", jpeg_encode_fits, jpeg_encode)
#endif
    SIMD_STOCK
};
SIMD_FRONT(ImagingJpegEncode, encode_rows)

SIMD_PUBLIC int
ImagingJpegEncode(Imaging im, ImagingCodecState state, uint8_t *buf, int bytes) {
    SIMD_SERVE(int, SIMD_DECLINED_INT, encode_rows, (im, state, buf, bytes))
}

#ifdef SIMD_KERNEL_jpeg_encode
int
jpeg_encode_lines(Imaging im, ImagingCodecState state, uint8_t *buf, int bytes) {
    return encode_rows[LAST(encode_rows)].run(im, state, buf, bytes);
}
#endif

#endif
