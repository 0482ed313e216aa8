/*
 * What Pillow-SIMD's sources include as "Imaging.h": the same names over our own view
 * of Pillow. Their headers are not on the include path, so they find this one.
 */
#ifndef SIMDINSTALL_PILLOW_SIMD_IMAGING_H
#define SIMDINSTALL_PILLOW_SIMD_IMAGING_H

#include <float.h>
#include <math.h>
#include <stdio.h>

#include "dispatch.h"
#include "pillow.h"

#define INT8 int8_t
#define UINT8 uint8_t
#define INT16 int16_t
#define UINT16 uint16_t
#define FLOAT32 float
#define FLOAT64 double

/*
 * The sources read pairs of 16-bit coefficients and rows of bytes through pointers to
 * 32-bit integers. Such reads are neither aligned nor of the type that was stored;
 * these types make them defined.
 */
typedef int32_t pillow_simd_int32 __attribute__((aligned(1), may_alias));
typedef uint32_t pillow_simd_uint32 __attribute__((aligned(1), may_alias));
#define INT32 pillow_simd_int32
#define UINT32 pillow_simd_uint32

/* The name that Pillow had for IMAGING_TYPE_I16 until 12.1. */
#define IMAGING_TYPE_SPECIAL IMAGING_TYPE_I16

#ifndef M_PI
#define M_PI 3.1415926535897932384626433832795
#endif

#define MAKE_UINT32(u0, u1, u2, u3) \
    ((uint32_t)(u0) | (uint32_t)(u1) << 8 | (uint32_t)(u2) << 16 | (uint32_t)(u3) << 24)

/* The usual exact division by 255 of a product of two bytes, rounded. */
#define SHIFTFORDIV255(a) ((((a) >> 8) + (a)) >> 8)
#define DIV255(a, tmp) (tmp = (a) + 128, SHIFTFORDIV255(tmp))
#define MULDIV255(a, b, tmp) DIV255((a) * (b), tmp)

#define CLIP8(v) ((v) <= 0 ? 0 : (v) < 256 ? (v) : 255)

static inline float
_i2f(int value) {
    return (float)value;
}

/* Harmless, and not ours to change. Their vectors are set before the loops that use them. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wold-style-declaration"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include "ImagingSIMD.h"

#endif
