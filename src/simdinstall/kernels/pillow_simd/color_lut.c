/* ImagingColorLUT3D_linear as Pillow-SIMD has it, over a copy of the table. */
#include "Imaging.h"
#include "pillow_simd.h"

/* Only for arguments that the guard keeps out. */
#define PyErr_SetString(type, message) ImagingError_ValueError(message)

static Imaging
ImagingColorLUT3D_linear(Imaging, Imaging, int, int, int, int, INT16 *);

#include "ColorLUT.c"

/*
 * Weights have 9 bits, so a step between neighbouring entries adds up to 1/512 of it per
 * dimension to the difference from stock. Tables of up to 256 steps of a band, 64 units
 * each, stay within two. The upper end leaves room for adding the half that rounds.
 */
#define SPAN_MAX (256 * 64)
#define VALUE_MAX (32767 - 64)

Imaging
SIMD_NAME(pillow_simd_color_lut)(
    Imaging imOut,
    Imaging imIn,
    int table_channels,
    int size1D,
    int size2D,
    int size3D,
    int16_t *table
) {
    /* Every entry is read as eight values, three-channel ones have six. */
    size_t length = (size_t)table_channels * size1D * size2D * size3D, i;
    INT16 *padded = malloc((length + 8) * sizeof(INT16));
    int lowest = INT16_MAX, highest = INT16_MIN;
    Imaging result;

    if (!padded) {
        return SIMD_DECLINED;
    }
    for (i = 0; i < length; i++) {
        padded[i] = table[i];
        lowest = table[i] < lowest ? table[i] : lowest;
        highest = table[i] > highest ? table[i] : highest;
    }
    memset(padded + length, 0, 8 * sizeof(INT16));
    if (highest > VALUE_MAX || highest - lowest > SPAN_MAX) {
        free(padded);
        return SIMD_DECLINED;
    }
    result = ImagingColorLUT3D_linear(
        imOut, imIn, table_channels, size1D, size2D, size3D, padded
    );
    free(padded);
    return result;
}
