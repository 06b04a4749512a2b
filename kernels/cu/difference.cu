// How much two luma planes differ, and how their codes are spread: for cuts and duplicates.
//
// One thread:  runs of RUN neighbouring pixels of both planes, one run per stride of the grid.
// first, second: width x height, 8 bits or 10 in the upper bits; any stride and alignment.
// out:         one Difference, zero before the launch: counts are added to it. Codes are those of
//              the depth; a bin holds 4 codes of 8 bits, 16 of 10.
// Per pixel:   reads 1 sample of each plane; writes 520 bytes per block.
// Shared memory holds one block's counts: without it every pixel would be an atomic on one of 128
//              addresses of device memory. All numbers are integers, so their order is no matter.
// Odd edges:   every pixel counts once.

#include "picture.cuh"

constexpr int RUN = 8, BINS = 64;

struct Difference {
    unsigned long long sum;
    uint32_t bins[2][BINS];
};

struct DifferenceArguments {
    const void* first;
    const void* second;
    Difference* out;
    int32_t first_stride;
    int32_t second_stride;
    int32_t width;
    int32_t height;
};

// Neighbours often share a bin: equal ones are counted with one atomic.
template <class T>
__device__ void count_run(const T (&samples)[RUN], int left, uint32_t* bins) {
    uint32_t alike = 0;
#pragma unroll
    for (int n = 0; n < RUN; ++n) {
        if (n >= left) break;
        ++alike;
        const int bin = (samples[n] >> Depth<T>::shift) / (4 * Depth<T>::unit);
        const int next = n + 1 < RUN && n + 1 < left
                             ? (samples[(n + 1) % RUN] >> Depth<T>::shift) / (4 * Depth<T>::unit)
                             : -1;
        if (next == bin) continue;
        atomicAdd(bins + bin, alike);
        alike = 0;
    }
}

template <class T>
__device__ void compare(const DifferenceArguments& it) {
    __shared__ Difference block;
    const int thread = threadIdx.y * blockDim.x + threadIdx.x, threads = blockDim.x * blockDim.y;
    for (int n = thread; n < 2 * BINS; n += threads) block.bins[n / BINS][n % BINS] = 0;
    if (thread == 0) block.sum = 0;
    __syncthreads();
    unsigned long long sum = 0;
    FOR_EACH_Y(y, it.height)
    FOR_EACH_X(x, RUN, it.width) {
        T one[RUN], other[RUN];
        fetch<RUN, 1, RUN>(row_of<T>(it.first, it.first_stride, y), x, it.width, one);
        fetch<RUN, 1, RUN>(row_of<T>(it.second, it.second_stride, y), x, it.width, other);
        const int left = it.width - x;
#pragma unroll
        for (int n = 0; n < RUN; ++n) {
            const int apart =
                (int)(one[n] >> Depth<T>::shift) - (int)(other[n] >> Depth<T>::shift);
            if (n < left) sum += apart < 0 ? -apart : apart;
        }
        count_run(one, left, block.bins[0]);
        count_run(other, left, block.bins[1]);
    }
    atomicAdd(&block.sum, sum);
    __syncthreads();
    for (int n = thread; n < 2 * BINS; n += threads) {
        const uint32_t seen = block.bins[n / BINS][n % BINS];
        if (seen) atomicAdd(&it.out->bins[n / BINS][n % BINS], seen);
    }
    if (thread == 0) atomicAdd(&it.out->sum, block.sum);
}

#define KERNEL(name, T)                                                      \
    extern "C" __global__ void difference_##name(DifferenceArguments it) {   \
        compare<T>(it);                                                      \
    }

KERNEL(8, uint8_t)
KERNEL(10, uint16_t)
