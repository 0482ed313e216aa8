/*
 * Which kernel serves which call.
 *
 * The library stands in front of Pillow's extension: it defines some of Pillow's
 * public functions. Each such front has a table of rows, the wanted kernel first and
 * Pillow's own function last. A row has an instruction set, a guard ("is this
 * call one that the kernel is proven for?") and the function. The first row that
 * this CPU can run and whose guard says yes serves the call, and counts it.
 *
 * A front is a file of this shape:
 *
 *     typedef Imaging mirror(Imaging, int);                 // the public prototype
 *     typedef int mirror_guard(Imaging, int);               // same arguments
 *
 *     static SIMD_ROW_TYPE(mirror_guard, mirror) rows[] = {
 *     #ifdef SIMD_KERNEL_own_mirror                         // name in manifest.toml
 *         SIMD_AVX2("own_mirror", own_mirror_fits, own_mirror)
 *         SIMD_SSE4("own_mirror", own_mirror_fits, own_mirror)
 *     #endif
 *         SIMD_STOCK
 *     };
 *     SIMD_FRONT(ImagingMirror, rows)
 *
 *     SIMD_PUBLIC Imaging
 *     ImagingMirror(Imaging im, int axis) {
 *         SIMD_SERVE(Imaging, SIMD_DECLINED, rows, (im, axis))
 *     }
 */
#ifndef SIMDINSTALL_DISPATCH_H
#define SIMDINSTALL_DISPATCH_H

#include <limits.h>
#include <stddef.h>

#define SIMD_PUBLIC __attribute__((visibility("default")))

/* Levels: what PILLOW_SIMD names and pillow_simd_set_level() takes. */
#define SIMD_LEVEL_NONE 0
#define SIMD_LEVEL_SSE4 1   /* x86-64-v2 */
#define SIMD_LEVEL_AVX2 2   /* x86-64-v3 */
#define SIMD_LEVEL_AVX512 3 /* x86-64-v4 and VNNI */
#define SIMD_LEVEL_OFF 99   /* a row switched off */

/* ------------------------------------------------------------------ kernels */

/*
 * A kernel's source is compiled once per instruction set with -DSIMD_ISA=avx2 and
 * -DSIMD_LEVEL=2 and so on; SIMD_NAME(blur) is then blur_avx2. SIMD_KERNEL(type, blur,
 * (arguments)) declares all variants, for the fronts.
 */
#define SIMD_JOIN_(name, isa) name##_##isa
#define SIMD_JOIN(name, isa) SIMD_JOIN_(name, isa)
#define SIMD_NAME(name) SIMD_JOIN(name, SIMD_ISA)
#define SIMD_KERNEL(type, name, arguments) \
    type name##_sse4 arguments;            \
    type name##_avx2 arguments;            \
    type name##_avx512 arguments;

/*
 * What a kernel returns when it finds, before it has changed anything and without
 * an exception set, that it cannot serve the call after all (no memory for its own
 * tables, say). The next row is tried then. For functions that return an int:
 * SIMD_DECLINED_INT.
 */
extern char simd_declined;
#define SIMD_DECLINED ((Imaging)(void *)&simd_declined)
#define SIMD_DECLINED_INT INT_MIN

/* ------------------------------------------------------------------ the trace */

/* One kernel variant of one function, or the stock function (level 0). */
struct pillow_simd_entry {
    const char *function;
    const char *kernel;
    int level;
    unsigned long long calls;
};

/* The level in use. */
SIMD_PUBLIC int
pillow_simd_level(void);
/* Sets the level, no higher than CPU and library allow; returns the level now in use. */
SIMD_PUBLIC int
pillow_simd_set_level(int level);
/* Points `out` to the entries and returns their number. */
SIMD_PUBLIC int
pillow_simd_entries(const struct pillow_simd_entry **out);
/* Sets every count to zero. */
SIMD_PUBLIC void
pillow_simd_reset(void);
/*
 * Switches a kernel off or on again, in all functions and instruction sets; returns how
 * many rows that were. For tests and measurements; not meant for use while images are
 * being worked on.
 */
SIMD_PUBLIC int
pillow_simd_set_kernel(const char *kernel, int on);
/* One line about the build: release, levels, fidelity, compiler, flags. */
SIMD_PUBLIC const char *
pillow_simd_build(void);

/* ------------------------------------------------------------------ fronts */

extern int simd_level; /* read and written with relaxed atomics */

struct simd_row {
    const char *kernel;
    int level; /* read and written with relaxed atomics */
    struct pillow_simd_entry *entry; /* set when the library is loaded */
};

#define SIMD_ROW_TYPE(guard, function) \
    struct {                           \
        struct simd_row row;           \
        guard *fits;                   \
        function *run;                 \
    }

#ifdef SIMD_HAVE_SSE4
#define SIMD_SSE4(kernel, fits, run) {{kernel, SIMD_LEVEL_SSE4, NULL}, fits, run##_sse4},
#else
#define SIMD_SSE4(kernel, fits, run)
#endif
#ifdef SIMD_HAVE_AVX2
#define SIMD_AVX2(kernel, fits, run) {{kernel, SIMD_LEVEL_AVX2, NULL}, fits, run##_avx2},
#else
#define SIMD_AVX2(kernel, fits, run)
#endif
#ifdef SIMD_HAVE_AVX512
#define SIMD_AVX512(kernel, fits, run) \
    {{kernel, SIMD_LEVEL_AVX512, NULL}, fits, run##_avx512},
#else
#define SIMD_AVX512(kernel, fits, run)
#endif
#define SIMD_STOCK {{"stock", SIMD_LEVEL_NONE, NULL}, NULL, NULL}
/* The last row, which is that one. */
#define SIMD_LAST(rows) (sizeof(rows) / sizeof((rows)[0]) - 1)
/* Pillow's own function, for kernels that leave a part of the work to it. */
#define SIMD_STOCK_OF(rows) ((rows)[SIMD_LAST(rows)].run)

/* Adds a row to the trace. */
void
simd_register(const char *function, struct simd_row *row);
/* The function of that name behind this library. */
void *
simd_next(const char *function);

/* Runs when the library is loaded: fills the table's last row, registers all. */
#define SIMD_FRONT(function, rows)                                               \
    __attribute__((constructor)) static void set_up_##function(void) {           \
        size_t i, last = SIMD_LAST(rows);                                        \
        void *next = simd_next(#function);                                       \
        __builtin_memcpy(&rows[last].run, &next, sizeof(next));                  \
        for (i = 0; i <= last; i++) {                                            \
            simd_register(#function, &rows[i].row);                              \
        }                                                                        \
    }

/* The body of a front: the first row that can serve the call does. */
#define SIMD_SERVE(type, declined, rows, arguments)                               \
    size_t i_, last_ = SIMD_LAST(rows);                                           \
    int level_ = __atomic_load_n(&simd_level, __ATOMIC_RELAXED);                  \
    for (i_ = 0; i_ < last_; i_++) {                                              \
        if (__atomic_load_n(&rows[i_].row.level, __ATOMIC_RELAXED) <= level_ &&   \
            rows[i_].fits arguments) {                                            \
            type result_ = rows[i_].run arguments;                                \
            if (result_ != (declined)) {                                          \
                __atomic_fetch_add(&rows[i_].row.entry->calls, 1, __ATOMIC_RELAXED); \
                return result_;                                                   \
            }                                                                     \
        }                                                                         \
    }                                                                             \
    __atomic_fetch_add(&rows[last_].row.entry->calls, 1, __ATOMIC_RELAXED);       \
    return rows[last_].run arguments;

#endif
