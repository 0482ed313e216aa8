/* JPEG's decoder and encoder. */
#include "dispatch.h"
#include "pillow.h"

#ifdef SIMD_KERNEL_jpeg_decode
#include "jpeg_decode.h"
#endif
#ifdef SIMD_KERNEL_jpeg_encode
#include "jpeg_encode.h"
#endif

#ifdef PILLOW_PROTOTYPE_ImagingJpegDecode

static SIMD_ROW_TYPE(ImagingDecoder, ImagingDecoder) decode_rows[] = {
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
    return SIMD_STOCK_OF(decode_rows)(im, state, buf, bytes);
}
#endif

#endif

#ifdef PILLOW_PROTOTYPE_ImagingJpegEncode

static SIMD_ROW_TYPE(ImagingEncoder, ImagingEncoder) encode_rows[] = {
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
    return SIMD_STOCK_OF(encode_rows)(im, state, buf, bytes);
}
#endif

#endif
