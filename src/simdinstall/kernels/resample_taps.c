/* Filter taps: computed as stock does, recoded for SIMD, cached. */
#include "resample_taps.h"

#include <stdlib.h>
#include <string.h>

#include "resample_filters.h"

/* Stock's fixed point: 32 bits less 8 for the result and 2 for overflow. */
#define PRECISION_BITS 22

/* ------------------------------------------------------------------ one group */

/*
 * Recode four coefficients. Returns 0 if they are outside the range for which the
 * arithmetic of resample_bytes.c is exact. That range is generous: windows lie around a
 * place inside the image, so the absolute values of an output's coefficients add up to
 * less than 1.6 (Lanczos at a corner), while 2.0 is allowed.
 */
#if SIMD_LEVEL == SIMD_LEVEL_AVX512
static int
encode_group(uint32_t words[TAPS_WORDS], const int32_t k[4]) {
    int i, digit;

    memset(words, 0, TAPS_WORDS * sizeof(words[0]));
    for (i = 0; i < 4; i++) {
        int32_t rest = k[i];
        for (digit = 0; digit < TAPS_WORDS; digit++) {
            int8_t d = (int8_t)rest;
            words[digit] |= (uint32_t)(uint8_t)d << (8 * i);
            rest = (rest - d) >> 8;
        }
        if (rest != 0) {
            return 0;
        }
    }
    return 1;
}
#else
static int
encode_group(uint32_t words[TAPS_WORDS], const int32_t k[4]) {
    int32_t high[4];
    uint32_t low[4];
    int i;

    for (i = 0; i < 4; i++) {
        int16_t signed_low = (int16_t)k[i];
        low[i] = (uint16_t)signed_low;
        high[i] = (k[i] - signed_low) >> 16;
    }
    /*
     * pmaddubsw adds two products of a pixel (0 .. 255) and a signed byte and saturates
     * at 16 bits, from -32768 to 32767: 255 * 128 still fits.
     */
    for (i = 0; i < 4; i += 2) {
        int32_t above = (high[i] > 0 ? high[i] : 0) + (high[i + 1] > 0 ? high[i + 1] : 0);
        int32_t below = (high[i] < 0 ? high[i] : 0) + (high[i + 1] < 0 ? high[i + 1] : 0);
        if (above > 128 || below < -128 || high[i] > 127 || high[i + 1] > 127) {
            return 0;
        }
    }
    words[0] = (uint8_t)high[0] | (uint32_t)(uint8_t)high[1] << 8 |
               (uint32_t)(uint8_t)high[2] << 16 | (uint32_t)(uint8_t)high[3] << 24;
    words[1] = low[0] | low[2] << 16;
    words[2] = low[1] | low[3] << 16;
    return 1;
}
#endif

/* ------------------------------------------------------------------ one axis */

static int
groups_of_window(int first, int count, int phases) {
    return count > 0 ? (first % (4 / phases) + count + 3) / 4 : 0;
}

static int32_t
fixed_point(double weight) {
    double scaled = weight * (1 << PRECISION_BITS);

    return weight < 0 ? (int)(-0.5 + scaled) : (int)(0.5 + scaled);
}

static int
groups_of_axis(const struct axis *axis, const struct filter_scale *scale, int phases) {
    int i, most = 1;

    for (i = 0; i < axis->out; i++) {
        int first, count = filter_window(scale, axis->in, axis->from, i, &first);
        int groups = groups_of_window(first, count, phases);
        if (groups > most) {
            most = groups;
        }
    }
    return most;
}

/* More phases are more work with the source, which pays when there are more outputs. */
static void
choose_phases(struct taps *taps, const struct filter_scale *scale) {
    const struct axis *axis = &taps->axis;
    int phases;

    taps->phases = 1;
    taps->groups = groups_of_axis(axis, scale, 1);
    if (axis->kind == TAPS_DOWN || axis->out < axis->in) {
        return;
    }
    for (phases = 2; phases <= 4; phases *= 2) {
        int groups = groups_of_axis(axis, scale, phases);
        if (groups < taps->groups) {
            taps->phases = phases;
            taps->groups = groups;
        }
    }
}

/*
 * Fills windows and words. All outputs get the same number of groups, so that the
 * horizontal pass has one branch pattern for a whole line; where the window would reach
 * past the last group, it starts earlier instead, with zeros in front.
 */
static int
fill_taps(struct taps *taps, const struct filter_scale *scale, double *weights, int32_t *fixed) {
    const struct axis *axis = &taps->axis;
    const int step = 4 / taps->phases;
    const int last_start = ((axis->in + 3) / 4 - taps->groups) * taps->phases;
    int i, x, g;

    for (i = 0; i < axis->out; i++) {
        struct window *window = &taps->windows[i];
        uint32_t *words = taps->words + (size_t)i * taps->groups * TAPS_WORDS;
        int first, count = filter_window(scale, axis->in, axis->from, i, &first);
        int start = first / step < last_start ? first / step : last_start;

        window->start = start;
        window->lead = count > 0 ? (first - start * step) / 4 : 0;
        window->count = count > 0 ? (first - start * step + count + 3) / 4 - window->lead : 1;

        filter_weights(scale, axis->from, axis->filter, i, first, count, weights);
        memset(fixed, 0, (size_t)taps->groups * 4 * sizeof(fixed[0]));
        for (x = 0; x < count; x++) {
            fixed[first - start * step + x] = fixed_point(weights[x]);
        }
        for (g = 0; g < taps->groups; g++) {
            if (!encode_group(words + g * TAPS_WORDS, fixed + g * 4)) {
                return 0;
            }
        }
    }
    return 1;
}

/* Weights as they are. One that is not finite would be a case of its own: stock's. */
static int
fill_weights(struct taps *taps, const struct filter_scale *scale) {
    const struct axis *axis = &taps->axis;
    int i, x;

    for (i = 0; i < axis->out; i++) {
        double *weights = taps->weights + (size_t)i * taps->groups;
        int first, count = filter_window(scale, axis->in, axis->from, i, &first);

        taps->windows[i] = (struct window){.start = first, .count = count};
        filter_weights(scale, axis->from, axis->filter, i, first, count, weights);
        for (x = 0; x < count; x++) {
            if (!isfinite(weights[x])) {
                return 0;
            }
        }
    }
    return 1;
}

static int
most_weights(const struct axis *axis, const struct filter_scale *scale) {
    int i, first, most = 1;

    for (i = 0; i < axis->out; i++) {
        int count = filter_window(scale, axis->in, axis->from, i, &first);
        most = count > most ? count : most;
    }
    return most;
}

static void
taps_free(struct taps *taps) {
    free(taps->windows);
    free(taps->words);
    free(taps->weights);
    free(taps);
}

/* Of what belongs to one output. */
static size_t
output_size(const struct taps *taps) {
    return (size_t)taps->groups * (taps->axis.kind == TAPS_DOUBLES
                                       ? sizeof(taps->weights[0])
                                       : TAPS_WORDS * sizeof(taps->words[0]));
}

static size_t
taps_size(const struct taps *taps) {
    return (size_t)taps->axis.out * (sizeof(taps->windows[0]) + output_size(taps));
}

/* Memory for the taps themselves, and the taps. 0 if there is none, or they do not fit. */
static int
fill_doubles(struct taps *taps, const struct filter_scale *scale) {
    taps->phases = 1;
    taps->groups = most_weights(&taps->axis, scale);
    taps->windows = malloc((size_t)taps->axis.out * sizeof(taps->windows[0]));
    taps->weights = malloc(taps->axis.out * output_size(taps));
    return taps->windows && taps->weights && fill_weights(taps, scale);
}

static int
fill_recoded(struct taps *taps, const struct filter_scale *scale) {
    double *weights = malloc((size_t)scale->taps_max * sizeof(*weights));
    int32_t *fixed;
    int filled;

    choose_phases(taps, scale);
    /* No overflow: taps_max * out * 8 fits an int, and taps_max >= 2 * groups - 1. */
    taps->windows = malloc((size_t)taps->axis.out * sizeof(taps->windows[0]));
    taps->words = malloc(taps->axis.out * output_size(taps));
    fixed = malloc((size_t)taps->groups * 4 * sizeof(*fixed));
    filled = taps->windows && taps->words && weights && fixed &&
             fill_taps(taps, scale, weights, fixed);
    free(weights);
    free(fixed);
    return filled;
}

static struct taps *
taps_new(const struct axis *axis) {
    struct filter_scale scale;
    struct taps *taps;

    if (!filter_set_scale(
            &scale, axis->in, axis->from, axis->to, axis->out, axis->filter
        )) {
        return NULL;
    }
    taps = calloc(1, sizeof(*taps));
    if (!taps) {
        return NULL;
    }
    taps->axis = *axis;
    atomic_init(&taps->references, 1);
    if (!(axis->kind == TAPS_DOUBLES ? fill_doubles : fill_recoded)(taps, &scale)) {
        taps_free(taps);
        return NULL;
    }
    return taps;
}

/* ------------------------------------------------------------------ cache */

/*
 * Programs resize many images of one size to one other size; computing the sines
 * would be a sixth of that time. At most CACHE_ENTRIES * CACHE_SIZE_MAX bytes are kept.
 *
 * One flag guards the table. Nobody waits for it: who finds it taken computes the taps
 * anew, so a fork at the wrong moment can cost speed but never stops a process.
 * Taps are not changed after they were computed, and live until the last user, of
 * which the table is one, has let go.
 */
#define CACHE_ENTRIES 8
#define CACHE_SIZE_MAX (256 * 1024)

static atomic_flag cache_taken = ATOMIC_FLAG_INIT;
static struct taps *cache[CACHE_ENTRIES];
static unsigned int cache_clock;

static int
cache_lock(void) {
    return !atomic_flag_test_and_set_explicit(&cache_taken, memory_order_acquire);
}

static void
cache_unlock(void) {
    atomic_flag_clear_explicit(&cache_taken, memory_order_release);
}

static int
same_axis(const struct axis *a, const struct axis *b) {
    return a->in == b->in && a->from == b->from && a->to == b->to && a->out == b->out &&
           a->filter == b->filter && a->kind == b->kind;
}

static struct taps *
cache_find(const struct axis *axis) {
    struct taps *found = NULL;
    int i;

    if (!cache_lock()) {
        return NULL;
    }
    for (i = 0; i < CACHE_ENTRIES && !found; i++) {
        if (cache[i] && same_axis(&cache[i]->axis, axis)) {
            found = cache[i];
            found->last_use = ++cache_clock;
            atomic_fetch_add_explicit(&found->references, 1, memory_order_relaxed);
        }
    }
    cache_unlock();
    return found;
}

/* Put taps in the place of those that were not used for longest. */
static void
cache_add(struct taps *taps) {
    struct taps *replaced = NULL;
    int i, place = 0, known = 0;

    if (taps_size(taps) > CACHE_SIZE_MAX || !cache_lock()) {
        return;
    }
    for (i = 0; i < CACHE_ENTRIES && !known; i++) {
        known = cache[i] && same_axis(&cache[i]->axis, &taps->axis);
        if (cache[place] &&
            (!cache[i] ||
             cache_clock - cache[i]->last_use > cache_clock - cache[place]->last_use)) {
            place = i;
        }
    }
    if (!known) {
        replaced = cache[place];
        taps->last_use = ++cache_clock;
        atomic_fetch_add_explicit(&taps->references, 1, memory_order_relaxed);
        cache[place] = taps;
    }
    cache_unlock();
    if (replaced) {
        SIMD_NAME(taps_release)(replaced);
    }
}

const struct taps *
SIMD_NAME(taps_get)(const struct axis *axis) {
    struct taps *taps = cache_find(axis);

    if (!taps) {
        taps = taps_new(axis);
        if (taps) {
            cache_add(taps);
        }
    }
    return taps;
}

void
SIMD_NAME(taps_release)(const struct taps *taps) {
    struct taps *mine = (struct taps *)taps;

    if (atomic_fetch_sub_explicit(&mine->references, 1, memory_order_acq_rel) == 1) {
        taps_free(mine);
    }
}
