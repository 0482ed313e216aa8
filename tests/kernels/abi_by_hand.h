/* The ABI of Pillow 12.1 to 13.0 with the GIL on 64-bit Linux, written by hand. */
typedef enum {
    IMAGING_MODE_UNKNOWN,
    IMAGING_MODE_1,
    IMAGING_MODE_CMYK,
    IMAGING_MODE_F,
    IMAGING_MODE_HSV,
    IMAGING_MODE_I,
    IMAGING_MODE_L,
    IMAGING_MODE_LA,
    IMAGING_MODE_LAB,
    IMAGING_MODE_La,
    IMAGING_MODE_P,
    IMAGING_MODE_PA,
    IMAGING_MODE_RGB,
    IMAGING_MODE_RGBA,
    IMAGING_MODE_RGBX,
    IMAGING_MODE_RGBa,
    IMAGING_MODE_YCbCr,
    IMAGING_MODE_I_16,
    IMAGING_MODE_I_16L,
    IMAGING_MODE_I_16B,
    IMAGING_MODE_I_16N
} ModeID;

struct ImagingMemoryInstance {
    ModeID mode;
    int type;
    int depth;
    int bands;
    int xsize;
    int ysize;
    void *palette;
    uint8_t **image8;
    int32_t **image32;
    char **image;
    char *block;
    void *blocks;
    int pixelsize;
    int linesize;
    void (*destroy)(Imaging);
    int refcount;
    char band_names[4][3];
    char arrow_band_format[2];
    int read_only;
    void *arrow_array_capsule;
    int blocks_count;
    int lines_per_block;
};
