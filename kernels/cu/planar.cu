// A decoder's picture as three planes of 8 bits: what all after it works with.
//
// One thread:  RUN neighbouring cells of one row: 4 * RUN samples of luma in two rows, RUN of U and V.
// in:          Surface of pairs, 8 bits or 10 in the upper bits; any stride and alignment.
// out:         Surface of three planes of 8 bits of the same size; any stride and alignment.
// Per pixel:   reads 1.5 samples, writes 1.5 bytes.
// Rounding:    10 bits to 8 by the nearest, halves up; 8 bits stay as they are.
// Odd edges:   chroma has (width + 1) / 2 columns and (height + 1) / 2 rows on both sides.

#include "picture.cuh"

constexpr int RUN = 4;

struct PlanarArguments {
    Surface in;
    Surface out;
};

template <class T>
BOTH uint8_t byte_of(float code) {
    constexpr int unit = Depth<T>::unit;
    return (uint8_t)clamp_to(((int)code + unit / 2) / unit, 255);
}

template <class F>
BOTH void split(const PlanarArguments& it, int x, int y) {
    using T = typename F::Sample;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
        const int row = 2 * y + i;
        if (row >= it.in.height) break;
        T samples[2 * RUN];
        fetch<2 * RUN, 1, 2 * RUN>(row_of<T>(it.in.luma, it.in.luma_stride, row), 2 * x,
                                   it.in.width, samples);
        uint8_t luma[2 * RUN];
#pragma unroll
        for (int n = 0; n < 2 * RUN; ++n) luma[n] = byte_of<T>(code_of(samples[n]));
        store(row_of<uint8_t>(it.out.luma, it.out.luma_stride, row) + 2 * x, luma,
              it.in.width - 2 * x);
    }
    float u[RUN], v[RUN];
    fetch_chroma<F, RUN, RUN>(it.in, x, y, u, v);
    uint8_t of_u[RUN], of_v[RUN];
#pragma unroll
    for (int n = 0; n < RUN; ++n) of_u[n] = byte_of<T>(u[n]), of_v[n] = byte_of<T>(v[n]);
    const int left = (it.in.width + 1) / 2 - x;
    store(row_of<uint8_t>(it.out.chroma, it.out.chroma_stride, y) + x, of_u, left);
    store(row_of<uint8_t>(it.out.second, it.out.chroma_stride, y) + x, of_v, left);
}

#define KERNEL(name, F)                                              \
    extern "C" __global__ void planar_##name(PlanarArguments it) {   \
        FOR_EACH_Y(y, (it.in.height + 1) / 2)                        \
        FOR_EACH_X(x, RUN, (it.in.width + 1) / 2)                    \
        split<F>(it, x, y);                                          \
    }

KERNEL(nv12, Nv12)
KERNEL(p010, P010)
