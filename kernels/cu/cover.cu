// One plane laid over another where a mask says so: what stands still in front of what moves.
//
// One thread:  RUN neighbouring pixels of one row.
// over, out:   pixels of 1, 2 or 4 bytes (a sample of 8 bits; one of 10 or a pair of 8; a pair of 10);
//              any stride, rows aligned to a pixel. What the mask leaves out of `out` stays.
// mask:        one byte for each pixel, 0 or anything else; any stride and alignment.
// Per pixel:   reads the mask's byte; reads and writes a pixel where it is not zero.
// Odd edges:   every pixel by itself, none outside is touched.

#include "picture.cuh"

constexpr int RUN = 8;

struct CoverArguments {
    const void* over;
    const void* mask;
    void* out;
    int32_t over_stride;
    int32_t mask_stride;
    int32_t out_stride;
    int32_t width;
    int32_t height;
};

template <class T>
BOTH void cover(const CoverArguments& it, int x, int y) {
    const auto mask = load<RUN>(row_of<uint8_t>(it.mask, it.mask_stride, y) + x, it.width - x);
    if (!(mask.words[0] | mask.words[1])) return;
    const T* const from = row_of<T>(it.over, it.over_stride, y) + x;
    T* const to = row_of<T>(it.out, it.out_stride, y) + x;
    if (!has_zero_byte(mask)) {
        store(to, load<RUN>(from), RUN);
        return;
    }
#pragma unroll  // seldom
    for (int n = 0; n < RUN; ++n)                 // seldom
        if (bits_at(mask, n)) to[n] = from[n];  // seldom
}

#define KERNEL(name, T)                                            \
    extern "C" __global__ void cover_##name(CoverArguments it) {   \
        FOR_EACH_Y(y, it.height)                                   \
        FOR_EACH_X(x, RUN, it.width)                               \
        cover<T>(it, x, y);                                        \
    }

KERNEL(1, uint8_t)
KERNEL(2, uint16_t)
KERNEL(4, uint32_t)
