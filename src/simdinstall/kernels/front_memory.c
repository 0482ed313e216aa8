/*
 * memory_get_block, memory_return_block and ImagingMemoryClearCache: the memory of images.
 *
 * Pillow keeps an image in blocks of up to 16 MB, which it takes from malloc and gives
 * back with the image. Big blocks come from the pool here, unless Image.core.set_blocks_max
 * has given Pillow's own cache of blocks something to do. Pillow's statistics count the same.
 *
 * PILLOW_SIMD_MEMORY is how many MiB may be kept while no image needs them; 0 leaves
 * all memory to malloc. It is read when the library is loaded.
 */
#define _GNU_SOURCE
#include "dispatch.h"
#include "pillow.h"

#if defined(PILLOW_PROTOTYPE_memory_get_block) &&    \
    defined(PILLOW_PROTOTYPE_memory_return_block) && \
    defined(PILLOW_PROTOTYPE_ImagingMemoryClearCache)

#include "memory_pool.h"

#define DEFAULT_LIMIT_MIB 64
#define MOST_LIMIT_MIB (1 << 20)
/* See warm_heap(). */
#define HEAP_THRESHOLD (((size_t)16 << 20) - 4096)

typedef ImagingMemoryBlock
get_block_function(ImagingMemoryArena arena, int requested_size, int dirty);
typedef void
return_block_function(ImagingMemoryArena arena, ImagingMemoryBlock block);
typedef void
clear_cache_function(ImagingMemoryArena arena, int new_size);

static get_block_function *stock_get_block;
static return_block_function *stock_return_block;
static clear_cache_function *stock_clear_cache;

/* What Python can ask: bytes, and how many blocks. */
struct pillow_simd_memory {
    unsigned long long limit, kept, lent, served, reused;
};

SIMD_PUBLIC void
pillow_simd_memory(struct pillow_simd_memory *out) {
    pool_lock();
    out->limit = pool.limit;
    out->kept = pool.kept;
    out->lent = pool.lent;
    out->served = pool.served;
    out->reused = pool.reused;
    pool_unlock();
}

/* Sets the limit in bytes; what is kept beyond it goes back to the system. */
SIMD_PUBLIC void
pillow_simd_set_memory(unsigned long long limit) {
    struct pool_piece *surplus;

    pool_lock();
    __atomic_store_n(&pool.limit, (size_t)limit, __ATOMIC_RELAXED);
    surplus = pool_surplus((size_t)limit);
    pool_unlock();
    pool_unmap(surplus);
}

static size_t
wanted_limit(void) {
    const char *text = getenv("PILLOW_SIMD_MEMORY");
    size_t mib = 0;

    if (!text || !*text) {
        return (size_t)DEFAULT_LIMIT_MIB << 20;
    }
    for (; *text; text++) {
        if (*text < '0' || *text > '9') {
            return (size_t)DEFAULT_LIMIT_MIB << 20;
        }
        mib = mib * 10 + (size_t)(*text - '0');
        if (mib > MOST_LIMIT_MIB) {
            mib = MOST_LIMIT_MIB;
        }
    }
    return mib << 20;
}

/*
 * Image.tobytes, and so numpy.asarray, joins chunks into bytes that come from malloc. glibc
 * gives the free end of its heap back to the system when it exceeds twice the largest
 * piece that was ever mapped on its own and freed, and those chunks and bytes together
 * always do: each call then pays for fresh pages. One free piece of 16 MB, never touched,
 * lets glibc keep up to 32 MB. It does nothing where MALLOC_ variables or tunables
 * set the thresholds.
 */
static void
warm_heap(void) {
    void *volatile piece = malloc(HEAP_THRESHOLD);

    free(piece);
}

__attribute__((constructor)) static void
set_up(void) {
    void *next = simd_next("memory_get_block");

    __builtin_memcpy(&stock_get_block, &next, sizeof(next));
    next = simd_next("memory_return_block");
    __builtin_memcpy(&stock_return_block, &next, sizeof(next));
    next = simd_next("ImagingMemoryClearCache");
    __builtin_memcpy(&stock_clear_cache, &next, sizeof(next));
    pool.limit = wanted_limit();
    POOL_AT_FORK();
    if (pool.limit) {
        warm_heap();
    }
}

/* Pillow's own cache keeps blocks of malloc's: while it is used, all blocks are. */
static int
fits(ImagingMemoryArena arena, int requested_size) {
    return requested_size >= (int)POOL_LEAST && !arena->blocks_max && !arena->blocks_cached &&
           __atomic_load_n(&pool.limit, __ATOMIC_RELAXED) &&
           __atomic_load_n(&simd_level, __ATOMIC_RELAXED) != SIMD_LEVEL_NONE;
}

SIMD_PUBLIC ImagingMemoryBlock
memory_get_block(ImagingMemoryArena arena, int requested_size, int dirty) {
    ImagingMemoryBlock block;
    int cached = arena->blocks_cached, zero;

    if (fits(arena, requested_size)) {
        block.ptr = pool_take((size_t)requested_size, &zero);
        if (block.ptr) {
            if (!dirty && !zero) {
                memset(block.ptr, 0, (size_t)requested_size);
            }
            arena->stats_allocated_blocks += 1;
            block.size = requested_size;
            return block;
        }
    }
    block = stock_get_block(arena, requested_size, dirty);
    if (!block.ptr && !cached && pool_drop()) {
        /* It failed for what was kept here: the same once more, counted once. */
        arena->stats_allocated_blocks -= 1;
        block = stock_get_block(arena, requested_size, dirty);
    }
    return block;
}

SIMD_PUBLIC void
memory_return_block(ImagingMemoryArena arena, ImagingMemoryBlock block) {
    if (arena->blocks_cached < arena->blocks_max && pool_has(block.ptr)) {
        /* Pillow will keep the block and free it itself: one of malloc's, then. */
        char *own = malloc((size_t)block.size);
        if (own) {
            pool_give_back(block.ptr);
            block.ptr = own;
        }
    }
    if (pool_give_back(block.ptr)) {
        arena->stats_freed_blocks += 1;
        return;
    }
    stock_return_block(arena, block);
}

SIMD_PUBLIC void
ImagingMemoryClearCache(ImagingMemoryArena arena, int new_size) {
    pool_drop();
    stock_clear_cache(arena, new_size);
}

#endif
