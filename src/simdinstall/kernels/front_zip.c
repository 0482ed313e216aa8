/*
 * PNG's decoder and encoder. Setting up (and, for the encoder, ending) is left to stock: called
 * with no data, or with nowhere to put any, it does that and no more.
 */
#include "dispatch.h"
#include "pillow.h"

#ifdef SIMD_KERNEL_zip_decode
#include "zip_decode.h"
#endif
#ifdef SIMD_KERNEL_zip_encode
#include "zip_encode.h"
#endif

#ifdef PILLOW_PROTOTYPE_ImagingZipDecode

static SIMD_ROW_TYPE(ImagingDecoder, ImagingDecoder) decode_rows[] = {
#ifdef SIMD_KERNEL_zip_decode
    SIMD_AVX512("zip_decode", zip_decode_fits, zip_decode)
    SIMD_AVX2("zip_decode", zip_decode_fits, zip_decode)
    SIMD_SSE4("zip_decode", zip_decode_fits, zip_decode)
#endif
    SIMD_STOCK
};
SIMD_FRONT(ImagingZipDecode, decode_rows)

SIMD_PUBLIC int
ImagingZipDecode(Imaging im, ImagingCodecState state, uint8_t *buf, long bytes) {
    if (!state->state) {
        int result = SIMD_STOCK_OF(decode_rows)(im, state, buf, 0);
        if (!state->state) {
            return result;
        }
    }
    SIMD_SERVE(int, SIMD_DECLINED_INT, decode_rows, (im, state, buf, bytes))
}

#endif

#ifdef PILLOW_PROTOTYPE_ImagingZipEncode

static SIMD_ROW_TYPE(ImagingEncoder, ImagingEncoder) encode_rows[] = {
#ifdef SIMD_KERNEL_zip_encode
    SIMD_AVX2("zip_encode", zip_encode_fits, zip_encode)
    SIMD_SSE4("zip_encode", zip_encode_fits, zip_encode)
#endif
    SIMD_STOCK
};
SIMD_FRONT(ImagingZipEncode, encode_rows)

SIMD_PUBLIC int
ImagingZipEncode(Imaging im, ImagingCodecState state, uint8_t *buf, int bytes) {
    if (!state->state) {
        int result = SIMD_STOCK_OF(encode_rows)(im, state, buf, 0);
        if (!state->state) {
            return result;
        }
    }
    SIMD_SERVE(int, SIMD_DECLINED_INT, encode_rows, (im, state, buf, bytes))
}

#ifdef SIMD_KERNEL_zip_encode
int
zip_encode_end(Imaging im, ImagingCodecState state, uint8_t *buf, int bytes) {
    return SIMD_STOCK_OF(encode_rows)(im, state, buf, bytes);
}
#endif

#endif
