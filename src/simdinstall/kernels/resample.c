/*
 * Resample: resize with a filter, the same bytes as stock. Which passes there are and in
 * which order; the passes themselves are in resample_bytes.c and resample_doubles.c.
 */
#include "resample.h"

#include "resample_passes.h"

/*
 * From 13.0 on, stock makes the vertical pass first if the height shrinks by more than
 * twice as many pixels as the width. In between, pixels are rounded, so the order counts.
 */
static int
vertical_first(Imaging im, int xsize, int ysize) {
#if PILLOW_RELEASE_NUMBER >= 130000
    return im->ysize - ysize > 0 && im->ysize - ysize > (im->xsize - xsize) * 2;
#else
    (void)im;
    (void)xsize;
    (void)ysize;
    return 0;
#endif
}

static Imaging
resample_with(
    resample_passes *passes, Imaging im, int xsize, int ysize, const struct taps *across,
    const struct taps *down
) {
    Imaging source = im, out, between = NULL;
    int done = 1;

    if (across && down && vertical_first(im, xsize, ysize)) {
        between = ImagingNewDirty(im->mode, im->xsize, ysize);
        if (!between) {
            return NULL;
        }
        done = passes(between, im, NULL, down);
        source = between;
        down = NULL;
    } else if (across && down) {
        /* Nothing is kept between the passes; but Image.core.get_stats() counts images. */
        between = ImagingNewDirty(im->mode, 1, 1);
        if (!between) {
            return NULL;
        }
    }
    out = ImagingNewDirty(im->mode, xsize, ysize);
    if (out && (!done || !passes(out, source, across, down))) {
        ImagingDelete(out);
        out = SIMD_DECLINED;
    }
    if (between) {
        ImagingDelete(between);
    }
    return out;
}

Imaging
SIMD_NAME(resample)(Imaging im, int xsize, int ysize, int filter, float box[4]) {
    const int bytes = im->type == IMAGING_TYPE_UINT8;
    const enum taps_kind across_kind = bytes ? TAPS_ACROSS : TAPS_DOUBLES;
    const enum taps_kind down_kind = bytes ? TAPS_DOWN : TAPS_DOUBLES;
    resample_passes *const passes =
        bytes ? SIMD_NAME(resample_bytes) : SIMD_NAME(resample_doubles);
    const struct axis line = {im->xsize, box[0], box[2], xsize, filter, across_kind};
    const struct axis column = {im->ysize, box[1], box[3], ysize, filter, down_kind};
    const int need_across = xsize != im->xsize || box[0] || box[2] != xsize;
    const int need_down = ysize != im->ysize || box[1] || box[3] != ysize;
    const struct taps *across = need_across ? SIMD_NAME(taps_get)(&line) : NULL;
    const struct taps *down = need_down ? SIMD_NAME(taps_get)(&column) : NULL;
    Imaging out = SIMD_DECLINED;

    if (!need_across && !need_down) {
        return ImagingCopy(im);
    }
    if ((across || !need_across) && (down || !need_down)) {
        out = resample_with(passes, im, xsize, ysize, across, down);
    }
    if (across) {
        SIMD_NAME(taps_release)(across);
    }
    if (down) {
        SIMD_NAME(taps_release)(down);
    }
    return out;
}
