/*
 * What the kernels know of Pillow: its image struct and a few public functions.
 *
 * `pillow_abi.h` is generated for one official extension, from its own debug
 * information: struct ImagingMemoryInstance with each field at the place where
 * that extension has it, ModeID with its values, a PILLOW_HAS_<field> for every
 * field, PILLOW_PROTOTYPE_<function> with the number that manifest.toml gives to
 * the prototype, and PILLOW_RELEASE_NUMBER. So nothing here needs a header of Pillow or
 * of Python.
 */
#ifndef SIMDINSTALL_PILLOW_H
#define SIMDINSTALL_PILLOW_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct ImagingMemoryInstance *Imaging;
typedef struct ImagingPaletteInstance *ImagingPalette;
typedef void *ImagingSectionCookie;
/* Turns a line of pixels of an image into one of a file, or back. */
typedef void (*ImagingShuffler)(uint8_t *out, const uint8_t *in, int pixels);
/* An enum. Kernels hand its values on and need not know them. */
typedef unsigned int RawModeID;

#include "pillow_abi.h"

/* What a decoder does with a piece of a file, and an encoder with the room for one. */
typedef int
ImagingDecoder(Imaging im, ImagingCodecState state, uint8_t *buf, long bytes);
typedef int
ImagingEncoder(Imaging im, ImagingCodecState state, uint8_t *buf, int bytes);

/* struct ImagingMemoryInstance, field `type` */
#define IMAGING_TYPE_UINT8 0
#define IMAGING_TYPE_INT32 1
#define IMAGING_TYPE_FLOAT32 2
#define IMAGING_TYPE_I16 3

/* ImagingResample, argument `filter` */
#define IMAGING_TRANSFORM_NEAREST 0
#define IMAGING_TRANSFORM_LANCZOS 1
#define IMAGING_TRANSFORM_BILINEAR 2
#define IMAGING_TRANSFORM_BICUBIC 3
#define IMAGING_TRANSFORM_BOX 4
#define IMAGING_TRANSFORM_HAMMING 5
#define IMAGING_TRANSFORM_MKS2013 6
#define IMAGING_TRANSFORM_MKS2021 7

/* Public functions that kernels call; the official extension defines them. */
extern Imaging
ImagingNewDirty(ModeID mode, int xsize, int ysize);
extern Imaging
ImagingNew(ModeID mode, int xsize, int ysize);
extern void
ImagingDelete(Imaging im);
extern Imaging
ImagingCopy(Imaging im);
extern void
ImagingCopyPalette(Imaging destination, Imaging source);
extern Imaging
ImagingGaussianBlur(Imaging imOut, Imaging imIn, float xradius, float yradius, int passes);

/* Shufflers: lines of 4-byte pixels to and from bytes in threes, in order or reversed. */
extern void
ImagingPackRGB(uint8_t *out, const uint8_t *in, int pixels);
extern void
ImagingPackBGR(uint8_t *out, const uint8_t *in, int pixels);
extern void
ImagingUnpackRGB(uint8_t *out, const uint8_t *in, int pixels);
extern void
ImagingUnpackBGR(uint8_t *out, const uint8_t *in, int pixels);

/* Give the interpreter's lock away for a while, and take it back. */
extern void
ImagingSectionEnter(ImagingSectionCookie *cookie);
extern void
ImagingSectionLeave(ImagingSectionCookie *cookie);

/* Set the Python exception and return NULL. */
extern void *
ImagingError_MemoryError(void);
extern void *
ImagingError_ModeError(void);
extern void *
ImagingError_Mismatch(void);
extern void *
ImagingError_ValueError(const char *message);

/*
 * In builds for free-threaded Python each image carries a lock, which Pillow holds
 * while it reads pixels that another thread could write. Elsewhere these are empty.
 * Take it where stock takes it, and in the same place relative to the sections.
 */
#ifdef PILLOW_HAS_mutex
extern void
PyMutex_Lock(void *mutex);
extern void
PyMutex_Unlock(void *mutex);
#define IMAGE_LOCK(im) PyMutex_Lock((void *)&(im)->mutex)
#define IMAGE_UNLOCK(im) PyMutex_Unlock((void *)&(im)->mutex)
#else
#define IMAGE_LOCK(im) ((void)(im))
#define IMAGE_UNLOCK(im) ((void)(im))
#endif

/* ImagingConvert always made a new image, and since 13.0 also writes into a given one. */
#if PILLOW_PROTOTYPE_ImagingConvert == 2
#define CONVERT_PARAMETERS \
    Imaging imOut, Imaging imIn, ModeID mode, ImagingPalette palette, int dither
#define CONVERT_ARGUMENTS imOut, imIn, mode, palette, dither
#else
#define CONVERT_PARAMETERS Imaging imIn, ModeID mode, ImagingPalette palette, int dither
#define CONVERT_ARGUMENTS imIn, mode, palette, dither
#endif

/* ImagingConvertMatrix reads its matrix as const since 12.3. */
#if PILLOW_PROTOTYPE_ImagingConvertMatrix == 2
#define MATRIX_PARAMETERS Imaging im, ModeID mode, const float *m
#else
#define MATRIX_PARAMETERS Imaging im, ModeID mode, float *m
#endif

#endif
