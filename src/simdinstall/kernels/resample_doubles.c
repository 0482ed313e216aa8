/*
 * Resample for one band of 16 or 32 bits: I;16, I, F.
 *
 * Arithmetic. Stock adds up pixel * weight in doubles, from the first position of a window
 * to its last, and rounds to the pixel's type after each of the two passes. Sums of doubles
 * depend on their order, so it is kept: the lanes of a vector are different outputs, and
 * each lane does just what stock does for its output. Positions outside the window must not
 * be added even with weight 0, because 0 times infinity is not 0.
 *
 * Passes. Source lines are taken in strips, one line in each 32-bit lane of a vector.
 *
 *     lines --transpose--> columns: for every pixel of the strip's lines two vectors of doubles
 *     columns --horizontal--> ring: lines of pixels
 *     ring --vertical--> lines of the result
 *
 * Columns are made for a stretch of the lines at a time, which stays in the L2 cache. The
 * vertical pass reads lines as they are, so without a horizontal one it reads the source.
 */
#include "resample_passes.h"

#include "lanes.h"

enum kind { WORDS, INTS, FLOATS };

/* Lines in a strip, one in each 32-bit lane of a vector. */
#define STRIP_LINES VEC_PIXELS

/* Source pixels of a strip that are made columns at a time, if the windows are shorter. */
#define STRETCH 512

/* Windows of more source pixels are left to stock. */
#define WINDOW_MAX (1 << 18)

/* Outputs of the vertical pass in registers: four vectors of doubles. */
#define BLOCK (4 * VEC_DOUBLES)

LANES_INLINE int
pixel_bytes(int kind) {
    return kind == WORDS ? 2 : 4;
}

static int
least(int a, int b) {
    return a < b ? a : b;
}

/* ------------------------------------------------------------------ sums */

/*
 * sum += pixels * k. The addition is given as an instruction because of NaN: of two, the
 * CPU keeps the first operand's bits, and stock's compiler made the sum the first one.
 */
LANES_INLINE void
add_product(vecd *sum, vecd pixels, vecd k) {
    vecd product = d_mul(pixels, k);
#if SIMD_LEVEL == SIMD_LEVEL_SSE4
    __asm__("addpd %1, %0" : "+x"(*sum) : "x"(product));
#else
    __asm__("vaddpd %1, %0, %0" : "+v"(*sum) : "v"(product));
#endif
}

/* Two vectors of sums to one of 32-bit pixels, rounded as stock does. */
LANES_INLINE vec
finish(const vecd sums[2], int kind) {
    vecd away[2];

    if (kind == FLOATS) {
        return d_to_floats(sums);
    }
    away[0] = d_away_by_half(sums[0]);
    away[1] = d_away_by_half(sums[1]);
    return d_truncate(away);
}

/* To 16 bits. Before 12.3 stock clipped the upper and the lower byte each on its own. */
LANES_INLINE vec
to_words(vec a, vec b) {
#if PILLOW_RELEASE_NUMBER < 120300
    const vec low = v_set32(0xff);
    a = v_max32(a, v_zero());
    b = v_max32(b, v_zero());
    a = v_or(v_shl32(v_min32(v_shr32(a, 8), low), 8), v_and(a, low));
    b = v_or(v_shl32(v_min32(v_shr32(b, 8), low), 8), v_and(b, low));
#endif
    return v_narrow_to_words(a, b);
}

/* ------------------------------------------------------------------ horizontal */

struct strip {
    const uint8_t *from[STRIP_LINES];
    uint8_t *to[STRIP_LINES];
    int width;       /* of the lines */
    double *columns; /* [source pixel][line], from pixel `first` on */
    int first;
};

/* Four pixels of every line, from `offset` bytes on, to columns. */
LANES_INLINE void
load_columns(vec r[4], const uint8_t *const *lines, size_t offset, int kind) {
    int i, part;

    for (i = 0; i < 4; i++) {
        if (kind == WORDS) {
            uint64_t four[VEC_PARTS];
            for (part = 0; part < VEC_PARTS; part++) {
                memcpy(&four[part], lines[part * 4 + i] + offset, sizeof(four[0]));
            }
            r[i] = v_load_words(four);
        } else {
            r[i] = v_load_parts(lines + i, 4, offset);
        }
    }
    v_transpose32(r);
}

/* Source pixels from `strip->first` to `end` - 1, and up to three more, to columns. */
LANES_INLINE void
make_columns(struct strip *strip, int end, int kind) {
    double *columns = strip->columns;
    int x, i;

    for (x = strip->first; x < end; x += 4) {
        const uint8_t *const *lines = strip->from;
        const uint8_t *ends[STRIP_LINES];
        uint8_t last[STRIP_LINES][16];
        size_t offset = (size_t)x * pixel_bytes(kind);
        vec r[4];

        if (strip->width - x < 4) {
            memset(last, 0, sizeof(last));
            for (i = 0; i < STRIP_LINES; i++) {
                memcpy(last[i], lines[i] + offset, (size_t)(strip->width - x) * pixel_bytes(kind));
                ends[i] = last[i];
            }
            lines = ends;
            offset = 0;
        }
        load_columns(r, lines, offset, kind);
        for (i = 0; i < 4; i++) {
            vecd d[2];
            if (kind == FLOATS) {
                d_from_floats(d, r[i]);
            } else {
                d_from_ints(d, r[i]);
            }
            d_store(columns, d[0]);
            d_store(columns + VEC_DOUBLES, d[1]);
            columns += STRIP_LINES;
        }
    }
}

LANES_INLINE void
add_column(vecd sums[2], const double *column, double weight) {
    const vecd k = d_set(weight);

    add_product(&sums[0], d_load(column), k);
    add_product(&sums[1], d_load(column + VEC_DOUBLES), k);
}

/* Outputs a and b. Two at a time, as an addition takes as long as four can be begun. */
static __attribute__((noinline)) void
sum_two_outputs(
    vecd sums[4], const struct strip *strip, const struct taps *taps, int a, int b
) {
    const double *weights_a = taps->weights + (size_t)a * taps->groups;
    const double *weights_b = taps->weights + (size_t)b * taps->groups;
    const double *columns_a =
        strip->columns + (size_t)(taps->windows[a].start - strip->first) * STRIP_LINES;
    const double *columns_b =
        strip->columns + (size_t)(taps->windows[b].start - strip->first) * STRIP_LINES;
    const int count_a = taps->windows[a].count, count_b = taps->windows[b].count;
    const int both = least(count_a, count_b);
    vecd sums_a[2] = {d_zero(), d_zero()}, sums_b[2] = {d_zero(), d_zero()};
    int i;

    for (i = 0; i < both; i++) {
        add_column(sums_a, columns_a + (size_t)i * STRIP_LINES, weights_a[i]);
        add_column(sums_b, columns_b + (size_t)i * STRIP_LINES, weights_b[i]);
    }
    for (i = both; i < count_a; i++) {
        add_column(sums_a, columns_a + (size_t)i * STRIP_LINES, weights_a[i]);
    }
    for (i = both; i < count_b; i++) {
        add_column(sums_b, columns_b + (size_t)i * STRIP_LINES, weights_b[i]);
    }
    sums[0] = sums_a[0];
    sums[1] = sums_a[1];
    sums[2] = sums_b[0];
    sums[3] = sums_b[1];
}

/* Four columns of `count` outputs to their lines, from output i on. */
LANES_INLINE void
store_columns(const struct strip *strip, vec r[4], int i, int count, int kind) {
    const size_t offset = (size_t)i * pixel_bytes(kind);
    uint8_t lines[4][VEC_BYTES];
    int j, part;

    v_transpose32(r);
    if (kind != WORDS && count == 4) {
        for (j = 0; j < 4; j++) {
            uint8_t *to[VEC_PARTS];
            for (part = 0; part < VEC_PARTS; part++) {
                to[part] = strip->to[part * 4 + j];
            }
            v_store_parts(to, 1, offset, r[j]);
        }
        return;
    }
    for (j = 0; j < 4; j++) {
        v_store(lines[j], kind == WORDS ? to_words(r[j], r[j]) : r[j]);
    }
    for (j = 0; j < 4; j++) {
        for (part = 0; part < VEC_PARTS; part++) {
            const uint8_t *four = lines[j] + part * 4 * pixel_bytes(kind);
            uint8_t *to = strip->to[part * 4 + j] + offset;
            if (count == 4) {
                memcpy(to, four, 4 * pixel_bytes(kind));
            } else {
                memcpy(to, four, (size_t)count * pixel_bytes(kind));
            }
        }
    }
}

LANES_INLINE void
horizontal_strip(struct strip *strip, const struct taps *taps, int stretch, int kind) {
    const struct window *windows = taps->windows;
    const int out = taps->axis.out;
    int begin, end, i;

    for (begin = 0; begin < out; begin = end) {
        strip->first = windows[begin].start;
        for (end = begin + 1; end < out; end++) {
            if (windows[end].start + windows[end].count - strip->first > stretch) {
                break;
            }
        }
        make_columns(strip, windows[end - 1].start + windows[end - 1].count, kind);
        for (i = begin; i < end; i += 4) {
            const int last = end - 1;
            vecd sums[8];
            vec r[4];
            int j;
            sum_two_outputs(sums, strip, taps, i, least(i + 1, last));
            sum_two_outputs(sums + 4, strip, taps, least(i + 2, last), least(i + 3, last));
            for (j = 0; j < 4; j++) {
                r[j] = finish(sums + 2 * j, kind);
            }
            store_columns(strip, r, i, least(4, end - i), kind);
        }
    }
}

/* ------------------------------------------------------------------ vertical */

LANES_INLINE vecd
load_pixels(const uint8_t *p, int kind) {
    return kind == WORDS ? d_load_words(p) : kind == INTS ? d_load_ints(p) : d_load_floats(p);
}

/*
 * BLOCK pixels from byte `offset` of the lines on, of which only `valid` bytes may be read
 * and written.
 */
LANES_INLINE void
vertical_block(
    uint8_t *out, const uint8_t *const *lines, const double *weights, int count, size_t offset,
    size_t valid, int kind
) {
    const size_t step = (size_t)VEC_DOUBLES * pixel_bytes(kind), size = 4 * step;
    uint8_t last[4 * VEC_DOUBLES * 4];
    vecd sums[4] = {d_zero(), d_zero(), d_zero(), d_zero()};
    vec low, high;
    int y, i;

    for (y = 0; y < count; y++) {
        const uint8_t *p = lines[y] + offset;
        const vecd k = d_set(weights[y]);
        if (valid < size) {
            memset(last, 0, size);
            memcpy(last, p, valid);
            p = last;
        }
        for (i = 0; i < 4; i++) {
            add_product(&sums[i], load_pixels(p + i * step, kind), k);
        }
    }
    low = finish(sums, kind);
    high = finish(sums + 2, kind);
    if (valid < size) {
        if (kind == WORDS) {
            v_store(last, to_words(low, high));
        } else {
            v_store(last, low);
            v_store(last + VEC_BYTES, high);
        }
        memcpy(out + offset, last, valid);
    } else if (kind == WORDS) {
        v_store(out + offset, to_words(low, high));
    } else {
        v_store(out + offset, low);
        v_store(out + offset + VEC_BYTES, high);
    }
}

LANES_INLINE void
vertical_line(
    uint8_t *out, const uint8_t *const *lines, const double *weights, int count, int width, int kind
) {
    const size_t size = (size_t)BLOCK * pixel_bytes(kind);
    const size_t end = (size_t)width * pixel_bytes(kind);
    size_t x;

    for (x = 0; x < end; x += size) {
        size_t valid = end - x < size ? end - x : size;
        vertical_block(out, lines, weights, count, x, valid, kind);
    }
}

/* ------------------------------------------------------------------ images */

struct job {
    Imaging in;
    Imaging out;
    const struct taps *across; /* NULL: no horizontal pass */
    const struct taps *down;   /* NULL: no vertical pass */
    double *columns;
    int stretch;
    uint8_t *ring; /* of lines, the newest of which are kept */
    size_t ring_stride;
    int ring_lines;
    const uint8_t **lines; /* that one output is made of */
};

LANES_INLINE uint8_t *
ring_line(const struct job *job, int line) {
    return job->ring + (size_t)(line % job->ring_lines) * job->ring_stride;
}

/*
 * A strip's lines from `first` on, into the ring, or into the result if there is no vertical
 * pass. What is below the image comes from its last line and ends in the ring.
 */
LANES_INLINE void
across(const struct job *job, int first, int kind) {
    struct strip strip = {.width = job->in->xsize, .columns = job->columns};
    int i;

    for (i = 0; i < STRIP_LINES; i++) {
        int y = first + i;
        strip.from[i] = (const uint8_t *)job->in->image[least(y, job->in->ysize - 1)];
        strip.to[i] = !job->down && y < job->out->ysize ? (uint8_t *)job->out->image[y]
                                                         : ring_line(job, y);
    }
    horizontal_strip(&strip, job->across, job->stretch, kind);
}

/* Line y of the result. */
LANES_INLINE void
down(const struct job *job, int y, int kind) {
    const struct taps *taps = job->down;
    const struct window *window = &taps->windows[y];
    int i;

    for (i = 0; i < window->count; i++) {
        int line = window->start + i;
        job->lines[i] =
            job->across ? ring_line(job, line) : (const uint8_t *)job->in->image[line];
    }
    vertical_line(
        (uint8_t *)job->out->image[y], job->lines, taps->weights + (size_t)y * taps->groups,
        window->count, job->out->xsize, kind
    );
}

LANES_INLINE void
run_for(const struct job *job, int kind) {
    int y, done = 0;

    if (!job->down) {
        for (y = 0; y < job->out->ysize; y += STRIP_LINES) {
            across(job, y, kind);
        }
        return;
    }
    for (y = 0; y < job->out->ysize; y++) {
        const struct window *window = &job->down->windows[y];
        if (job->across) {
            if (done < window->start) {
                done = window->start;
            }
            for (; done < window->start + window->count; done += STRIP_LINES) {
                across(job, done, kind);
            }
        }
        down(job, y, kind);
    }
}

static void
run(const struct job *job) {
    switch (job->in->type) {
        case IMAGING_TYPE_INT32:
            run_for(job, INTS);
            break;
        case IMAGING_TYPE_FLOAT32:
            run_for(job, FLOATS);
            break;
        default:
            run_for(job, WORDS);
            break;
    }
}

/* ------------------------------------------------------------------ memory */

static void *
allocate(size_t size) {
    void *p;

    return posix_memalign(&p, 64, size) ? NULL : p;
}

static void
job_free(struct job *job) {
    free(job->columns);
    free(job->ring);
    free(job->lines);
}

/* 0 if there is no memory. */
static int
job_allocate(struct job *job) {
    if (job->down) {
        job->lines = malloc((size_t)job->down->groups * sizeof(*job->lines));
        if (!job->lines) {
            return 0;
        }
    }
    if (job->across) {
        job->stretch = job->across->groups > STRETCH ? job->across->groups : STRETCH;
        job->columns = allocate(((size_t)job->stretch + 4) * STRIP_LINES * sizeof(double));
        job->ring_lines = (job->down ? job->down->groups : 0) + STRIP_LINES;
        job->ring_stride = ((size_t)job->out->xsize * 4 + 63) / 64 * 64;
        job->ring = allocate(job->ring_stride * job->ring_lines);
        return job->columns && job->ring;
    }
    return 1;
}

/* ------------------------------------------------------------------ entry */

int
SIMD_NAME(resample_doubles)(
    Imaging out, Imaging in, const struct taps *across, const struct taps *down
) {
    struct job job = {.in = in, .out = out, .across = across, .down = down};
    ImagingSectionCookie cookie;

    if (across && across->groups > WINDOW_MAX) {
        return 0;
    }
    if (!job_allocate(&job)) {
        job_free(&job);
        return 0;
    }
    IMAGE_LOCK(in);
    ImagingSectionEnter(&cookie);
    run(&job);
    IMAGE_UNLOCK(in);
    ImagingSectionLeave(&cookie);
    job_free(&job);
    return 1;
}
