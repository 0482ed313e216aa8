/* More operations on lanes, for conversions. */
#ifndef SIMDINSTALL_CONVERT_LANES_H
#define SIMDINSTALL_CONVERT_LANES_H

#include "lanes.h"

#define LANES_BINARY(name, operation)     \
    LANES_INLINE vec name(vec a, vec b) { \
        return LANES_OP(operation)(a, b); \
    }
#define LANES_FLOAT(name, operation)         \
    LANES_INLINE vecf name(vecf a, vecf b) { \
        return LANES_OP(operation)(a, b);    \
    }

LANES_BINARY(v_max8, max_epu8)
LANES_BINARY(v_min16, min_epi16)
/* Narrow 32 to 16 bits with signed saturation. */
LANES_BINARY(v_pack32_signed, packs_epi32)

LANES_FLOAT(f_sub, sub_ps)
LANES_FLOAT(f_div, div_ps)

LANES_INLINE vec
v_abs16(vec a) {
    return LANES_OP(abs_epi16)(a);
}

/* All bits of a lane where the comparison holds. */
LANES_INLINE vec
v_equal8(vec a, vec b) {
#if SIMD_LEVEL == SIMD_LEVEL_AVX512
    return _mm512_movm_epi8(_mm512_cmpeq_epi8_mask(a, b));
#else
    return LANES_OP(cmpeq_epi8)(a, b);
#endif
}

LANES_INLINE vec
v_equal32(vec a, vec b) {
#if SIMD_LEVEL == SIMD_LEVEL_AVX512
    return _mm512_movm_epi32(_mm512_cmpeq_epi32_mask(a, b));
#else
    return LANES_OP(cmpeq_epi32)(a, b);
#endif
}

LANES_INLINE vec
v_greater16(vec a, vec b) {
#if SIMD_LEVEL == SIMD_LEVEL_AVX512
    return _mm512_movm_epi16(_mm512_cmpgt_epi16_mask(a, b));
#else
    return LANES_OP(cmpgt_epi16)(a, b);
#endif
}

/* b without the bits of a. */
LANES_INLINE vec
v_without(vec a, vec b) {
    return LANES_BITS(andnot)(a, b);
}

/* b where the sign bit of the 32-bit lane is set, else a. */
LANES_INLINE vecf
f_select(vecf a, vecf b, vec sign) {
#if SIMD_LEVEL == SIMD_LEVEL_AVX512
    return _mm512_mask_blend_ps(_mm512_movepi32_mask(sign), a, b);
#elif SIMD_LEVEL == SIMD_LEVEL_AVX2
    return _mm256_blendv_ps(a, b, _mm256_castsi256_ps(sign));
#else
    return _mm_blendv_ps(a, b, _mm_castsi128_ps(sign));
#endif
}

LANES_INLINE vecf
f_from_bits(vec a) {
#if SIMD_LEVEL == SIMD_LEVEL_AVX512
    return _mm512_castsi512_ps(a);
#elif SIMD_LEVEL == SIMD_LEVEL_AVX2
    return _mm256_castsi256_ps(a);
#else
    return _mm_castsi128_ps(a);
#endif
}

LANES_INLINE vec
f_bits(vecf a) {
#if SIMD_LEVEL == SIMD_LEVEL_AVX512
    return _mm512_castps_si512(a);
#elif SIMD_LEVEL == SIMD_LEVEL_AVX2
    return _mm256_castps_si256(a);
#else
    return _mm_castps_si128(a);
#endif
}

#undef LANES_BINARY
#undef LANES_FLOAT

#endif
