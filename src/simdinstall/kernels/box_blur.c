/*
 * Box blur with fractional radius, the bytes of stock's ImagingBoxBlur.
 *
 * Stock's arithmetic. With r the integer part of the radius and two weights
 *
 *     ww = 2**24 / (2 * radius + 1)          the weight of a pixel well inside
 *     fw = (2**24 - (2 * r + 1) * ww) / 2    the weight of the two pixels at the rim
 *
 * the pixel at x of a line of n becomes, in unsigned 32-bit arithmetic,
 *
 *     bulk(x) = (p[x-r] + ... + p[x+r]) * ww + (p[x-r-1] + p[x+r+1]) * fw
 *     out[x]  = (bulk(x) + 2**23) >> 24
 *
 * where p[x] left of the line is p[0], right of it p[n-1]. A pass does that to every
 * line; several passes follow each other, first along x, then along y.
 *
 * Here. bulk is not made from a running sum but kept running itself: with
 * right(x) = p[x+r+1] and left(x) = p[x-r-1],
 *
 *     bulk(x) = bulk(x-1) + (right(x) - left(x-1)) * fw
 *                         + (right(x-1) - left(x)) * (ww - fw)
 *
 * That is the same number modulo 2**32, for every radius and length, and its factors
 * are differences of two pixels, small enough for 16-bit multiplications. Radii from 1 to 63 take
 * the sum after all, which fits 16 bits there, and for radii below 1 there is nothing to sum.
 *
 * Layout. Pixels are widened to 16 bits, and a lane of a vector is a line of its own:
 * along x, a few rows of the image, transposed; along y, a stripe of columns. All
 * passes of one direction advance together, a chunk of positions at a time, and hand
 * their pixels on through rings that hold no more than the reach of the radius. So
 * what is at work stays in the first or second level of the cache, and the image is
 * read once and written once for each direction. box_blur_lines.h has the way from
 * rows to lanes, box_blur_passes.h what is done to one vector of them.
 */
#include "box_blur.h"

#include "box_blur_lines.h"
#include "box_blur_passes.h"
#include "lanes.h"

/* Passes that advance together. */
#define PASSES_MAX 4

/* Bytes of a row that make a stripe, if the cache has room for its rings: some cache lines. */
#define STRIPE 1024
#define BUNDLES_MAX (STRIPE / VEC_BYTES)

/* What the rings of a stripe may take of the second-level cache. */
#define CACHE (512 << 10)

/*
 * Whether three-band pixels become three bands along x too. With wide vectors that takes so
 * many rows at a time that the CPU loses sight of where they go.
 */
#define THREE_BANDS_ALONG_X (SIMD_LEVEL != SIMD_LEVEL_AVX512)

/* More memory than this is not taken: stock serves such radii and sizes. */
#define MEMORY_MAX ((size_t)64 << 20)

/*
 * Pieces of rows that are wanted soon. Rows are pages apart, so that no CPU foresees it, and
 * it waits for a dozen lines of its cache at a time: they are asked for a few at a time,
 * while there is something else to do.
 */
struct ahead {
    char *const *rows;
    int count, at, bytes;
    int done;     /* bytes of the first row that have been asked for */
    int together; /* lines to ask for before each chunk of a bundle */
};

/* All passes of one direction over one group of lines. */
struct pipeline {
    struct course course;
    int layout;
    int same; /* whether the fourth bytes of all pixels are, as far as is known */
    int passes;
    int bundles; /* that lie side by side ... */
    int used;    /* ... and how many of them the present group needs */
    vec *rings;  /* passes + 1 for each bundle: the image's pixels, each pass's output */
    int done[PASSES_MAX + 1]; /* positions that are in each ring, or were */
    struct ahead ahead;
    vec bulk[PASSES_MAX][BUNDLES_MAX * 2 * BULK];
};

/* ------------------------------------------------------------------ the pipeline */

/*
 * A pass reads at most radius + 1 positions ahead of the chunk that it works on, and
 * radius + 2 behind it; the pass before it is at most two chunks further on.
 */
static int
ring_size(int radius, int length) {
    int64_t reach = 2 * (int64_t)radius + 3 + 2 * CHUNK;
    int64_t all = length;
    return ((reach < all ? reach : all) + CHUNK - 1) / CHUNK * CHUNK;
}

static int
clamp(int64_t position, int length) {
    return position < 0 ? 0 : position < length ? position : length - 1;
}

static void
plan_steps(struct course *c, int layout) {
    const int position = BUNDLE_WORDS(layout) * VEC_BYTES;
    int x;

    for (x = -1; x < c->length; x++) {
        int left = clamp((int64_t)x - c->weights.radius - 1, c->length);
        int right = clamp((int64_t)x + c->weights.radius + 1, c->length);
        c->steps[x].left = left % c->ring_size * position;
        c->steps[x].right = right % c->ring_size * position;
        c->steps[x].out = (x < 0 ? 0 : x) % c->ring_size * position;
    }
}

/* Vectors of a bundle's ring. */
static ptrdiff_t
pitch(const struct pipeline *p) {
    return (ptrdiff_t)p->course.ring_size * BUNDLE_WORDS(p->layout);
}

/* The ring of the first bundle; the others' follow it. */
static vec *
ring(const struct pipeline *p, int number) {
    return p->rings + number * p->bundles * pitch(p);
}

/* A chunk never wraps round: it starts at a multiple of CHUNK, and so does the ring. */
static vec *
ring_at(const struct pipeline *p, int number, int position) {
    return ring(p, number) + position % p->course.ring_size * BUNDLE_WORDS(p->layout);
}

/* The steps lie behind the rings, which take the same place or less in another layout. */
static void
set_up(struct pipeline *p, void *memory) {
    p->rings = memory;
    p->course.steps = (struct step *)ring(p, p->passes + 1) + 1;
    plan_steps(&p->course, p->layout);
}

static void
start_group(struct pipeline *p, int bundles) {
    memset(p->done, 0, sizeof(p->done));
    p->ahead.count = 0;
    p->used = bundles;
}

/* The end of the chunk that starts at `from`. */
static int
chunk_end(const struct pipeline *p, int from) {
    return p->course.length - from > CHUNK ? from + CHUNK : p->course.length;
}

static void
want(struct pipeline *p, char *const *rows, int count, int at, int bytes) {
    int times = p->passes * p->used, lines = count * ((bytes + 63) / 64);
    struct ahead ahead = {rows, count, at, bytes, 0, (lines + times - 1) / times};

    p->ahead = ahead;
}

static void
fetch_some(struct ahead *a) {
    int lines;

    for (lines = a->together; lines > 0 && a->count > 0; lines--) {
        _mm_prefetch(a->rows[0] + a->at + a->done, _MM_HINT_T0);
        a->done += 64;
        if (a->done >= a->bytes) {
            a->done = 0;
            a->count--;
            a->rows++;
        }
    }
}

/* Each pass does its next chunk, if the pass before it has come far enough. */
static void
advance_passes(struct pipeline *p) {
    const struct course *c = &p->course;
    int pass, i;

    for (pass = 0; pass < p->passes; pass++) {
        int ready = p->done[pass], from = p->done[pass + 1], to = chunk_end(p, from);

        if (from == c->length || (ready < c->length && ready - to <= c->weights.radius)) {
            continue;
        }
        for (i = 0; i < p->used; i++) {
            vec *out = ring(p, pass + 1) + i * pitch(p), *in = ring(p, pass) + i * pitch(p);

            fetch_some(&p->ahead);
            if (p->layout == THREE_BANDS) {
                blur_bundle(out, in, c, from, to, p->bulk[pass] + i * 3 * BULK, 3);
            } else {
                blur_bundle(out, in, c, from, to, p->bulk[pass] + i * 2 * BULK, 2);
            }
        }
        p->done[pass + 1] = to;
    }
}

/* ------------------------------------------------------------------ along x */

/* Asks for the next cache line of a row of which what begins at byte `at` is at work. */
LANES_INLINE void
fetch_next(const uint8_t *row, ptrdiff_t at, ptrdiff_t end) {
    if (at % 64 == 0 && at + 64 < end) {
        _mm_prefetch((const char *)row + at + 64, _MM_HINT_T0);
    }
}

/* One bundle of rows; whether its unused bytes were as expected. */
LANES_INLINE int
blur_few_rows(
    uint8_t *const *out, const uint8_t *const *in, struct pipeline *p, int fourth, int layout
) {
    const int pixelsize = PIXEL_BYTES(layout);
    const ptrdiff_t length = p->course.length;
    struct unused unused = {v_set8(fourth), v_zero()};
    ptrdiff_t from, to, read;
    int i;

    start_group(p, 1);
    for (from = 0; from < length; from = p->done[p->passes]) {
        read = p->done[0];
        if (read < length) {
            to = chunk_end(p, read);
            load_rows(
                ring_at(p, 0, read), in, read * pixelsize, to * pixelsize, &unused, layout
            );
            p->done[0] = to;
        }
        for (i = 0; i < BUNDLE_ROWS(layout); i++) {
            fetch_next(in[i], read * pixelsize, length * pixelsize);
            fetch_next(out[i], from * pixelsize, length * pixelsize);
        }
        advance_passes(p);
        to = p->done[p->passes];
        store_rows(
            out, from * pixelsize, to * pixelsize, ring_at(p, p->passes, from), unused.bytes, layout
        );
    }
    return as_expected(&unused, layout);
}

/* Three-band pixels whose fourth bytes turn out to differ become four-band ones. */
static void
blur_rows(Imaging imOut, Imaging imIn, struct pipeline *p, int fourth) {
    const uint8_t *in[VEC_BYTES];
    uint8_t *out[VEC_BYTES];
    int y, i, done;

    for (y = 0; y < imIn->ysize; y += done) {
        /* Where rows are missing in the last group, the last row stands in: what is
           written to it several times is the same each time. */
        for (i = 0; i < BUNDLE_ROWS(p->layout); i++) {
            int row = clamp((int64_t)y + i, imIn->ysize);
            in[i] = (const uint8_t *)imIn->image[row];
            out[i] = (uint8_t *)imOut->image[row];
        }
        done = BUNDLE_ROWS(p->layout);
        if (p->layout == BYTES) {
            blur_few_rows(out, in, p, 0, BYTES);
        } else if (p->layout == FOUR_BANDS) {
            p->same &= blur_few_rows(out, in, p, fourth, FOUR_BANDS);
        } else if (!blur_few_rows(out, in, p, fourth, THREE_BANDS)) {
            p->layout = FOUR_BANDS;
            p->same = 0;
            set_up(p, p->rings);
            done = 0;
        }
    }
}

/* ------------------------------------------------------------------ along y */

LANES_INLINE void
blur_stripe(
    char *const *out, char *const *in, struct pipeline *p, int at, int bytes, int fourth, int layout
) {
    struct unused unused = {v_set8(fourth), v_zero()};
    int from, to;

    start_group(p, (bytes + BUNDLE_BYTES(layout) - 1) / BUNDLE_BYTES(layout));
    for (from = 0; from < p->course.length; from = p->done[p->passes]) {
        int read = p->done[0];

        if (read < p->course.length) {
            to = chunk_end(p, read);
            load_stripe(
                ring_at(p, 0, read), pitch(p), in + read, to - read, at, bytes, &unused, layout
            );
            p->done[0] = to;
            want(p, in + to, chunk_end(p, to) - to, at, bytes);
        }
        advance_passes(p);
        to = p->done[p->passes];
        store_stripe(
            out + from, to - from, at, bytes, ring_at(p, p->passes, from), pitch(p), unused.bytes,
            layout
        );
    }
}

static void
blur_columns(Imaging imOut, Imaging imIn, struct pipeline *p, int fourth) {
    char *const *out = imOut->image, *const *in = imIn->image;
    const int stripe = p->bundles * BUNDLE_BYTES(p->layout);
    int at;

    for (at = 0; at < imIn->linesize; at += stripe) {
        int bytes = imIn->linesize - at < stripe ? imIn->linesize - at : stripe;

        if (p->layout == THREE_BANDS) {
            blur_stripe(out, in, p, at, bytes, fourth, THREE_BANDS);
        } else {
            blur_stripe(out, in, p, at, bytes, 0, FOUR_BANDS);
        }
    }
}

/* ------------------------------------------------------------------ the image */

/* Sets the sizes of a direction; returns the bytes that rings and steps take. */
static size_t
plan(struct pipeline *p, int length, int vertical, float radius, int passes, int layout) {
    struct course *c = &p->course;
    size_t bundle;

    c->weights = box_weights(radius);
    c->length = length;
    c->ring_size = ring_size(c->weights.radius, length);
    p->layout = layout;
    p->same = 1;
    p->passes = passes;
    bundle = (size_t)(passes + 1) * c->ring_size * BUNDLE_WORDS(layout) * VEC_BYTES;
    p->bundles = 1;
    while (vertical && p->bundles * 2 * BUNDLE_BYTES(layout) <= STRIPE &&
           2 * p->bundles * bundle <= CACHE) {
        p->bundles *= 2;
    }
    return p->bundles * bundle + (size_t)(length + 1) * sizeof(struct step);
}

static size_t
larger(size_t a, size_t b) {
    return a > b ? a : b;
}

Imaging
SIMD_NAME(box_blur)(Imaging imOut, Imaging imIn, float xradius, float yradius, int n) {
    ImagingSectionCookie cookie;
    struct pipeline along_x, along_y;
    Imaging source = imIn;
    int together = n < PASSES_MAX ? n : PASSES_MAX, left, fourth;
    int layout = imIn->pixelsize == 1 ? BYTES : FOUR_BANDS;
    int three = imIn->mode == IMAGING_MODE_RGB && imIn != imOut && xradius != 0;
    int layout_x = three && THREE_BANDS_ALONG_X ? THREE_BANDS : layout;
    size_t size = larger(
        plan(&along_x, imIn->xsize, 0, xradius, together, layout_x),
        plan(&along_y, imIn->ysize, 1, yradius, together, layout)
    );
    size_t size_of_three = plan(&along_y, imIn->ysize, 1, yradius, together, THREE_BANDS);
    void *memory = NULL;

    if (three && size_of_three > MEMORY_MAX) {
        three = 0;
    } else if (three) {
        size = larger(size, size_of_three);
    }
    if (size <= MEMORY_MAX) {
        memory = aligned_alloc(64, (size + 63) / 64 * 64);
    }
    if (!memory) {
        return SIMD_DECLINED;
    }

    ImagingSectionEnter(&cookie);
    IMAGE_LOCK(imIn);
    fourth = (uint8_t)imIn->image[0][imIn->pixelsize - 1];
    set_up(&along_x, memory);
    for (left = n; xradius != 0 && left > 0; left -= together) {
        along_x.passes = left < together ? left : together;
        blur_rows(imOut, source, &along_x, fourth);
        source = imOut;
    }
    /* They stay the same in a blur, so nothing has to be known of them any more. */
    layout = three && along_x.same ? THREE_BANDS : layout;
    plan(&along_y, imIn->ysize, 1, yradius, together, layout);
    set_up(&along_y, memory);
    for (left = n; yradius != 0 && left > 0; left -= together) {
        along_y.passes = left < together ? left : together;
        blur_columns(imOut, source, &along_y, fourth);
        source = imOut;
    }
    IMAGE_UNLOCK(imIn);
    ImagingSectionLeave(&cookie);

    free(memory);
    return imOut;
}
