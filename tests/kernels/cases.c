/* The engine of the random cases: numbers, images, and the comparison. */
#define _GNU_SOURCE
#include "cases.h"

#include <stdio.h>
#include <sys/mman.h>

#define PUBLIC __attribute__((visibility("default")))

extern Imaging
ImagingNewPrologue(ModeID mode, int xsize, int ysize);
extern void *
PyErr_Occurred(void);
extern void
PyErr_Clear(void);
int
rows_set_mode(int mode);

/*
 * Rows of memory-mapped files begin at any byte, which UBSan reports in stock's way of
 * reading them. AddressSanitizer sees beside a row only in memory from malloc.
 */
#ifdef __SANITIZE_ADDRESS__
#define ANY_ALIGNMENT 0
#define GUARDED_ROWS 1
#else
#define ANY_ALIGNMENT 1
#define GUARDED_ROWS 2
#endif

/* ------------------------------------------------------------------ numbers */

/* Steele, Lea, Flood: Fast splittable pseudorandom number generators (2014). */
static uint64_t
split_mix(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t
draw(struct call *call) {
    return split_mix(&call->random.state);
}

int
below(struct call *call, int limit) {
    return (int)((draw(call) >> 33) % (uint64_t)limit);
}

double
fraction(struct call *call) {
    return (double)(draw(call) >> 11) / (double)((uint64_t)1 << 53);
}

int
one_in(struct call *call, int times) {
    return !below(call, times);
}

static float
float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

float
extreme(struct call *call) {
    static const uint32_t bits[] = {
        0x00000000, 0x80000000, 0x7f800000, 0xff800000, 0x7fc00000, 0x7f7fffff, 0xff7fffff,
        0x00000001, 0x007fffff, 0x4effffff, 0x4f000000, 0xcf000000, 0x4f800000, 0x3f800000,
        0x3effffff, 0x3f000000, 0x3f7fffff, 0x437f0000, 0x437fffff, 0x4b000000, 0x4b800000,
    };
    return float_of(bits[below(call, sizeof(bits) / sizeof(bits[0]))]);
}

/* ------------------------------------------------------------------ images */

/* Regions of bytes that cannot be written, pages that cannot be touched around each. */
#define REGION_SIZE (1 << 20)
#define REGION_GUARD 65536
enum { NOISE, TWO_VALUES, EDGES, HIGH, SLOPE, OPAQUE, INTEGERS, FLOATS, WILD_FLOATS, REGIONS };

static char *regions[REGIONS];

static void
fill_region(struct call *call, int kind, unsigned char *bytes) {
    static const unsigned char edges[] = {0, 1, 2, 126, 127, 128, 129, 253, 254, 255};
    uint32_t *words = (uint32_t *)bytes;
    int i;

    for (i = 0; i < REGION_SIZE && kind < INTEGERS; i++) {
        uint64_t r = draw(call);
        bytes[i] = kind == NOISE        ? r >> 40
                   : kind == TWO_VALUES ? (r >> 40 & 1) * 255
                   : kind == EDGES      ? edges[(r >> 40) % sizeof(edges)]
                   : kind == HIGH       ? 250 + (r >> 40) % 6
                   : kind == OPAQUE     ? (i % 4 == 3 ? 255 : r >> 40)
                                        : (i / 7 + (r >> 40) % 3) & 255;
    }
    for (i = 0; i < REGION_SIZE / 4 && kind >= INTEGERS; i++) {
        float value = kind == FLOATS ? (float)(fraction(call) * 600 - 150) : extreme(call);
        uint32_t number = one_in(call, 3) ? (uint32_t)draw(call) : (uint32_t)below(call, 70000) - 1000;
        memcpy(&words[i], kind == INTEGERS ? (void *)&number : (void *)&value, 4);
    }
}

static int
make_regions(void) {
    struct call call = {.random = {2026}};
    int kind;

    for (kind = 0; kind < REGIONS && !regions[kind]; kind++) {
        char *start = mmap(
            NULL, REGION_SIZE + 2 * REGION_GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0
        );
        if (start == MAP_FAILED ||
            mprotect(start + REGION_GUARD, REGION_SIZE, PROT_READ | PROT_WRITE)) {
            return 0;
        }
        fill_region(&call, kind, (unsigned char *)start + REGION_GUARD);
        mprotect(start + REGION_GUARD, REGION_SIZE, PROT_READ);
        regions[kind] = start + REGION_GUARD;
    }
    return 1;
}

int
side(struct call *call) {
    static const int widths[] = {4, 8, 16, 32, 48, 64, 128};

    switch (below(call, 16)) {
        case 0:
            return 1 + below(call, 3);
        case 1:
        case 2:
        case 3:
            return widths[below(call, 7)] + below(call, 3) - 1;
        case 4:
            return 1 + below(call, 90);
        case 5:
            if (one_in(call, 60)) {
                return one_in(call, 2) ? 0 : 32767 + below(call, 3);
            }
            return 1 + below(call, 200);
        default:
            return 1 + below(call, 24);
    }
}

static int
region_for(struct call *call, Imaging im) {
    if (im->type == IMAGING_TYPE_FLOAT32) {
        return one_in(call, 3) ? WILD_FLOATS : FLOATS;
    }
    if (im->type == IMAGING_TYPE_INT32 && !one_in(call, 3)) {
        return INTEGERS;
    }
    if (im->bands == 3 && one_in(call, 3)) {
        return OPAQUE;
    }
    return one_in(call, 2) ? NOISE : below(call, INTEGERS);
}

/*
 * Rows lie in one region with some distance, which can be nothing (all rows are the same
 * memory), less than a row, or negative; often the last byte is the region's last.
 */
static void
place_rows(struct call *call, Imaging im) {
    long line = im->linesize, stride = line, span, at;
    int pixel = im->pixelsize, y, height = im->ysize;

    switch (below(call, 8)) {
        case 0:
            stride = one_in(call, 2) ? 0 : pixel * (1 + below(call, 5));
            break;
        case 1:
            stride = line + pixel * (long)below(call, 40);
            break;
    }
    if (height > 1 && line + stride * (height - 1) > REGION_SIZE) {
        stride = (REGION_SIZE - line) / (height - 1) / pixel * pixel;
    }
    span = REGION_SIZE - line - (height > 1 ? stride * (height - 1) : 0);
    switch (below(call, 4)) {
        case 0:
            at = span;
            break;
        case 1:
            at = 0;
            break;
        default:
            at = (long)(draw(call) % (uint64_t)(span + 1));
            /* Memory-mapped files have rows at any byte. */
            at -= one_in(call, 8) && ANY_ALIGNMENT ? 0 : at % pixel;
    }
    char *start = regions[region_for(call, im)] + at;
    int reversed = one_in(call, 8);
    for (y = 0; y < height; y++) {
        im->image[y] = start + stride * (reversed ? height - 1 - y : y);
    }
}

static Imaging
copy_of(Imaging im) {
    Imaging copy = ImagingNewDirty(im->mode, im->xsize, im->ysize);
    int y;

    for (y = 0; copy && im->linesize && y < im->ysize; y++) {
        memcpy(copy->image[y], im->image[y], im->linesize);
    }
    if (copy && im->palette) {
        memcpy(copy->palette->palette, im->palette->palette, sizeof(im->palette->palette));
        copy->palette->size = im->palette->size;
        copy->palette->mode = im->palette->mode;
    }
    return copy;
}

Imaging
source(struct call *call, ModeID mode, int width, int height) {
    Imaging im;
    int i;

    if (width > 70000) {
        width = 70000;
    }
    im = ImagingNewPrologue(mode, width, height);
    if (!im) {
        return NULL;
    }
    if (im->linesize && height) {
        place_rows(call, im);
    }
    if (im->palette) {
        for (i = 0; i < 1024; i++) {
            im->palette->palette[i] = (unsigned char)(draw(call) >> 40);
        }
        im->palette->size = one_in(call, 4) ? 1 + below(call, 256) : 256;
        if (one_in(call, 4)) {
            im->palette->mode = IMAGING_MODE_RGBA;
        }
    }
    if (call->guarded) {
        Imaging copy = copy_of(im);
        ImagingDelete(im);
        return copy;
    }
    return im;
}

Imaging
any_source(struct call *call, ModeID mode) {
    int width = side(call), height = one_in(call, 3) ? side(call) : 1 + below(call, 10);

    if (width > 300 && height > 2) {
        height = 1 + below(call, 2);
    } else if (height > 300 && width > 2) {
        width = 1 + below(call, 2);
    }
    return source(call, mode, width, height);
}

Imaging
wide_source(struct call *call, ModeID mode) {
    if (one_in(call, 8)) {
        return any_source(call, mode);
    }
    return source(call, mode, 64 + below(call, one_in(call, 4) ? 300 : 70), 1 + below(call, 4));
}

ModeID
any_mode(struct call *call) {
    static const ModeID modes[] = {
        IMAGING_MODE_RGB,   IMAGING_MODE_RGBA,   IMAGING_MODE_L,      IMAGING_MODE_RGB,
        IMAGING_MODE_RGBA,  IMAGING_MODE_L,      IMAGING_MODE_LA,     IMAGING_MODE_La,
        IMAGING_MODE_RGBX,  IMAGING_MODE_RGBa,   IMAGING_MODE_CMYK,   IMAGING_MODE_YCbCr,
        IMAGING_MODE_HSV,   IMAGING_MODE_LAB,    IMAGING_MODE_I,      IMAGING_MODE_F,
        IMAGING_MODE_I_16,  IMAGING_MODE_I_16L,  IMAGING_MODE_I_16B,  IMAGING_MODE_1,
        IMAGING_MODE_P,     IMAGING_MODE_PA,
    };
    return modes[below(call, sizeof(modes) / sizeof(modes[0]))];
}

/* ------------------------------------------------------------------ one case */

struct outcome {
    Imaging results[RESULTS_MAX];
    int value, error;
};

/* Performs the call; what it was given is as before afterwards. */
static struct outcome
outcome_at(const struct subject *subject, struct call *call, int level) {
    struct outcome outcome = {{NULL}, 0, 0};
    Imaging in = call->in, copy = NULL;
    int y;

    if (call->in_place) {
        call->in = call->out = copy = copy_of(in);
    } else if (call->give_out) {
        call->out = ImagingNewDirty(call->mode, call->out_width, call->out_height);
        for (y = 0; call->out && call->out->linesize && y < call->out->ysize; y++) {
            memset(call->out->image[y], 0xa5, call->out->linesize);
        }
    } else {
        call->out = NULL;
    }
    memset(call->results, 0, sizeof(call->results));
    call->value = 0;
    pillow_simd_set_level(level);
    subject->perform(call);
    memcpy(outcome.results, call->results, sizeof(outcome.results));
    outcome.value = call->value;
    outcome.error = PyErr_Occurred() != NULL;
    PyErr_Clear();
    if (call->out && call->out != outcome.results[0]) {
        /* What a failed call left of it belongs to the result. */
        if (outcome.results[0]) {
            ImagingDelete(call->out);
        } else {
            outcome.results[0] = call->out;
        }
    }
    call->in = in;
    return outcome;
}

static void
forget(struct outcome *outcome) {
    int i;

    for (i = 0; i < RESULTS_MAX; i++) {
        ImagingDelete(outcome->results[i]);
    }
}

/* The first byte of a row that differs, or -1; with `open`, every fourth may. */
static int
rows_differ(const char *a, const char *b, int length, int open) {
    int x;

    if (!length || !memcmp(a, b, (size_t)length)) {
        return -1;
    }
    for (x = 0; x < length; x++) {
        if (a[x] != b[x] && !(open && x % 4 == 3)) {
            return x;
        }
    }
    return -1;
}

static int
palettes_differ(ImagingPalette a, ImagingPalette b) {
    return !a != !b || (a && (a->mode != b->mode || a->size != b->size ||
                              memcmp(a->palette, b->palette, sizeof(a->palette))));
}

static int
images_differ(Imaging a, Imaging b, int open, char *text, size_t size) {
    int x, y;

    if (!a || !b) {
        snprintf(text, size, "%s gave no image", !a ? "stock" : "the kernel");
        return a != b;
    }
    if (a->mode != b->mode || a->xsize != b->xsize || a->ysize != b->ysize) {
        snprintf(
            text, size, "mode %d, %dx%d in stock, mode %d, %dx%d here", (int)a->mode, a->xsize,
            a->ysize, (int)b->mode, b->xsize, b->ysize
        );
        return 1;
    }
    if (palettes_differ(a->palette, b->palette)) {
        snprintf(text, size, "the palettes differ");
        return 1;
    }
    for (y = 0; y < a->ysize; y++) {
        x = rows_differ(a->image[y], b->image[y], a->linesize, open && a->bands == 3);
        if (x < 0) {
            continue;
        }
        snprintf(
            text, size, "byte %d of row %d is %d in stock, %d here", x, y,
            (unsigned char)a->image[y][x], (unsigned char)b->image[y][x]
        );
        return 1;
    }
    return 0;
}

static int
outcomes_differ(struct outcome *a, struct outcome *b, int open, char *text, size_t size) {
    int i;

    if (a->error != b->error || a->value != b->value) {
        snprintf(
            text, size, "error %d, value %d in stock, %d, %d here", a->error, a->value, b->error,
            b->value
        );
        return 1;
    }
    for (i = 0; i < RESULTS_MAX; i++) {
        if ((a->results[i] || b->results[i]) &&
            images_differ(a->results[i], b->results[i], open, text, size)) {
            return 1;
        }
    }
    return 0;
}

static void
describe(const struct call *call, char *text, size_t size) {
    Imaging im = call->in;
    int n = snprintf(
        text, size, "mode %d to %d, %dx%d to %dx%d, out %d, in place %d, rows %ld apart, numbers",
        im ? (int)im->mode : -1, (int)call->mode, im ? im->xsize : 0, im ? im->ysize : 0,
        call->out_width, call->out_height, call->give_out, call->in_place,
        im && im->ysize > 1 ? (long)(im->image[1] - im->image[0]) : 0
    );
    for (int i = 0; i < 8 && n < (int)size; i++) {
        n += snprintf(text + n, size - n, " %d", call->numbers[i]);
    }
    for (int i = 0; i < 6 && n < (int)size; i++) {
        n += snprintf(text + n, size - n, " %g", call->floats[i]);
    }
}

/*
 * Runs `count` cases from number `first`. Gives -1, or the number of the first case
 * that differs, with `text` saying how. Every `guarded`-th has all its images on rows
 * between pages that cannot be touched (GUARDED_ROWS of rows.c); the others have sources that
 * cannot be written and results where Pillow puts them (mode 0). The interpreter's lock
 * must be held.
 */
PUBLIC long
cases_run(
    const char *function, unsigned long long seed, long first, long count, int guarded,
    int highest, char *text, int size
) {
    const struct subject *subject = cases_subject(function);
    int level, i, before, bad = 0;
    long number;
    char how[120];

    if (!subject || !make_regions()) {
        snprintf(text, (size_t)size, "no such function, or no memory");
        return first;
    }
    for (number = first; number < first + count && !bad; number++) {
        struct call call = {.random = {seed}};
        struct outcome stock;

        call.random.state = split_mix(&call.random.state) ^ (uint64_t)number * 0xd1342543de82ef95u;
        call.guarded = guarded && number % guarded == 0;
        before = rows_set_mode(call.guarded ? GUARDED_ROWS : 0);
        subject->choose(&call);
        stock = outcome_at(subject, &call, 0);
        for (level = 1; level <= highest && !bad; level++) {
            struct outcome ours = outcome_at(subject, &call, level);
            bad = outcomes_differ(
                &stock, &ours, subject->fourth_byte_is_open, how, sizeof(how)
            );
            if (bad) {
                i = snprintf(text, (size_t)size, "case %ld at level %d: %s; ", number, level, how);
                describe(&call, text + i, (size_t)(size - i));
            }
            forget(&ours);
        }
        forget(&stock);
        for (i = 0; i < 4; i++) {
            ImagingDelete(call.bands[i]);
        }
        ImagingDelete(call.in);
        ImagingDelete(call.other);
        free(call.table);
        rows_set_mode(before);
    }
    pillow_simd_set_level(highest);
    return bad ? number - 1 : -1;
}
