/*
 * Reduce for 8-bit bands: each pixel of the result is the mean of a cell of the source.
 *
 * Stock adds up a cell's bytes and half the number of its pixels, multiplies by 2**24 /
 * number and shifts right by 24, all modulo 2**32. The order in which integers are added
 * does not matter, so here the lines of a cell are added first, over a stretch of columns,
 * to 16-bit sums; then the columns of each cell.
 *
 * The cells at the right and the lower edge are as large as what is left of the source.
 * There stock computes all four bytes of a pixel; elsewhere it writes 0 into bytes that
 * the mode does not use.
 */
#include "reduce.h"

#include "lanes.h"

/* ------------------------------------------------------------------ the mean */

struct cell {
    int columns;
    int lines;
    uint32_t half;
    uint32_t multiplier;
    int shift; /* of a sum that fits 16 bits, if the number of pixels is a power of two */
};

static struct cell
cell_of(int columns, int lines) {
    uint32_t pixels = (uint32_t)columns * lines;
    float power = 4294967296.0f, divisor = (float)(pixels << 8);
    struct cell cell = {columns, lines, pixels / 2, 0, -1};

    /*
     * In single precision, as in stock: 2**24 / pixels is rounded to 24 bits and then
     * down. For a power of two it is exact, and so the same as a shift.
     */
    cell.multiplier = (uint32_t)(power / divisor);
    if (pixels <= 256 && (pixels & (pixels - 1)) == 0) {
        cell.shift = __builtin_ctz(pixels);
    }
    return cell;
}

static uint8_t
mean(const struct cell *cell, uint32_t sum) {
    return (uint8_t)(((sum + cell->half) * cell->multiplier) >> 24);
}

/* ------------------------------------------------------------------ lines */

/* That many lines of bytes fit into a 16-bit sum, with half their number added. */
#define LINES_OF_16_BITS 256

/* Eight lines are added in registers at a time. */
#define LINES_AT_ONCE 8

LANES_INLINE vec
load_bytes_as_16(const char *p) {
#if SIMD_LEVEL == SIMD_LEVEL_AVX512
    return _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)p));
#elif SIMD_LEVEL == SIMD_LEVEL_AVX2
    return _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)p));
#else
    return _mm_cvtepu8_epi16(_mm_loadl_epi64((const __m128i *)p));
#endif
}

/* sums[i] = (or +=) lines[0][i] + ... + lines[count - 1][i] */
LANES_INLINE void
add_lines_of(
    uint16_t *sums, char *const *lines, int count, size_t offset, int bytes, int further
) {
    const int step = VEC_BYTES / 2;
    int i, x = 0;

    for (; x + step <= bytes; x += step) {
        vec sum = load_bytes_as_16(lines[0] + offset + x);
        for (i = 1; i < count; i++) {
            sum = v_add16(sum, load_bytes_as_16(lines[i] + offset + x));
        }
        v_store(sums + x, further ? v_add16(sum, v_load(sums + x)) : sum);
    }
    for (; x < bytes; x++) {
        uint32_t sum = further ? sums[x] : 0;
        for (i = 0; i < count; i++) {
            sum += (uint8_t)lines[i][offset + x];
        }
        sums[x] = (uint16_t)sum;
    }
}

/* Adds up to LINES_OF_16_BITS lines of `bytes` bytes, from `offset` on. */
static void
add_lines(uint16_t *sums, char *const *lines, int count, size_t offset, int bytes) {
    int i;

    switch (count) {
        case 1:
            add_lines_of(sums, lines, 1, offset, bytes, 0);
            return;
        case 2:
            add_lines_of(sums, lines, 2, offset, bytes, 0);
            return;
        case 3:
            add_lines_of(sums, lines, 3, offset, bytes, 0);
            return;
        case 4:
            add_lines_of(sums, lines, 4, offset, bytes, 0);
            return;
        default:
            break;
    }
    for (i = 0; i < count; i += LINES_AT_ONCE) {
        int rest = count - i;
        add_lines_of(
            sums, lines + i, rest < LINES_AT_ONCE ? rest : LINES_AT_ONCE, offset, bytes, i > 0
        );
    }
}

/* ------------------------------------------------------------------ columns */

/* 16-bit sums of cells to their means, in 16 bits. */
LANES_INLINE vec
means(vec sums, const struct cell *cell) {
    const vec half = v_set32(cell->half), multiplier = v_set32(cell->multiplier);
    vec low, high;

    if (cell->shift >= 0) {
        sums = v_add16(sums, v_set16((int)cell->half));
        return LANES_OP(srl_epi16)(sums, _mm_cvtsi32_si128(cell->shift));
    }
    low = v_add32(v_low16(sums, v_zero()), half);
    high = v_add32(v_high16(sums, v_zero()), half);
    low = v_shr32(v_mullo32(low, multiplier), 24);
    high = v_shr32(v_mullo32(high, multiplier), 24);
    return v_pack32(low, high);
}

/*
 * Packing leaves 128-bit part p of source v in piece p * `sources` + v of the result, which
 * consists of 4 * VEC_PARTS pieces of 32 bits or, with two sources, half as many of 64.
 * This is the order that puts part p of v into piece v * VEC_PARTS + p.
 */
LANES_INLINE vec
packed_order(int sources) {
    const int wide = 4 / sources; /* 32-bit lanes in a piece */
    uint32_t order[VEC_PIXELS];
    int lane;

    for (lane = 0; lane < VEC_PIXELS; lane++) {
        int piece = lane / wide;
        int packed = piece % VEC_PARTS * sources + piece / VEC_PARTS;
        order[lane] = (uint32_t)(packed * wide + lane % wide);
    }
    return v_load(order);
}

LANES_INLINE void
store_bytes(uint8_t *out, vec bytes, vec order, size_t rest) {
    uint8_t last[VEC_BYTES];

    if (VEC_PARTS > 1) {
        bytes = v_permute32(bytes, order);
    }
    if (rest >= VEC_BYTES) {
        v_store(out, bytes);
    } else {
        v_store(last, bytes);
        memcpy(out, last, rest);
    }
}

/* Means of `count` sums, one byte each. */
static void
write_means(uint8_t *out, const uint16_t *sums, int count, const struct cell *cell, uint32_t mask) {
    const vec order = packed_order(2), used = v_set32(mask);
    int i;

    for (i = 0; i < count; i += VEC_BYTES) {
        vec low = means(v_load(sums + i), cell);
        vec high = means(v_load(sums + i + VEC_BYTES / 2), cell);
        store_bytes(out + i, v_and(v_pack16(low, high), used), order, (size_t)(count - i));
    }
}

/*
 * Sums of `columns` pixels of four 16-bit sums: in each half of a 128-bit part those of
 * every second pixel. A part is a cell; the first one begins at `sums`.
 */
LANES_INLINE vec
add_pixels(const uint16_t *sums, int columns) {
    const uint8_t *cells[VEC_PARTS];
    vec sum;
    int i;

    if (columns == 2) {
        return v_load(sums);
    }
    for (i = 0; i < VEC_PARTS; i++) {
        cells[i] = (const uint8_t *)(sums + (size_t)i * columns * 4);
    }
    sum = v_load_parts(cells, 1, 0);
    for (i = 2; i + 2 <= columns; i += 2) {
        sum = v_add16(sum, v_load_parts(cells, 1, (size_t)i * 8));
    }
    if (columns & 1) {
        vec last_two = v_load_parts(cells, 1, (size_t)(columns - 2) * 8);
        sum = v_add16(sum, v_high64(last_two, v_zero()));
    }
    return sum;
}

/* Two such sums to the sums of two cells in each part. */
LANES_INLINE vec
join_halves(vec a, vec b) {
    return v_add16(v_low64(a, b), v_high64(a, b));
}

/* Cells of at least two columns of pixels of four bytes. */
LANES_INLINE void
write_pixels_of(
    uint8_t *out, const uint16_t *sums, int count, const struct cell *cell, int columns,
    uint32_t mask
) {
    const vec order = packed_order(4), used = v_set32(mask);
    int i, j;

    for (i = 0; i < count; i += VEC_PIXELS) {
        vec sum[4], first, second;

        for (j = 0; j < 4; j++) {
            sum[j] = add_pixels(sums + (size_t)(i + j * VEC_PARTS) * columns * 4, columns);
        }
        first = means(join_halves(sum[0], sum[1]), cell);
        second = means(join_halves(sum[2], sum[3]), cell);
        store_bytes(
            out + i * 4, v_and(v_pack16(first, second), used), order, (size_t)(count - i) * 4
        );
    }
}

static void
write_pixels(uint8_t *out, const uint16_t *sums, int count, const struct cell *cell, uint32_t mask) {
    switch (cell->columns) {
        case 2:
            write_pixels_of(out, sums, count, cell, 2, mask);
            break;
        case 3:
            write_pixels_of(out, sums, count, cell, 3, mask);
            break;
        case 4:
            write_pixels_of(out, sums, count, cell, 4, mask);
            break;
        default:
            write_pixels_of(out, sums, count, cell, cell->columns, mask);
            break;
    }
}

/* sums[i] = sums[2 * i] + sums[2 * i + 1] */
static void
add_neighbours(uint16_t *sums, int count) {
    int i;

    for (i = 0; i < count; i += 8) {
        const __m128i *pairs = (const __m128i *)(sums + i * 2);
        __m128i a = _mm_loadu_si128(pairs), b = _mm_loadu_si128(pairs + 1);
        _mm_storeu_si128((__m128i *)(sums + i), _mm_hadd_epi16(a, b));
    }
}

/*
 * Cells of pixels of one byte. For an odd number of columns, so many sums are added from
 * every place on, where a cell begins or not; then only those at cells are kept.
 */
static void
write_bytes(uint8_t *out, uint16_t *sums, int count, const struct cell *cell) {
    int columns = cell->columns, i, j;

    for (; columns % 2 == 0; columns /= 2) {
        add_neighbours(sums, count * columns / 2);
    }
    if (columns > 1) {
        for (i = 0; i < count * columns; i += VEC_BYTES / 2) {
            vec sum = v_load(sums + i);
            for (j = 1; j < columns; j++) {
                sum = v_add16(sum, v_load(sums + i + j));
            }
            v_store(sums + i, sum);
        }
        for (i = 0; i < count; i++) {
            sums[i] = sums[i * columns];
        }
    }
    write_means(out, sums, count, cell, ~0u);
}

/* Cells of any size. */
LANES_INLINE void
write_cells(
    uint8_t *out, const uint32_t *sums, int count, const struct cell *cell, int bytes, uint32_t mask
) {
    int i, j, b;

    for (i = 0; i < count; i++) {
        for (b = 0; b < bytes; b++) {
            uint32_t sum = 0;
            for (j = 0; j < cell->columns; j++) {
                sum += sums[j * bytes + b];
            }
            out[b] = mean(cell, sum) & (uint8_t)(mask >> (8 * b));
        }
        sums += cell->columns * bytes;
        out += bytes;
    }
}

/* ------------------------------------------------------------------ stretches */

/* Cells of bytes with more columns are added up one by one. */
#define SLIDING_COLUMNS 16

/* Bytes of a line that are added up before they are put into cells, unless a cell is wider. */
#define STRETCH_BYTES 2048

struct buffers {
    uint16_t *sums16;
    uint32_t *sums32;
};

/* All cells of one kind in a stretch of lines: `count` of them, from byte `offset` on. */
static void
reduce_stretch(
    const struct buffers *buffers, uint8_t *out, char *const *lines, size_t offset, int count,
    const struct cell *cell, int bytes, uint32_t mask
) {
    const int width = count * cell->columns * bytes;
    uint16_t *sums16 = buffers->sums16;
    uint32_t *sums32 = buffers->sums32;
    int i, x;

    if (cell->columns * cell->lines <= LINES_OF_16_BITS) {
        add_lines(sums16, lines, cell->lines, offset, width);
        if (cell->columns == 1) {
            write_means(out, sums16, width, cell, mask);
            return;
        }
        if (bytes == 4) {
            write_pixels(out, sums16, count, cell, mask);
            return;
        }
        if (cell->columns <= SLIDING_COLUMNS) {
            write_bytes(out, sums16, count, cell);
            return;
        }
        for (x = 0; x < width; x++) {
            sums32[x] = sums16[x];
        }
    } else {
        memset(sums32, 0, width * sizeof(*sums32));
        for (i = 0; i < cell->lines; i += LINES_OF_16_BITS) {
            int rest = cell->lines - i;
            add_lines(
                sums16, lines + i, rest < LINES_OF_16_BITS ? rest : LINES_OF_16_BITS, offset, width
            );
            for (x = 0; x < width; x++) {
                sums32[x] += sums16[x];
            }
        }
    }
    if (bytes == 4) {
        write_cells(out, sums32, count, cell, 4, mask);
    } else {
        write_cells(out, sums32, count, cell, 1, mask);
    }
}

/* The bytes of a pixel that stock computes in cells of full size. */
static uint32_t
used_bytes(int bands) {
    return bands == 2 ? 0xff0000ffu : bands == 3 ? 0x00ffffffu : 0xffffffffu;
}

static int
cells_in_stretch(int columns, int bytes) {
    int cells = STRETCH_BYTES / bytes / columns;

    return cells ? cells : 1;
}

/* One line of the result, from `lines` lines of the source. */
static void
reduce_line(
    const struct buffers *buffers, uint8_t *out, char *const *from, int lines, int xscale,
    const int box[4], int bytes, uint32_t mask
) {
    const int whole = box[2] / xscale, rest = box[2] % xscale;
    const int most = cells_in_stretch(xscale, bytes);
    const struct cell cell = cell_of(xscale, lines);
    size_t offset = (size_t)box[0] * bytes;
    int i;

    for (i = 0; i < whole; i += most) {
        int count = whole - i < most ? whole - i : most;
        reduce_stretch(buffers, out, from, offset, count, &cell, bytes, mask);
        out += (size_t)count * bytes;
        offset += (size_t)count * xscale * bytes;
    }
    if (rest) {
        const struct cell last = cell_of(rest, lines);
        reduce_stretch(buffers, out, from, offset, 1, &last, bytes, ~0u);
    }
}

static void
reduce_to(const struct buffers *buffers, Imaging out, Imaging in, int xscale, int yscale, const int box[4]) {
    const uint32_t mask = used_bytes(in->bands);
    int y;

    for (y = 0; y < out->ysize; y++) {
        int top = y * yscale, rest = box[3] - top;
        int whole = rest >= yscale;
        reduce_line(
            buffers, (uint8_t *)out->image[y], in->image + box[1] + top, whole ? yscale : rest,
            xscale, box, in->pixelsize, whole ? mask : ~0u
        );
    }
}

Imaging
SIMD_NAME(reduce)(Imaging im, int xscale, int yscale, int box[4]) {
    const size_t columns = xscale < box[2] ? xscale : box[2];
    const size_t cells = cells_in_stretch((int)columns, im->pixelsize);
    /* Whole vectors are read, and the cells of whole vectors. */
    const size_t width = (cells + VEC_PIXELS) * columns * im->pixelsize + 2 * VEC_BYTES;
    struct buffers buffers = {
        malloc(width * sizeof(*buffers.sums16)), malloc(width * sizeof(*buffers.sums32))
    };
    Imaging out = SIMD_DECLINED;
    ImagingSectionCookie cookie;

    if (buffers.sums16 && buffers.sums32) {
        out = ImagingNewDirty(im->mode, (box[2] - 1) / xscale + 1, (box[3] - 1) / yscale + 1);
        if (out) {
            ImagingSectionEnter(&cookie);
            reduce_to(&buffers, out, im, xscale, yscale, box);
            ImagingSectionLeave(&cookie);
        }
    }
    free(buffers.sums16);
    free(buffers.sums32);
    return out;
}
