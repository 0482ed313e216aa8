/*
 * One vector of the instruction set that a kernel is being compiled for, and the
 * lane-wise operations on it that all of them have. A kernel written with these is
 * one body for SSE4.1, AVX2 and AVX-512.
 *
 * Unpack, pack and shuffle work inside each 128-bit part, on every instruction set.
 * Kernels are written so that this order does not matter: what they unpack they pack
 * again in the same way.
 */
#ifndef SIMDINSTALL_LANES_H
#define SIMDINSTALL_LANES_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "dispatch.h"

/* A kernel that does better with narrower vectors may say so before it includes this. */
#ifndef LANES_LEVEL
#define LANES_LEVEL SIMD_LEVEL
#endif

#if LANES_LEVEL == SIMD_LEVEL_SSE4
typedef __m128i vec;
typedef __m128 vecf;
typedef __m128d vecd;
#define LANES_OP(name) _mm_##name
#define LANES_BITS(name) _mm_##name##_si128
#elif LANES_LEVEL == SIMD_LEVEL_AVX2
typedef __m256i vec;
typedef __m256 vecf;
typedef __m256d vecd;
#define LANES_OP(name) _mm256_##name
#define LANES_BITS(name) _mm256_##name##_si256
#elif LANES_LEVEL == SIMD_LEVEL_AVX512
typedef __m512i vec;
typedef __m512 vecf;
typedef __m512d vecd;
#define LANES_OP(name) _mm512_##name
#define LANES_BITS(name) _mm512_##name##_si512
#else
#error "compile once per instruction set, with -DSIMD_LEVEL"
#endif

/* Shift counts must reach the intrinsics as constants. */
#define LANES_INLINE static inline __attribute__((always_inline))

/*
 * Cache lines are asked for this many bytes ahead in rows that are read or written from end to
 * end, those to be written as well: the CPU itself looks no further than the page that a row
 * is in, and hardly ahead of what is written. What does little else than moving memory takes
 * up to a third longer without it. Asking beyond an image does no harm.
 */
#define FETCH_AHEAD 2048

/* The cache lines that `bytes` bytes from p on will have as many lines later. */
LANES_INLINE void
fetch_to_read(const void *p, int bytes) {
    int i;

    for (i = 0; i < bytes; i += 64) {
        __builtin_prefetch((const char *)p + FETCH_AHEAD + i, 0);
    }
}

LANES_INLINE void
fetch_to_write(const void *p, int bytes) {
    int i;

    for (i = 0; i < bytes; i += 64) {
        __builtin_prefetch((const char *)p + FETCH_AHEAD + i, 1);
    }
}

/* Size of a vector, and how many 4-byte pixels fit into one. */
#define VEC_BYTES ((int)sizeof(vec))
#define VEC_PIXELS (VEC_BYTES / 4)
#define VEC_DOUBLES (VEC_BYTES / 8)

LANES_INLINE vec
v_load(const void *p) {
    return LANES_BITS(loadu)((const vec *)p);
}

LANES_INLINE void
v_store(void *p, vec a) {
    LANES_BITS(storeu)((vec *)p, a);
}

LANES_INLINE vec
v_zero(void) {
    return LANES_BITS(setzero)();
}

/* The same value in each lane of 8, 16 or 32 bits. */
LANES_INLINE vec
v_set8(int value) {
    return LANES_OP(set1_epi8)((char)value);
}

LANES_INLINE vec
v_set16(int value) {
    return LANES_OP(set1_epi16)((short)value);
}

LANES_INLINE vec
v_set32(uint32_t value) {
    return LANES_OP(set1_epi32)((int)value);
}

/* 16 bytes, repeated in each 128-bit part. */
LANES_INLINE vec
v_repeat128(const void *p) {
    __m128i a = _mm_loadu_si128((const __m128i *)p);
#if LANES_LEVEL == SIMD_LEVEL_AVX512
    return _mm512_broadcast_i32x4(a);
#elif LANES_LEVEL == SIMD_LEVEL_AVX2
    return _mm256_broadcastsi128_si256(a);
#else
    return a;
#endif
}

#define LANES_BINARY(name, operation)     \
    LANES_INLINE vec name(vec a, vec b) { \
        return LANES_OP(operation)(a, b); \
    }
#define LANES_SHIFT(name, operation)         \
    LANES_INLINE vec name(vec a, int bits) { \
        return LANES_OP(operation)(a, bits); \
    }

LANES_BINARY(v_sub8, sub_epi8)
LANES_BINARY(v_min8, min_epu8) /* unsigned */
LANES_BINARY(v_add16, add_epi16)
LANES_BINARY(v_sub16, sub_epi16)
LANES_BINARY(v_adds16, adds_epi16) /* saturating */
LANES_BINARY(v_subsu16, subs_epu16) /* ... at zero */
LANES_BINARY(v_minu16, min_epu16)
LANES_BINARY(v_mullo16, mullo_epi16)
LANES_BINARY(v_mulhi16, mulhi_epi16)  /* high half of the signed product */
LANES_BINARY(v_mulhiu16, mulhi_epu16) /* ... and of the unsigned one */
LANES_BINARY(v_add32, add_epi32)
LANES_BINARY(v_sub32, sub_epi32)
LANES_BINARY(v_mullo32, mullo_epi32)
LANES_BINARY(v_min32, min_epi32)
LANES_BINARY(v_max32, max_epi32)
/* Signed 16-bit products, added in pairs to 32 bits. */
LANES_BINARY(v_madd16, madd_epi16)
/* Products of unsigned bytes of a and signed bytes of b, added in pairs to 16 bits, saturating. */
LANES_BINARY(v_maddu8, maddubs_epi16)

LANES_SHIFT(v_shl16, slli_epi16)
LANES_SHIFT(v_shr16, srli_epi16)
LANES_SHIFT(v_sar16, srai_epi16)
LANES_SHIFT(v_shl32, slli_epi32)
LANES_SHIFT(v_shr32, srli_epi32)
LANES_SHIFT(v_sar32, srai_epi32)
LANES_SHIFT(v_shr64, srli_epi64)

/* Interleave the low or the high half of each 128-bit part. */
LANES_BINARY(v_low8, unpacklo_epi8)
LANES_BINARY(v_high8, unpackhi_epi8)
LANES_BINARY(v_low16, unpacklo_epi16)
LANES_BINARY(v_high16, unpackhi_epi16)
LANES_BINARY(v_low32, unpacklo_epi32)
LANES_BINARY(v_high32, unpackhi_epi32)
LANES_BINARY(v_low64, unpacklo_epi64)
LANES_BINARY(v_high64, unpackhi_epi64)

/* Narrow with unsigned saturation: 32 to 16 bits, 16 to 8 bits. */
LANES_BINARY(v_pack32, packus_epi32)
LANES_BINARY(v_pack16, packus_epi16)

/* In each 128-bit part, take the bytes that `order` names. */
LANES_BINARY(v_shuffle8, shuffle_epi8)

/* sum + a0 * b0 + a1 * b1 for the pairs of signed 16-bit lanes, modulo 2**32. */
LANES_INLINE vec
v_madd16_add(vec sum, vec a, vec b) {
#if LANES_LEVEL == SIMD_LEVEL_AVX512
    return _mm512_dpwssd_epi32(sum, a, b);
#else
    return v_add32(sum, v_madd16(a, b));
#endif
}

LANES_INLINE vec
v_and(vec a, vec b) {
    return LANES_BITS(and)(a, b);
}

LANES_INLINE vec
v_or(vec a, vec b) {
    return LANES_BITS(or)(a, b);
}

/* b where a has zeros */
LANES_INLINE vec
v_andnot(vec a, vec b) {
    return LANES_BITS(andnot)(a, b);
}

LANES_INLINE vec
v_xor(vec a, vec b) {
    return LANES_BITS(xor)(a, b);
}

/* In each 128-bit part: 32-bit lane i of r[j] becomes lane j of r[i]. */
LANES_INLINE void
v_transpose32(vec r[4]) {
    vec a = v_low32(r[0], r[1]), b = v_high32(r[0], r[1]);
    vec c = v_low32(r[2], r[3]), d = v_high32(r[2], r[3]);

    r[0] = v_low64(a, c);
    r[1] = v_high64(a, c);
    r[2] = v_low64(b, d);
    r[3] = v_high64(b, d);
}

/* 128-bit parts of a vector, and their loading and storing one by one. */
#define VEC_PARTS (VEC_BYTES / 16)

/* Part j from `p[j * step] + offset`. */
LANES_INLINE vec
v_load_parts(const uint8_t *const *p, int step, size_t offset) {
#define LANES_PART(j) _mm_loadu_si128((const __m128i *)(p[(j) * step] + offset))
#if LANES_LEVEL == SIMD_LEVEL_AVX512
    __m512i a = _mm512_castsi128_si512(LANES_PART(0));
    a = _mm512_inserti32x4(a, LANES_PART(1), 1);
    a = _mm512_inserti32x4(a, LANES_PART(2), 2);
    return _mm512_inserti32x4(a, LANES_PART(3), 3);
#elif LANES_LEVEL == SIMD_LEVEL_AVX2
    return _mm256_inserti128_si256(_mm256_castsi128_si256(LANES_PART(0)), LANES_PART(1), 1);
#else
    (void)step;
    return LANES_PART(0);
#endif
#undef LANES_PART
}

/* Part j to `p[j * step] + offset`. */
LANES_INLINE void
v_store_parts(uint8_t *const *p, int step, size_t offset, vec a) {
#define LANES_PART(j) ((__m128i *)(p[(j) * step] + offset))
#if LANES_LEVEL == SIMD_LEVEL_AVX512
    _mm_storeu_si128(LANES_PART(0), _mm512_castsi512_si128(a));
    _mm_storeu_si128(LANES_PART(1), _mm512_extracti32x4_epi32(a, 1));
    _mm_storeu_si128(LANES_PART(2), _mm512_extracti32x4_epi32(a, 2));
    _mm_storeu_si128(LANES_PART(3), _mm512_extracti32x4_epi32(a, 3));
#elif LANES_LEVEL == SIMD_LEVEL_AVX2
    _mm_storeu_si128(LANES_PART(0), _mm256_castsi256_si128(a));
    _mm_storeu_si128(LANES_PART(1), _mm256_extracti128_si256(a, 1));
#else
    (void)step;
    _mm_storeu_si128(LANES_PART(0), a);
#endif
#undef LANES_PART
}

/* Take the 32-bit lanes that `order` names, from the whole vector. */
LANES_INLINE vec
v_permute32(vec a, vec order) {
#if LANES_LEVEL == SIMD_LEVEL_AVX512
    return _mm512_permutexvar_epi32(order, a);
#elif LANES_LEVEL == SIMD_LEVEL_AVX2
    return _mm256_permutevar8x32_epi32(a, order);
#else
    return _mm_shuffle_epi8(
        a, _mm_add_epi8(
               _mm_mullo_epi32(order, _mm_set1_epi32(0x04040404)), _mm_set1_epi32(0x03020100)
           )
    );
#endif
}

/* ------------------------------------------------------------------ floats */

#define LANES_FLOAT(name, operation)         \
    LANES_INLINE vecf name(vecf a, vecf b) { \
        return LANES_OP(operation)(a, b);    \
    }

LANES_FLOAT(f_add, add_ps)
LANES_FLOAT(f_mul, mul_ps)
/* The second one if either is not a number. */
LANES_FLOAT(f_min, min_ps)
LANES_FLOAT(f_max, max_ps)

LANES_INLINE vecf
f_load(const float *p) {
    return LANES_OP(loadu_ps)(p);
}

LANES_INLINE void
f_store(float *p, vecf a) {
    LANES_OP(storeu_ps)(p, a);
}

LANES_INLINE vecf
f_set(float value) {
    return LANES_OP(set1_ps)(value);
}

LANES_INLINE vecf
f_from_int(vec a) {
    return LANES_OP(cvtepi32_ps)(a);
}

/* Towards zero; INT32_MIN for what no 32-bit integer holds. */
LANES_INLINE vec
f_truncate(vecf a) {
    return LANES_OP(cvttps_epi32)(a);
}

/* All bits of a 32-bit lane where a >= b. */
LANES_INLINE vec
f_at_least(vecf a, vecf b) {
#if LANES_LEVEL == SIMD_LEVEL_AVX512
    return _mm512_movm_epi32(_mm512_cmp_ps_mask(a, b, _CMP_GE_OQ));
#elif LANES_LEVEL == SIMD_LEVEL_AVX2
    return _mm256_castps_si256(_mm256_cmp_ps(a, b, _CMP_GE_OQ));
#else
    return _mm_castps_si128(_mm_cmpge_ps(a, b));
#endif
}

/* ------------------------------------------------------------------ doubles */

LANES_INLINE vecd
d_load(const double *p) {
    return LANES_OP(loadu_pd)(p);
}

LANES_INLINE void
d_store(double *p, vecd a) {
    LANES_OP(storeu_pd)(p, a);
}

LANES_INLINE vecd
d_zero(void) {
    return LANES_OP(setzero_pd)();
}

LANES_INLINE vecd
d_set(double value) {
    return LANES_OP(set1_pd)(value);
}

LANES_INLINE vecd
d_mul(vecd a, vecd b) {
    return LANES_OP(mul_pd)(a, b);
}

/* VEC_DOUBLES 32-bit integers, floats or unsigned 16-bit words to doubles. Reads no further. */
LANES_INLINE vecd
d_load_ints(const void *p) {
#if LANES_LEVEL == SIMD_LEVEL_AVX512
    return _mm512_cvtepi32_pd(_mm256_loadu_si256((const __m256i *)p));
#elif LANES_LEVEL == SIMD_LEVEL_AVX2
    return _mm256_cvtepi32_pd(_mm_loadu_si128((const __m128i *)p));
#else
    return _mm_cvtepi32_pd(_mm_loadl_epi64((const __m128i *)p));
#endif
}

LANES_INLINE vecd
d_load_floats(const void *p) {
#if LANES_LEVEL == SIMD_LEVEL_AVX512
    return _mm512_cvtps_pd(_mm256_loadu_ps((const float *)p));
#elif LANES_LEVEL == SIMD_LEVEL_AVX2
    return _mm256_cvtps_pd(_mm_loadu_ps((const float *)p));
#else
    return _mm_cvtps_pd(_mm_castsi128_ps(_mm_loadl_epi64((const __m128i *)p)));
#endif
}

LANES_INLINE vecd
d_load_words(const void *p) {
#if LANES_LEVEL == SIMD_LEVEL_AVX512
    return _mm512_cvtepi32_pd(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)));
#elif LANES_LEVEL == SIMD_LEVEL_AVX2
    return _mm256_cvtepi32_pd(_mm_cvtepu16_epi32(_mm_loadl_epi64((const __m128i *)p)));
#else
    int32_t two;
    __builtin_memcpy(&two, p, 4);
    return _mm_cvtepi32_pd(_mm_cvtepu16_epi32(_mm_cvtsi32_si128(two)));
#endif
}

/* The lower and the upper half of a vector of 32-bit integers or floats to doubles. */
LANES_INLINE void
d_from_ints(vecd d[2], vec a) {
#if LANES_LEVEL == SIMD_LEVEL_AVX512
    d[0] = _mm512_cvtepi32_pd(_mm512_castsi512_si256(a));
    d[1] = _mm512_cvtepi32_pd(_mm512_extracti64x4_epi64(a, 1));
#elif LANES_LEVEL == SIMD_LEVEL_AVX2
    d[0] = _mm256_cvtepi32_pd(_mm256_castsi256_si128(a));
    d[1] = _mm256_cvtepi32_pd(_mm256_extracti128_si256(a, 1));
#else
    d[0] = _mm_cvtepi32_pd(a);
    d[1] = _mm_cvtepi32_pd(_mm_unpackhi_epi64(a, a));
#endif
}

LANES_INLINE void
d_from_floats(vecd d[2], vec a) {
#if LANES_LEVEL == SIMD_LEVEL_AVX512
    d[0] = _mm512_cvtps_pd(_mm256_castsi256_ps(_mm512_castsi512_si256(a)));
    d[1] = _mm512_cvtps_pd(_mm256_castsi256_ps(_mm512_extracti64x4_epi64(a, 1)));
#elif LANES_LEVEL == SIMD_LEVEL_AVX2
    d[0] = _mm256_cvtps_pd(_mm_castsi128_ps(_mm256_castsi256_si128(a)));
    d[1] = _mm256_cvtps_pd(_mm_castsi128_ps(_mm256_extracti128_si256(a, 1)));
#else
    d[0] = _mm_cvtps_pd(_mm_castsi128_ps(a));
    d[1] = _mm_cvtps_pd(_mm_castsi128_ps(_mm_unpackhi_epi64(a, a)));
#endif
}

/* Back: to floats, and towards zero to integers, INT32_MIN for what does not fit. */
LANES_INLINE vec
d_to_floats(const vecd d[2]) {
#if LANES_LEVEL == SIMD_LEVEL_AVX512
    __m256i low = _mm256_castps_si256(_mm512_cvtpd_ps(d[0]));
    __m256i high = _mm256_castps_si256(_mm512_cvtpd_ps(d[1]));
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
#elif LANES_LEVEL == SIMD_LEVEL_AVX2
    __m128i low = _mm_castps_si128(_mm256_cvtpd_ps(d[0]));
    __m128i high = _mm_castps_si128(_mm256_cvtpd_ps(d[1]));
    return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
#else
    return _mm_castps_si128(_mm_movelh_ps(_mm_cvtpd_ps(d[0]), _mm_cvtpd_ps(d[1])));
#endif
}

LANES_INLINE vec
d_truncate(const vecd d[2]) {
#if LANES_LEVEL == SIMD_LEVEL_AVX512
    __m256i low = _mm512_cvttpd_epi32(d[0]), high = _mm512_cvttpd_epi32(d[1]);
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
#elif LANES_LEVEL == SIMD_LEVEL_AVX2
    __m128i low = _mm256_cvttpd_epi32(d[0]), high = _mm256_cvttpd_epi32(d[1]);
    return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
#else
    return _mm_unpacklo_epi64(_mm_cvttpd_epi32(d[0]), _mm_cvttpd_epi32(d[1]));
#endif
}

/* Away from zero by a half. */
LANES_INLINE vecd
d_away_by_half(vecd a) {
    vecd half = LANES_OP(or_pd)(LANES_OP(and_pd)(a, d_set(-0.0)), d_set(0.5));

    return LANES_OP(add_pd)(a, half);
}

/* ------------------------------------------------------------------ in memory order */

/* VEC_PIXELS unsigned bytes or 16-bit words to 32 bits each. Reads no further. */
LANES_INLINE vec
v_load_bytes(const void *p) {
#if LANES_LEVEL == SIMD_LEVEL_AVX512
    return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p));
#elif LANES_LEVEL == SIMD_LEVEL_AVX2
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p));
#else
    int32_t four;
    __builtin_memcpy(&four, p, 4);
    return _mm_cvtepu8_epi32(_mm_cvtsi32_si128(four));
#endif
}

LANES_INLINE vec
v_load_words(const void *p) {
#if LANES_LEVEL == SIMD_LEVEL_AVX512
    return _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
#elif LANES_LEVEL == SIMD_LEVEL_AVX2
    return _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
#else
    return _mm_cvtepu16_epi32(_mm_loadl_epi64((const __m128i *)p));
#endif
}

/* VEC_BYTES / 2 unsigned bytes to 16 bits each. Reads no further. */
LANES_INLINE vec
v_load_bytes_to_words(const void *p) {
#if LANES_LEVEL == SIMD_LEVEL_AVX512
    return _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)p));
#elif LANES_LEVEL == SIMD_LEVEL_AVX2
    return _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)p));
#else
    return _mm_cvtepu8_epi16(_mm_loadl_epi64((const __m128i *)p));
#endif
}

/* Four vectors of 32-bit lanes to bytes, with saturation. */
LANES_INLINE vec
v_narrow_to_bytes(vec a, vec b, vec c, vec d) {
    vec packed = v_pack16(v_pack32(a, b), v_pack32(c, d));
#if LANES_LEVEL == SIMD_LEVEL_AVX512
    const __m512i order =
        _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    return _mm512_permutexvar_epi32(order, packed);
#elif LANES_LEVEL == SIMD_LEVEL_AVX2
    return _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
#else
    return packed;
#endif
}

/* Two vectors of 32-bit lanes to 16-bit words, with saturation. */
LANES_INLINE vec
v_narrow_to_words(vec a, vec b) {
    vec packed = v_pack32(a, b);
#if LANES_LEVEL == SIMD_LEVEL_AVX512
    return _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), packed);
#elif LANES_LEVEL == SIMD_LEVEL_AVX2
    return _mm256_permute4x64_epi64(packed, _MM_SHUFFLE(3, 1, 2, 0));
#else
    return packed;
#endif
}

#undef LANES_BINARY
#undef LANES_SHIFT
#undef LANES_FLOAT

#endif
