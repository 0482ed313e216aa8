/* More operations on bytes, for the filters of PNG. */
#ifndef SIMDINSTALL_PNG_LANES_H
#define SIMDINSTALL_PNG_LANES_H

#include "lanes.h"

#define LANES_BINARY(name, operation)     \
    LANES_INLINE vec name(vec a, vec b) { \
        return LANES_OP(operation)(a, b); \
    }

/* Saturating, unsigned. */
LANES_BINARY(v_adds8, adds_epu8)
LANES_BINARY(v_subs8, subs_epu8)
/* Half of the sum, rounded up. */
LANES_BINARY(v_avg8, avg_epu8)
LANES_BINARY(v_add64, add_epi64)

/* Distance of signed bytes from zero; 128 for -128. */
LANES_INLINE vec
v_abs8(vec a) {
    return LANES_OP(abs_epi8)(a);
}

/* Sums of 8 unsigned bytes each, in 64-bit lanes. */
LANES_INLINE vec
v_sums8(vec a) {
    return LANES_OP(sad_epu8)(a, v_zero());
}

/* The sum of all 64-bit lanes. */
LANES_INLINE uint64_t
v_total64(vec a) {
    uint64_t lanes[sizeof(vec) / 8], total = 0;
    size_t i;

    v_store(lanes, a);
    for (i = 0; i < sizeof(vec) / 8; i++) {
        total += lanes[i];
    }
    return total;
}

/* Byte by byte: yes where p and q are equal, else no. */
LANES_INLINE vec
v_where_equal8(vec p, vec q, vec yes, vec no) {
    return LANES_OP(blendv_epi8)(no, yes, LANES_OP(cmpeq_epi8)(p, q));
}

#undef LANES_BINARY

#endif
