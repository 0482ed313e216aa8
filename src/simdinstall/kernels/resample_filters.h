/*
 * The weights of stock's resampling filters and where stock applies them. The same
 * operations on doubles in the same order, so that every bit is the same.
 */
#ifndef SIMDINSTALL_RESAMPLE_FILTERS_H
#define SIMDINSTALL_RESAMPLE_FILTERS_H

#include <math.h>

#include "pillow.h"

static inline double
filter_support(int filter) {
    switch (filter) {
        case IMAGING_TRANSFORM_BOX:
            return 0.5;
        case IMAGING_TRANSFORM_BILINEAR:
        case IMAGING_TRANSFORM_HAMMING:
            return 1.0;
        case IMAGING_TRANSFORM_BICUBIC:
            return 2.0;
        case IMAGING_TRANSFORM_LANCZOS:
            return 3.0;
        case IMAGING_TRANSFORM_MKS2013:
            return 2.5;
        default: /* IMAGING_TRANSFORM_MKS2021 */
            return 4.5;
    }
}

static inline double
filter_sinc(double x) {
    if (x == 0.0) {
        return 1.0;
    }
    x *= M_PI;
    return sin(x) / x;
}

static inline double
filter_bicubic(double x) {
    const double a = -0.5;

    if (x < 1.0) {
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    }
    return x < 2.0 ? (((x - 5) * x + 8) * x - 4) * a : 0.0;
}

static inline double
filter_hamming(double x) {
    if (x == 0.0) {
        return 1.0;
    }
    if (x >= 1.0) {
        return 0.0;
    }
    x *= M_PI;
    return sin(x) / x * (0.54f + 0.46f * cos(x));
}

/* "Magic kernel sharp" of 2013 and 2021: https://johncostella.com/magic/ */
static inline double
filter_mks2013(double x) {
    if (x < 0.5) {
        return 17.0 / 16.0 - 7.0 / 4.0 * (x * x);
    }
    if (x < 1.5) {
        return (1.0 - x) * (7.0 / 4.0 - x);
    }
    if (x < 2.5) {
        x -= 5.0 / 2.0;
        return -1.0 / 8.0 * (x * x);
    }
    return 0.0;
}

static inline double
filter_mks2021(double x) {
    if (x < 0.5) {
        return 577.0 / 576.0 - 239.0 / 144.0 * (x * x);
    }
    if (x < 1.5) {
        return 35.0 / 36.0 * (x - 1.0) * (x - 239.0 / 140.0);
    }
    if (x < 2.5) {
        return 1.0 / 6.0 * (x - 2.0) * (65.0 / 24.0 - x);
    }
    if (x < 3.5) {
        return 1.0 / 36.0 * (x - 3.0) * (x - 15.0 / 4.0);
    }
    if (x < 4.5) {
        x -= 9.0 / 2.0;
        return -1.0 / 288.0 * (x * x);
    }
    return 0.0;
}

static inline double
filter_weight(int filter, double x) {
    const double distance = x < 0.0 ? -x : x;

    switch (filter) {
        case IMAGING_TRANSFORM_BOX:
            return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
        case IMAGING_TRANSFORM_BILINEAR:
            return distance < 1.0 ? 1.0 - distance : 0.0;
        case IMAGING_TRANSFORM_HAMMING:
            return filter_hamming(distance);
        case IMAGING_TRANSFORM_BICUBIC:
            return filter_bicubic(distance);
        case IMAGING_TRANSFORM_LANCZOS:
            return -3.0 <= x && x < 3.0 ? filter_sinc(x) * filter_sinc(x / 3) : 0.0;
        case IMAGING_TRANSFORM_MKS2013:
            return filter_mks2013(distance);
        default: /* IMAGING_TRANSFORM_MKS2021 */
            return filter_mks2021(distance);
    }
}

/* What is the same for all outputs of an axis. */
struct filter_scale {
    double scale;
    double support;
    double inverse;
    int taps_max;
};

/*
 * The longest line served: up to here a float holds every whole number, so that a box
 * never ends beyond the image. No position comes near INT_MAX then.
 */
#define FILTER_IN_MAX (1 << 24)
#define FILTER_SUPPORT_MAX (1 << 26)

/* False where stock would raise MemoryError, or numbers are beyond the limits above. */
static inline int
filter_set_scale(struct filter_scale *s, int in, float from, float to, int out, int filter) {
    double stretch;

    s->scale = (double)(to - from) / out;
    stretch = s->scale < 1.0 ? 1.0 : s->scale;
    s->support = filter_support(filter) * stretch;
    s->inverse = 1.0 / stretch;
    if (!(s->support <= FILTER_SUPPORT_MAX) || in > FILTER_IN_MAX) {
        return 0;
    }
    s->taps_max = (int)ceil(s->support) * 2 + 1;
    return out <= INT_MAX / (s->taps_max * (int)sizeof(double));
}

/* Output `i` is made of source positions [*first, *first + the returned number). */
static inline int
filter_window(const struct filter_scale *s, int in, float from, int i, int *first) {
    double center = from + (i + 0.5) * s->scale;
    int begin = (int)(center - s->support + 0.5);
    int end = (int)(center + s->support + 0.5);

    *first = begin < 0 ? 0 : begin;
    return (end > in ? in : end) - *first;
}

/* Their normalised weights. */
static inline void
filter_weights(
    const struct filter_scale *s, float from, int filter, int i, int first, int count, double *k
) {
    double center = from + (i + 0.5) * s->scale;
    double sum = 0.0;
    int x;

    for (x = 0; x < count; x++) {
        k[x] = filter_weight(filter, (x + first - center + 0.5) * s->inverse);
        sum += k[x];
    }
    if (sum != 0.0) {
        for (x = 0; x < count; x++) {
            k[x] /= sum;
        }
    }
}

#endif
