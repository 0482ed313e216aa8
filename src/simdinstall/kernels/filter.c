/*
 * Filters with a 3x3 or 5x5 kernel of floats, the bytes of stock's ImagingFilter.
 *
 * Stock's order of operations is kept, and nothing is fused, so that every rounding is
 * the same. With s the samples of one band, k the kernel as given and r its reach,
 *
 *     row(y, i) = s[y][x-r] * k[i][0] + s[y][x-r+1] * k[i][1] + ...    left to right
 *     out[y]    = offset + 0.5 + row(y+r, 0) + row(y+r-1, 1) + ...     downmost row first
 *
 * cut to the range of a sample and truncated. Pixels nearer to the edge than r are
 * copied.
 *
 * row(y, i) is used by one output row only, but kernels repeat their rows: smoothing
 * kernels have two or three that differ. So row() is computed once for every row of the
 * image and every row of the kernel that differs from the others, and kept until the
 * last output row that wants it.
 *
 * All that is done in stripes of the image that are narrow enough for the cache. The
 * bands of a pixel are packed together first, without the bytes that the
 * mode leaves unused; stock writes zeros there.
 *
 * Where whole numbers do as well, filter_whole.c does it all but the edges.
 */
#include "filter.h"

#include "filter_whole.h"
#include "lanes.h"

/*
 * What the buffers of a stripe may take of the second-level cache. Stripes that fit the
 * first level would be so narrow that reading them costs more than it saves.
 */
#define CACHE (224 << 10)

/* A stripe's width is a multiple of this, in pixels: whole vectors, whole cache lines. */
#define GRAIN 64

/* ------------------------------------------------------------------ pixels */

enum samples { BYTES, WORDS, WORDS_BIG_ENDIAN, INTS };

/* How the pixels of an image are made of samples. */
struct pixels {
    enum samples samples;
    int bands;  /* samples of a pixel */
    int stored; /* bytes of a pixel in the image ... */
    int packed; /* ... and without the unused ones */
};

static struct pixels
pixels_of(Imaging im) {
    struct pixels p = {BYTES, im->bands, im->pixelsize, im->bands};

    if (im->type == IMAGING_TYPE_INT32) {
        p.samples = INTS;
        p.packed = 4;
    } else if (im->type == IMAGING_TYPE_I16) {
        p.samples = im->mode == IMAGING_MODE_I_16B ? WORDS_BIG_ENDIAN : WORDS;
        p.packed = 2;
    }
    return p;
}

/* Byte order for _mm_shuffle_epi8; -1 gives a zero. LA has its bands in bytes 0 and 3. */
static const int8_t PACK_2[16] = {0, 3, 4, 7, 8, 11, 12, 15, -1, -1, -1, -1, -1, -1, -1, -1};
static const int8_t PACK_3[16] = {0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1};
static const int8_t UNPACK_2[16] = {0, -1, -1, 1, 2, -1, -1, 3, 4, -1, -1, 5, 6, -1, -1, 7};
static const int8_t UNPACK_3[16] = {0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1};

static __m128i
shuffle16(const void *from, const int8_t order[16]) {
    return _mm_shuffle_epi8(
        _mm_loadu_si128((const __m128i *)from), _mm_loadu_si128((const __m128i *)order)
    );
}

/* Without unused bytes. `to` has room for 16 bytes more than that. */
static void
pack_pixels(char *to, const char *from, int count, const struct pixels *p) {
    const int8_t *order = p->bands == 2 ? PACK_2 : PACK_3;
    int i;

    if (p->packed == p->stored) {
        memcpy(to, from, (size_t)count * p->stored);
        return;
    }
    for (i = 0; i + 4 <= count; i += 4) {
        _mm_storeu_si128((__m128i *)(to + i * p->packed), shuffle16(from + i * 4, order));
    }
    if (i < count) {
        char last[16] = {0};
        memcpy(last, from + i * 4, (count - i) * 4);
        _mm_storeu_si128((__m128i *)(to + i * p->packed), shuffle16(last, order));
    }
}

/* With zeros for unused bytes. `from` may be read 16 bytes further. */
static void
unpack_pixels(char *to, const char *from, int count, const struct pixels *p) {
    const int8_t *order = p->bands == 2 ? UNPACK_2 : UNPACK_3;
    int i;

    if (p->packed == p->stored) {
        memcpy(to, from, (size_t)count * p->stored);
        return;
    }
    for (i = 0; i + 4 <= count; i += 4) {
        _mm_storeu_si128((__m128i *)(to + i * 4), shuffle16(from + i * p->packed, order));
    }
    if (i < count) {
        char last[16];
        _mm_storeu_si128((__m128i *)last, shuffle16(from + i * p->packed, order));
        memcpy(to + i * 4, last, (count - i) * 4);
    }
}

/* ------------------------------------------------------------------ samples */

static const int8_t SWAP_WORDS[16] = {1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14};

LANES_INLINE vec
load_samples(const char *p, int i, enum samples samples) {
    switch (samples) {
        case BYTES:
            return v_load_bytes(p + i);
        case WORDS:
            return v_load_words(p + i * 2);
        case WORDS_BIG_ENDIAN: {
            /* a word in the low half of each 32-bit lane, so swapped it is in order */
            const vec low_byte = v_set32(255);
            vec a = v_load_words(p + i * 2);
            return v_or(v_shl32(v_and(a, low_byte), 8), v_shr32(a, 8));
        }
        default:
            return v_load(p + i * 4);
    }
}

LANES_INLINE void
samples_to_floats_of(float *to, const char *from, int count, enum samples samples) {
    int i;

    for (i = 0; i < count; i += VEC_PIXELS) {
        f_store(to + i, f_from_int(load_samples(from, i, samples)));
    }
}

/* Both may be read and written to the next multiple of a vector. */
static void
samples_to_floats(float *to, const char *from, int count, enum samples samples) {
    switch (samples) {
        case BYTES:
            samples_to_floats_of(to, from, count, BYTES);
            break;
        case WORDS:
            samples_to_floats_of(to, from, count, WORDS);
            break;
        case WORDS_BIG_ENDIAN:
            samples_to_floats_of(to, from, count, WORDS_BIG_ENDIAN);
            break;
        case INTS:
            samples_to_floats_of(to, from, count, INTS);
            break;
    }
}

/*
 * Cut to the range of a sample, 0 to `largest`, and truncate. What is no number becomes
 * in stock what the CPU makes of it: INT32_MIN, whose low byte or word is 0.
 */
LANES_INLINE vec
truncate_ints(vecf sum) {
    vecf positive = f_max(f_set(0), sum);
    /* 2**31 and above become INT32_MIN too, and are to be INT32_MAX */
    return v_xor(f_truncate(positive), f_at_least(positive, f_set(2147483648.0f)));
}

/* Negative numbers are cut to 0 when the result is packed. */
LANES_INLINE vec
truncate_smaller(vecf sum, float largest) {
    return f_truncate(f_min(f_set(largest), sum));
}

/* VEC_BYTES sums become as many samples. */
LANES_INLINE void
store_samples(char *to, const vecf sums[4], enum samples samples) {
    const float largest = samples == BYTES ? 255 : 65535;
    vec a[4];
    int i;

    for (i = 0; i < 4; i++) {
        a[i] = samples == INTS ? truncate_ints(sums[i]) : truncate_smaller(sums[i], largest);
    }
    if (samples == INTS) {
        for (i = 0; i < 4; i++) {
            v_store(to + i * VEC_BYTES, a[i]);
        }
    } else if (samples == BYTES) {
        v_store(to, v_narrow_to_bytes(a[0], a[1], a[2], a[3]));
    } else {
        for (i = 0; i < 2; i++) {
            vec words = v_narrow_to_words(a[2 * i], a[2 * i + 1]);
            if (samples == WORDS_BIG_ENDIAN) {
                words = v_shuffle8(words, v_repeat128(SWAP_WORDS));
            }
            v_store(to + i * VEC_BYTES, words);
        }
    }
}

/* ------------------------------------------------------------------ the kernel */

#define SIZE_MAX_ 5

struct kernel {
    int size;                     /* 3 or 5 */
    int different;                /* rows that differ */
    const float *rows[SIZE_MAX_]; /* these */
    int row[SIZE_MAX_];           /* which of them each row of the kernel is */
    float offset;                 /* 0.5 for rounding included */
};

static struct kernel
sort_rows(const float *values, int size, float offset) {
    struct kernel k = {.size = size, .offset = offset};
    int i, j;

    k.offset += 0.5; /* in double, as stock */
    for (i = 0; i < size; i++) {
        const float *row = values + i * size;
        for (j = 0; j < k.different; j++) {
            if (!memcmp(k.rows[j], row, size * sizeof(float))) {
                break;
            }
        }
        k.rows[j] = row;
        k.row[i] = j;
        k.different += j == k.different;
    }
    return k;
}

/* ------------------------------------------------------------------ stripes */

/* Buffers of a stripe; all but the last are `width` samples wide, and no less. */
struct stripe {
    int width;
    char *packed;   /* one row of the image, or of the result */
    float *samples; /* the same as floats, with the pixels next to the stripe */
    float *sums;    /* row(y, i) of the last rows: [y % size][i][width] */
};

LANES_INLINE void
sum_row_of(
    const struct stripe *s, float *sums, int count, int bands, const struct kernel *k,
    const int size, const int different
) {
    vecf factors[SIZE_MAX_][SIZE_MAX_];
    int x, i, j;

    for (i = 0; i < different; i++) {
        for (j = 0; j < size; j++) {
            factors[i][j] = f_set(k->rows[i][j]);
        }
    }
    for (x = 0; x < count; x += VEC_PIXELS) {
        vecf near[SIZE_MAX_];
        for (j = 0; j < size; j++) {
            near[j] = f_load(s->samples + x + j * bands);
        }
        for (i = 0; i < different; i++) {
            vecf sum = f_mul(near[0], factors[i][0]);
            for (j = 1; j < size; j++) {
                sum = f_add(sum, f_mul(near[j], factors[i][j]));
            }
            f_store(sums + i * s->width + x, sum);
        }
    }
}

/* The sums of one row of the image with every different row of the kernel. */
static void
sum_row(const struct stripe *s, float *sums, int count, int bands, const struct kernel *k) {
#define CASE(size, different)                                     \
    case size * 8 + different:                                    \
        sum_row_of(s, sums, count, bands, k, size, different);    \
        break;

    switch (k->size * 8 + k->different) {
        CASE(3, 1)
        CASE(3, 2)
        CASE(3, 3)
        CASE(5, 1)
        CASE(5, 2)
        CASE(5, 3)
        CASE(5, 4)
        CASE(5, 5)
    }
#undef CASE
}

LANES_INLINE void
add_rows_of(
    const struct stripe *s, const float *const *sums, int count, float offset,
    const int size, const enum samples samples
) {
    const int bytes = samples == BYTES ? 1 : samples == INTS ? 4 : 2;
    int x, i, j;

    for (x = 0; x < count; x += VEC_BYTES) {
        vecf total[4];
        for (j = 0; j < 4; j++) {
            total[j] = f_set(offset);
            for (i = 0; i < size; i++) {
                total[j] = f_add(total[j], f_load(sums[i] + x + j * VEC_PIXELS));
            }
        }
        store_samples(s->packed + x * bytes, total, samples);
    }
}

/* One row of the result, from the sums of the rows of the image around it. */
static void
add_rows(
    const struct stripe *s, const float *const *sums, int count, const struct kernel *k,
    enum samples samples
) {
#define CASE(samples)                                                  \
    case samples:                                                      \
        if (k->size == 3) {                                            \
            add_rows_of(s, sums, count, k->offset, 3, samples);        \
        } else {                                                       \
            add_rows_of(s, sums, count, k->offset, 5, samples);        \
        }                                                              \
        break;

    switch (samples) {
        CASE(BYTES)
        CASE(WORDS)
        CASE(WORDS_BIG_ENDIAN)
        CASE(INTS)
    }
#undef CASE
}

/* Pixels `from` to `to` of every row from `first` on that is far enough from the edge. */
static void
filter_stripe(
    Imaging imOut, Imaging im, const struct kernel *k, const struct pixels *p,
    const struct stripe *s, int from, int to, int first
) {
    const int reach = k->size / 2, count = (to - from) * p->bands;
    const size_t row_of_sums = (size_t)k->different * s->width;
    const size_t at = (size_t)(from - reach) * p->stored;
    const int bytes = (to - from + 2 * reach) * p->stored;
    const float *sums[SIZE_MAX_];
    int y, i;

    for (y = first - reach; y < im->ysize; y++) {
        if (y + 1 < im->ysize) {
            for (i = 0; i < bytes; i += 64) {
                _mm_prefetch(im->image[y + 1] + at + i, _MM_HINT_T0);
            }
        }
        pack_pixels(s->packed, im->image[y] + at, to - from + 2 * reach, p);
        samples_to_floats(s->samples, s->packed, count + 2 * reach * p->bands, p->samples);
        sum_row(s, s->sums + y % k->size * row_of_sums, count, p->bands, k);
        if (y < first + reach) {
            continue;
        }
        for (i = 0; i < k->size; i++) {
            sums[i] = s->sums + (y - i) % k->size * row_of_sums + k->row[i] * s->width;
        }
        add_rows(s, sums, count, k, p->samples);
        unpack_pixels(
            imOut->image[y - reach] + (size_t)from * p->stored, s->packed, to - from, p
        );
    }
}

static void
copy_edges(Imaging imOut, Imaging im, int reach) {
    size_t edge = (size_t)reach * im->pixelsize, right = im->linesize - edge;
    int y;

    for (y = 0; y < im->ysize; y++) {
        if (y < reach || y >= im->ysize - reach) {
            memcpy(imOut->image[y], im->image[y], im->linesize);
        } else {
            memcpy(imOut->image[y], im->image[y], edge);
            memcpy(imOut->image[y] + right, im->image[y] + right, edge);
        }
    }
}

/* Stripes as wide as the cache allows; one, if the image is narrow. */
static int
stripe_pixels(const struct kernel *k, const struct pixels *p, int xsize) {
    int sample = (k->size * k->different + 1) * (int)sizeof(float) + p->packed / p->bands;
    int fit = CACHE / (sample * p->bands) / GRAIN * GRAIN;
    int all = (xsize + GRAIN - 1) / GRAIN * GRAIN;

    return fit < GRAIN ? GRAIN : fit < all ? fit : all;
}

/* The buffers lie one behind the other in `memory`; returns what they take. */
static size_t
lay_out(struct stripe *s, char *memory, const struct kernel *k, const struct pixels *p) {
    /* Room for the neighbouring pixels, and to read and write whole vectors. */
    size_t wide = (size_t)s->width + 2 * GRAIN;
    size_t packed = wide * 4, samples = wide * sizeof(float);
    size_t sums = (size_t)k->size * k->different * s->width * sizeof(float);

    (void)p;
    s->packed = memory;
    s->samples = (float *)(memory + packed);
    s->sums = (float *)(memory + packed + samples);
    return packed + samples + sums;
}

Imaging
SIMD_NAME(filter)(Imaging im, int xsize, int ysize, const float *kernel, float offset) {
    ImagingSectionCookie cookie;
    const struct pixels p = pixels_of(im);
    const struct kernel k = sort_rows(kernel, xsize, offset);
    const int reach = xsize / 2, pixels = stripe_pixels(&k, &p, im->xsize);
    struct stripe s = {.width = pixels * p.bands};
    size_t size = lay_out(&s, NULL, &k, &p);
    char *memory = aligned_alloc(64, size);
    struct whole_kernel whole;
    const int in_whole = p.samples == BYTES &&
                         SIMD_NAME(filter_whole_plan)(&whole, xsize, kernel, offset);
    Imaging imOut;
    int from, to, first = reach;

    (void)ysize;
    if (!memory) {
        return SIMD_DECLINED;
    }
    memset(memory, 0, size);
    lay_out(&s, memory, &k, &p);
    imOut = ImagingNewDirty(im->mode, im->xsize, im->ysize);
    if (!imOut) {
        free(memory);
        return NULL;
    }

    ImagingSectionEnter(&cookie);
    IMAGE_LOCK(im);
    if (in_whole) {
        first = SIMD_NAME(filter_whole)(imOut, im, &whole, reach);
    }
    from = first < im->ysize - reach ? reach : im->xsize;
    for (; from < im->xsize - reach; from = to) {
        to = im->xsize - reach - from < pixels ? im->xsize - reach : from + pixels;
        filter_stripe(imOut, im, &k, &p, &s, from, to, first);
    }
    copy_edges(imOut, im, reach);
    IMAGE_UNLOCK(im);
    ImagingSectionLeave(&cookie);

    free(memory);
    return imOut;
}
