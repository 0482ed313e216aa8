/* ImagingBoxBlur as Pillow-SIMD has it, for pixels of four bytes. */
#include "Imaging.h"
#include "pillow_simd.h"

extern Imaging
ImagingTranspose(Imaging imOut, Imaging imIn);
extern Imaging
ImagingCopy2(Imaging imOut, Imaging imIn);

static Imaging
ImagingHorizontalBoxBlur(Imaging, Imaging, float);
#define ImagingBoxBlur SIMD_NAME(pillow_simd_box_blur)

#include "BoxBlur.c"
