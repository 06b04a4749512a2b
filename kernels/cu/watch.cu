// Whether a residual can be shown: counts of what no sound network gives.
//
// One thread:  runs of 16 bytes of neighbouring values, one run per stride of the grid.
// residual:    `count` contiguous values, float16 or float32, 8-bit code values.
// out:         one Health, zero before the launch: counts are added to it. `dark` are values of -128
//              and below: a plane of them is black whatever was under it.
// Per value:   reads it once; writes 12 bytes per block that found something.
// Shared memory holds one block's counts: a residual that is all NaN would otherwise be as many
//              atomics on one address.
// Tail:        every value counts once, at any alignment.

#include "runs.cuh"

struct Health {
    uint32_t nans;
    uint32_t infinities;
    uint32_t dark;
};

struct WatchArguments {
    const void* residual;
    Health* out;
    int64_t count;
};

// Whether any value of a run may be counted; most runs have none.
template <int N>
BOTH bool is_odd(const Run<N, float>& run) {
    bool is_sound = true;
#pragma unroll
    for (int n = 0; n < N; ++n) {
        const float value = value_at(run, n);
        is_sound = is_sound && value > -128.0f && value <= 3.402823466e38f;
    }
    return !is_sound;
}
template <int N>
BOTH bool is_odd(const Run<N, __half>& run) {
    const __half2 low = __float2half2_rn(-128.0f), high = __float2half2_rn(65504.0f);
    bool is_sound = true;
#pragma unroll
    for (int n = 0; n < run.WORDS; ++n) {
        const __half2 two = {from_bits<__half>(bits_at(run, 2 * n)),
                             from_bits<__half>(bits_at(run, 2 * n + 1))};
        is_sound = is_sound && __hbgt2(two, low) && __hble2(two, high);
    }
    return !is_sound;
}
BOTH void judge(float value, Health& seen) {
    if (value != value)
        ++seen.nans;
    else if (fabsf(value) > 3.402823466e38f)
        ++seen.infinities;
    else if (value <= -128.0f)
        ++seen.dark;
}

BOTH bool has_any(const Health& seen) { return seen.nans || seen.infinities || seen.dark; }

__device__ void add(Health* to, const Health& seen) {
    if (seen.nans) atomicAdd(&to->nans, seen.nans);
    if (seen.infinities) atomicAdd(&to->infinities, seen.infinities);
    if (seen.dark) atomicAdd(&to->dark, seen.dark);
}

template <class V>
__device__ void watch(const WatchArguments& it) {
    __shared__ Health block;
    const bool is_first = threadIdx.x == 0 && threadIdx.y == 0;
    if (is_first) block = Health{};
    __syncthreads();
    constexpr int RUN = 16 / sizeof(V);
    const V* const residual = static_cast<const V*>(it.residual);
    const int64_t runs = (it.count + RUN - 1) / RUN;
    Health seen = {};
    const int64_t threads = (int64_t)gridDim.x * blockDim.x * blockDim.y;
    const int64_t thread =
        ((int64_t)blockIdx.x * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    for (int64_t run = thread; run < runs; run += threads) {
        const int64_t left = it.count - run * RUN;
        const auto values = load<RUN>(residual + run * RUN, left);
        if (!is_odd(values)) continue;
#pragma unroll  // seldom
        for (int n = 0; n < RUN; ++n)                           // seldom
            if (n < left) judge(value_at(values, n), seen);  // seldom
    }
    if (has_any(seen)) add(&block, seen);
    __syncthreads();
    if (is_first) add(it.out, block);
}

#define KERNEL(name, V)                                            \
    extern "C" __global__ void watch_##name(WatchArguments it) {   \
        watch<V>(it);                                              \
    }

KERNEL(f16, __half)
KERNEL(f32, float)
