/*
 * A kernel library for tests of verification: it stands in front of ImagingResample,
 * counts like the real one, and misbehaves on demand.
 *
 *   WRONG_BY=n     adds n to the first byte of every result of one row or more
 *   CRASH_WIDTH=n  ends the process when the target is n pixels wide
 *   IDLE           registers a kernel that is never used
 *   NO_LOAD        cannot be loaded
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>

/* The parts of Pillow 13's image that are needed: rows and sizes. */
typedef struct image {
    int mode, type, depth, bands, xsize, ysize;
    void *palette;
    unsigned char **image8;
    int **image32;
    char **image;
} *Imaging;

struct entry {
    const char *function, *kernel;
    int level;
    unsigned long long calls;
};

static struct entry entries[] = {
    {"ImagingResample", "forward", 2, 0},
    {"ImagingResample", "forward", 1, 0},
#ifdef IDLE
    {"ImagingResample", "idle", 2, 0},
#endif
    {"ImagingResample", "stock", 0, 0},
};
static int level = 2;
static Imaging (*next)(Imaging, int, int, int, float *);

__attribute__((constructor)) static void
set_up(void) {
    next = (Imaging (*)(Imaging, int, int, int, float *))dlsym(RTLD_NEXT, "ImagingResample");
}

int
pillow_simd_level(void) {
    return level;
}

int
pillow_simd_set_level(int wanted) {
    return level = wanted > 2 ? 2 : wanted;
}

int
pillow_simd_entries(const struct entry **out) {
    *out = entries;
    return sizeof(entries) / sizeof(entries[0]);
}

void
pillow_simd_reset(void) {
    for (unsigned i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
        entries[i].calls = 0;
    }
}

const char *
pillow_simd_build(void) {
    return "a fake for tests";
}

Imaging
ImagingResample(Imaging in, int xsize, int ysize, int filter, float *box) {
    Imaging out;
#ifdef CRASH_WIDTH
    if (xsize == CRASH_WIDTH) {
        abort();
    }
#endif
    out = next(in, xsize, ysize, filter, box);
    entries[level == 2 ? 0 : level == 1 ? 1 : sizeof(entries) / sizeof(entries[0]) - 1].calls++;
#ifdef WRONG_BY
    if (out && level > 0 && out->image8) {
        out->image8[0][0] ^= WRONG_BY;
    }
#endif
    return out;
}

#ifdef NO_LOAD
extern void this_symbol_is_nowhere(void);
__attribute__((constructor)) static void
fail(void) {
    this_symbol_is_nowhere();
}
#endif
