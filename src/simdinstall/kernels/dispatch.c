/*
 * Finds out once what the CPU can do, keeps the level and the trace.
 */
#define _GNU_SOURCE
#include "dispatch.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "pillow.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#ifndef SIMD_BUILD
#define SIMD_BUILD "unknown flags"
#endif

#define ENTRIES_MAX 256

char simd_declined;
int simd_level;
static int highest_level;
static struct pillow_simd_entry entries[ENTRIES_MAX];
static struct simd_row *rows[ENTRIES_MAX];
static int entries_count;

/* The row of entries that do not fit, or never run: counted in, shown nowhere. */
static struct pillow_simd_entry overflow;

#if defined(__x86_64__)
/*
 * Feature bits: Intel SDM volume 2A, CPUID; the sets are those of the x86-64 psABI's
 * microarchitecture levels. An instruction set counts only if the operating system
 * saves its registers (XCR0).
 */
static int
cpu_level(void) {
    unsigned int eax, ebx, ecx, edx, ecx1, xcr0;
    const unsigned int v2_ecx = (1u << 0) | (1u << 9) | (1u << 13) | (1u << 19) |
                                (1u << 20) | (1u << 23);
    const unsigned int v3_ecx = (1u << 12) | (1u << 22) | (1u << 27) | (1u << 28) |
                                (1u << 29);
    const unsigned int v3_ebx = (1u << 3) | (1u << 5) | (1u << 8);
    const unsigned int v4_ebx = (1u << 16) | (1u << 17) | (1u << 28) | (1u << 30) |
                                (1u << 31);
    const unsigned int vnni_ecx = 1u << 11;

    if (!__get_cpuid(1, &eax, &ebx, &ecx1, &edx) || (ecx1 & v2_ecx) != v2_ecx) {
        return SIMD_LEVEL_NONE;
    }
    if ((ecx1 & v3_ecx) != v3_ecx) {
        return SIMD_LEVEL_SSE4;
    }
    __asm__("xgetbv" : "=a"(xcr0), "=d"(edx) : "c"(0));
    if ((xcr0 & 0x06) != 0x06 || !__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) ||
        (ebx & v3_ebx) != v3_ebx) {
        return SIMD_LEVEL_SSE4;
    }
    /* LZCNT */
    unsigned int ecx_extended;
    if (!__get_cpuid(0x80000001, &eax, &edx, &ecx_extended, &edx) ||
        !(ecx_extended & (1u << 5))) {
        return SIMD_LEVEL_SSE4;
    }
    if ((xcr0 & 0xe6) != 0xe6 || (ebx & v4_ebx) != v4_ebx ||
        (ecx & vnni_ecx) != vnni_ecx) {
        return SIMD_LEVEL_AVX2;
    }
    return SIMD_LEVEL_AVX512;
}
#else
static int
cpu_level(void) {
    return SIMD_LEVEL_NONE;
}
#endif

/*
 * No kernel above this level is ever run, or shown. A section of its own, so that it can be
 * found in the file: a prebuilt library holds every instruction set, and is limited
 * to those that were asked for by writing into this byte.
 */
__attribute__((section("simd_ceiling"), used)) static const volatile unsigned char ceiling =
    SIMD_LEVEL_AVX512;

static int
library_level(void) {
#if defined(SIMD_HAVE_AVX512)
    int highest = SIMD_LEVEL_AVX512;
#elif defined(SIMD_HAVE_AVX2)
    int highest = SIMD_LEVEL_AVX2;
#elif defined(SIMD_HAVE_SSE4)
    int highest = SIMD_LEVEL_SSE4;
#else
    int highest = SIMD_LEVEL_NONE;
#endif
    return highest < ceiling ? highest : ceiling;
}

static int
wanted_level(void) {
    static const char *const names[] = {"none", "sse4", "avx2", "avx512"};
    const char *wanted = getenv("PILLOW_SIMD");
    int level;

    for (level = 0; wanted && level < 4; level++) {
        if (!strcasecmp(wanted, names[level])) {
            return level;
        }
    }
    return SIMD_LEVEL_AVX512;
}

static int
lower(int a, int b) {
    return a < b ? a : b;
}

__attribute__((constructor)) static void
set_up(void) {
    highest_level = lower(cpu_level(), library_level());
    pillow_simd_set_level(wanted_level());
}

void
simd_register(const char *function, struct simd_row *row) {
    struct pillow_simd_entry *entry = &overflow;

    if (entries_count < ENTRIES_MAX && row->level <= ceiling) {
        rows[entries_count] = row;
        entry = &entries[entries_count++];
    }
    entry->function = function;
    entry->kernel = row->kernel;
    entry->level = row->level;
    row->entry = entry;
}

void *
simd_next(const char *function) {
    return dlsym(RTLD_NEXT, function);
}

int
pillow_simd_level(void) {
    return __atomic_load_n(&simd_level, __ATOMIC_RELAXED);
}

int
pillow_simd_set_level(int level) {
    level = lower(level < 0 ? 0 : level, highest_level);
    __atomic_store_n(&simd_level, level, __ATOMIC_RELAXED);
    return level;
}

int
pillow_simd_entries(const struct pillow_simd_entry **out) {
    *out = entries;
    return entries_count;
}

void
pillow_simd_reset(void) {
    int i;

    for (i = 0; i < entries_count; i++) {
        __atomic_store_n(&entries[i].calls, 0, __ATOMIC_RELAXED);
    }
}

int
pillow_simd_set_kernel(const char *kernel, int on) {
    int i, found = 0;

    for (i = 0; i < entries_count; i++) {
        if (entries[i].level != SIMD_LEVEL_NONE && !strcmp(entries[i].kernel, kernel)) {
            int level = on ? entries[i].level : SIMD_LEVEL_OFF;
            __atomic_store_n(&rows[i]->level, level, __ATOMIC_RELAXED);
            found++;
        }
    }
    return found;
}

const char *
pillow_simd_build(void) {
    static const char *const levels[] = {
#define BUILT(levels) SIMD_BUILD ", levels " levels
        BUILT("none"),
        BUILT("sse4"),
        BUILT("sse4 avx2"),
        BUILT("sse4 avx2 avx512"),
    };

    return levels[library_level()];
}
