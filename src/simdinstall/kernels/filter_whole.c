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
        whole->factors[used / 2] |= (uint32_t)(uint8_t)n[i] << used % 2 * 8;
        used++;
    }
    whole->pairs = (used + 1) / 2;
    for (i = 0; i < whole->pairs; i++) {
        int a = (int8_t)whole->factors[i], b = (int8_t)(whole->factors[i] >> 8);
        /* 255 * 128 fits; of unlike signs each fits by itself */
        if (a + b > 128 || a + b < -128) {
            return 0;
        }
        whole->factors[i] *= 0x10001;
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

static uint8_t
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

/* ------------------------------------------------------------------ ties */

/* Ties that are settled together: one in each lane. */
#define TIES_TOGETHER VEC_PIXELS

/* Ties of a row that are not settled yet: which bytes. */
struct ties {
    ptrdiff_t at[TIES_TOGETHER + 1];
    int waiting;
    int settled;
};

/*
 * Five samples of each tie in one row of an image with 4-byte pixels, from two pixels to the
 * left of it to two to the right. `row` is byte 0 of it. Nothing before the first of them is
 * read, and nothing behind the last.
 */
LANES_INLINE void
samples_of_ties(vec samples[5], const uint8_t *row, const struct ties *ties) {
    const uint8_t *ties_at[TIES_TOGETHER];
    vec last[4];
    int i;

    for (i = 0; i < TIES_TOGETHER; i++) {
        ties_at[i] = row + ties->at[i] - 8;
    }
    for (i = 0; i < 4; i++) {
        samples[i] = v_load_parts(ties_at + i, 4, 0);
        last[i] = v_load_parts(ties_at + i, 4, 1);
    }
    v_transpose32(samples);
    for (i = 0; i < 4; i++) {
        samples[i] = v_and(samples[i], v_set32(255));
    }
    samples[4] = v_high64(v_high32(last[0], last[1]), v_high32(last[2], last[3]));
    samples[4] = v_shr32(samples[4], 24);
}

/* What stock computes for the ties, by a kernel of 5x5 over 4-byte pixels. */
LANES_INLINE vec
ties_in_floats(const struct row *row, const struct ties *ties, const struct whole_kernel *whole) {
    float offset = whole->offset;
    vecf sum;
    int i, j;

    offset += 0.5; /* in double, as stock */
    sum = f_set(offset);
    for (i = 0; i < 5; i++) {
        vec samples[5];
        vecf in_row;

        samples_of_ties(samples, (const uint8_t *)row->im->image[row->y + 2 - i], ties);
        in_row = f_mul(f_from_int(samples[0]), f_set(whole->k[i * 5]));
        for (j = 1; j < 5; j++) {
            vecf product = f_mul(f_from_int(samples[j]), f_set(whole->k[i * 5 + j]));
            in_row = f_add(in_row, product);
        }
        sum = f_add(sum, in_row);
    }
    return f_truncate(f_min(f_set(255), f_max(sum, f_set(0))));
}

/* The first `count` of those that wait. */
static __attribute__((noinline)) void
settle(const struct row *row, struct ties *ties, const struct whole_kernel *whole, int count) {
    int i;

    if (whole->size == 5 && row->im->pixelsize == 4) {
        int32_t values[TIES_TOGETHER];

        for (i = count; i < TIES_TOGETHER; i++) {
            ties->at[i] = ties->at[0];
        }
        v_store(values, ties_in_floats(row, ties, whole));
        for (i = 0; i < count; i++) {
            row->out[ties->at[i]] = (char)values[i];
        }
    } else {
        for (i = 0; i < count; i++) {
            row->out[ties->at[i]] = (char)in_floats(row->im, whole, row->y, ties->at[i]);
        }
    }
    ties->settled += count;
    ties->waiting -= count;
    if (ties->waiting > 0) {
        ties->at[0] = ties->at[count];
    }
}

/*
 * A bit for each byte from `at` on that is a tie. Whether there is one cannot be foreseen, so
 * two are taken down without asking; more are rare.
 */
LANES_INLINE void
take_down(
    const struct row *row, struct ties *ties, const struct whole_kernel *whole, ptrdiff_t at,
    uint64_t bits
) {
    const uint64_t any = (uint64_t)1 << 63;
    int i;

    do {
        for (i = 0; i < 2; i++, bits &= bits - 1) {
            ties->at[ties->waiting] = at + __builtin_ctzll(bits | any);
            ties->waiting += bits != 0;
        }
        if (ties->waiting >= TIES_TOGETHER) {
            settle(row, ties, whole, TIES_TOGETHER);
        }
    } while (bits);
}

/* ------------------------------------------------------------------ all bytes */

LANES_INLINE void
filter_at(
    const struct row *row, ptrdiff_t at, const struct whole_kernel *whole,
    const struct division *by, struct ties *ties
) {
    vec sums[TOGETHER][2];
    uint64_t bits = 0;
    int i, j;

    for (j = 0; j < TOGETHER; j++) {
        sums[j][0] = sums[j][1] = v_set16(whole->bias);
    }
    for (i = 0; i < whole->pairs; i++) {
        const vec factors = v_set32(whole->factors[i]);
        for (j = 0; j < TOGETHER; j++) {
            vec a = v_load(row->taps[i][0] + at + j * VEC_BYTES);
            vec b = v_load(row->taps[i][1] + at + j * VEC_BYTES);
            sums[j][0] = v_add16(sums[j][0], v_maddu8(v_low8(a, b), factors));
            sums[j][1] = v_add16(sums[j][1], v_maddu8(v_high8(a, b), factors));
        }
    }
    for (j = 0; j < TOGETHER; j++) {
        vec tied[2];
        vec low = divide(sums[j][0], by, &tied[0]), high = divide(sums[j][1], by, &tied[1]);
        v_store(row->out + at + j * VEC_BYTES, v_and(v_pack16(low, high), by->used));
        if (by->ties) {
            vec both = v_and(LANES_OP(packs_epi16)(tied[0], tied[1]), by->used);
            if (VEC_BYTES == 64) {
                take_down(row, ties, whole, at + j * VEC_BYTES, high_bits(both));
            } else {
                bits |= high_bits(both) << j * VEC_BYTES % 64;
            }
        }
    }
    if (by->ties && VEC_BYTES < 64) {
        take_down(row, ties, whole, at, bits);
    }
}

/*
 * The last vectors end with the row and so may do some bytes a second time. Returns the number
 * of ties.
 */
LANES_INLINE int
filter_row(
    const struct row *row, ptrdiff_t begin, ptrdiff_t end, const struct whole_kernel *whole,
    const struct division *division, int by_multiplier, int has_ties
) {
    const ptrdiff_t step = TOGETHER * VEC_BYTES;
    struct division by = *division;
    struct ties ties;
    ptrdiff_t at;

    by.by_multiplier = by_multiplier;
    by.ties = has_ties;
    ties.waiting = ties.settled = 0;
    for (at = begin; at < end; at += step) {
        /* the downmost row, the one that is new, is the first */
        fetch_to_read(row->taps[0][0] + at, TOGETHER * VEC_BYTES);
        fetch_to_write(row->out + at, TOGETHER * VEC_BYTES);
        filter_at(row, at < end - step ? at : end - step, whole, &by, &ties);
    }
    if (has_ties && ties.waiting > 0) {
        settle(row, &ties, whole, ties.waiting);
    }
    return ties.settled;
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
