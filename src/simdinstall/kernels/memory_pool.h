/*
 * Big pieces of memory that stay warm between images.
 *
 * A fresh page costs a fault, and the kernel fills it with zeros: for a block of 16 MB that
 * is 4096 faults, more than the work on its pixels. A piece from here lies on huge pages
 * as far as it fills them, and is kept when it is given back, if all that is kept then does
 * not exceed a limit; what was kept longest goes back to the system first.
 *
 * Pieces are mappings of their own, never malloc's: what is kept does not pin free memory of
 * the heap. The table of pieces in use tells the two apart. Included by front_memory.c alone.
 */
#ifndef SIMDINSTALL_MEMORY_POOL_H
#define SIMDINSTALL_MEMORY_POOL_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#define POOL_PAGE ((size_t)4096)
#define POOL_HUGE ((size_t)2 << 20)
/* Less than this is left to malloc, whose heap is warm for it. */
#define POOL_LEAST ((size_t)256 << 10)
/* Linux gives a process 65530 mappings; pieces take at most two each. */
#define POOL_MOST_PIECES 4096
#define POOL_CHAINS 1024
/*
 * Where images begin in their first page differs from piece to piece, by cache lines: rows
 * of two images at the same place of a page would hinder each other in the cache.
 */
#define POOL_STARTS 16
#define POOL_START_STEP ((size_t)192)

struct pool_piece {
    struct pool_piece *next;
    char *base; /* on a page, on a huge page if it is that long */
    size_t size;
};

/* All of it is used with the lock held. */
static struct {
    pthread_mutex_t lock;
    size_t limit; /* bytes that may be kept; 0: nothing comes from here */
    size_t kept, lent;
    unsigned long long served, reused;
    struct pool_piece *warm; /* the newest first */
    struct pool_piece *used[POOL_CHAINS];
    size_t pieces;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER};

static inline void
pool_lock(void) {
    pthread_mutex_lock(&pool.lock);
}

static inline void
pool_unlock(void) {
    pthread_mutex_unlock(&pool.lock);
}

static inline size_t
pool_round_up(size_t size, size_t to) {
    return (size + to - 1) / to * to;
}

/* What a piece for so many bytes measures: whole pages, the last huge one only if it fills it. */
static inline size_t
pool_piece_size(size_t wanted) {
    size_t size = pool_round_up(wanted + POOL_PAGE, POOL_PAGE);
    size_t huge = pool_round_up(size, POOL_HUGE);

    return huge - size <= size / 16 ? huge : size;
}

static inline struct pool_piece **
pool_chain(const char *base) {
    return &pool.used[(uintptr_t)base / POOL_PAGE * 2654435761u % POOL_CHAINS];
}

static struct pool_piece *
pool_map(size_t size) {
    struct pool_piece *piece = malloc(sizeof(*piece));
    size_t spare = size >= POOL_HUGE ? POOL_HUGE - POOL_PAGE : 0;
    size_t before, huge = size / POOL_HUGE * POOL_HUGE;
    char *start;

    if (!piece) {
        return NULL;
    }
    start = mmap(
        NULL, size + spare, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0
    );
    if (start == MAP_FAILED) {
        free(piece);
        return NULL;
    }
    before = spare ? pool_round_up((uintptr_t)start, POOL_HUGE) - (uintptr_t)start : 0;
    if (before) {
        munmap(start, before);
    }
    if (spare > before) {
        munmap(start + before + size, spare - before);
    }
    piece->base = start + before;
    piece->size = size;
#ifdef MADV_HUGEPAGE
    if (huge) {
        /* Refused where the system has no huge pages: small ones will do. */
        madvise(piece->base, huge, MADV_HUGEPAGE);
    }
#endif
    return piece;
}

static void
pool_unmap(struct pool_piece *piece) {
    while (piece) {
        struct pool_piece *next = piece->next;
        munmap(piece->base, piece->size);
        free(piece);
        piece = next;
    }
}

/* Takes the warm piece that fits best, if at most an eighth of it stays unused. */
static struct pool_piece *
pool_warm_piece(size_t size) {
    struct pool_piece **link, **best = NULL, *piece;

    for (link = &pool.warm; *link; link = &(*link)->next) {
        if ((*link)->size >= size && (*link)->size - size <= size / 8 &&
            (!best || (*link)->size < (*best)->size)) {
            best = link;
        }
    }
    if (!best) {
        return NULL;
    }
    piece = *best;
    *best = piece->next;
    pool.kept -= piece->size;
    return piece;
}

/* At least `wanted` bytes, or NULL. Tells whether they are known to be zero. */
static char *
pool_take(size_t wanted, int *zero) {
    size_t size = pool_piece_size(wanted), start;
    struct pool_piece *piece, **chain;
    int room;

    pool_lock();
    piece = pool_warm_piece(size);
    room = pool.pieces < POOL_MOST_PIECES;
    pool_unlock();

    *zero = !piece;
    if (!piece && (!room || !(piece = pool_map(size)))) {
        return NULL;
    }
    pool_lock();
    chain = pool_chain(piece->base);
    piece->next = *chain;
    *chain = piece;
    pool.pieces += *zero;
    pool.lent += piece->size;
    pool.reused += !*zero;
    start = pool.served++ % POOL_STARTS * POOL_START_STEP;
    pool_unlock();
    return piece->base + start;
}

/* Takes from the end of the warm pieces until no more than `limit` bytes are kept. */
static struct pool_piece *
pool_surplus(size_t limit) {
    struct pool_piece *surplus = NULL, **link = &pool.warm;
    size_t sum = 0;

    while (*link && sum + (*link)->size <= limit) {
        sum += (*link)->size;
        link = &(*link)->next;
    }
    surplus = *link;
    *link = NULL;
    pool.kept = sum;
    for (struct pool_piece *piece = surplus; piece; piece = piece->next) {
        pool.pieces--;
    }
    return surplus;
}

/* Whether that memory was from here; if so it is given back. */
static int
pool_give_back(const char *memory) {
    char *base = (char *)((uintptr_t)memory / POOL_PAGE * POOL_PAGE);
    struct pool_piece **link, *piece, *surplus = NULL;

    pool_lock();
    for (link = pool_chain(base); *link && (*link)->base != base;) {
        link = &(*link)->next;
    }
    piece = *link;
    if (piece) {
        *link = piece->next;
        pool.lent -= piece->size;
        if (piece->size > pool.limit) {
            piece->next = NULL;
            surplus = piece;
            pool.pieces--;
        } else {
            piece->next = pool.warm;
            pool.warm = piece;
            surplus = pool_surplus(pool.limit);
        }
    }
    pool_unlock();
    pool_unmap(surplus);
    return piece != NULL;
}

/* Whether that memory is from here and in use. */
static int
pool_has(const char *memory) {
    char *base = (char *)((uintptr_t)memory / POOL_PAGE * POOL_PAGE);
    struct pool_piece *piece;

    pool_lock();
    for (piece = *pool_chain(base); piece && piece->base != base;) {
        piece = piece->next;
    }
    pool_unlock();
    return piece != NULL;
}

/* Gives all that is kept to the system; tells whether there was anything. */
static int
pool_drop(void) {
    struct pool_piece *surplus;

    pool_lock();
    surplus = pool_surplus(0);
    pool_unlock();
    pool_unmap(surplus);
    return surplus != NULL;
}

/*
 * A fork while another thread holds the lock would leave it locked in the child for ever.
 * glibc keeps pthread_atfork in a static library, which these kernels are not linked with.
 */
#ifdef __GLIBC__
extern int
__register_atfork(void (*)(void), void (*)(void), void (*)(void), void *);
#define POOL_AT_FORK() __register_atfork(pool_lock, pool_unlock, pool_unlock, NULL)
#else
#define POOL_AT_FORK() pthread_atfork(pool_lock, pool_unlock, pool_unlock)
#endif

#endif
