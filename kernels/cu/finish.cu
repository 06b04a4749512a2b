// A made luma plane, softened where the motion was a guess, plus the guide's residual.
//
// One thread:  RUN neighbouring pixels of one row.
// in, out:     luma of width x height, 8 bits or 10 in the upper bits; any stride and alignment. out
//              is not in: neighbours are read.
// residual:    contiguous (rows, columns) of the grid, added, code values of 8 bits / 255; what is not
//              finite adds nothing. float16 or float32.
// softness:    the same shape and type, share of the plane blurred by a Gaussian (5x5, sigma 1),
//              clipped to 0..1; where it is 0 for a whole run, the neighbours are not read.
// Per pixel:   reads 1 sample (25 from the cache where it softens) and 2 / cell^2 map values, writes 1.
// Rounded once, at the end. Edges: samples outside repeat the edge.

#include "guide.cuh"
#include "picture.cuh"

constexpr int RUN = 4, REACH = 2;

struct FinishArguments {
    const void* in;
    void* out;
    const void* residual;
    const void* softness;
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

template <class T>
BOTH void blur_run(const FinishArguments& it, int x, int y, float (&soft)[RUN]) {
    float columns[RUN + 2 * REACH] = {};
#pragma unroll
    for (int tap = 0; tap < 2 * REACH + 1; ++tap) {
        T samples[RUN + 2 * REACH];
        const int from = clamp_to(y - REACH + tap, it.height - 1);
        fetch<2, 1, RUN + 2 * REACH>(row_of<T>(it.in, it.in_stride, from), x - REACH, it.width,
                                     samples);
#pragma unroll
        for (int n = 0; n < RUN + 2 * REACH; ++n) columns[n] += gaussian(tap) * code_of(samples[n]);
    }
#pragma unroll
    for (int tap = 0; tap < 2 * REACH + 1; ++tap)
#pragma unroll
        for (int n = 0; n < RUN; ++n) soft[n] += gaussian(tap) * columns[n + tap];
}

template <class T>
BOTH void finish_run(const FinishArguments& it, int x, int y) {
    float shares[RUN], added[RUN], soft[RUN] = {};
    bool is_soft = false;
#pragma unroll
    for (int n = 0; n < RUN; ++n) {
        const Spot spot = spot_at(it.grid, x + n, y);
        shares[n] = clamp_to(look_up(it.grid, it.softness, 0, spot), 0, 1);
        added[n] = finite(look_up(it.grid, it.residual, 0, spot) * 255);
        is_soft = is_soft || shares[n] > 0;
    }
    if (is_soft) blur_run<T>(it, x, y, soft);
    T samples[RUN];
    fetch<RUN, 1, RUN>(row_of<T>(it.in, it.in_stride, y), x, it.width, samples);
#pragma unroll
    for (int n = 0; n < RUN; ++n) {
        const float mixed = soft[n] * shares[n] + code_of(samples[n]) * (1 - shares[n]);
        samples[n] = sample_of<T>(mixed + Depth<T>::unit * added[n]);
    }
    store(row_of<T>(it.out, it.out_stride, y) + x, samples, it.width - x);
}

#define KERNEL(name, T)                                              \
    extern "C" __global__ void finish_##name(FinishArguments it) {   \
        FOR_EACH_Y(y, it.height)                                     \
        FOR_EACH_X(x, RUN, it.width)                                 \
        finish_run<T>(it, x, y);                                     \
    }

KERNEL(8, uint8_t)
KERNEL(10, uint16_t)
