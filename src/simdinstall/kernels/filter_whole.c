/* Filters of bytes in whole numbers: filter_whole.h says when they are stock's. */
#include "filter_whole.h"

#include <math.h>

#include "lanes.h"

/* ------------------------------------------------------------------ which kernels */

#define DENOMINATOR_MAX 127

/* From here on ties are rare enough to be done in floats, one by one. */
#define DENOMINATOR_TIES 64

#define VALUES_MAX 25

/* k[i] * d as whole numbers; 0 if they are none, or none that fit a signed byte. */
static int
numerators(int8_t n[VALUES_MAX], int count, const float *k, int d) {
    int i;

    for (i = 0; i < count; i++) {
        float scaled = k[i] * d;
        if (!(scaled > -127.5f && scaled < 127.5f)) {
            return 0;
        }
        n[i] = (int8_t)lrintf(scaled);
        if ((float)n[i] / (float)d != k[i]) {
            return 0;
        }
    }
    return 1;
}

/* Pairs of taps with a factor. 0 if the sum of a pair's products could exceed 16 bits. */
static int
pair_up(struct whole_kernel *whole, int size, const int8_t *n) {
    int i, used = 0;

    memset(whole, 0, sizeof(*whole));
    for (i = 0; i < size * size; i++) {
        struct tap tap = {size / 2 - i / size, i % size - size / 2};
        if (n[i] == 0) {
            continue;
        }
        whole->taps[used / 2][used % 2] = tap;
        if (used % 2 == 0) { /* also the second one's, with factor 0, if there is no other */
            whole->taps[used / 2][1] = tap;
        }
        whole->factors[used / 2] |= (uint16_t)((uint8_t)n[i] << used % 2 * 8);
        used++;
    }
    whole->pairs = (used + 1) / 2;
    for (i = 0; i < whole->pairs; i++) {
        int a = (int8_t)whole->factors[i], b = (int8_t)(whole->factors[i] >> 8);
        /* 255 * 128 fits; of unlike signs each fits by itself */
        if (a + b > 128 || a + b < -128) {
            return 0;
        }
    }
    return 1;
}

/* Whether sums, offset and division keep what filter_whole.h asks for. */
static int
in_range(struct whole_kernel *whole, const int8_t n[VALUES_MAX], float offset, int d) {
    const float scaled_offset = offset * d;
    int above = 0, below = 0, bias, i;

    if (!(scaled_offset > -32768 && scaled_offset < 32768) ||
        scaled_offset != rintf(scaled_offset) || scaled_offset / d != offset) {
        return 0;
    }
    for (i = 0; i < VALUES_MAX; i++) {
        above += n[i] > 0 ? n[i] * 255 : 0;
        below += n[i] < 0 ? n[i] * 255 : 0;
    }
    bias = (int)scaled_offset + d / 2;
    if (bias + above > INT16_MAX || bias + below < INT16_MIN || bias < INT16_MIN) {
        return 0;
    }
    whole->bias = (int16_t)bias;
    whole->denominator = (int16_t)d;
    whole->ties = d % 2 == 0 && (d & (d - 1)) != 0;
    whole->shift = 31 - __builtin_clz((unsigned)d);
    if ((d & (d - 1)) == 0) {
        return 1;
    }
    /*
     * With e = multiplier * d - 2**(16 + shift), 0 < e <= d < 2**(shift + 1), the quotient
     * is right for all x with x * e < 2**(16 + shift), so for x < 2**15.
     */
    whole->multiplier = (uint16_t)((1u << (16 + whole->shift)) / (unsigned)d + 1);
    return ((float)(above - below) / d + fabsf(offset) + 1) * (2 * d) < 1 << 18;
}

int
SIMD_NAME(filter_whole_plan)(struct whole_kernel *whole, int size, const float *k, float offset) {
    int8_t n[VALUES_MAX] = {0};
    int d;

    for (d = 1; d <= DENOMINATOR_MAX; d++) {
        if (numerators(n, size * size, k, d)) {
            if (!pair_up(whole, size, n) || !in_range(whole, n, offset, d)) {
                return 0;
            }
            whole->size = size;
            whole->k = k;
            whole->offset = offset;
            return !whole->ties || d >= DENOMINATOR_TIES;
        }
    }
    return 0;
}

/* ------------------------------------------------------------------ the rows */

/* Vectors of the result made at a time. */
#define TOGETHER 2

/* Bytes of a result's row that are in use; the others become 0, as in stock. */
static vec
used_bytes(Imaging im) {
    uint32_t used = im->pixelsize == 4 && im->bands == 3   ? 0x00ffffff
                    : im->pixelsize == 4 && im->bands == 2 ? 0xff0000ff
                                                           : 0xffffffff;
    return v_set32(used);
}

/* All bits of a 16-bit lane where a and b are the same. */
LANES_INLINE vec
same16(vec a, vec b) {
#if SIMD_LEVEL == SIMD_LEVEL_AVX512
    return _mm512_movm_epi16(_mm512_cmpeq_epi16_mask(a, b));
#else
    return LANES_OP(cmpeq_epi16)(a, b);
#endif
}

/* One bit for each byte, its highest. */
LANES_INLINE uint64_t
high_bits(vec a) {
#if SIMD_LEVEL == SIMD_LEVEL_AVX512
    return _mm512_movepi8_mask(a);
#else
    return (uint32_t)LANES_OP(movemask_epi8)(a);
#endif
}

/* How a sum becomes a sample: the same for the whole image. */
struct division {
    vec multiplier, denominator;
    __m128i shift;
    vec used;
    int by_multiplier, ties; /* constants in each copy of the loop */
};

/*
 * With ties, *tied becomes all bits where x was a multiple of the denominator above 0. (What
 * is below 1 becomes 0 anyway, and 1 is no multiple.)
 */
LANES_INLINE vec
divide(vec x, const struct division *by, vec *tied) {
    vec quotient;

    x = LANES_OP(max_epi16)(x, v_set16(by->ties ? 1 : 0));
    quotient = by->by_multiplier ? v_mulhiu16(x, by->multiplier) : x;
    quotient = LANES_OP(srl_epi16)(quotient, by->shift);
    if (by->ties) {
        *tied = same16(v_mullo16(quotient, by->denominator), x);
    }
    return quotient;
}

/* One sample as stock computes it. */
LANES_INLINE uint8_t
in_floats_of(
    Imaging im, const struct whole_kernel *whole, int y, ptrdiff_t at, const int size,
    const int pixelsize
) {
    const int reach = size / 2;
    float sum = whole->offset;
    int i, j;

    sum += 0.5; /* in double, as stock */
    for (i = 0; i < size; i++) {
        const uint8_t *samples = (const uint8_t *)im->image[y + reach - i] + at;
        const float *k = whole->k + i * size;
        float row = (float)samples[-reach * pixelsize] * k[0];
        for (j = 1; j < size; j++) {
            row += (float)samples[(j - reach) * pixelsize] * k[j];
        }
        sum += row;
    }
    return sum <= 0 ? 0 : sum >= 255 ? 255 : (uint8_t)sum;
}

static __attribute__((noinline)) uint8_t
in_floats(Imaging im, const struct whole_kernel *whole, int y, ptrdiff_t at) {
    if (whole->size == 3) {
        return in_floats_of(im, whole, y, at, 3, im->pixelsize);
    }
    return im->pixelsize == 4 ? in_floats_of(im, whole, y, at, 5, 4)
                              : in_floats_of(im, whole, y, at, 5, 1);
}

/* Row y of the image, and of the result. */
struct row {
    const char *taps[WHOLE_PAIRS_MAX][2];
    char *out;
    Imaging im;
    int y;
};

/* Returns the number of ties. */
LANES_INLINE int
filter_at(
    const struct row *row, ptrdiff_t at, const struct whole_kernel *whole,
    const struct division *by
) {
    vec sums[TOGETHER][2];
    int i, j, found = 0;

    for (j = 0; j < TOGETHER; j++) {
        sums[j][0] = sums[j][1] = v_set16(whole->bias);
    }
    for (i = 0; i < whole->pairs; i++) {
        const vec factors = v_set32(whole->factors[i] * 0x10001u);
        for (j = 0; j < TOGETHER; j++) {
            vec a = v_load(row->taps[i][0] + at + j * VEC_BYTES);
            vec b = v_load(row->taps[i][1] + at + j * VEC_BYTES);
            sums[j][0] = v_add16(sums[j][0], v_maddu8(v_low8(a, b), factors));
            sums[j][1] = v_add16(sums[j][1], v_maddu8(v_high8(a, b), factors));
        }
    }
    for (j = 0; j < TOGETHER; j++) {
        char *out = row->out + at + j * VEC_BYTES;
        vec tied[2];
        vec low = divide(sums[j][0], by, &tied[0]), high = divide(sums[j][1], by, &tied[1]);
        v_store(out, v_and(v_pack16(low, high), by->used));
        if (by->ties) {
            uint64_t bits = high_bits(v_and(LANES_OP(packs_epi16)(tied[0], tied[1]), by->used));
            for (; bits; bits &= bits - 1, found++) {
                int byte = __builtin_ctzll(bits);
                out[byte] = (char)in_floats(row->im, whole, row->y, at + j * VEC_BYTES + byte);
            }
        }
    }
    return found;
}

/* The last vectors end with the row and so may do some bytes a second time. */
LANES_INLINE int
filter_row(
    const struct row *row, ptrdiff_t begin, ptrdiff_t end, const struct whole_kernel *whole,
    const struct division *division, int by_multiplier, int ties
) {
    const ptrdiff_t step = TOGETHER * VEC_BYTES;
    struct division by = *division;
    ptrdiff_t at;
    int found = 0;

    by.by_multiplier = by_multiplier;
    by.ties = ties;
    for (at = begin; at < end; at += step) {
        found += filter_at(row, at < end - step ? at : end - step, whole, &by);
    }
    return found;
}

/* More than this share of ties, and it is quicker to do all in floats. */
#define TIES_MAX(bytes) ((bytes) / 24)

int
SIMD_NAME(filter_whole)(Imaging imOut, Imaging im, const struct whole_kernel *whole, int reach) {
    const ptrdiff_t begin = (ptrdiff_t)reach * im->pixelsize, end = im->linesize - begin;
    const struct division by = {
        .multiplier = v_set16((short)whole->multiplier),
        .denominator = v_set16(whole->denominator),
        .shift = _mm_cvtsi32_si128(whole->shift),
        .used = used_bytes(im),
    };
    struct row row = {.im = im};
    int y, i, j, ties = 0;

    if (end - begin < TOGETHER * VEC_BYTES) {
        return reach;
    }
    for (y = reach; y < im->ysize - reach && ties <= TIES_MAX(end - begin); y++) {
        row.y = y;
        row.out = imOut->image[y];
        for (i = 0; i < whole->pairs; i++) {
            for (j = 0; j < 2; j++) {
                const struct tap *tap = &whole->taps[i][j];
                row.taps[i][j] = im->image[y + tap->row] + (ptrdiff_t)tap->column * im->pixelsize;
            }
        }
        if (whole->ties) {
            ties = filter_row(&row, begin, end, whole, &by, 1, 1);
        } else if (whole->multiplier) {
            filter_row(&row, begin, end, whole, &by, 1, 0);
        } else {
            filter_row(&row, begin, end, whole, &by, 0, 0);
        }
    }
    return y;
}
