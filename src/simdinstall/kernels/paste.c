/*
 * An image or a colour through a mask: each byte of the result is mixed from the one that is
 * there and the new one, by a byte of the mask.
 *
 * Stock's mixture is x = old * (255 - mask) + new * mask, divided by 255 and rounded as
 * ((x + 128 >> 8) + x + 128) >> 8. All of it fits into 16 bits without a sign.
 */
#include "paste.h"

#include "lanes.h"
#include "copy_rows.h"

LANES_INLINE vec
min8(vec a, vec b) {
    return LANES_OP(min_epu8)(a, b);
}

/* All bits of each byte that is zero. */
LANES_INLINE vec
zero_bytes(vec a) {
    vec one = LANES_OP(set1_epi8)(1);

    return LANES_OP(sub_epi8)(min8(a, one), one);
}

/* ------------------------------------------------------------------ ways to mix */

typedef vec
mixture(vec old, vec new, vec mask);

/* Of bytes in 16-bit lanes; old * 255 + (new - old) * mask is the same sum, modulo 2^16. */
LANES_INLINE vec
mixed_words(vec old, vec new, vec mask) {
    vec change = v_mullo16(v_sub16(new, old), mask);
    vec x = v_add16(v_sub16(v_shl16(old, 8), old), v_add16(change, v_set16(128)));

    return v_shr16(v_add16(v_shr16(x, 8), x), 8);
}

LANES_INLINE vec
mix(vec old, vec new, vec mask) {
    vec zero = v_zero();

    return v_pack16(
        mixed_words(v_low8(old, zero), v_low8(new, zero), v_low8(mask, zero)),
        mixed_words(v_high8(old, zero), v_high8(new, zero), v_high8(mask, zero))
    );
}

/* With a mask of mode 1: the new byte wherever the mask is not zero. */
LANES_INLINE vec
choose(vec old, vec new, vec mask) {
    vec keep = zero_bytes(mask);

    return v_or(v_and(keep, old), v_andnot(keep, new));
}

/* A colour onto pixels with alpha: where that is zero, the old colour does not count. */
LANES_INLINE vec
mix_over_alpha(vec old, vec new, vec mask) {
    static const uint8_t alphas[16] = {3, 3, 3, 3, 7, 7, 7, 7, 11, 11, 11, 11, 15, 15, 15, 15};
    vec hidden = zero_bytes(v_shuffle8(old, v_repeat128(alphas)));
    vec whole = v_andnot(zero_bytes(mask), hidden);

    return mix(old, new, v_or(mask, v_and(whole, v_set32(0x00ffffff))));
}

/* ------------------------------------------------------------------ masks */

/* The mask of the pixels that fit into a vector, a byte for each of their bytes. */
LANES_INLINE vec
load_mask(const uint8_t *mask, int mask_size, int size) {
    static const uint8_t firsts[16] = {0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12};
    static const uint8_t lasts[16] = {3, 3, 3, 3, 7, 7, 7, 7, 11, 11, 11, 11, 15, 15, 15, 15};

    if (size == 4 && mask_size == 1) {
        return v_shuffle8(v_load_bytes(mask), v_repeat128(firsts));
    }
    if (size == 4) {
        return v_shuffle8(v_load(mask), v_repeat128(lasts));
    }
    if (mask_size == 1) {
        return v_load(mask);
    }
    return v_narrow_to_bytes(
        v_shr32(v_load(mask), 24), v_shr32(v_load(mask + VEC_BYTES), 24),
        v_shr32(v_load(mask + 2 * VEC_BYTES), 24), v_shr32(v_load(mask + 3 * VEC_BYTES), 24)
    );
}

/* ------------------------------------------------------------------ rows */

/* A box of pixels. `in` is the new image, or NULL, and `ink` a vector of one colour. */
struct box {
    Imaging out, in, mask;
    const uint8_t *ink;
    int x, y;           /* in `out` */
    int from_x, from_y; /* in `in` and `mask` */
    int width, height;
};

LANES_INLINE void
mix_row(
    uint8_t *out, const uint8_t *in, int is_ink, const uint8_t *mask, int pixels, int size,
    int mask_size, mixture *how
) {
    int step = VEC_BYTES / size, x;

    for (x = 0; x <= pixels - step; x += step) {
        vec new = v_load(is_ink ? in : in + (size_t)x * size);

        v_store(
            out + (size_t)x * size,
            how(v_load(out + (size_t)x * size), new,
                load_mask(mask + (size_t)x * mask_size, mask_size, size))
        );
    }
    if (x < pixels) {
        /* The last pixels go through vectors that may be read and written whole. */
        uint8_t old[sizeof(vec)] = {0}, new[sizeof(vec)] = {0}, masks[4 * sizeof(vec)] = {0};
        size_t left = pixels - x;

        memcpy(old, out + (size_t)x * size, left * size);
        memcpy(new, is_ink ? in : in + (size_t)x * size, left * size);
        memcpy(masks, mask + (size_t)x * mask_size, left * mask_size);
        v_store(old, how(v_load(old), v_load(new), load_mask(masks, mask_size, size)));
        memcpy(out + (size_t)x * size, old, left * size);
    }
}

LANES_INLINE void
mix_rows(const struct box *box, int size, int mask_size, mixture *how) {
    int y;

    for (y = 0; y < box->height; y++) {
        int from = box->from_y + y;

        mix_row(
            (uint8_t *)box->out->image[box->y + y] + (size_t)box->x * size,
            box->in ? (const uint8_t *)box->in->image[from] + (size_t)box->from_x * size : box->ink,
            !box->in, (const uint8_t *)box->mask->image[from] + (size_t)box->from_x * mask_size,
            box->width, size, mask_size, how
        );
    }
}

/* Stock's cut to what lies within both images; 0 if nothing does. */
static int
cut(struct box *box, int dx0, int dy0, int dx1, int dy1) {
    int left = dx0 > 0 ? dx0 : 0, right = dx1 < box->out->xsize ? dx1 : box->out->xsize;
    int top = dy0 > 0 ? dy0 : 0, bottom = dy1 < box->out->ysize ? dy1 : box->out->ysize;

    box->x = left;
    box->y = top;
    box->from_x = left - dx0;
    box->from_y = top - dy0;
    box->width = right - left;
    box->height = bottom - top;
    return box->width > 0 && box->height > 0;
}

static int
has_alpha(Imaging im) {
    return im->mode == IMAGING_MODE_RGBA || im->mode == IMAGING_MODE_RGBa ||
           im->mode == IMAGING_MODE_LA || im->mode == IMAGING_MODE_La ||
           im->mode == IMAGING_MODE_PA;
}

static void
mix_box(const struct box *box) {
    ImagingSectionCookie cookie;
    ModeID mask = box->mask->mode;
    int narrow = box->out->pixelsize == 1;

    ImagingSectionEnter(&cookie);
    if (mask == IMAGING_MODE_1) {
        narrow ? mix_rows(box, 1, 1, choose) : mix_rows(box, 4, 1, choose);
    } else if (mask != IMAGING_MODE_L) {
        narrow ? mix_rows(box, 1, 4, mix) : mix_rows(box, 4, 4, mix);
    } else if (!box->in && has_alpha(box->out)) {
        mix_rows(box, 4, 1, mix_over_alpha);
    } else {
        narrow ? mix_rows(box, 1, 1, mix) : mix_rows(box, 4, 1, mix);
    }
    ImagingSectionLeave(&cookie);
}

static void
copy_box(const struct box *box) {
    ImagingSectionCookie cookie;
    size_t size = (size_t)box->out->pixelsize;
    struct walk to = {box->out->image + box->y, 1, (size_t)box->x * size};
    struct walk from = {box->in->image + box->from_y, 1, (size_t)box->from_x * size};

    ImagingSectionEnter(&cookie);
    copy_rows(&to, &from, box->height, box->width * (int)size);
    ImagingSectionLeave(&cookie);
}

int
SIMD_NAME(paste)(
    Imaging imOut, Imaging imIn, Imaging imMask, int dx0, int dy0, int dx1, int dy1
) {
    struct box box = {.out = imOut, .in = imIn, .mask = imMask};

    if (cut(&box, dx0, dy0, dx1, dy1)) {
        if (imMask) {
            mix_box(&box);
        } else {
            copy_box(&box);
        }
    }
    return 0;
}

int
SIMD_NAME(fill_masked)(
    Imaging imOut, const void *ink, Imaging imMask, int dx0, int dy0, int dx1, int dy1
) {
    uint8_t inks[sizeof(vec)];
    struct box box = {.out = imOut, .mask = imMask, .ink = inks};
    size_t i;

    for (i = 0; i < sizeof(vec); i++) {
        inks[i] = ((const uint8_t *)ink)[i % imOut->pixelsize];
    }
    if (cut(&box, dx0, dy0, dx1, dy1)) {
        mix_box(&box);
    }
    return 0;
}
