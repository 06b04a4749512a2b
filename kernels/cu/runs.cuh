// Runs of neighbouring samples: one wide access where it is aligned and inside, single ones elsewhere.
#pragma once

#include <cuda_fp16.h>
#include <stdint.h>

#define BOTH __host__ __device__ __forceinline__

// The threads of a launch share the work in strides of the grid, so that any grid covers all of it.
#define FOR_EACH_X(name, step, count)                                        \
    for (int name = (step) * (int)(blockIdx.x * blockDim.x + threadIdx.x); name < (count); \
         name += (step) * (int)(gridDim.x * blockDim.x))
#define FOR_EACH_Y(name, count)                                              \
    for (int name = (int)(blockIdx.y * blockDim.y + threadIdx.y); name < (count); \
         name += (int)(gridDim.y * blockDim.y))

template <int N, class T>
struct alignas(N * sizeof(T)) Run {
    T at[N];
};

template <int BYTES>
BOTH bool is_aligned(const void* place) {
    return (reinterpret_cast<uintptr_t>(place) & (BYTES - 1)) == 0;
}

BOTH int clamp_to(int value, int last) { return value < 0 ? 0 : value > last ? last : value; }

// NaN becomes `low`: of a NaN and a number, fmaxf gives the number.
BOTH float clamp_to(float value, float low, float high) { return fminf(fmaxf(value, low), high); }

// Row `y` of a plane whose rows lie `stride` bytes apart.
template <class T>
BOTH const T* row_of(const void* plane, int stride, int y) {
    return reinterpret_cast<const T*>(static_cast<const char*>(plane) + (int64_t)stride * y);
}

template <class T>
BOTH T* row_of(void* plane, int stride, int y) {
    return reinterpret_cast<T*>(static_cast<char*>(plane) + (int64_t)stride * y);
}

// N values from `from`, all of which are there.
template <int N, class T>
BOTH void load(const T* from, T (&to)[N]) {
    if (is_aligned<N * sizeof(T)>(from)) {
        const Run<N, T> run = *reinterpret_cast<const Run<N, T>*>(from);
#pragma unroll
        for (int n = 0; n < N; ++n) to[n] = run.at[n];
        return;
    }
#pragma unroll
    for (int n = 0; n < N; ++n) to[n] = from[n];
}

// The first `left` of N values to `to`; a thread whose run ends outside passes what is left.
template <int N, class T>
BOTH void store(T* to, const T (&from)[N], int left) {
    if (left >= N && is_aligned<N * sizeof(T)>(to)) {
        Run<N, T> run;
#pragma unroll
        for (int n = 0; n < N; ++n) run.at[n] = from[n];
        *reinterpret_cast<Run<N, T>*>(to) = run;
        return;
    }
#pragma unroll
    for (int n = 0; n < N; ++n)
        if (n < left) to[n] = from[n];
}

// As `store`, in accesses of PIECE values: for N that is no power of two, or above 16 bytes.
template <int PIECE, int N, class T>
BOTH void store_pieces(T* to, const T (&from)[N], int left) {
#pragma unroll
    for (int begin = 0; begin < N; begin += PIECE) {
        T piece[PIECE];
#pragma unroll
        for (int n = 0; n < PIECE; ++n) piece[n] = from[begin + n];
        store(to + begin, piece, left - begin);
    }
}

// N pixels of CHANNELS interleaved samples from column `x` on; columns outside repeat the edge.
// PIECE pixels in one access, so that `x` need not be a multiple of N.
template <int PIECE, int CHANNELS, int N, class T>
BOTH void fetch(const T* row, int x, int width, T (&to)[N * CHANNELS]) {
    constexpr int SIZE = PIECE * CHANNELS;
    if (x >= 0 && x + N <= width && is_aligned<SIZE * sizeof(T)>(row + x * CHANNELS)) {
#pragma unroll
        for (int begin = 0; begin < N * CHANNELS; begin += SIZE) {
            const auto run = *reinterpret_cast<const Run<SIZE, T>*>(row + x * CHANNELS + begin);
#pragma unroll
            for (int n = 0; n < SIZE; ++n) to[begin + n] = run.at[n];
        }
        return;
    }
#pragma unroll
    for (int n = 0; n < N; ++n)
#pragma unroll
        for (int channel = 0; channel < CHANNELS; ++channel)
            to[n * CHANNELS + channel] = row[clamp_to(x + n, width - 1) * CHANNELS + channel];
}

BOTH float to_float(float value) { return value; }
BOTH float to_float(__half value) { return __half2float(value); }
// A residual of bytes holds whole code values around 128.
BOTH float to_float(uint8_t value) { return (float)value - 128.0f; }

template <class T>
BOTH T from_float(float value);
template <>
BOTH float from_float<float>(float value) { return value; }
template <>
BOTH __half from_float<__half>(float value) { return __float2half_rn(value); }
