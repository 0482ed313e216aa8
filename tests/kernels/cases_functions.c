/* Which random calls of each function there are, and how each is made. */
#include "cases.h"

extern Imaging
ImagingResample(Imaging im, int xsize, int ysize, int filter, float box[4]);
extern Imaging
ImagingReduce(Imaging im, int xscale, int yscale, int box[4]);
extern Imaging
ImagingBoxBlur(Imaging imOut, Imaging imIn, float xradius, float yradius, int n);
extern Imaging
ImagingUnsharpMask(Imaging imOut, Imaging imIn, float radius, int percent, int threshold);
extern Imaging
ImagingFilter(Imaging im, int xsize, int ysize, const float *kernel, float offset);
extern Imaging
ImagingColorLUT3D_linear(
    Imaging imOut, Imaging imIn, int channels, int size1D, int size2D, int size3D, int16_t *table
);
extern Imaging
ImagingAlphaComposite(Imaging imDst, Imaging imSrc);
extern Imaging
ImagingConvert(CONVERT_PARAMETERS);
extern Imaging
ImagingConvertMatrix(MATRIX_PARAMETERS);
extern Imaging
ImagingGetBand(Imaging im, int band);
extern int
ImagingSplit(Imaging im, Imaging bands[4]);
extern Imaging
ImagingMerge(ModeID mode, Imaging bands[4]);
extern Imaging
ImagingPutBand(Imaging imOut, Imaging imIn, int band);
extern Imaging
ImagingFillBand(Imaging imOut, int band, int color);
extern Imaging
ImagingBlend(Imaging imIn1, Imaging imIn2, float alpha);
extern int
ImagingPaste(Imaging imOut, Imaging imIn, Imaging imMask, int x0, int y0, int x1, int y1);
extern int
ImagingFill2(Imaging imOut, const void *ink, Imaging imMask, int x0, int y0, int x1, int y1);
extern Imaging
ImagingCrop(Imaging im, int x0, int y0, int x1, int y1);

/* ------------------------------------------------------------------ resample, reduce */

static void
choose_resample(struct call *call) {
    Imaging im = call->in = any_source(call, any_mode(call));
    float w = (float)im->xsize, h = (float)im->ysize, *box = call->floats;
    int width = side(call), height = one_in(call, 2) ? side(call) : 1 + below(call, 9);

    if (one_in(call, 6)) {
        width = im->xsize;
    }
    if (one_in(call, 6)) {
        height = im->ysize;
    }
    if ((int64_t)width * height > 20000) {
        height = 1;
        width = width > 40000 ? 40000 : width;
    }
    call->numbers[0] = width;
    call->numbers[1] = height;
    call->numbers[2] = below(call, 20) ? 1 + below(call, 7) : below(call, 10) - 1;
    box[0] = 0, box[1] = 0, box[2] = w, box[3] = h;
    if (one_in(call, 2)) {
        box[0] = (float)(fraction(call) * w);
        box[1] = (float)(fraction(call) * h);
        box[2] = box[0] + (float)(fraction(call) * (w - box[0]));
        box[3] = box[1] + (float)(fraction(call) * (h - box[1]));
        if (one_in(call, 3)) {
            for (int i = 0; i < 4; i++) {
                box[i] = (float)(int)box[i];
            }
        }
        if (one_in(call, 40)) {
            box[below(call, 4)] = one_in(call, 2) ? extreme(call) : (float)(fraction(call) * 400 - 99);
        }
    }
}

/* Stock computes with any box it is given; only Image.resize looks at it first. */
static int
box_is_legal(Imaging im, const float box[4]) {
    return box[0] >= 0 && box[1] >= 0 && box[2] <= im->xsize && box[3] <= im->ysize &&
           box[2] - box[0] >= 0 && box[3] - box[1] >= 0;
}

static void
perform_resample(struct call *call) {
    int *n = call->numbers;

    if (box_is_legal(call->in, call->floats) && n[0] > 0 && n[1] > 0 && call->in->xsize &&
        call->in->ysize) {
        call->results[0] = ImagingResample(call->in, n[0], n[1], n[2], call->floats);
    }
}

static void
choose_reduce(struct call *call) {
    Imaging im = call->in = any_source(call, any_mode(call));
    int *box = call->numbers + 2;

    call->numbers[0] = 1 + below(call, one_in(call, 4) ? 40 : 7);
    call->numbers[1] = one_in(call, 2) ? call->numbers[0] : 1 + below(call, one_in(call, 4) ? 40 : 7);
    if (one_in(call, 50)) {
        call->numbers[below(call, 2)] = 1 + below(call, 3000);
    }
    box[0] = 0, box[1] = 0, box[2] = im->xsize, box[3] = im->ysize;
    if (one_in(call, 2) && im->xsize && im->ysize) {
        box[0] = below(call, im->xsize);
        box[1] = below(call, im->ysize);
        box[2] = 1 + below(call, im->xsize - box[0]);
        box[3] = 1 + below(call, im->ysize - box[1]);
    }
}

static void
perform_reduce(struct call *call) {
    int *n = call->numbers;

    if (n[4] > 0 && n[5] > 0) {
        call->results[0] = ImagingReduce(call->in, n[0], n[1], n + 2);
    }
}

/* ------------------------------------------------------------------ blurs, filters */

static void
like_source(struct call *call) {
    call->give_out = 1;
    call->mode = call->in->mode;
    call->out_width = call->in->xsize;
    call->out_height = call->in->ysize;
    call->in_place = one_in(call, 8);
}

static float
radius(struct call *call, int most) {
    switch (below(call, 8)) {
        case 0:
            return 0;
        case 1:
            return (float)(fraction(call) * most);
        case 2:
            return (float)below(call, 12) / 2;
        default:
            return (float)(fraction(call) * 6);
    }
}

static void
choose_box_blur(struct call *call) {
    call->in = any_source(call, any_mode(call));
    like_source(call);
    call->floats[0] = radius(call, one_in(call, 50) ? 4000000 : 100);
    call->floats[1] = one_in(call, 3) ? call->floats[0] : radius(call, 100);
    call->numbers[0] = below(call, 30) ? 1 + below(call, 4) : below(call, 12);
    if (one_in(call, 60) && PILLOW_RELEASE_NUMBER >= 130000) {
        call->floats[below(call, 2)] = extreme(call);
    }
}

static void
perform_box_blur(struct call *call) {
    call->results[0] =
        ImagingBoxBlur(call->out, call->in, call->floats[0], call->floats[1], call->numbers[0]);
}

static void
perform_gaussian_blur(struct call *call) {
    call->results[0] = ImagingGaussianBlur(
        call->out, call->in, call->floats[0], call->floats[1], call->numbers[0]
    );
}

static void
choose_unsharp_mask(struct call *call) {
    choose_box_blur(call);
    call->in_place = 0;
    call->floats[0] = radius(call, 40);
    call->numbers[0] = below(call, 20) ? below(call, 400) - 50 : (int)draw(call);
    call->numbers[1] = below(call, 20) ? below(call, 12) : (int)draw(call);
}

static void
perform_unsharp_mask(struct call *call) {
    call->results[0] = ImagingUnsharpMask(
        call->out, call->in, call->floats[0], call->numbers[0], call->numbers[1]
    );
}

static void
choose_filter(struct call *call) {
    int size = one_in(call, 2) ? 3 : 5, kind = below(call, 7), i;
    int denominator = 64 + below(call, 64); /* a large one: filter_whole.c settles ties apart */
    float *kernel = call->floats;

    call->in = any_source(call, any_mode(call));
    call->numbers[0] = call->numbers[1] = size;
    for (i = 0; i < size * size; i++) {
        kernel[i] = kind == 0   ? (float)(below(call, 21) - 10)
                    : kind == 1 ? (float)(below(call, 5) - 1) / (float)(1 + below(call, 13))
                    : kind == 2 ? (float)(fraction(call) * 2000 - 1000)
                    : kind == 3 ? (one_in(call, 3) ? 1.0f : 0.0f)
                    : kind == 6 ? (float)below(call, 6) / (float)denominator
                                : (float)(fraction(call) * 2 - 1);
        if (kind == 5 && one_in(call, 20)) {
            kernel[i] = extreme(call);
        }
    }
    kernel[25] = one_in(call, 3)    ? 0
                 : kind == 6        ? (float)below(call, 20)
                 : one_in(call, 20) ? extreme(call)
                                    : (float)(fraction(call) * 300 - 100);
}

/* Stock turns the sum into an integer, which C leaves open beyond that type's range. */
static void
perform_filter(struct call *call) {
    int *n = call->numbers;

    call->results[0] = ImagingFilter(call->in, n[0], n[1], call->floats, call->floats[25]);
}

static void
choose_color_lut(struct call *call) {
    static const ModeID from[] = {
        IMAGING_MODE_RGB, IMAGING_MODE_RGB, IMAGING_MODE_RGBA, IMAGING_MODE_CMYK,
        IMAGING_MODE_HSV, IMAGING_MODE_YCbCr, IMAGING_MODE_LA, IMAGING_MODE_L
    };
    int *size = call->numbers, channels = one_in(call, 3) ? 4 : 3, kind = below(call, 4);
    long i, entries;

    call->in = wide_source(call, from[one_in(call, 4) ? below(call, 8) : below(call, 6)]);
    like_source(call);
    call->mode = channels == 4 ? IMAGING_MODE_RGBA : one_in(call, 3) ? IMAGING_MODE_HSV : call->mode;
    call->in_place = call->in_place && call->mode == call->in->mode;
    call->numbers[3] = channels;
    for (i = 0; i < 3; i++) {
        size[i] = 2 + below(call, one_in(call, 8) ? 16 : 5);
    }
    entries = (long)size[0] * size[1] * size[2] * channels;
    call->table = malloc((size_t)entries * sizeof(int16_t));
    for (i = 0; i < entries; i++) {
        call->table[i] = kind == 0   ? (int16_t)draw(call)
                         : kind == 1 ? (int16_t)(one_in(call, 2) ? 32767 : -32768)
                                     : (int16_t)below(call, 255 * 64 + 1);
    }
}

static void
perform_color_lut(struct call *call) {
    int *n = call->numbers;

    call->results[0] =
        ImagingColorLUT3D_linear(call->out, call->in, n[3], n[0], n[1], n[2], call->table);
}

/* ------------------------------------------------------------------ composite, convert */

static void
choose_alpha_composite(struct call *call) {
    ModeID mode = one_in(call, 2) ? IMAGING_MODE_RGBA : one_in(call, 2) ? IMAGING_MODE_LA : any_mode(call);

    call->in = any_source(call, mode);
    call->other = one_in(call, 40) ? any_source(call, mode)
                                   : source(call, mode, call->in->xsize, call->in->ysize);
}

static void
perform_alpha_composite(struct call *call) {
    call->results[0] = ImagingAlphaComposite(call->in, call->other);
}

static void
choose_convert(struct call *call) {
    call->in = wide_source(call, any_mode(call));
    do {
        /* Finding a palette is slow, and no kernel's work. */
        call->mode = any_mode(call);
    } while ((call->mode == IMAGING_MODE_P || call->mode == IMAGING_MODE_PA) && !one_in(call, 20));
    call->numbers[0] = one_in(call, 8);
#if PILLOW_PROTOTYPE_ImagingConvert == 2
    call->give_out = one_in(call, 4) && call->mode != IMAGING_MODE_P && call->mode != IMAGING_MODE_PA;
    call->out_width = call->in->xsize;
    call->out_height = call->in->ysize;
#endif
}

static void
perform_convert(struct call *call) {
    Imaging imIn = call->in;
    ModeID mode = call->mode;
    ImagingPalette palette = NULL;
    int dither = call->numbers[0] ? 3 : 0;
#if PILLOW_PROTOTYPE_ImagingConvert == 2
    Imaging imOut = call->out;
#endif
    call->results[0] = ImagingConvert(CONVERT_ARGUMENTS);
}

static void
choose_convert_matrix(struct call *call) {
    static const ModeID from[] = {IMAGING_MODE_RGB, IMAGING_MODE_YCbCr, IMAGING_MODE_RGB};
    int i, kind = below(call, 4);

    call->in = wide_source(call, one_in(call, 10) ? any_mode(call) : from[below(call, 3)]);
    call->mode = one_in(call, 2) ? IMAGING_MODE_L : IMAGING_MODE_RGB;
    for (i = 0; i < 12; i++) {
        call->floats[i] = (float)(fraction(call) * 2 - 0.5) * (i % 4 == 3 ? 100 : 1);
        if (kind == 0 && one_in(call, 10)) {
            call->floats[i] = (float)(fraction(call) * 1e6 - 5e5);
        }
    }
}

static void
perform_convert_matrix(struct call *call) {
    call->results[0] = ImagingConvertMatrix(call->in, call->mode, call->floats);
}

/* ------------------------------------------------------------------ bands */

static void
choose_bands(struct call *call) {
    call->in = any_source(call, any_mode(call));
    call->numbers[0] = below(call, 30) ? below(call, call->in->bands) : below(call, 7) - 1;
}

static void
perform_get_band(struct call *call) {
    call->results[0] = ImagingGetBand(call->in, call->numbers[0]);
}

static void
perform_split(struct call *call) {
    call->value = ImagingSplit(call->in, call->results);
}

static void
choose_merge(struct call *call) {
    int i;

    for (;;) {
        call->mode = any_mode(call);
        call->in = any_source(call, call->mode);
        /* Stock never frees the result where the only band is not of the result's mode. */
        if (!call->in->palette && (call->in->bands > 1 || call->mode == IMAGING_MODE_L)) {
            break;
        }
        ImagingDelete(call->in);
    }
    for (i = 0; i < call->in->bands; i++) {
        call->bands[i] = source(call, IMAGING_MODE_L, call->in->xsize, call->in->ysize);
    }
    if (call->in->bands > 1 && one_in(call, 40)) {
        ImagingDelete(call->bands[1]);
        call->bands[1] = any_source(call, one_in(call, 2) ? IMAGING_MODE_L : any_mode(call));
    }
}

static void
perform_merge(struct call *call) {
    Imaging bands[4];

    memcpy(bands, call->bands, sizeof(bands));
    call->results[0] = ImagingMerge(call->mode, bands);
}

static void
choose_put_band(struct call *call) {
    do {
        call->in = any_source(call, any_mode(call));
    } while (call->in->bands == 1 && (ImagingDelete(call->in), 1));
    like_source(call);
    call->in_place = 1;
    call->other = one_in(call, 40) ? any_source(call, any_mode(call))
                                   : source(call, IMAGING_MODE_L, call->in->xsize, call->in->ysize);
    call->numbers[0] = below(call, 30) ? below(call, call->in->bands) : below(call, 7) - 1;
    call->numbers[1] = below(call, 10) ? below(call, 256) : below(call, 1000) - 500;
}

static void
perform_put_band(struct call *call) {
    call->value = ImagingPutBand(call->out, call->other, call->numbers[0]) != NULL;
}

static void
perform_fill_band(struct call *call) {
    call->value = ImagingFillBand(call->out, call->numbers[0], call->numbers[1]) != NULL;
}

/* ------------------------------------------------------------------ two images */

static void
choose_two(struct call *call) {
    ModeID mode = any_mode(call);

    call->in = any_source(call, mode);
    call->other = one_in(call, 8) ? any_source(call, one_in(call, 4) ? any_mode(call) : mode)
                                  : source(call, mode, call->in->xsize, call->in->ysize);
    call->floats[0] = one_in(call, 8)   ? extreme(call)
                      : one_in(call, 2) ? 1 + below(call, 3)
                                        : 4 * fraction(call) - 1.5;
    call->numbers[0] = below(call, 2) ? 0 : one_in(call, 9) ? (int)draw(call) : below(call, 300) - 150;
}

#define CHOP(name)                                                \
    extern Imaging Imaging##name(Imaging, Imaging);               \
    static void perform_##name(struct call *call) {               \
        call->results[0] = Imaging##name(call->in, call->other);  \
    }
#define SCALED_CHOP(name)                                                                   \
    extern Imaging Imaging##name(Imaging, Imaging, float, int);                             \
    static void perform_##name(struct call *call) {                                         \
        call->results[0] =                                                                  \
            Imaging##name(call->in, call->other, call->floats[0], call->numbers[0]);        \
    }
CHOP(ChopLighter)
CHOP(ChopDarker)
CHOP(ChopDifference)
CHOP(ChopMultiply)
CHOP(ChopScreen)
CHOP(ChopSoftLight)
CHOP(ChopHardLight)
CHOP(Overlay)
SCALED_CHOP(ChopAdd)
SCALED_CHOP(ChopSubtract)

static void
perform_blend(struct call *call) {
    call->results[0] = ImagingBlend(call->in, call->other, call->floats[0]);
}

/* A box of the image, mostly all of it, sometimes beside it, mostly with a mask. */
static void
choose_paste(struct call *call) {
    static const ModeID masks[] = {IMAGING_MODE_1, IMAGING_MODE_L, IMAGING_MODE_LA, IMAGING_MODE_RGBA};
    int *n = call->numbers, whole = one_in(call, 2), width, height;

    call->in = any_source(call, any_mode(call));
    like_source(call);
    call->in_place = 1;
    width = whole ? call->in->xsize : below(call, call->in->xsize + 9);
    height = whole ? call->in->ysize : below(call, call->in->ysize + 9);
    call->other = source(call, one_in(call, 40) ? any_mode(call) : call->in->mode, width, height);
    if (!one_in(call, 5)) {
        call->bands[0] =
            source(call, one_in(call, 20) ? any_mode(call) : masks[below(call, 4)], width, height);
    }
    n[0] = whole ? 0 : below(call, call->in->xsize + 9) - 9;
    n[1] = whole ? 0 : below(call, call->in->ysize + 9) - 9;
    n[2] = n[0] + width;
    n[3] = n[1] + height;
    n[4] = (int)draw(call);
}

static void
perform_paste(struct call *call) {
    int *n = call->numbers;

    call->value =
        ImagingPaste(call->out, call->other, call->bands[0], n[0], n[1], n[2], n[3]);
}

static void
perform_fill(struct call *call) {
    int *n = call->numbers;

    call->value = ImagingFill2(call->out, &n[4], call->bands[0], n[0], n[1], n[2], n[3]);
}

/* ------------------------------------------------------------------ geometry, copies */

static void
choose_flip(struct call *call) {
    call->in = any_source(call, any_mode(call));
    like_source(call);
    call->in_place = 0;
    if (one_in(call, 60)) {
        call->out_width += 1;
    }
}

static void
choose_turn(struct call *call) {
    choose_flip(call);
    call->out_width = call->in->ysize;
    call->out_height = call->in->xsize + one_in(call, 60);
}

#define TURN(name)                                          \
    extern Imaging Imaging##name(Imaging, Imaging);         \
    static void perform_##name(struct call *call) {         \
        call->results[0] = Imaging##name(call->out, call->in); \
    }
TURN(FlipLeftRight)
TURN(FlipTopBottom)
TURN(Rotate90)
TURN(Rotate180)
TURN(Rotate270)
TURN(Transpose)
TURN(Transverse)
TURN(Copy2)

static void
choose_copy(struct call *call) {
    call->in = any_source(call, any_mode(call));
}

static void
perform_copy(struct call *call) {
    call->results[0] = ImagingCopy(call->in);
}

static void
choose_crop(struct call *call) {
    Imaging im = call->in = any_source(call, any_mode(call));
    int *n = call->numbers, beyond = one_in(call, 4) ? 30 : 0;

    n[0] = below(call, im->xsize + 1 + 2 * beyond) - beyond;
    n[1] = below(call, im->ysize + 1 + 2 * beyond) - beyond;
    n[2] = n[0] + below(call, (im->xsize + beyond - n[0] > 0 ? im->xsize + beyond - n[0] : 0) + 1);
    n[3] = n[1] + below(call, (im->ysize + beyond - n[1] > 0 ? im->ysize + beyond - n[1] : 0) + 1);
    if (one_in(call, 50)) {
        n[2] = n[0] - below(call, 9);
    }
}

static void
perform_crop(struct call *call) {
    int *n = call->numbers;

    call->results[0] = ImagingCrop(call->in, n[0], n[1], n[2], n[3]);
}

/* A bit too many, in some images and at levels above stock's: for the test of the comparison. */
static void
perform_wrong(struct call *call) {
    Imaging copy = call->results[0] = ImagingCopy(call->in);

    if (pillow_simd_level() && copy && copy->linesize && copy->ysize && copy->xsize % 100 == 0) {
        copy->image[copy->ysize - 1][copy->linesize - 1] ^= 1;
    }
}

static const struct subject subjects[] = {
    {"ImagingResample", choose_resample, perform_resample, 0},
    {"ImagingReduce", choose_reduce, perform_reduce, 0},
    {"ImagingBoxBlur", choose_box_blur, perform_box_blur, 0},
    {"ImagingGaussianBlur", choose_box_blur, perform_gaussian_blur, 0},
    {"ImagingUnsharpMask", choose_unsharp_mask, perform_unsharp_mask, 0},
    {"ImagingFilter", choose_filter, perform_filter, 0},
    {"ImagingColorLUT3D_linear", choose_color_lut, perform_color_lut, 0},
    {"ImagingAlphaComposite", choose_alpha_composite, perform_alpha_composite, 0},
    {"ImagingConvert", choose_convert, perform_convert, 0},
    {"ImagingConvertMatrix", choose_convert_matrix, perform_convert_matrix, 1},
    {"ImagingGetBand", choose_bands, perform_get_band, 0},
    {"ImagingSplit", choose_bands, perform_split, 0},
    {"ImagingMerge", choose_merge, perform_merge, 0},
    {"ImagingPutBand", choose_put_band, perform_put_band, 0},
    {"ImagingFillBand", choose_put_band, perform_fill_band, 0},
    {"ImagingChopLighter", choose_two, perform_ChopLighter, 0},
    {"ImagingChopDarker", choose_two, perform_ChopDarker, 0},
    {"ImagingChopDifference", choose_two, perform_ChopDifference, 0},
    {"ImagingChopMultiply", choose_two, perform_ChopMultiply, 0},
    {"ImagingChopScreen", choose_two, perform_ChopScreen, 0},
    {"ImagingChopSoftLight", choose_two, perform_ChopSoftLight, 0},
    {"ImagingChopHardLight", choose_two, perform_ChopHardLight, 0},
    {"ImagingOverlay", choose_two, perform_Overlay, 0},
    {"ImagingChopAdd", choose_two, perform_ChopAdd, 0},
    {"ImagingChopSubtract", choose_two, perform_ChopSubtract, 0},
    {"ImagingBlend", choose_two, perform_blend, 0},
    {"ImagingPaste", choose_paste, perform_paste, 0},
    {"ImagingFill2", choose_paste, perform_fill, 0},
    {"ImagingFlipLeftRight", choose_flip, perform_FlipLeftRight, 0},
    {"ImagingFlipTopBottom", choose_flip, perform_FlipTopBottom, 0},
    {"ImagingRotate90", choose_turn, perform_Rotate90, 0},
    {"ImagingRotate180", choose_flip, perform_Rotate180, 0},
    {"ImagingRotate270", choose_turn, perform_Rotate270, 0},
    {"ImagingTranspose", choose_turn, perform_Transpose, 0},
    {"ImagingTransverse", choose_turn, perform_Transverse, 0},
    {"ImagingCopy2", choose_flip, perform_Copy2, 0},
    {"ImagingCopy", choose_copy, perform_copy, 0},
    {"ImagingCrop", choose_crop, perform_crop, 0},
    {"a wrong kernel", choose_copy, perform_wrong, 0},
};

const struct subject *
cases_subject(const char *function) {
    for (size_t i = 0; i < sizeof(subjects) / sizeof(subjects[0]); i++) {
        if (!strcmp(subjects[i].function, function)) {
            return &subjects[i];
        }
    }
    return NULL;
}
