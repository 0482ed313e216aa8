/*
 * zlib-ng for Pillow's core and the kernels in front of it, and for nobody else in the process.
 *
 * The core calls zlib through slots that the dynamic linker has filled. The order of
 * NEEDED cannot change what it finds there: an executable that has a libz itself, as
 * Debian's python3 has, comes first in every search. So this library, which holds
 * zlib-ng with all of its names hidden, writes its own functions into the slots of those
 * two objects. Other objects keep the zlib that they were linked with: whoever calls
 * inflateInit() of one must not call inflate() of the other.
 *
 * It runs when the library is loaded, before any code of the core, whose
 * relocations are done by then. Slots that were made read-only after relocation
 * (PT_GNU_RELRO) are made writable for the moment. All slots are bound or none.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Made for each build: X(name) for every function of zlib that the core calls. */
#include "called.h"

#if defined(__x86_64__)
#define JUMP_SLOT R_X86_64_JUMP_SLOT
#define GLOB_DAT R_X86_64_GLOB_DAT
#define ABSOLUTE R_X86_64_64
#else
#error "the relocations of this machine are not known here"
#endif

#define X(name) __attribute__((visibility("hidden"))) void name(void);
CALLED
#undef X

static const struct {
    const char *name;
    void (*function)(void);
} called[] = {
#define X(name) {#name, name},
    CALLED
#undef X
};

#define CALLED_COUNT (sizeof(called) / sizeof(called[0]))

struct object {
    uintptr_t inside; /* an address in it */
    ElfW(Addr) base;
    const ElfW(Phdr) *headers;
    size_t headers_count;
};

static int
is_it(struct dl_phdr_info *info, size_t size, void *data) {
    struct object *wanted = data;
    size_t i;

    (void)size;
    for (i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        if (header->p_type == PT_LOAD &&
            wanted->inside - info->dlpi_addr - header->p_vaddr < header->p_memsz) {
            wanted->base = info->dlpi_addr;
            wanted->headers = info->dlpi_phdr;
            wanted->headers_count = info->dlpi_phnum;
            return 1;
        }
    }
    return 0;
}

static const ElfW(Phdr) *
header_of(const struct object *object, ElfW(Word) type) {
    size_t i;

    for (i = 0; i < object->headers_count; i++) {
        if (object->headers[i].p_type == type) {
            return &object->headers[i];
        }
    }
    return NULL;
}

/* An entry of the dynamic section: glibc has turned it into an address, musl has not. */
static uintptr_t
address(const struct object *object, uintptr_t value) {
    return value && value < object->base ? value + object->base : value;
}

struct table {
    const ElfW(Rela) *first;
    size_t count;
};

struct dynamic {
    const ElfW(Sym) *symbols;
    const char *strings;
    struct table tables[2];
};

static int
read_dynamic(const struct object *object, struct dynamic *dynamic) {
    const ElfW(Phdr) *header = header_of(object, PT_DYNAMIC);
    const ElfW(Dyn) *entry;

    memset(dynamic, 0, sizeof(*dynamic));
    if (!header) {
        return 0;
    }
    for (entry = (const void *)(object->base + header->p_vaddr); entry->d_tag; entry++) {
        uintptr_t value = entry->d_un.d_val;
        switch (entry->d_tag) {
            case DT_SYMTAB:
                dynamic->symbols = (const void *)address(object, value);
                break;
            case DT_STRTAB:
                dynamic->strings = (const void *)address(object, value);
                break;
            case DT_JMPREL:
                dynamic->tables[0].first = (const void *)address(object, value);
                break;
            case DT_PLTRELSZ:
                dynamic->tables[0].count = value / sizeof(ElfW(Rela));
                break;
            case DT_RELA:
                dynamic->tables[1].first = (const void *)address(object, value);
                break;
            case DT_RELASZ:
                dynamic->tables[1].count = value / sizeof(ElfW(Rela));
                break;
            default:
                break;
        }
    }
    return dynamic->symbols && dynamic->strings;
}

/* The function that belongs into a slot; NULL where the slot is none of ours. */
static void (*wanted_in(const struct dynamic *dynamic, const ElfW(Rela) *slot))(void) {
    ElfW(Word) type = ELF64_R_TYPE(slot->r_info);
    const char *name;
    size_t i;

    if (type != JUMP_SLOT && type != GLOB_DAT && type != ABSOLUTE) {
        return NULL;
    }
    name = dynamic->strings + dynamic->symbols[ELF64_R_SYM(slot->r_info)].st_name;
    for (i = 0; i < CALLED_COUNT; i++) {
        if (!strcmp(name, called[i].name)) {
            return called[i].function;
        }
    }
    return NULL;
}

/* Calls `each` for every slot of ours; returns how many there are. */
static size_t
for_slots(
    const struct object *object,
    const struct dynamic *dynamic,
    void (*each)(uintptr_t slot, void (*function)(void), void *data),
    void *data) {
    size_t found = 0, t, i;

    for (t = 0; t < 2; t++) {
        for (i = 0; dynamic->tables[t].first && i < dynamic->tables[t].count; i++) {
            const ElfW(Rela) *slot = &dynamic->tables[t].first[i];
            void (*function)(void) = wanted_in(dynamic, slot);
            if (function) {
                each(object->base + slot->r_offset, function, data);
                found++;
            }
        }
    }
    return found;
}

struct span {
    uintptr_t start, end;
    int hit;
};

/* An object whose slots are to be bound. */
struct target {
    struct object object;
    struct dynamic dynamic;
    struct span relro;
    size_t slots;
};

static void
look(uintptr_t slot, void (*function)(void), void *data) {
    struct span *relro = data;

    (void)function;
    if (slot >= relro->start && slot < relro->end) {
        relro->hit = 1;
    }
}

static void
bind(uintptr_t slot, void (*function)(void), void *data) {
    (void)data;
    __atomic_store_n((uintptr_t *)slot, (uintptr_t)function, __ATOMIC_RELEASE);
}

static int
protect(const struct target *target, int rights) {
    const struct span *relro = &target->relro;

    return !relro->hit || !mprotect((void *)relro->start, relro->end - relro->start, rights);
}

/* Finds the slots in the object with that address, and makes them writable. */
static int
open_slots(struct target *target, uintptr_t inside) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const ElfW(Phdr) *header;

    target->object.inside = inside;
    if (!dl_iterate_phdr(is_it, &target->object) ||
        !read_dynamic(&target->object, &target->dynamic)) {
        return 0;
    }
    header = header_of(&target->object, PT_GNU_RELRO);
    if (header) {
        /* As the dynamic linker rounds it: whole pages. */
        target->relro.start = (target->object.base + header->p_vaddr) & ~(page - 1);
        target->relro.end =
            (target->object.base + header->p_vaddr + header->p_memsz) & ~(page - 1);
    }
    target->slots = for_slots(&target->object, &target->dynamic, look, &target->relro);
    return protect(target, PROT_READ | PROT_WRITE);
}

static void
bind_slots(const struct target *target) {
    for_slots(&target->object, &target->dynamic, bind, NULL);
    protect(target, PROT_READ);
}

/* In the library of kernels, some of which call zlib themselves. */
extern int
pillow_simd_level(void) __attribute__((weak));

static int bound;

__attribute__((constructor)) static void
set_up(void) {
    struct target core = {0}, kernels = {0};
    uintptr_t in_core = (uintptr_t)dlsym(RTLD_NEXT, "PyInit__imaging");
    uintptr_t in_kernels = (uintptr_t)pillow_simd_level;

    if (!in_core || !open_slots(&core, in_core) || !core.slots) {
        return;
    }
    if (in_kernels && !open_slots(&kernels, in_kernels)) {
        protect(&core, PROT_READ);
        return;
    }
    bind_slots(&core);
    if (in_kernels) {
        bind_slots(&kernels);
    }
    bound = 1;
}

/* The version of zlib-ng that the core calls; empty when it calls another zlib. */
__attribute__((visibility("default"))) const char *
pillow_simd_zlib_ng(void) {
    return bound ? ZLIBNG_VERSION : "";
}
