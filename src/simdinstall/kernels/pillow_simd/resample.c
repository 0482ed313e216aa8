/*
 * ImagingResample with Pillow-SIMD's convolutions of rows.
 *
 * The order of the passes is that of the Pillow in front of which it stands, and the
 * bytes that no band uses get the values that stock gives them.
 */
#include "Imaging.h"
#include "pillow_simd.h"

struct filter;
static int
precompute_coeffs(int, float, float, int, struct filter *, int **, double **);
static int
normalize_coeffs_8bpc(int, int, double *);
static void
ImagingResampleHorizontalConvolution8u4x(
    UINT32 *, UINT32 *, UINT32 *, UINT32 *,
    UINT32 *, UINT32 *, UINT32 *, UINT32 *,
    int, int *, INT16 *, int, int
);
static void
ImagingResampleHorizontalConvolution8u(UINT32 *, UINT32 *, int, int *, INT16 *, int, int);
static void
ImagingResampleVerticalConvolution8u(UINT32 *, Imaging, int, int, INT16 *, int);

#include "Resample.c"

/* The coefficients of one direction: `size` of them for each output pixel. */
struct coefficients {
    int size;
    int *bounds; /* first input pixel and number of them, for each output pixel */
    double *doubles;
    INT16 *values; /* lie where the doubles were */
    int precision; /* fractional bits of a value */
};

static int
prepare(
    struct coefficients *k, int in_size, float in0, float in1, int out_size, int filter
) {
    struct filter *filterp = filter == IMAGING_TRANSFORM_BOX        ? &BOX
                             : filter == IMAGING_TRANSFORM_BILINEAR ? &BILINEAR
                             : filter == IMAGING_TRANSFORM_HAMMING  ? &HAMMING
                             : filter == IMAGING_TRANSFORM_BICUBIC  ? &BICUBIC
                                                                    : &LANCZOS;

    k->size = precompute_coeffs(
        in_size, in0, in1, out_size, filterp, &k->bounds, &k->doubles
    );
    if (!k->size) {
        return 0;
    }
    k->precision = normalize_coeffs_8bpc(out_size, k->size, k->doubles);
    k->values = (INT16 *)k->doubles;
    return 1;
}

static void
discard(struct coefficients *k) {
    if (k->size) {
        free(k->bounds);
        free(k->doubles);
    }
}

/* What stock leaves in the bytes that bands do not use is 0. */
static void
blank_unused(UINT32 *line, int xsize, int bands) {
    uint32_t used = bands == 3 ? 0x00ffffff : bands == 2 ? 0xff0000ff : 0xffffffff;
    int x;

    if (bands < 4) {
        for (x = 0; x < xsize; x++) {
            line[x] &= used;
        }
    }
}

static void
resample_rows(
    Imaging imOut, Imaging imIn, int offset, const struct coefficients *k, int last
) {
    int y = 0, i;

    for (; y < imOut->ysize - 3; y += 4) {
        UINT32 *out[4], *in[4];
        for (i = 0; i < 4; i++) {
            out[i] = (UINT32 *)imOut->image32[y + i];
            in[i] = (UINT32 *)imIn->image32[y + i + offset];
        }
        ImagingResampleHorizontalConvolution8u4x(
            out[0], out[1], out[2], out[3], in[0], in[1], in[2], in[3],
            imOut->xsize, k->bounds, k->values, k->size, k->precision
        );
        for (i = 0; last && i < 4; i++) {
            blank_unused(out[i], imOut->xsize, imIn->bands);
        }
    }
    for (; y < imOut->ysize; y++) {
        UINT32 *out = (UINT32 *)imOut->image32[y];
        ImagingResampleHorizontalConvolution8u(
            out, (UINT32 *)imIn->image32[y + offset], imOut->xsize, k->bounds, k->values,
            k->size, k->precision
        );
        if (last) {
            blank_unused(out, imOut->xsize, imIn->bands);
        }
    }
}

static void
resample_columns(
    Imaging imOut, Imaging imIn, int offset, const struct coefficients *k, int last
) {
    int y;

    for (y = 0; y < imOut->ysize; y++) {
        UINT32 *out = (UINT32 *)imOut->image32[y];
        ImagingResampleVerticalConvolution8u(
            out, imIn, k->bounds[y * 2] - offset, k->bounds[y * 2 + 1],
            &k->values[y * k->size], k->precision
        );
        if (last) {
            blank_unused(out, imOut->xsize, imIn->bands);
        }
    }
}

Imaging
SIMD_NAME(pillow_simd_resample)(
    Imaging imIn, int xsize, int ysize, int filter, float box[4]
) {
    struct coefficients horizontal = {0}, vertical = {0};
    Imaging imTemp = NULL, imOut = NULL;
    ImagingSectionCookie cookie;
    int first_row = 0, rows = 0;

    int need_horizontal = xsize != imIn->xsize || box[0] || box[2] != xsize;
    int need_vertical = ysize != imIn->ysize || box[1] || box[3] != ysize;
    int both = need_horizontal && need_vertical;
#if PILLOW_RELEASE_NUMBER >= 130000
    /* Since 13.0 the pass that shrinks the image much more comes first. */
    int horizontal_first =
        !(imIn->ysize > ysize && imIn->ysize - ysize > (imIn->xsize - xsize) * 2);
#else
    int horizontal_first = 1;
#endif

    if ((need_horizontal &&
         !prepare(&horizontal, imIn->xsize, box[0], box[2], xsize, filter)) ||
        (need_vertical &&
         !prepare(&vertical, imIn->ysize, box[1], box[3], ysize, filter))) {
        goto done; /* the exception is set */
    }
    if (both && horizontal_first) {
        /* Only the rows that the second pass reads. */
        first_row = vertical.bounds[0];
        rows = vertical.bounds[ysize * 2 - 2] + vertical.bounds[ysize * 2 - 1] - first_row;
        imTemp = ImagingNewDirty(imIn->mode, xsize, rows);
    } else if (both) {
        imTemp = ImagingNewDirty(imIn->mode, imIn->xsize, ysize);
    }
    if (both && !imTemp) {
        goto done;
    }
    imOut = ImagingNewDirty(imIn->mode, xsize, ysize);
    if (!imOut) {
        goto done;
    }

    IMAGE_LOCK(imIn);
    ImagingSectionEnter(&cookie);
    if (!need_vertical) {
        resample_rows(imOut, imIn, 0, &horizontal, 1);
    } else if (!need_horizontal) {
        resample_columns(imOut, imIn, 0, &vertical, 1);
    } else if (horizontal_first) {
        resample_rows(imTemp, imIn, first_row, &horizontal, 0);
        resample_columns(imOut, imTemp, first_row, &vertical, 1);
    } else {
        resample_columns(imTemp, imIn, 0, &vertical, 0);
        resample_rows(imOut, imTemp, 0, &horizontal, 1);
    }
    IMAGE_UNLOCK(imIn);
    ImagingSectionLeave(&cookie);

done:
    if (imTemp) {
        ImagingDelete(imTemp);
    }
    discard(&horizontal);
    discard(&vertical);
    return imOut;
}
