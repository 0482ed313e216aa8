/* ImagingAlphaComposite as Pillow-SIMD has it. */
#include "Imaging.h"
#include "pillow_simd.h"

#define ImagingAlphaComposite SIMD_NAME(pillow_simd_alpha_composite)

#include "AlphaComposite.c"
