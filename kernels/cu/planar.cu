// A decoder's picture as three planes of 8 bits: what all after it works with.
//
// One thread:  RUN neighbouring cells of one row: 4 * RUN samples of luma in two rows, RUN of U and V.
// in:          Surface of pairs, 8 bits or 10 in the upper bits; any stride and alignment.
// out:         Surface of three planes of 8 bits of the same size; any stride and alignment.
// Per pixel:   reads 1.5 samples, writes 1.5 bytes.
// Rounding:    10 bits to 8 by the nearest, halves up; 8 bits stay as they are.
// Odd edges:   chroma has (width + 1) / 2 columns and (height + 1) / 2 rows on both sides.

#include "picture.cuh"

constexpr int RUN = 8;

struct PlanarArguments {
    Surface in;
    Surface out;
};

// Four bytes of a run from sample `first` on, each `step` samples behind the other.
template <int N>
BOTH uint32_t four_bytes(const Run<N, uint8_t>& run, int first, int step) {
    if (step == 1) return run.words[first / 4];
    return __byte_perm(run.words[first / 4], run.words[first / 4 + 1], first % 2 ? 0x7531 : 0x6420);
}

// (code + 2) / 4 is the upper byte of the sample and 2 << 6, unless that goes beyond 16 bits.
template <int N>
BOTH uint32_t four_bytes(const Run<N, uint16_t>& run, int first, int step) {
    uint32_t sums[4];
#pragma unroll
    for (int n = 0; n < 4; ++n) sums[n] = min(bits_at(run, first + n * step) + 128u, 0xFFFFu);
    return __byte_perm(__byte_perm(sums[0], sums[1], 0x0051), __byte_perm(sums[2], sums[3], 0x0051),
                       0x5410);
}

// N bytes of a run from sample `first` on.
template <int N, int STEP, int M, class T>
BOTH Run<N, uint8_t> bytes_of(const Run<M, T>& run, int first) {
    Run<N, uint8_t> bytes;
#pragma unroll
    for (int n = 0; n < N / 4; ++n) bytes.words[n] = four_bytes(run, first + 4 * n * STEP, STEP);
    return bytes;
}

template <class F>
BOTH void split(const PlanarArguments& it, int x, int y) {
    using T = typename F::Sample;
    const int width = (it.in.width + 1) / 2;
    Run<2 * RUN, T> luma[2];
#pragma unroll
    for (int i = 0; i < 2; ++i)
        luma[i] = fetch<1, 2 * RUN>(
            row_of<T>(it.in.luma, it.in.luma_stride, clamp_to(2 * y + i, it.in.height - 1)), 2 * x,
            it.in.width);
    const auto pairs = fetch<2, RUN>(row_of<T>(it.in.chroma, it.in.chroma_stride, y), x, width);
#pragma unroll
    for (int i = 0; i < 2; ++i)
        if (2 * y + i < it.in.height)
            store(row_of<uint8_t>(it.out.luma, it.out.luma_stride, 2 * y + i) + 2 * x,
                  bytes_of<2 * RUN, 1>(luma[i], 0), it.in.width - 2 * x);
    store(row_of<uint8_t>(it.out.chroma, it.out.chroma_stride, y) + x, bytes_of<RUN, 2>(pairs, 0),
          width - x);
    store(row_of<uint8_t>(it.out.second, it.out.chroma_stride, y) + x, bytes_of<RUN, 2>(pairs, 1),
          width - x);
}

#define KERNEL(name, F)                                              \
    extern "C" __global__ void planar_##name(PlanarArguments it) {   \
        FOR_EACH_Y(y, (it.in.height + 1) / 2)                        \
        FOR_EACH_X(x, RUN, (it.in.width + 1) / 2)                    \
        split<F>(it, x, y);                                          \
    }

KERNEL(nv12, Nv12)
KERNEL(p010, P010)
