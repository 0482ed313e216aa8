/* ImagingReduce with Pillow-SIMD's sums of bytes. */
#include "Imaging.h"
#include "pillow_simd.h"

static UINT32
division_UINT32(int, int);
static void
ImagingReduceNxN(Imaging, Imaging, int[4], int, int);
static void
ImagingReduce1xN(Imaging, Imaging, int[4], int);
static void
ImagingReduceNx1(Imaging, Imaging, int[4], int);
static void
ImagingReduce1x2(Imaging, Imaging, int[4]);
static void
ImagingReduce2x1(Imaging, Imaging, int[4]);
static void
ImagingReduce2x2(Imaging, Imaging, int[4]);
static void
ImagingReduce1x3(Imaging, Imaging, int[4]);
static void
ImagingReduce3x1(Imaging, Imaging, int[4]);
static void
ImagingReduce3x3(Imaging, Imaging, int[4]);
static void
ImagingReduceCorners(Imaging, Imaging, int[4], int, int);

#include "Reduce.c"

Imaging
SIMD_NAME(pillow_simd_reduce)(Imaging imIn, int xscale, int yscale, int box[4]) {
    ImagingSectionCookie cookie;
    Imaging imOut = ImagingNewDirty(
        imIn->mode, (box[2] - 1) / xscale + 1, (box[3] - 1) / yscale + 1
    );

    if (!imOut) {
        return NULL;
    }
    ImagingSectionEnter(&cookie);
    if (xscale == 1 && yscale == 2) {
        ImagingReduce1x2(imOut, imIn, box);
    } else if (xscale == 1 && yscale == 3) {
        ImagingReduce1x3(imOut, imIn, box);
    } else if (xscale == 1) {
        ImagingReduce1xN(imOut, imIn, box, yscale);
    } else if (xscale == 2 && yscale == 1) {
        ImagingReduce2x1(imOut, imIn, box);
    } else if (xscale == 3 && yscale == 1) {
        ImagingReduce3x1(imOut, imIn, box);
    } else if (yscale == 1) {
        ImagingReduceNx1(imOut, imIn, box, xscale);
    } else if (xscale == 2 && yscale == 2) {
        ImagingReduce2x2(imOut, imIn, box);
    } else if (xscale == 3 && yscale == 3) {
        ImagingReduce3x3(imOut, imIn, box);
    } else {
        ImagingReduceNxN(imOut, imIn, box, xscale, yscale);
    }
    ImagingReduceCorners(imOut, imIn, box, xscale, yscale);
    ImagingSectionLeave(&cookie);
    return imOut;
}
