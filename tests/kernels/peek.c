/* Lets tests see and set an image's memory, the unused bytes of its pixels too. */
#include "pillow.h"

#define PUBLIC __attribute__((visibility("default")))

PUBLIC long
peek_size(Imaging im) {
    return (long)im->linesize * im->ysize;
}

PUBLIC int
peek_linesize(Imaging im) {
    return im->linesize;
}

PUBLIC int
peek_byte(Imaging im, int y, int x) {
    return ((volatile unsigned char *)im->image[y])[x];
}

PUBLIC void
peek_get(Imaging im, char *out) {
    int y;

    for (y = 0; y < im->ysize; y++) {
        memcpy(out + (size_t)y * im->linesize, im->image[y], im->linesize);
    }
}

PUBLIC void
peek_set(Imaging im, const char *in) {
    int y;

    for (y = 0; y < im->ysize; y++) {
        memcpy(im->image[y], in + (size_t)y * im->linesize, im->linesize);
    }
}
