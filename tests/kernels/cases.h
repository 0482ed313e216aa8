/*
 * Random calls of Pillow's functions, made and compared in C: millions in an hour.
 *
 * A case is a number: the same number is the same call, whatever ran before. It is
 * performed at level 0, where Pillow's own code serves it, and at each level above; every
 * byte of the results must be the same.
 */
#ifndef SIMDINSTALL_CASES_H
#define SIMDINSTALL_CASES_H

#include "dispatch.h"
#include "pillow.h"

#define RESULTS_MAX 4
#define TABLE_MAX (17 * 17 * 17 * 4)

struct random_numbers {
    uint64_t state;
};

struct call {
    struct random_numbers random;
    /* Whether every row, of sources too, lies between pages that cannot be touched. */
    int guarded;
    /* What the call is given. Images that it may not write are in read-only memory. */
    Imaging in, other, bands[4];
    /* A template of the image to write into, or NULL; with `in_place` it is `in` too. */
    int give_out, in_place;
    ModeID mode;
    int out_width, out_height;
    int numbers[8];
    float floats[32];
    int16_t *table;
    /* Set by each performance. */
    Imaging out;
    Imaging results[RESULTS_MAX];
    int value; /* of functions that return an int */
};

struct subject {
    const char *function;
    void (*choose)(struct call *);
    void (*perform)(struct call *);
    /* Stock leaves the fourth byte of pixels with three bands as the memory was. */
    int fourth_byte_is_open;
};

/* The function's subject, or NULL. */
const struct subject *
cases_subject(const char *function);

/* Random numbers. */
uint64_t
draw(struct call *call);
/* From 0 to below `limit`. */
int
below(struct call *call, int limit);
/* From 0 to 1. */
double
fraction(struct call *call);
int
one_in(struct call *call, int times);
/* A float that is hard: huge, tiny, infinite, not a number. */
float
extreme(struct call *call);

/* A side of an image: mostly short, often around a vector's width, seldom 0 or 2**15. */
int
side(struct call *call);
/* An image of that mode and size with random pixels, which cannot be written to. */
Imaging
source(struct call *call, ModeID mode, int width, int height);
/* The same with a random size; and one that is wide enough for every kernel. */
Imaging
any_source(struct call *call, ModeID mode);
Imaging
wide_source(struct call *call, ModeID mode);
/* One of the modes that there are. */
ModeID
any_mode(struct call *call);

#endif
