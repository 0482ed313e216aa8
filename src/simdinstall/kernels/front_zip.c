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

#define LAST(rows) (sizeof(rows) / sizeof((rows)[0]) - 1)

#ifdef PILLOW_PROTOTYPE_ImagingZipDecode

typedef int
decode_function(Imaging im, ImagingCodecState state, uint8_t *buf, long bytes);
typedef int
decode_guard(Imaging im, ImagingCodecState state, uint8_t *buf, long bytes);

static SIMD_ROW_TYPE(decode_guard, decode_function) decode_rows[] = {
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
        int result = decode_rows[LAST(decode_rows)].run(im, state, buf, 0);
        if (!state->state) {
            return result;
        }
    }
    SIMD_SERVE(int, SIMD_DECLINED_INT, decode_rows, (im, state, buf, bytes))
}

#endif

#ifdef PILLOW_PROTOTYPE_ImagingZipEncode

typedef int
encode_function(Imaging im, ImagingCodecState state, uint8_t *buf, int bytes);
typedef int
encode_guard(Imaging im, ImagingCodecState state, uint8_t *buf, int bytes);

static SIMD_ROW_TYPE(encode_guard, encode_function) encode_rows[] = {
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
        int result = encode_rows[LAST(encode_rows)].run(im, state, buf, 0);
        if (!state->state) {
            return result;
        }
    }
    SIMD_SERVE(int, SIMD_DECLINED_INT, encode_rows, (im, state, buf, bytes))
}

#ifdef SIMD_KERNEL_zip_encode
int
zip_encode_end(Imaging im, ImagingCodecState state, uint8_t *buf, int bytes) {
    return encode_rows[LAST(encode_rows)].run(im, state, buf, bytes);
}
#endif

#endif
