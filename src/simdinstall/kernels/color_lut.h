/* Exact 3D colour lookup table: the bytes of stock's ImagingColorLUT3D_linear. */
#ifndef SIMDINSTALL_COLOR_LUT_H
#define SIMDINSTALL_COLOR_LUT_H

#include "dispatch.h"
#include "pillow.h"

/*
 * Python allows tables of 2 to 65 entries a side. The kernel lays the table out anew,
 * which does not pay for an image with fewer pixels than half of the entries.
 */
static inline int
color_lut_size_fits(Imaging im, int size1D, int size2D, int size3D) {
    return size1D >= 2 && size1D <= 65 && size2D >= 2 && size2D <= 65 && size3D >= 2 &&
           size3D <= 65 &&
           2 * (int64_t)im->xsize * im->ysize >= (int64_t)size1D * size2D * size3D;
}

/* The same modes as stock allows, and images of one size. */
static inline int
color_lut_fits(
    Imaging imOut,
    Imaging imIn,
    int table_channels,
    int size1D,
    int size2D,
    int size3D,
    int16_t *table
) {
    (void)table;
    return (table_channels == 3 || table_channels == 4) &&
           imIn->type == IMAGING_TYPE_UINT8 && imOut->type == IMAGING_TYPE_UINT8 &&
           imIn->bands >= 3 && imOut->bands >= table_channels &&
           (imOut->bands <= table_channels || imOut->bands <= imIn->bands) &&
           imIn->xsize == imOut->xsize && imIn->ysize == imOut->ysize &&
           color_lut_size_fits(imIn, size1D, size2D, size3D);
}

SIMD_KERNEL(
    Imaging,
    color_lut,
    (Imaging imOut,
     Imaging imIn,
     int table_channels,
     int size1D,
     int size2D,
     int size3D,
     int16_t *table)
)

#endif
