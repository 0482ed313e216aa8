/*
 * Rows of images in memory of their own, so that a kernel cannot read or write beside
 * one without being seen. Linked into the library under test, in front of Pillow's
 * ImagingAllocateArray.
 */
#define _GNU_SOURCE
#include "dispatch.h"
#include "pillow.h"

#include <sys/mman.h>
#include <unistd.h>

#define PUBLIC __attribute__((visibility("default")))

enum {
    ROWS_STOCK, /* as Pillow does: many rows in one block */
    ROWS_HEAP,  /* a malloc for each, for AddressSanitizer */
    ROWS_PAGES  /* at the end or the beginning of readable pages, others beside them */
};

/* Each row takes three mappings, and Linux gives a process 65530. */
#define PAGES_MOST_ROWS 512

static int rows_mode = ROWS_STOCK;

PUBLIC int
rows_set_mode(int mode) {
    int before = rows_mode;

    rows_mode = mode;
    return before;
}

static size_t
page_size(void) {
    return (size_t)sysconf(_SC_PAGESIZE);
}

static size_t
pages_for(int linesize) {
    return (linesize + page_size() - 1) / page_size() * page_size();
}

static char *
page_row(int linesize, int at_end) {
    size_t page = page_size(), size = pages_for(linesize);
    char *start = mmap(
        NULL, size + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0
    );

    if (start == MAP_FAILED ||
        mprotect(start + page, size, PROT_READ | PROT_WRITE)) {
        return NULL;
    }
    return start + page + (at_end ? size - linesize : 0);
}

static void
destroy_pages(Imaging im) {
    size_t page = page_size(), size = pages_for(im->linesize);
    int y;

    for (y = 0; y < im->ysize && im->image[y]; y++) {
        char *start = (char *)((size_t)im->image[y] / page * page);
        munmap(start - page, size + 2 * page);
    }
}

static void
destroy_heap(Imaging im) {
    int y;

    for (y = 0; y < im->ysize; y++) {
        free(im->image[y]);
    }
}

PUBLIC Imaging
ImagingAllocateArray(Imaging im, void *arena, int dirty, int block_size) {
    /* Bytes that a kernel must not depend on; never the same twice. */
    static unsigned char rubbish = 1;
    static unsigned int count;
    int pages = rows_mode == ROWS_PAGES && im->ysize <= PAGES_MOST_ROWS, y;
    void *destroy = (void *)destroy_heap;

    if (!im->linesize || !im->ysize) {
        return im;
    }
    if (rows_mode == ROWS_STOCK || (rows_mode == ROWS_PAGES && !pages)) {
        Imaging (*stock)(Imaging, void *, int, int);
        void *next = simd_next("ImagingAllocateArray");
        memcpy(&stock, &next, sizeof(next));
        return stock(im, arena, dirty, block_size);
    }
    if (pages) {
        destroy = (void *)destroy_pages;
    }
    memcpy(&im->destroy, &destroy, sizeof(destroy));
    for (y = 0; y < im->ysize; y++) {
        char *row = pages ? page_row(im->linesize, count++ % 4 != 0)
                          : malloc(im->linesize);
        if (!row) {
            return ImagingError_MemoryError();
        }
        im->image[y] = row;
        memset(row, dirty ? rubbish++ : 0, im->linesize);
    }
    return im;
}
