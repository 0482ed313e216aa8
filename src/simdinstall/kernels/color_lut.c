/*
 * Colours looked up in a three-dimensional table, the bytes of stock's
 * ImagingColorLUT3D_linear.
 *
 * Stock's arithmetic. A band's value v is a place on its axis of the table,
 *
 *     index = v * scale    scale = (size - 1) / 255 * 2**18, truncated
 *
 * after the entry index >> 18, by a 15-bit fraction. Between the eight entries around a
 * colour, 16-bit numbers, it is interpolated along the first axis, then along the
 * second, then along the third, each time
 *
 *     a * (2**15 - fraction) + b * fraction >> 15
 *
 * and the result is rounded by 6 bits and cut to a byte. The last entry of an axis is
 * never the one before: index < (size - 1) * 2**18 for the sizes that Python allows.
 *
 * Here. That step is a + ((b - a) * fraction >> 15), and the result lies between a and
 * b. If no two entries of the table are more than 2**14 - 1 apart, it is
 *
 *     a + (2 * (b - a) * fraction >> 16)
 *
 * on 16-bit lanes. A table from 0 to 1 is 255 * 64 high. Taller ones, up to 2**15 - 1,
 * take both halves of the product; stock serves the rest.
 *
 * The table is laid out anew, so that what a colour needs is one line of the cache: for
 * each entry the four edges that lead from it and its neighbours on the second and third
 * axis to the next entry on the first one, all with four bands.
 */
#include "color_lut.h"

/* Finding the edges is done pixel by pixel: wider vectors are not faster. */
#if SIMD_LEVEL == SIMD_LEVEL_AVX512
#define LANES_LEVEL SIMD_LEVEL_AVX2
#endif
#include "lanes.h"

#define SCALE_BITS 18
#define FRACTION_BITS 15
#define FRACTION ((1 << FRACTION_BITS) - 1)

/* The highest difference of two entries, for the short step and for any. */
#define SPAN_SHORT 0x3fff
#define SPAN_TALL 0x7fff

/* [third axis][second axis][band] */
struct edges {
    int16_t start[2][2][4];
    int16_t step[2][2][4]; /* to the end; twice that if the table is not tall */
};

/* Numbers for the four bytes of a pixel, the first three on an axis each. */
struct lut {
    const struct edges *edges;
    uint16_t scale[4];
    uint16_t overflow[4]; /* all bits where scale has one more than the 16 */
    uint16_t stride[4];   /* from an entry to the next, in edges */
};

static int
span(const int16_t *table, int count) {
    int lowest = table[0], highest = table[0], i;

    for (i = 1; i < count; i++) {
        lowest = table[i] < lowest ? table[i] : lowest;
        highest = table[i] > highest ? table[i] : highest;
    }
    return highest - lowest;
}

/* An entry and the next one on the first axis, with four bands each. */
LANES_INLINE __m128i
load_edge(const int16_t *entry, int bands) {
    const __m128i with_gaps = _mm_setr_epi8(0, 1, 2, 3, 4, 5, -1, -1, 6, 7, 8, 9, 10, 11, -1, -1);
    int64_t first;
    int32_t rest;

    if (bands == 4) {
        return _mm_loadu_si128((const __m128i *)entry);
    }
    memcpy(&first, entry, 8);
    memcpy(&rest, entry + 4, 4);
    return _mm_shuffle_epi8(_mm_set_epi64x(rest, first), with_gaps);
}

static void
lay_out(struct edges *to, const int16_t *table, int bands, const int sizes[3], int tall) {
    const int row = sizes[0] * bands, plane = sizes[1] * row;
    int i, j, k, side;

    for (k = 0; k < sizes[2] - 1; k++) {
        for (j = 0; j < sizes[1] - 1; j++) {
            for (i = 0; i < sizes[0] - 1; i++, to++) {
                const int16_t *entry = table + k * plane + j * row + i * bands;
                for (side = 0; side < 2; side++, entry += plane) {
                    __m128i a = load_edge(entry, bands), b = load_edge(entry + row, bands);
                    __m128i start = _mm_unpacklo_epi64(a, b), end = _mm_unpackhi_epi64(a, b);
                    __m128i step = _mm_sub_epi16(end, start);
                    if (!tall) {
                        step = _mm_add_epi16(step, step);
                    }
                    _mm_store_si128((__m128i *)to->start[side], start);
                    _mm_store_si128((__m128i *)to->step[side], step);
                }
            }
        }
    }
}

static struct lut
describe(const struct edges *edges, const int sizes[3]) {
    struct lut lut = {.edges = edges};
    uint32_t stride = 1;
    int axis;

    for (axis = 0; axis < 3; axis++) {
        /* The same expression, in the same types, as stock's. At most 64 / 255 * 2**18. */
        uint32_t scale = (sizes[axis] - 1) / 255.0 * (1 << SCALE_BITS);
        lut.scale[axis] = scale & 0xffff;
        lut.overflow[axis] = scale >> 16 ? 0xffff : 0;
        lut.stride[axis] = stride;
        stride *= sizes[axis] - 1;
    }
    return lut;
}

/* ------------------------------------------------------------------ places */

/* Pixels whose four bytes, widened to 16 bits, make a vector. */
#define GROUP (VEC_BYTES / 8)

/* Where a group of pixels lies in the table. */
struct places {
    vec fractions;              /* of each pixel, on each axis */
    uint32_t edges[2 * GROUP]; /* at the even numbers: how far away, in bytes */
};

LANES_INLINE vec
repeat64(const uint16_t p[4]) {
    int64_t four;

    memcpy(&four, p, 8);
#if LANES_LEVEL == SIMD_LEVEL_SSE4
    return _mm_set1_epi64x(four);
#else
    return _mm256_set1_epi64x(four);
#endif
}

LANES_INLINE void
find_places(struct places *to, const struct lut *lut, const uint8_t *pixels) {
    vec values = v_load_bytes_to_words(pixels), scale = repeat64(lut->scale);
    /* index in two halves of 16 bits */
    vec low = v_mullo16(values, scale);
    vec high = v_add16(v_mulhiu16(values, scale), v_and(values, repeat64(lut->overflow)));
    /* entries and strides multiplied, added for the first two axes ... */
    vec sums = v_madd16(v_shr16(high, SCALE_BITS - 16), repeat64(lut->stride));

    to->fractions = v_and(
        v_or(v_shl16(high, 32 - SCALE_BITS - 1), v_shr16(low, SCALE_BITS - FRACTION_BITS)),
        v_set16(FRACTION)
    );
    /* ... and the third; what that leaves in the other half is not used */
    sums = v_add32(sums, v_shr64(sums, 32));
    v_store(to->edges, v_shl32(sums, 6));
}

_Static_assert(sizeof(struct edges) == 1 << 6, "the shift above");

/* ------------------------------------------------------------------ colours */

/* a + (step * fraction >> 15), step as in struct edges */
LANES_INLINE vec
walk(vec a, vec step, vec fraction, const int tall) {
    vec high = v_mulhi16(step, fraction);

    if (tall) {
        vec low = v_mullo16(step, fraction);
        high = v_add16(v_add16(high, high), v_shr16(low, 15));
    }
    return v_add16(a, high);
}

LANES_INLINE vec
between(vec a, vec b, vec fraction, const int tall) {
    vec step = v_sub16(b, a);
    return walk(a, tall ? step : v_add16(step, step), fraction, tall);
}

/* The fractions of a group on one axis, for four lanes each, as a vector needs them. */

/* one pixel */
LANES_INLINE vec
first_fraction(const struct places *places, int pixel) {
#if LANES_LEVEL == SIMD_LEVEL_SSE4
    const __m128i order = _mm_set1_epi16(pixel ? 0x0908 : 0x0100);
    return _mm_shuffle_epi8(places->fractions, order);
#else
    int16_t fraction;
    memcpy(&fraction, (const char *)&places->fractions + pixel * 8, 2);
    return v_set16(fraction);
#endif
}

/* two pixels; twice, if they do not fill a vector */
LANES_INLINE vec
second_fractions(const struct places *places, int pixel) {
    static const int8_t order[16] = {2, 3, 2, 3, 2, 3, 2, 3, 10, 11, 10, 11, 10, 11, 10, 11};
    const char *fractions = (const char *)&places->fractions;
    return v_shuffle8(v_repeat128(fractions + pixel * 8), v_repeat128(order));
}

/* the group */
LANES_INLINE vec
third_fractions(const struct places *places) {
    static const int8_t order[16] = {4, 5, 4, 5, 4, 5, 4, 5, 12, 13, 12, 13, 12, 13, 12, 13};
    return v_shuffle8(places->fractions, v_repeat128(order));
}

/* From 14 bits to the byte, rounded. */
LANES_INLINE vec
round_off(vec colours) {
    return v_sar16(v_adds16(colours, v_set16(32)), 6);
}

/*
 * A vector of pixels, that is two groups. Each step is done for all of them before the
 * next one: the steps of one pixel wait for each other, and the CPU sees only so far
 * ahead to find work that does not.
 */
#if LANES_LEVEL == SIMD_LEVEL_SSE4

LANES_INLINE vec
look_up(const struct lut *lut, const struct places places[2], const int tall) {
    vec points[4][2], sides[2][2], colours[2];
    int i, k;

    /* along the first axis: a vector is two of a pixel's four edges */
    for (i = 0; i < 4; i++) {
        const struct places *p = &places[i / 2];
        const char *at = (const char *)lut->edges + p->edges[i % 2 * 2];
        const struct edges *edges = (const struct edges *)(const void *)at;
        vec fraction = first_fraction(p, i % 2);
        for (k = 0; k < 2; k++) {
            points[i][k] = walk(v_load(edges->start[k]), v_load(edges->step[k]), fraction, tall);
        }
    }
    /* along the second: a vector is two pixels on one side of the third axis */
    for (i = 0; i < 2; i++) {
        for (k = 0; k < 2; k++) {
            vec a = points[2 * i][k], b = points[2 * i + 1][k];
            sides[i][k] = between(
                v_low64(a, b), v_high64(a, b), second_fractions(&places[i], 0), tall
            );
        }
    }
    /* along the third: a vector is two pixels */
    for (i = 0; i < 2; i++) {
        vec fractions = third_fractions(&places[i]);
        colours[i] = round_off(between(sides[i][0], sides[i][1], fractions, tall));
    }
    return v_pack16(colours[0], colours[1]);
}

#else

LANES_INLINE vec
look_up(const struct lut *lut, const struct places places[2], const int tall) {
    vec points[8], sides[4], colours[2];
    int i;

    /* along the first axis: a vector is a pixel's four edges */
    for (i = 0; i < 8; i++) {
        const struct places *p = &places[i / 4];
        const char *at = (const char *)lut->edges + p->edges[i % 4 * 2];
        const struct edges *edges = (const struct edges *)(const void *)at;
        points[i] =
            walk(v_load(edges->start), v_load(edges->step), first_fraction(p, i % 4), tall);
    }
    /* along the second: a vector is two pixels on both sides of the third axis */
    for (i = 0; i < 4; i++) {
        vec a = points[2 * i], b = points[2 * i + 1];
        vec fractions = second_fractions(&places[i / 2], i % 2 * 2);
        sides[i] = between(v_low64(a, b), v_high64(a, b), fractions, tall);
    }
    /* along the third: a vector is four pixels */
    for (i = 0; i < 2; i++) {
        vec a = sides[2 * i], b = sides[2 * i + 1];
        vec near = _mm256_permute2x128_si256(a, b, 0x20);
        vec far = _mm256_permute2x128_si256(a, b, 0x31);
        colours[i] = round_off(between(near, far, third_fractions(&places[i]), tall));
    }
    return _mm256_permute4x64_epi64(v_pack16(colours[0], colours[1]), _MM_SHUFFLE(3, 1, 2, 0));
}

#endif

/* ------------------------------------------------------------------ rows */

/* Pixels that are placed before the first of them is looked up. */
#define RUN 64

/* Up to RUN pixels. A table of three bands leaves their fourth byte as it was. */
LANES_INLINE void
look_up_run(
    const struct lut *lut, uint8_t *out, const uint8_t *in, int vectors, const int bands,
    const int tall
) {
    const vec fourth = v_set32(0xff000000u);
    struct places places[RUN / GROUP];
    int n;

    for (n = 0; n < 2 * vectors; n++) {
        find_places(&places[n], lut, in + n * GROUP * 4);
    }
    for (n = 0; n < vectors; n++) {
        vec colours = look_up(lut, &places[2 * n], tall);
        if (bands == 3) {
            vec kept = v_and(fourth, v_load(in + n * VEC_BYTES));
            colours = v_or(v_andnot(fourth, colours), kept);
        }
        v_store(out + n * VEC_BYTES, colours);
    }
}

LANES_INLINE void
look_up_row(
    const struct lut *lut, uint8_t *out, const uint8_t *in, int count, const int bands,
    const int tall
) {
    uint8_t last[VEC_BYTES] = {0};

    while (count >= VEC_PIXELS) {
        int vectors = (count < RUN ? count : RUN) / VEC_PIXELS;
        look_up_run(lut, out, in, vectors, bands, tall);
        fetch_to_read(in, vectors * VEC_BYTES);
        fetch_to_write(out, vectors * VEC_BYTES);
        count -= vectors * VEC_PIXELS;
        in += vectors * VEC_BYTES;
        out += vectors * VEC_BYTES;
    }
    if (count > 0) {
        memcpy(last, in, count * 4);
        look_up_run(lut, last, last, 1, bands, tall);
        memcpy(out, last, count * 4);
    }
}

static void
look_up_rows(Imaging imOut, Imaging imIn, const struct lut *lut, int bands, int tall) {
    int y;

#define CASE(bands_, tall_)                                                         \
    if (bands == bands_ && tall == tall_) {                                         \
        for (y = 0; y < imIn->ysize; y++) {                                         \
            look_up_row(                                                            \
                lut, (uint8_t *)imOut->image[y], (const uint8_t *)imIn->image[y],   \
                imIn->xsize, bands_, tall_                                          \
            );                                                                      \
        }                                                                           \
    }

    CASE(3, 0)
    CASE(4, 0)
    CASE(3, 1)
    CASE(4, 1)
#undef CASE
}

Imaging
SIMD_NAME(color_lut)(
    Imaging imOut, Imaging imIn, int table_channels, int size1D, int size2D, int size3D,
    int16_t *table
) {
    ImagingSectionCookie cookie;
    const int sizes[3] = {size1D, size2D, size3D};
    size_t count = (size_t)(size1D - 1) * (size2D - 1) * (size3D - 1);
    int highest = span(table, table_channels * size1D * size2D * size3D);
    int tall = highest > SPAN_SHORT;
    struct edges *edges = NULL;
    struct lut lut;

    if (highest <= SPAN_TALL) {
        edges = aligned_alloc(64, count * sizeof(struct edges));
    }
    if (!edges) {
        return SIMD_DECLINED;
    }

    ImagingSectionEnter(&cookie);
    lay_out(edges, table, table_channels, sizes, tall);
    lut = describe(edges, sizes);
    look_up_rows(imOut, imIn, &lut, table_channels, tall);
    ImagingSectionLeave(&cookie);

    free(edges);
    return imOut;
}
