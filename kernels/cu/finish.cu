// A made luma plane, softened where the motion was a guess, plus the guide's residual.
//
// One thread:  RUN neighbouring pixels of one row.
// in, out:     luma of width x height, 8 bits or 10 in the upper bits; any stride and alignment. out
//              is not in: neighbours are read.
// guide:       float32, contiguous (2, rows, columns) of the grid: the residual, added, code values of
//              8 bits / 255, and what is not finite adds nothing; and the share of the plane blurred by
//              a Gaussian (5x5, sigma 1), clipped to 0..1: where it is 0 for a whole run, the
//              neighbours are not read.
// Per pixel:   reads 1 sample (25 from the cache where it softens) and 2 / cell^2 map values, writes 1.
// Rounded once, at the end. Edges: samples outside repeat the edge.

#include "guide.cuh"
#include "picture.cuh"

constexpr int RUN = 8, REACH = 2;

struct FinishArguments {
    const void* in;
    void* out;
    const float* guide;
    int32_t in_stride;
    int32_t out_stride;
    int32_t width;
    int32_t height;
    Grid grid;
};

// exp(-x^2 / 2), normalised, as OpenCV's getGaussianKernel(5, 1) has it.
BOTH float gaussian(int tap) {
    constexpr float centre = 0.402619947f, near = 0.244201342f, far = 0.0544886850f;
    return tap == REACH ? centre : tap == REACH - 1 || tap == REACH + 1 ? near : far;
}

template <class T, bool WHOLE>
BOTH void blur_run(const FinishArguments& it, int x, int y, float (&soft)[RUN]) {
    float columns[RUN + 2 * REACH] = {};
#pragma unroll
    for (int tap = 0; tap < 2 * REACH + 1; ++tap) {
        const int from = clamp_to(y - REACH + tap, it.height - 1);
        const auto line = fetch_with_sides<1, RUN, WHOLE>(
            row_of<T>(it.in, it.in_stride, from), x, it.width);
#pragma unroll
        for (int n = 0; n < RUN + 2 * REACH; ++n)
            columns[n] = fmaf(gaussian(tap), code_at(line, n + BESIDE<1, T> - REACH), columns[n]);
    }
#pragma unroll
    for (int tap = 0; tap < 2 * REACH + 1; ++tap)
#pragma unroll
        for (int n = 0; n < RUN; ++n) soft[n] = fmaf(gaussian(tap), columns[n + tap], soft[n]);
}

template <class T, bool WHOLE>
BOTH void finish_run(const FinishArguments& it, int x, int y) {
    float shares[RUN], added[RUN], soft[RUN] = {}, codes[RUN];
    bool is_soft = false;
    Along<2> guide(it.grid, it.guide, x, y);
#pragma unroll
    for (int n = 0; n < RUN; ++n) {
        float values[2];
        guide.at(x + n, values);
        added[n] = finite(values[0] * 255);
        shares[n] = clamp_to(values[1], 0, 1);
        is_soft = is_soft || shares[n] > 0;
    }
    if (is_soft) blur_run<T, WHOLE>(it, x, y, soft);
    const auto samples = fetch<1, RUN, WHOLE>(row_of<T>(it.in, it.in_stride, y), x, it.width);
#pragma unroll
    for (int n = 0; n < RUN; ++n) {
        const float mixed = along(code_at(samples, n), soft[n], shares[n]);
        codes[n] = fmaf(Depth<T>::unit, added[n], mixed);
    }
    store<WHOLE>(row_of<T>(it.out, it.out_stride, y) + x, samples_of<T>(codes), it.width - x);
}

// The straight way where all is inside and every access can be wide.
template <class T>
BOTH void finish(const FinishArguments& it, int x, int y) {
    constexpr int bytes = RUN * sizeof(T);
    if (it.width % RUN == 0 && is_even(it.in, it.in_stride, bytes) &&
        is_even(it.out, it.out_stride, bytes))
        finish_run<T, true>(it, x, y);
    else
        finish_run<T, false>(it, x, y);  // seldom
}

#define KERNEL(name, T)                                              \
    extern "C" __global__ void finish_##name(FinishArguments it) {   \
        FOR_EACH_Y(y, it.height)                                     \
        FOR_EACH_X(x, RUN, it.width)                                 \
        finish<T>(it, x, y);                                         \
    }

KERNEL(8, uint8_t)
KERNEL(10, uint16_t)
