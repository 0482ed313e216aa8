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
 * are differences of two pixels, small enough for 16-bit multiplications.
 *
 * Layout. Pixels are widened to 16 bits, and a lane of a vector is a line of its own:
 * along x, a few rows of the image, transposed; along y, a stripe of columns. All
 * passes of one direction advance together, a chunk of positions at a time, and hand
 * their pixels on through rings that hold no more than the reach of the radius. So
 * what is at work stays in the first or second level of the cache, and the image is
 * read once and written once for each direction.
 */
#include "box_blur.h"

#include "lanes.h"

/* Positions that a pass advances at a time: a square of 1-byte pixels, see below. */
#define CHUNK 16

/* Passes that advance together. */
#define PASSES_MAX 4

/* Bytes of a row that make a stripe: a few cache lines. */
#define STRIPE 512
#define STRIPE_COLUMNS (STRIPE / VEC_BYTES)

/* What the rings of a stripe may take of the second-level cache. */
#define CACHE (512 << 10)

/* More memory than this is not taken: stock serves such radii and sizes. */
#define MEMORY_MAX ((size_t)64 << 20)

/* VEC_BYTES lines at one position: two vectors of 16-bit lanes. */
struct lines {
    vec low, high;
};

LANES_INLINE struct lines
widen(vec bytes) {
    struct lines lines = {v_low8(bytes, v_zero()), v_high8(bytes, v_zero())};
    return lines;
}

LANES_INLINE vec
narrow(struct lines lines) {
    return v_pack16(lines.low, lines.high);
}

/* Where in a ring the pixels lie that one position needs, and where its result goes. */
struct step {
    uint32_t left, right, out;
};

/* All passes of one direction over one group of lines. */
struct pipeline {
    struct box_weights weights;
    int passes;
    int length;        /* positions of a line */
    int ring_size;     /* positions that a ring holds */
    int columns;       /* rings that lie side by side ... */
    int used;          /* ... and how many of them the present group needs */
    struct step *steps;  /* for the positions -1 to length - 1 */
    struct lines *rings; /* passes + 1 of them: the image's pixels, each pass's output */
    int done[PASSES_MAX + 1]; /* positions that are in each ring, or were */
    vec bulk[PASSES_MAX][STRIPE_COLUMNS][4]; /* 32-bit lanes, rounding included */
};

/* ------------------------------------------------------------------ the pass */

/* The weights of a pair (outer, inner) of differences, for v_madd16(): fw, ww - fw. */
struct weight_pairs {
    vec high, low;
};

LANES_INLINE vec
weight_pair(int32_t outer, int32_t inner) {
    return v_set32((uint16_t)outer | (uint32_t)inner << 16);
}

/*
 * Each weight is split, high * 4096 + low, so that both halves fit a signed 16-bit
 * lane: box_blur_fits() holds fw to 2**23, and ww is at most 2**24.
 */
LANES_INLINE struct weight_pairs
split_weights(struct box_weights w) {
    int32_t outer = (int32_t)w.fw, inner = (int32_t)(w.ww - w.fw);
    struct weight_pairs pairs = {
        weight_pair(outer >> 12, inner >> 12), weight_pair(outer & 4095, inner & 4095)
    };
    return pairs;
}

LANES_INLINE vec
advance(vec *bulk, vec differences, struct weight_pairs weights) {
    vec high = v_shl32(v_madd16(differences, weights.high), 12);
    *bulk = v_madd16_add(v_add32(*bulk, high), differences, weights.low);
    return v_shr32(*bulk, 24);
}

/* The next output of half of the lines. */
LANES_INLINE vec
advance_half(
    vec *bulk, vec last_left, vec left, vec last_right, vec right,
    struct weight_pairs weights
) {
    vec outer = v_sub16(right, last_left);
    vec inner = v_sub16(last_right, left);
    vec a = advance(&bulk[0], v_low16(outer, inner), weights);
    vec b = advance(&bulk[1], v_high16(outer, inner), weights);
    return v_pack32(a, b);
}

/* One column of lines, from position `from` to `to`. */
static void
blur_column(
    struct lines *out, const struct lines *in, const struct pipeline *p, int from, int to,
    vec bulk[4]
) {
    const struct step *steps = p->steps;
    const struct weight_pairs weights = split_weights(p->weights);
    struct lines last_left = in[steps[from - 1].left];
    struct lines last_right = in[steps[from - 1].right];
    vec b[4] = {bulk[0], bulk[1], bulk[2], bulk[3]};
    int x, k;

    for (x = from; x < to; x++) {
        struct lines left = in[steps[x].left], right = in[steps[x].right];
        struct lines blurred;

        blurred.low = advance_half(
            &b[0], last_left.low, left.low, last_right.low, right.low, weights
        );
        blurred.high = advance_half(
            &b[2], last_left.high, left.high, last_right.high, right.high, weights
        );
        out[steps[x].out] = blurred;
        last_left = left;
        last_right = right;
    }
    for (k = 0; k < 4; k++) {
        bulk[k] = b[k];
    }
}

LANES_INLINE void
widen_more(vec out[4], struct lines lines) {
    out[0] = v_low16(lines.low, v_zero());
    out[1] = v_high16(lines.low, v_zero());
    out[2] = v_low16(lines.high, v_zero());
    out[3] = v_high16(lines.high, v_zero());
}

/* bulk(-1) of one column. `in` has the first positions, up to the radius. */
static void
start_column(vec bulk[4], const struct lines *in, const struct pipeline *p) {
    int r = p->weights.radius;
    /* Positions -1-r to -1 are the first pixel, the next `inside` those of the line,
       and where the line ends before the radius does, the rest is the last pixel. */
    int inside = r < p->length - 1 ? r : p->length - 1, x, k;
    vec first[4], rim[4], pixel[4];

    widen_more(first, in[0]);
    widen_more(rim, in[inside]);
    for (k = 0; k < 4; k++) {
        bulk[k] = v_add32(
            v_mullo32(first[k], v_set32(r + 1)), v_mullo32(rim[k], v_set32(r - inside))
        );
    }
    for (x = 0; x < inside; x++) {
        widen_more(pixel, in[x]);
        for (k = 0; k < 4; k++) {
            bulk[k] = v_add32(bulk[k], pixel[k]);
        }
    }
    for (k = 0; k < 4; k++) {
        vec inner = v_mullo32(bulk[k], v_set32(p->weights.ww));
        vec outer = v_mullo32(v_add32(first[k], rim[k]), v_set32(p->weights.fw));
        bulk[k] = v_add32(v_add32(inner, outer), v_set32(1 << 23));
    }
}

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
plan_steps(struct pipeline *p) {
    int x;

    for (x = -1; x < p->length; x++) {
        int left = clamp((int64_t)x - p->weights.radius - 1, p->length);
        int right = clamp((int64_t)x + p->weights.radius + 1, p->length);
        p->steps[x].left = left % p->ring_size;
        p->steps[x].right = right % p->ring_size;
        p->steps[x].out = (x < 0 ? 0 : x) % p->ring_size;
    }
}

static struct lines *
ring(const struct pipeline *p, int number, int column) {
    return p->rings + ((ptrdiff_t)number * p->columns + column) * p->ring_size;
}

/* A chunk never wraps round: it starts at a multiple of CHUNK, and so does the ring. */
static struct lines *
ring_at(const struct pipeline *p, int number, int position) {
    return ring(p, number, 0) + position % p->ring_size;
}

static void
start_group(struct pipeline *p, int used) {
    memset(p->done, 0, sizeof(p->done));
    p->used = used;
}

/* The end of the chunk that starts at `from`. */
static int
chunk_end(const struct pipeline *p, int from) {
    return p->length - from > CHUNK ? from + CHUNK : p->length;
}

/* Each pass does its next chunk, if the pass before it has come far enough. */
static void
advance_passes(struct pipeline *p) {
    int pass, column;

    for (pass = 0; pass < p->passes; pass++) {
        int ready = p->done[pass], from = p->done[pass + 1], to = chunk_end(p, from);

        if (from == p->length || (ready < p->length && ready - to <= p->weights.radius)) {
            continue;
        }
        for (column = 0; column < p->used; column++) {
            const struct lines *in = ring(p, pass, column);
            vec *bulk = p->bulk[pass][column];
            if (from == 0) {
                start_column(bulk, in, p);
            }
            blur_column(ring(p, pass + 1, column), in, p, from, to, bulk);
        }
        p->done[pass + 1] = to;
    }
}

/* ------------------------------------------------------------------ along x */

/*
 * A group of lines is as many rows as pixels fit into a vector. They are read and
 * written in squares: 16 bytes, so 4 or 16 pixels, of as many rows, in each 128-bit
 * part of the vectors.
 */

/* 16 bytes of each of the rows 0, step, 2 * step ... become one vector. */
LANES_INLINE vec
load_parts(char *const *rows, int step, ptrdiff_t at) {
#define PART(i) _mm_loadu_si128((const __m128i *)(rows[(i) * step] + at))
#if SIMD_LEVEL == SIMD_LEVEL_AVX512
    __m512i a = _mm512_castsi128_si512(PART(0));
    a = _mm512_inserti32x4(a, PART(1), 1);
    a = _mm512_inserti32x4(a, PART(2), 2);
    return _mm512_inserti32x4(a, PART(3), 3);
#elif SIMD_LEVEL == SIMD_LEVEL_AVX2
    return _mm256_inserti128_si256(_mm256_castsi128_si256(PART(0)), PART(1), 1);
#else
    (void)step;
    return PART(0);
#endif
#undef PART
}

LANES_INLINE void
store_parts(char *const *rows, int step, ptrdiff_t at, vec a) {
#define PART(i) ((__m128i *)(rows[(i) * step] + at))
#if SIMD_LEVEL == SIMD_LEVEL_AVX512
    _mm_storeu_si128(PART(0), _mm512_castsi512_si128(a));
    _mm_storeu_si128(PART(1), _mm512_extracti32x4_epi32(a, 1));
    _mm_storeu_si128(PART(2), _mm512_extracti32x4_epi32(a, 2));
    _mm_storeu_si128(PART(3), _mm512_extracti32x4_epi32(a, 3));
#elif SIMD_LEVEL == SIMD_LEVEL_AVX2
    _mm_storeu_si128(PART(0), _mm256_castsi256_si128(a));
    _mm_storeu_si128(PART(1), _mm256_extracti128_si256(a, 1));
#else
    (void)step;
    _mm_storeu_si128(PART(0), a);
#endif
#undef PART
}

/*
 * Transpose a square of pixels in each 128-bit part: 4x4 of 4 bytes, 16x16 of 1 byte.
 * Interleaving the first half of the vectors with the second one moves one bit of each
 * pixel's row number into its column number, so log2(side) rounds exchange them.
 */
LANES_INLINE void
transpose(vec *square, int pixelsize) {
    const int side = 16 / pixelsize;
    vec turned[16];
    int round, i;

    for (round = 1; round < side; round *= 2) {
        for (i = 0; i < side / 2; i++) {
            vec a = square[i], b = square[i + side / 2];
            turned[2 * i] = pixelsize == 4 ? v_low32(a, b) : v_low8(a, b);
            turned[2 * i + 1] = pixelsize == 4 ? v_high32(a, b) : v_high8(a, b);
        }
        for (i = 0; i < side; i++) {
            square[i] = turned[i];
        }
    }
}

LANES_INLINE void
load_square(struct lines *lines, char *const *rows, ptrdiff_t at, int pixelsize) {
    const int side = 16 / pixelsize;
    vec square[16];
    int i;

    for (i = 0; i < side; i++) {
        square[i] = load_parts(rows + i, side, at);
    }
    transpose(square, pixelsize);
    for (i = 0; i < side; i++) {
        lines[i] = widen(square[i]);
    }
}

LANES_INLINE void
store_square(char *const *rows, ptrdiff_t at, const struct lines *lines, int pixelsize) {
    const int side = 16 / pixelsize;
    vec square[16];
    int i;

    for (i = 0; i < side; i++) {
        square[i] = narrow(lines[i]);
    }
    transpose(square, pixelsize);
    for (i = 0; i < side; i++) {
        store_parts(rows + i, side, at, square[i]);
    }
}

/* Where the rows end inside a square, a buffer of the full size stands in for them. */
struct margin {
    char bytes[VEC_BYTES][16];
    char *rows[VEC_BYTES];
};

LANES_INLINE void
load_rows(struct lines *lines, char *const *rows, ptrdiff_t at, ptrdiff_t end, int pixelsize) {
    struct margin margin;
    int i;

    for (; at + 16 <= end; at += 16, lines += 16 / pixelsize) {
        load_square(lines, rows, at, pixelsize);
    }
    if (at < end) {
        for (i = 0; i < VEC_BYTES / pixelsize; i++) {
            margin.rows[i] = memset(margin.bytes[i], 0, 16);
            memcpy(margin.bytes[i], rows[i] + at, end - at);
        }
        load_square(lines, margin.rows, 0, pixelsize);
    }
}

LANES_INLINE void
store_rows(
    char *const *rows, ptrdiff_t at, ptrdiff_t end, const struct lines *lines, int pixelsize
) {
    struct margin margin;
    int i;

    for (; at + 16 <= end; at += 16, lines += 16 / pixelsize) {
        store_square(rows, at, lines, pixelsize);
    }
    if (at < end) {
        for (i = 0; i < VEC_BYTES / pixelsize; i++) {
            margin.rows[i] = margin.bytes[i];
        }
        store_square(margin.rows, 0, lines, pixelsize);
        for (i = 0; i < VEC_BYTES / pixelsize; i++) {
            memcpy(rows[i] + at, margin.bytes[i], end - at);
        }
    }
}

LANES_INLINE void
blur_rows(Imaging imOut, Imaging imIn, struct pipeline *p, int pixelsize) {
    const int together = VEC_BYTES / pixelsize;
    char *in[VEC_BYTES], *out[VEC_BYTES];
    int y, i, from, to;

    for (y = 0; y < imIn->ysize; y += together) {
        /* Where rows are missing in the last group, the last row stands in: what is
           written to it several times is the same each time. */
        for (i = 0; i < together; i++) {
            int row = clamp((int64_t)y + i, imIn->ysize);
            in[i] = imIn->image[row];
            out[i] = imOut->image[row];
        }
        start_group(p, 1);
        for (from = 0; from < p->length; from = p->done[p->passes]) {
            int read = p->done[0];
            if (read < p->length) {
                to = chunk_end(p, read);
                load_rows(
                    ring_at(p, 0, read), in, (ptrdiff_t)read * pixelsize,
                    (ptrdiff_t)to * pixelsize, pixelsize
                );
                p->done[0] = to;
            }
            advance_passes(p);
            to = p->done[p->passes];
            store_rows(
                out, (ptrdiff_t)from * pixelsize, (ptrdiff_t)to * pixelsize,
                ring_at(p, p->passes, from), pixelsize
            );
        }
    }
}

/* ------------------------------------------------------------------ along y */

/*
 * A group of lines is a stripe of the image: whole vectors and perhaps part of one.
 * `lines` is where the chunk lies in the first column's ring; the next column's is
 * `pitch` further on.
 */
static void
load_stripe(struct lines *lines, ptrdiff_t pitch, char *const *rows, int count, int at, int bytes) {
    int y, i;

    for (y = 0; y < count; y++) {
        struct lines *to = lines + y;
        for (i = 0; i + VEC_BYTES <= bytes; i += VEC_BYTES, to += pitch) {
            *to = widen(v_load(rows[y] + at + i));
        }
        if (i < bytes) {
            char margin[VEC_BYTES] = {0};
            memcpy(margin, rows[y] + at + i, bytes - i);
            *to = widen(v_load(margin));
        }
    }
}

static void
store_stripe(
    char *const *rows, int count, int at, int bytes, const struct lines *lines, ptrdiff_t pitch
) {
    int y, i;

    for (y = 0; y < count; y++) {
        const struct lines *from = lines + y;
        for (i = 0; i + VEC_BYTES <= bytes; i += VEC_BYTES, from += pitch) {
            v_store(rows[y] + at + i, narrow(*from));
        }
        if (i < bytes) {
            char margin[VEC_BYTES];
            v_store(margin, narrow(*from));
            memcpy(rows[y] + at + i, margin, bytes - i);
        }
    }
}

/* Rows are pages apart: no CPU foresees that the next ones are wanted. */
static void
prefetch_stripe(char *const *rows, int count, int at, int bytes) {
    int y, i;

    for (y = 0; y < count; y++) {
        for (i = 0; i < bytes; i += 64) {
            _mm_prefetch(rows[y] + at + i, _MM_HINT_T0);
        }
    }
}

static void
blur_columns(Imaging imOut, Imaging imIn, struct pipeline *p) {
    const int stripe = p->columns * VEC_BYTES;
    int at, from, to;

    for (at = 0; at < imIn->linesize; at += stripe) {
        int bytes = imIn->linesize - at < stripe ? imIn->linesize - at : stripe;

        start_group(p, (bytes + VEC_BYTES - 1) / VEC_BYTES);
        for (from = 0; from < p->length; from = p->done[p->passes]) {
            int read = p->done[0];
            if (read < p->length) {
                to = chunk_end(p, read);
                prefetch_stripe(imIn->image + to, chunk_end(p, to) - to, at, bytes);
                load_stripe(
                    ring_at(p, 0, read), p->ring_size, imIn->image + read, to - read, at, bytes
                );
                p->done[0] = to;
            }
            advance_passes(p);
            to = p->done[p->passes];
            store_stripe(
                imOut->image + from, to - from, at, bytes, ring_at(p, p->passes, from),
                p->ring_size
            );
        }
    }
}

/* ------------------------------------------------------------------ the image */

/* Sets the sizes of a direction; returns the bytes that rings and steps take. */
static size_t
plan(struct pipeline *p, int length, int vertical, float radius, int passes) {
    size_t column;

    p->weights = box_weights(radius);
    p->passes = passes;
    p->length = length;
    p->ring_size = ring_size(p->weights.radius, length);
    column = (size_t)(passes + 1) * p->ring_size * sizeof(struct lines);
    p->columns = 1;
    while (vertical && p->columns < STRIPE_COLUMNS && 2 * p->columns * column <= CACHE) {
        p->columns *= 2;
    }
    return p->columns * column + (size_t)(length + 1) * sizeof(struct step);
}

static void
set_up(struct pipeline *p, void *memory) {
    p->rings = memory;
    p->steps = (struct step *)ring(p, p->passes + 1, 0) + 1;
    plan_steps(p);
}

Imaging
SIMD_NAME(box_blur)(Imaging imOut, Imaging imIn, float xradius, float yradius, int n) {
    ImagingSectionCookie cookie;
    struct pipeline along_x, along_y;
    Imaging source = imIn;
    int together = n < PASSES_MAX ? n : PASSES_MAX, left;
    size_t size_x = plan(&along_x, imIn->xsize, 0, xradius, together);
    size_t size_y = plan(&along_y, imIn->ysize, 1, yradius, together);
    size_t size = size_x > size_y ? size_x : size_y;
    void *memory = NULL;

    if (size <= MEMORY_MAX) {
        memory = aligned_alloc(64, (size + 63) / 64 * 64);
    }
    if (!memory) {
        return SIMD_DECLINED;
    }

    ImagingSectionEnter(&cookie);
    IMAGE_LOCK(imIn);
    set_up(&along_x, memory);
    for (left = n; xradius != 0 && left > 0; left -= together) {
        along_x.passes = left < together ? left : together;
        if (source->pixelsize == 1) {
            blur_rows(imOut, source, &along_x, 1);
        } else {
            blur_rows(imOut, source, &along_x, 4);
        }
        source = imOut;
    }
    set_up(&along_y, memory);
    for (left = n; yradius != 0 && left > 0; left -= together) {
        along_y.passes = left < together ? left : together;
        blur_columns(imOut, source, &along_y);
        source = imOut;
    }
    IMAGE_UNLOCK(imIn);
    ImagingSectionLeave(&cookie);

    free(memory);
    return imOut;
}
