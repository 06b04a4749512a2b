// Luma at half its size, by averaging 2x2 pixels: what motion is found on.
//
// One thread:  RUN neighbouring pixels of one row of the small picture.
// in:          samples of 8 bits, or of 10 in the upper bits; any stride and alignment.
// out:         8 bits whatever the input has, width x height; any stride and alignment.
// Per output pixel: reads 4 samples, writes 1 byte.
// Rounding:    the sum of four in integers, halves up, as OpenCV's INTER_AREA rounds 8 bits.
// Odd edges:   width and height are the input's halves rounded down: an odd last one is left out.

#include "picture.cuh"

constexpr int RUN = 4;

struct HalfArguments {
    const void* in;
    void* out;
    int32_t in_stride;
    int32_t out_stride;
    int32_t width;
    int32_t height;
};

template <class T>
BOTH void halve(const HalfArguments& it, int x, int y) {
    int sums[RUN] = {};
#pragma unroll
    for (int i = 0; i < 2; ++i) {
        T samples[2 * RUN];
        fetch<2 * RUN, 1, 2 * RUN>(row_of<T>(it.in, it.in_stride, 2 * y + i), 2 * x, 2 * it.width,
                                   samples);
#pragma unroll
        for (int n = 0; n < 2 * RUN; ++n) sums[n / 2] += samples[n] >> Depth<T>::shift;
    }
    uint8_t small[RUN];
#pragma unroll
    for (int n = 0; n < RUN; ++n) {
        constexpr int of = 4 * Depth<T>::unit;
        small[n] = (uint8_t)clamp_to((sums[n] + of / 2) / of, 255);
    }
    store(row_of<uint8_t>(it.out, it.out_stride, y) + x, small, it.width - x);
}

#define KERNEL(name, T)                                          \
    extern "C" __global__ void half_##name(HalfArguments it) {   \
        FOR_EACH_Y(y, it.height)                                 \
        FOR_EACH_X(x, RUN, it.width)                             \
        halve<T>(it, x, y);                                      \
    }

KERNEL(8, uint8_t)
KERNEL(10, uint16_t)
