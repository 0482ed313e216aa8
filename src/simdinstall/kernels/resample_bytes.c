/*
 * Resample for 8-bit bands.
 *
 * Arithmetic. Stock computes, in 32-bit integers,
 *
 *     clip8((2**21 + sum of pixel * k) >> 22),
 *
 * first along lines, then along columns (or the other way round), rounded to 8 bits in
 * between. Everything here computes the same sum modulo 2**32, so the result is the
 * same, whatever the sum is. What makes it fast is that k is split into digits that suit
 * the multipliers of the CPU; resample_taps.h says how they are stored. Four pixels of
 * one band lie in one 32-bit lane, a "group".
 *
 * - AVX-512 VNNI: vpdpbusd multiplies four pixels by four signed bytes and adds all to
 *   a 32-bit sum. One for each of the three digits of k.
 * - SSE4 and AVX2: k = high * 2**16 + low. pmaddwd multiplies 16-bit pixels by the low
 *   parts: the even two of a group, then the odd two. Of the sum of pixel * high only
 *   the lowest 16 bits count, since it is to be multiplied by 2**16, so pmaddubsw and
 *   16-bit additions, which wrap around, are enough. (pmaddubsw itself would
 *   saturate; encode_group makes sure that it cannot.)
 *
 * Passes. The source is taken in strips of four lines for each 128-bit part of a vector.
 *
 *     lines --deinterleave--> planes: for every four pixels and every band a vector,
 *                             lane i = these four pixels of line i
 *     planes --horizontal--> ring: lines of groups. A group is now four lines of one
 *                            band of one pixel
 *     ring --vertical--> lines of the result
 *
 * The ring holds as many lines of groups as the filter is high; there is no image in
 * between. Without a horizontal pass the ring is filled from the source ("interleave"),
 * without a vertical one it is only rearranged to lines ("emit"). Planes are made a few
 * groups ahead of where they are needed, to find them in the L1 cache.
 *
 * Bands. Stock computes 1 to 4 bands a pixel and writes 0 for what a mode does not use:
 * LA is in bytes 0 and 3, RGB in 0 to 2. Only bands in use are worked on, and every
 * function that touches pixels is compiled for each number of them.
 */
#include "resample_passes.h"

#include "lanes.h"

#define PRECISION_BITS 22

/* Lines in a strip, one in each 32-bit lane of a vector. */
#define STRIP_LINES (4 * VEC_PARTS)

/* Bytes of padding behind every buffer, so that whole vectors can be read and written. */
#define SLACK (8 * VEC_BYTES)

/* ------------------------------------------------------------------ sums */

/*
 * Additions to running sums are given as instructions. Of the plain ones GCC 12 makes
 * additions and moves to and fro, or regroups them until it runs out of registers; that
 * took up to half as long again.
 */

#if SIMD_LEVEL == SIMD_LEVEL_AVX512

struct coefficients {
    vec digit[3];
};

struct sum {
    vec digit[3];
};

LANES_INLINE struct coefficients
load_coefficients(const uint32_t *words) {
    return (struct coefficients){{v_set32(words[0]), v_set32(words[1]), v_set32(words[2])}};
}

LANES_INLINE void
add_dot_product(vec *sum, vec pixels, vec k) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(*sum) : "v"(pixels), "v"(k));
}

LANES_INLINE void
add_group(struct sum *s, vec pixels, const struct coefficients *k) {
    add_dot_product(&s->digit[0], pixels, k->digit[0]);
    add_dot_product(&s->digit[1], pixels, k->digit[1]);
    add_dot_product(&s->digit[2], pixels, k->digit[2]);
}

LANES_INLINE void
first_group(struct sum *s, vec pixels, const struct coefficients *k) {
    s->digit[0] = v_set32(1 << (PRECISION_BITS - 1));
    s->digit[1] = s->digit[2] = v_zero();
    add_group(s, pixels, k);
}

LANES_INLINE vec
finish_sum(const struct sum *s) {
    vec upper = v_add32(s->digit[1], v_shl32(s->digit[2], 8));

    return v_sar32(v_add32(s->digit[0], v_shl32(upper, 8)), PRECISION_BITS);
}

#else

struct coefficients {
    vec high;
    vec low_even;
    vec low_odd;
};

struct sum {
    vec high; /* 16-bit lanes */
    vec low;  /* 32-bit lanes */
};

LANES_INLINE struct coefficients
load_coefficients(const uint32_t *words) {
    return (struct coefficients){v_set32(words[0]), v_set32(words[1]), v_set32(words[2])};
}

#if SIMD_LEVEL == SIMD_LEVEL_AVX2
#define ADD_TO(sum, instruction, x) \
    __asm__("v" instruction " %1, %0, %0" : "+x"(*(sum)) : "x"(x))
#else
#define ADD_TO(sum, instruction, x) __asm__(instruction " %1, %0" : "+x"(*(sum)) : "x"(x))
#endif

LANES_INLINE vec
low_products(vec pixels, const struct coefficients *k) {
    vec even = v_and(pixels, v_set16(0xff));
    vec odd = v_shr16(pixels, 8);

    return v_add32(v_madd16(even, k->low_even), v_madd16(odd, k->low_odd));
}

LANES_INLINE void
first_group(struct sum *s, vec pixels, const struct coefficients *k) {
    s->high = v_maddu8(pixels, k->high);
    s->low = v_add32(low_products(pixels, k), v_set32(1 << (PRECISION_BITS - 1)));
}

LANES_INLINE void
add_group(struct sum *s, vec pixels, const struct coefficients *k) {
    ADD_TO(&s->high, "paddw", v_maddu8(pixels, k->high));
    ADD_TO(&s->low, "paddd", low_products(pixels, k));
}

LANES_INLINE vec
finish_sum(const struct sum *s) {
    /*
     * The upper half of each 32-bit lane shall become upper half of low + both halves
     * of high. The lower half gets something wrong added, without a carry, and is
     * shifted out.
     */
    vec with_first = v_add32(s->low, v_shl32(s->high, 16));

    return v_sar32(v_add16(with_first, s->high), PRECISION_BITS);
}

#endif

/*
 * Four vectors of 32-bit lanes, clipped to bytes. Stock's table clips -640 to 639; a
 * 32-bit sum shifted by 22 is within -512 to 511.
 */
LANES_INLINE vec
clip(vec a, vec b, vec c, vec d) {
    return v_pack16(v_pack32(a, b), v_pack32(c, d));
}

/* ------------------------------------------------------------------ pixels */

/* Bytes of a pixel in Pillow's memory. */
LANES_INLINE int
pixel_bytes(int bands) {
    return bands == 1 ? 1 : 4;
}

/* Which byte of a pixel is the band: with two bands, 0 and 3. */
LANES_INLINE int
byte_of_band(int bands, int band) {
    return bands == 2 ? band * 3 : band;
}

/*
 * Shuffle orders for 16 bytes. UNUSED gives 0.
 */
#define UNUSED 0x80

struct orders {
    uint8_t to_bands[16];   /* four pixels -> [band][pixel] */
    uint8_t to_compact[16]; /* four pixels -> [pixel][band], unused bytes dropped */
    uint8_t to_pixels[16];  /* [pixel][band] -> four pixels */
    uint8_t to_lines[16];   /* one pixel of four lines, [band][line] -> [line][pixel] */
    uint32_t in_sequence[VEC_BYTES / 4]; /* see vertical_line */
};

LANES_INLINE void
set_orders(struct orders *o, int bands) {
    int pixel, band, line, lane;

    memset(o, UNUSED, sizeof(*o));
    for (band = 0; band < bands; band++) {
        for (pixel = 0; pixel < 4; pixel++) {
            int in_memory = pixel * pixel_bytes(bands) + byte_of_band(bands, band);
            o->to_bands[band * 4 + pixel] = (uint8_t)in_memory;
            o->to_compact[pixel * bands + band] = (uint8_t)in_memory;
            o->to_pixels[in_memory] = (uint8_t)(pixel * bands + band);
        }
        for (line = 0; line < 4; line++) {
            o->to_lines[line * 4 + byte_of_band(bands, band)] = (uint8_t)(band * 4 + line);
        }
    }
    if (bands == 1) { /* four pixels at a time */
        for (line = 0; line < 4; line++) {
            for (pixel = 0; pixel < 4; pixel++) {
                o->to_lines[line * 4 + pixel] = (uint8_t)(pixel * 4 + line);
            }
        }
    }
    /*
     * Packing puts part p of vector v into lane 4 * p + v. Each part of the result
     * shall hold `used` lanes of the sequence that the vectors are.
     */
    for (lane = 0; lane < VEC_BYTES / 4; lane++) {
        int used = bands == 2 || bands == 3 ? bands : 4;
        int place = lane / 4 * used + (lane % 4 < used ? lane % 4 : 0);
        o->in_sequence[lane] = (uint32_t)(place % VEC_PARTS * 4 + place / VEC_PARTS);
    }
}

/* ------------------------------------------------------------------ passes */

static int
least(int a, int b) {
    return a < b ? a : b;
}

/* The lines of a strip on their way to planes. */
struct strip {
    const uint8_t *lines[STRIP_LINES];
    int line_bytes;
    int first; /* the group that is at the beginning of `planes` */
    int ready; /* groups from `first` on are in the planes up to here */
    uint8_t *planes;
};

/* Groups made at a time; a multiple of four, as 16 bytes hold four with one band. */
#define GROUPS_AHEAD 8

/*
 * The next GROUPS_AHEAD groups of a strip. With `phases` 2 or 4 there is a group at every
 * second or every pixel (resample_taps.h). Reads 16 bytes of each line at a time, of which
 * those beyond its end are replaced.
 */
LANES_INLINE void
deinterleave(struct strip *strip, int phases, const struct orders *orders, int bands) {
    const int made = bands == 1 ? 4 : bands; /* vectors, from 16 bytes of each line */
    const vec to_bands = v_repeat128(orders->to_bands);
    int g, phase, i;

    for (g = strip->ready; g < strip->ready + GROUPS_AHEAD; g += bands == 1 ? 4 : 1) {
        uint8_t *planes = strip->planes + (size_t)(g - strip->first) * phases * bands * VEC_BYTES;
        for (phase = 0; phase < phases; phase++) {
            const uint8_t *const *lines = strip->lines;
            const uint8_t *ends[STRIP_LINES];
            uint8_t end[STRIP_LINES][16];
            int offset = (g * 4 + phase * (4 / phases)) * pixel_bytes(bands);
            vec r[4];

            if (offset + 16 > strip->line_bytes) {
                memset(end, 0, sizeof(end));
                for (i = 0; i < STRIP_LINES; i++) {
                    if (offset < strip->line_bytes) {
                        memcpy(end[i], lines[i] + offset, strip->line_bytes - offset);
                    }
                    ends[i] = end[i];
                }
                lines = ends;
                offset = 0;
            }
            for (i = 0; i < 4; i++) {
                r[i] = v_load_parts(lines + i, 4, offset);
                if (bands > 1) {
                    r[i] = v_shuffle8(r[i], to_bands);
                }
            }
            v_transpose32(r);
            for (i = 0; i < made; i++) {
                int place = bands == 1 ? i * phases + phase : phase * bands + i;
                v_store(planes + place * VEC_BYTES, r[i]);
            }
        }
    }
    strip->ready += GROUPS_AHEAD;
}

/*
 * A large step, once for each number of bands, to be called. Inlined into every loop that
 * wants it, as the small ones are, it would make the compiler take three times as long.
 */
#define UNPACKED(...) __VA_ARGS__
#define CALLED_STEP(name, step, parameters, arguments)                     \
    static __attribute__((noinline)) void name##_1(UNPACKED parameters) {  \
        step(UNPACKED arguments, 1);                                       \
    }                                                                      \
    static __attribute__((noinline)) void name##_2(UNPACKED parameters) {  \
        step(UNPACKED arguments, 2);                                       \
    }                                                                      \
    static __attribute__((noinline)) void name##_3(UNPACKED parameters) {  \
        step(UNPACKED arguments, 3);                                       \
    }                                                                      \
    static __attribute__((noinline)) void name##_4(UNPACKED parameters) {  \
        step(UNPACKED arguments, 4);                                       \
    }                                                                      \
    LANES_INLINE void name(UNPACKED parameters, int bands) {               \
        (bands == 1   ? name##_1                                           \
         : bands == 2 ? name##_2                                           \
         : bands == 3 ? name##_3                                           \
                      : name##_4)(UNPACKED arguments);                     \
    }

CALLED_STEP(
    read_ahead, deinterleave, (struct strip * strip, int phases, const struct orders *orders),
    (strip, phases, orders)
)

/* The sums of one output in all bands, of all lines of a strip. */
LANES_INLINE void
horizontal_output(
    vec result[4], const struct strip *strip, const struct taps *taps, int output, int groups,
    int phases, int bands
) {
    const uint32_t *words = taps->words + (size_t)output * groups * TAPS_WORDS;
    const uint8_t *planes =
        strip->planes +
        (size_t)(taps->windows[output].start - strip->first * phases) * bands * VEC_BYTES;
    struct coefficients k = load_coefficients(words);
    struct sum sums[4];
    int g, band;

    for (band = 0; band < bands; band++) {
        first_group(&sums[band], v_load(planes + band * VEC_BYTES), &k);
    }
    for (g = 1; g < groups; g++) {
        words += TAPS_WORDS;
        planes += phases * bands * VEC_BYTES;
        k = load_coefficients(words);
        for (band = 0; band < bands; band++) {
            add_group(&sums[band], v_load(planes + band * VEC_BYTES), &k);
        }
    }
    for (band = 0; band < 4; band++) {
        result[band] = finish_sum(&sums[band < bands ? band : 0]);
    }
}

/*
 * A strip to one line of groups for each part of a vector. `groups` and `phases` are those
 * of `taps`, given once more to be constants.
 */
LANES_INLINE void
horizontal_strip_of(
    uint8_t *const ring_lines[VEC_PARTS], struct strip *strip, const struct taps *taps, int groups,
    int phases, const struct orders *orders, int bands
) {
    const int out = taps->axis.out;
    int i, j;

    for (i = 0; i < out; i += bands == 1 ? 4 : 1) {
        const struct window *last = &taps->windows[bands == 1 ? least(i + 3, out - 1) : i];
        vec z[4];

        while (last->start + (groups - 1) * phases >= strip->ready * phases) {
            read_ahead(strip, phases, orders, bands);
        }
        if (bands == 1) {
            vec one[4];
            for (j = 0; j < 4; j++) {
                horizontal_output(one, strip, taps, least(i + j, out - 1), groups, phases, 1);
                z[j] = one[0];
            }
        } else {
            horizontal_output(z, strip, taps, i, groups, phases, bands);
        }
        /* With less than four bands, the next output writes over what is too much. */
        v_store_parts(ring_lines, 1, (size_t)i * bands * 4, clip(z[0], z[1], z[2], z[3]));
    }
}

/* Windows of few groups, as in upscaling, are worth a loop without branches. */
LANES_INLINE void
horizontal_strip(
    uint8_t *const ring_lines[VEC_PARTS], struct strip *strip, const struct taps *taps,
    const struct orders *orders, int bands
) {
    const int groups = taps->groups, phases = taps->phases;

    if (phases == 1 && groups == 2) {
        horizontal_strip_of(ring_lines, strip, taps, 2, 1, orders, bands);
    } else if (phases == 1 && groups == 3) {
        horizontal_strip_of(ring_lines, strip, taps, 3, 1, orders, bands);
    } else if (phases == 1) {
        horizontal_strip_of(ring_lines, strip, taps, groups, 1, orders, bands);
    } else if (groups == 1) {
        horizontal_strip_of(ring_lines, strip, taps, 1, phases, orders, bands);
    } else if (groups == 2) {
        horizontal_strip_of(ring_lines, strip, taps, 2, phases, orders, bands);
    } else {
        horizontal_strip_of(ring_lines, strip, taps, groups, phases, orders, bands);
    }
}

/*
 * `groups` lines of groups to one line of pixels. As many vectors are taken at a time as
 * give one vector of pixels.
 */
LANES_INLINE void
vertical_line_of(
    uint8_t *out, const uint8_t *const *ring_lines, const uint32_t *words, int groups, int width,
    const struct orders *orders, int bands
) {
    const int vectors = bands == 1 ? 4 : bands;
    const vec in_sequence = v_load(orders->in_sequence);
    const vec to_pixels = v_repeat128(orders->to_pixels);
    size_t rest = (size_t)width * pixel_bytes(bands), x = 0;
    int g, v;

    while (1) {
        struct coefficients k = load_coefficients(words);
        struct sum sums[4];
        vec z[4], pixels;

        for (v = 0; v < vectors; v++) {
            first_group(&sums[v], v_load(ring_lines[0] + x + v * VEC_BYTES), &k);
        }
        for (g = 1; g < groups; g++) {
            k = load_coefficients(words + g * TAPS_WORDS);
            for (v = 0; v < vectors; v++) {
                add_group(&sums[v], v_load(ring_lines[g] + x + v * VEC_BYTES), &k);
            }
        }
        for (v = 0; v < 4; v++) {
            z[v] = finish_sum(&sums[v < vectors ? v : 0]);
        }
        pixels = clip(z[0], z[1], z[2], z[3]);
        if (VEC_PARTS > 1) {
            pixels = v_permute32(pixels, in_sequence);
        }
        if (bands == 2 || bands == 3) {
            pixels = v_shuffle8(pixels, to_pixels);
        }
        if (rest <= VEC_BYTES) {
            uint8_t last[VEC_BYTES];
            v_store(last, pixels);
            memcpy(out, last, rest);
            return;
        }
        v_store(out, pixels);
        fetch_to_write(out, VEC_BYTES);
        out += VEC_BYTES;
        rest -= VEC_BYTES;
        x += vectors * VEC_BYTES;
    }
}

LANES_INLINE void
vertical_line(
    uint8_t *out, const uint8_t *const *ring_lines, const uint32_t *words, int groups, int width,
    const struct orders *orders, int bands
) {
    switch (groups) {
        case 1:
            vertical_line_of(out, ring_lines, words, 1, width, orders, bands);
            break;
        case 2:
            vertical_line_of(out, ring_lines, words, 2, width, orders, bands);
            break;
        case 3:
            vertical_line_of(out, ring_lines, words, 3, width, orders, bands);
            break;
        default:
            vertical_line_of(out, ring_lines, words, groups, width, orders, bands);
            break;
    }
}

/* Four source lines, from pixel `from` to `end` - 1, to one line of groups. */
LANES_INLINE void
interleave(
    uint8_t *ring_line, const uint8_t *const lines[4], int from, int end,
    const struct orders *orders, int bands
) {
    const vec to_compact = v_repeat128(orders->to_compact);
    const int vectors = bands == 1 ? 4 : bands;
    size_t offset = (size_t)from * pixel_bytes(bands);
    size_t rest = (size_t)(end - from) * pixel_bytes(bands);
    int i;

    while (1) {
        uint8_t last[VEC_BYTES];
        uint8_t *parts[VEC_PARTS];
        vec r[4], a, b, c, d, z[4];

        for (i = 0; i < 4; i++) {
            if (rest < VEC_BYTES) {
                memset(last, 0, sizeof(last));
                memcpy(last, lines[i] + offset, rest);
                r[i] = v_load(last);
            } else {
                r[i] = v_load(lines[i] + offset);
            }
            if (bands == 2 || bands == 3) {
                r[i] = v_shuffle8(r[i], to_compact);
            }
        }
        a = v_low8(r[0], r[1]);
        b = v_high8(r[0], r[1]);
        c = v_low8(r[2], r[3]);
        d = v_high8(r[2], r[3]);
        z[0] = v_low16(a, c);
        z[1] = v_high16(a, c);
        z[2] = v_low16(b, d);
        z[3] = v_high16(b, d);
        for (i = 0; i < VEC_PARTS; i++) {
            parts[i] = ring_line + i * vectors * 16;
        }
        for (i = 0; i < vectors; i++) {
            v_store_parts(parts, 1, (size_t)i * 16, z[i]);
        }
        if (rest <= VEC_BYTES) {
            return;
        }
        offset += VEC_BYTES;
        rest -= VEC_BYTES;
        ring_line += vectors * VEC_BYTES;
    }
}

/* One line of groups to four lines of pixels, or as many as there are. */
LANES_INLINE void
emit(
    uint8_t *const lines[4], int count, const uint8_t *ring_line, int width,
    const struct orders *orders, int bands
) {
    const int step = bands == 1 ? 16 : bands * 4; /* bytes for each 4 of the result */
    const vec to_lines = v_repeat128(orders->to_lines);
    size_t rest = (size_t)width * pixel_bytes(bands), offset = 0;
    int i, j;

    while (1) {
        const uint8_t *from[4 * VEC_PARTS];
        vec r[4];

        for (j = 0; j < 4 * VEC_PARTS; j++) {
            from[j] = ring_line + j * step;
        }
        for (i = 0; i < 4; i++) {
            r[i] = v_shuffle8(v_load_parts(from + i, 4, 0), to_lines);
        }
        v_transpose32(r);
        for (i = 0; i < count; i++) {
            if (rest < VEC_BYTES) {
                uint8_t last[VEC_BYTES];
                v_store(last, r[i]);
                memcpy(lines[i] + offset, last, rest);
            } else {
                v_store(lines[i] + offset, r[i]);
            }
        }
        if (rest <= VEC_BYTES) {
            return;
        }
        offset += VEC_BYTES;
        rest -= VEC_BYTES;
        ring_line += 4 * VEC_PARTS * step;
    }
}

/* ------------------------------------------------------------------ images */

/* Lines of groups, of which the newest `lines` are kept. */
struct ring {
    uint8_t *memory;
    size_t stride;
    int lines;
    const uint8_t **order; /* the lines that one output is made of */
};

LANES_INLINE uint8_t *
ring_line(const struct ring *ring, int group) {
    return ring->memory + (size_t)(group % ring->lines) * ring->stride;
}

struct job {
    Imaging in;
    Imaging out;
    const struct taps *across; /* NULL: no horizontal pass */
    const struct taps *down;   /* NULL: no vertical pass */
    struct ring ring;
    uint8_t *planes;
    int tile; /* pixels of a line worked on at a time, without a horizontal pass */
};

/* The first group of planes, a multiple of four. */
static int
first_plane(const struct taps *across) {
    return across->windows[0].start / across->phases / 4 * 4;
}

/* The last line stands for those below the image, whose coefficients are 0. */
static void
source_lines(const uint8_t **lines, int count, const Imaging in, int first) {
    int i;

    for (i = 0; i < count; i++) {
        lines[i] = (const uint8_t *)in->image[least(first + i, in->ysize - 1)];
    }
}

/* Group lines `first` and following into the ring, as many as a strip has. */
LANES_INLINE void
fill_from_strip(const struct job *job, int first, const struct orders *orders, int bands) {
    struct strip strip;
    uint8_t *ring_lines[VEC_PARTS];
    int i;

    source_lines(strip.lines, STRIP_LINES, job->in, first * 4);
    strip.line_bytes = job->in->xsize * pixel_bytes(bands);
    strip.first = strip.ready = first_plane(job->across);
    strip.planes = job->planes;
    for (i = 0; i < VEC_PARTS; i++) {
        ring_lines[i] = ring_line(&job->ring, first + i);
    }
    horizontal_strip(ring_lines, &strip, job->across, orders, bands);
}

LANES_INLINE void
write_line(
    const struct job *job, int y, int from, int width, const struct orders *orders, int bands
) {
    const struct taps *down = job->down;
    const struct window *window = &down->windows[y];
    const uint32_t *words = down->words + ((size_t)y * down->groups + window->lead) * TAPS_WORDS;
    int i;

    for (i = 0; i < window->count; i++) {
        job->ring.order[i] = ring_line(&job->ring, window->start + window->lead + i);
    }
    vertical_line(
        (uint8_t *)job->out->image[y] + (size_t)from * pixel_bytes(bands), job->ring.order, words,
        window->count, width, orders, bands
    );
}

CALLED_STEP(
    fill_ring, fill_from_strip, (const struct job *job, int first, const struct orders *orders),
    (job, first, orders)
)
CALLED_STEP(
    put_line, write_line,
    (const struct job *job, int y, int from, int width, const struct orders *orders),
    (job, y, from, width, orders)
)

LANES_INLINE void
both_passes(const struct job *job, const struct orders *orders, int bands) {
    const struct taps *down = job->down;
    int y, done = 0;

    for (y = 0; y < down->axis.out; y++) {
        const struct window *window = &down->windows[y];
        int first = window->start + window->lead;
        if (done < first) {
            done = first;
        }
        for (; done < first + window->count; done += VEC_PARTS) {
            fill_ring(job, done, orders, bands);
        }
        put_line(job, y, 0, job->out->xsize, orders, bands);
    }
}

LANES_INLINE void
horizontal_pass(const struct job *job, const struct orders *orders, int bands) {
    int y, part, i;

    for (y = 0; y < job->out->ysize; y += STRIP_LINES) {
        fill_ring(job, y / 4, orders, bands);
        for (part = 0; part < VEC_PARTS && y + part * 4 < job->out->ysize; part++) {
            uint8_t *lines[4];
            int top = y + part * 4, count = least(4, job->out->ysize - top);
            for (i = 0; i < count; i++) {
                lines[i] = (uint8_t *)job->out->image[top + i];
            }
            emit(
                lines, count, ring_line(&job->ring, top / 4), job->out->xsize, orders, bands
            );
        }
    }
}

/* In tiles, because the source's lines can be much longer than the result's. */
LANES_INLINE void
vertical_pass(const struct job *job, const struct orders *orders, int bands) {
    const struct taps *down = job->down;
    int from, y;

    for (from = 0; from < job->out->xsize; from += job->tile) {
        int width = least(job->tile, job->out->xsize - from), done = 0;
        for (y = 0; y < down->axis.out; y++) {
            const struct window *window = &down->windows[y];
            int first = window->start + window->lead;
            if (done < first) {
                done = first;
            }
            for (; done < first + window->count; done++) {
                const uint8_t *lines[4];
                source_lines(lines, 4, job->in, done * 4);
                interleave(
                    ring_line(&job->ring, done), lines, from, from + width, orders, bands
                );
            }
            put_line(job, y, from, width, orders, bands);
        }
    }
}

LANES_INLINE void
run_for(const struct job *job, int bands) {
    struct orders orders;

    set_orders(&orders, bands);
    if (!job->across) {
        vertical_pass(job, &orders, bands);
    } else if (!job->down) {
        horizontal_pass(job, &orders, bands);
    } else {
        both_passes(job, &orders, bands);
    }
}

static void
run(const struct job *job, int bands) {
    switch (bands) {
        case 1:
            run_for(job, 1);
            break;
        case 2:
            run_for(job, 2);
            break;
        case 3:
            run_for(job, 3);
            break;
        default:
            run_for(job, 4);
            break;
    }
}

/* ------------------------------------------------------------------ memory */

/* A ring of at most this size, if the filter allows: it is to stay in the L2 cache. */
#define RING_SIZE_WANTED (192 * 1024)
#define TILE_MIN 64 /* a multiple of the pixels in a vector */

static size_t
round_up(size_t n, size_t to) {
    return (n + to - 1) / to * to;
}

static void *
allocate(size_t size) {
    void *p;

    return posix_memalign(&p, 64, size) ? NULL : p;
}

static void
job_free(struct job *job) {
    free(job->planes);
    free(job->ring.memory);
    free(job->ring.order);
}

/* 0 if there is no memory. */
static int
job_allocate(struct job *job, int bands) {
    const size_t group_bytes = 4 * (size_t)bands;
    size_t width = job->out->xsize;

    job->ring.lines = (job->down ? job->down->groups : 0) + VEC_PARTS;
    job->ring.order = malloc((size_t)job->ring.lines * sizeof(*job->ring.order));
    job->planes = NULL;
    if (job->across) {
        size_t groups = taps_end_group(job->across, job->across->axis.out - 1) -
                        first_plane(job->across) + GROUPS_AHEAD;
        job->planes = allocate(groups * job->across->phases * bands * VEC_BYTES);
    } else {
        size_t fits = RING_SIZE_WANTED / (group_bytes * job->ring.lines);
        job->tile = (int)(fits < TILE_MIN ? TILE_MIN : fits / TILE_MIN * TILE_MIN);
        width = least(job->tile, job->out->xsize);
    }
    job->ring.stride = round_up(width * group_bytes, VEC_BYTES) + SLACK;
    job->ring.memory = allocate(job->ring.stride * job->ring.lines);
    if (!job->ring.order || !job->ring.memory || (job->across && !job->planes)) {
        job_free(job);
        return 0;
    }
    return 1;
}

/* ------------------------------------------------------------------ entry */

int
SIMD_NAME(resample_bytes)(
    Imaging out, Imaging in, const struct taps *across, const struct taps *down
) {
    struct job job = {.in = in, .out = out, .across = across, .down = down};
    ImagingSectionCookie cookie;

    if (!job_allocate(&job, in->bands)) {
        return 0;
    }
    IMAGE_LOCK(in);
    ImagingSectionEnter(&cookie);
    run(&job, in->bands);
    IMAGE_UNLOCK(in);
    ImagingSectionLeave(&cookie);
    job_free(&job);
    return 1;
}
