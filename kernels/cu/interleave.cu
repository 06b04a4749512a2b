// Three planes of 8 bits as luma and pairs: what encoders of a device take.
//
// One thread:  RUN neighbouring cells of one row: 2 * RUN samples of luma in two rows, RUN of U and V.
// in:          Surface of three planes of 8 bits; any stride and alignment.
// out:         Surface of pairs of 8 bits of the same size; any stride and alignment.
// Per pixel:   reads 1.5 bytes, writes 1.5 bytes.
// Odd edges:   chroma has (width + 1) / 2 columns and (height + 1) / 2 rows on both sides.

#include "picture.cuh"

constexpr int RUN = 8;

struct InterleaveArguments {
    Surface in;
    Surface out;
};

BOTH void join(const InterleaveArguments& it, int x, int y) {
    const int width = (it.in.width + 1) / 2;
    Run<2 * RUN, uint8_t> luma[2];
#pragma unroll
    for (int i = 0; i < 2; ++i)
        luma[i] = fetch<1, 2 * RUN>(row_of<uint8_t>(it.in.luma, it.in.luma_stride,
                                                    clamp_to(2 * y + i, it.in.height - 1)),
                                    2 * x, it.in.width);
    const auto u =
        fetch<1, RUN>(row_of<uint8_t>(it.in.chroma, it.in.chroma_stride, y), x, width);
    const auto v =
        fetch<1, RUN>(row_of<uint8_t>(it.in.second, it.in.chroma_stride, y), x, width);
#pragma unroll
    for (int i = 0; i < 2; ++i)
        if (2 * y + i < it.in.height)
            store(row_of<uint8_t>(it.out.luma, it.out.luma_stride, 2 * y + i) + 2 * x, luma[i],
                  it.in.width - 2 * x);
    Run<2 * RUN, uint8_t> pairs;
#pragma unroll
    for (int n = 0; n < pairs.WORDS; ++n)
        pairs.words[n] =
            __byte_perm(u.words[n / 2], v.words[n / 2], n % 2 ? 0x7362 : 0x5140);
    store(row_of<uint8_t>(it.out.chroma, it.out.chroma_stride, y) + 2 * x, pairs, 2 * (width - x));
}

extern "C" __global__ void interleave_nv12(InterleaveArguments it) {
    FOR_EACH_Y(y, (it.in.height + 1) / 2)
    FOR_EACH_X(x, RUN, (it.in.width + 1) / 2)
    join(it, x, y);
}
