// Runs of neighbouring values: one wide access where it is aligned and inside, single ones elsewhere.
//
// A kernel that moves as many bytes as the memory gives has eight or nine instructions for each of them
// (H200: 132 * 128 lanes at 1.98 GHz, 80 % of 4.8 TB/s). So a run stays in the words it was read in, and single values
// are taken from there by one permutation each. Lines marked `seldom` are those of edges and odd
// addresses, which are not counted.
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

// 1.5 * 2^23: around it float32 has whole numbers only, in its lowest bits.
constexpr float ABOVE = 12582912.0f;

// N neighbouring values as they lie in memory.
template <int N, class T>
struct Run {
    static_assert(N * sizeof(T) % 4 == 0, "whole words");
    static constexpr int WORDS = N * sizeof(T) / 4;
    uint32_t words[WORDS];
};

// What one access moves.
template <int BYTES>
struct alignas(BYTES) Piece {
    uint32_t words[BYTES / 4];
};

// The widest access that N values divide into.
template <int N, class T>
constexpr int WIDEST = N * sizeof(T) % 16 == 0 ? 16 : N * sizeof(T) % 8 == 0 ? 8 : 4;

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

BOTH uint32_t bits_of(uint8_t value) { return value; }
BOTH uint32_t bits_of(uint16_t value) { return value; }
BOTH uint32_t bits_of(uint32_t value) { return value; }
BOTH uint32_t bits_of(float value) { return __float_as_uint(value); }
BOTH uint32_t bits_of(__half value) { return __half_as_ushort(value); }

template <class T>
BOTH T from_bits(uint32_t bits) {
    return (T)bits;
}
template <>
BOTH float from_bits<float>(uint32_t bits) {
    return __uint_as_float(bits);
}
template <>
BOTH __half from_bits<__half>(uint32_t bits) {
    return __ushort_as_half((uint16_t)bits);
}

// The bits of value `n` of a run.
template <int N, class T>
BOTH uint32_t bits_at(const Run<N, T>& run, int n) {
    constexpr int EACH = 4 / sizeof(T);
    const uint32_t word = run.words[n / EACH] >> (n % EACH * 8 * sizeof(T));
    return sizeof(T) == 4 ? word : word & ((1u << (8 * sizeof(T) % 32)) - 1);
}

template <int N, class T>
BOTH void put(Run<N, T>& run, int n, const T* from) {
    constexpr int EACH = 4 / sizeof(T);
    run.words[n / EACH] |= bits_of(*from) << (n % EACH * 8 * sizeof(T));
}

template <int PIECE, int N, class T>
BOTH Run<N, T> load_aligned(const T* from) {
    Run<N, T> run;
#pragma unroll
    for (int begin = 0; begin < run.WORDS; begin += PIECE / 4) {
        const auto piece = *reinterpret_cast<const Piece<PIECE>*>(
            reinterpret_cast<const char*>(from) + 4 * begin);
#pragma unroll
        for (int n = 0; n < PIECE / 4; ++n) run.words[begin + n] = piece.words[n];
    }
    return run;
}

// The first `left` of N values from `from`; zeros for what is not there. WHOLE: all are there, at an
// address that the widest access can read.
template <int N, bool WHOLE = false, class T>
BOTH Run<N, T> load(const T* from, int64_t left = N) {
    constexpr int PIECE = WIDEST<N, T>;
    Run<N, T> run = {};
    if (WHOLE || (left >= N && is_aligned<PIECE>(from))) return load_aligned<PIECE, N>(from);
#pragma unroll  // seldom
    for (int n = 0; n < N; ++n)  // seldom
        if (n < left) put(run, n, from + n);  // seldom
    return run;
}

// The first `left` of N values to `to`; a thread whose run ends outside passes what is left.
template <bool WHOLE = false, int N, class T>
BOTH void store(T* to, const Run<N, T>& run, int left) {
    constexpr int PIECE = WIDEST<N, T>;
    if (WHOLE || (left >= N && is_aligned<PIECE>(to))) {
#pragma unroll
        for (int begin = 0; begin < run.WORDS; begin += PIECE / 4) {
            Piece<PIECE> piece;
#pragma unroll
            for (int n = 0; n < PIECE / 4; ++n) piece.words[n] = run.words[begin + n];
            *reinterpret_cast<Piece<PIECE>*>(reinterpret_cast<char*>(to) + 4 * begin) = piece;
        }
        return;
    }
#pragma unroll  // seldom
    for (int n = 0; n < N; ++n)  // seldom
        if (n < left) to[n] = from_bits<T>(bits_at(run, n));  // seldom
}

// N pixels of CHANNELS interleaved values from column `x` on; columns outside repeat the edge.
template <int CHANNELS, int N, bool WHOLE = false, class T>
BOTH Run<N * CHANNELS, T> fetch(const T* row, int x, int width) {
    constexpr int PIECE = WIDEST<N * CHANNELS, T>;
    if (WHOLE || (x >= 0 && x + N <= width && is_aligned<PIECE>(row + x * CHANNELS)))
        return load_aligned<PIECE, N * CHANNELS>(row + x * CHANNELS);
    Run<N * CHANNELS, T> run = {};
#pragma unroll  // seldom
    for (int n = 0; n < N; ++n)  // seldom
#pragma unroll  // seldom
        for (int channel = 0; channel < CHANNELS; ++channel)  // seldom
            put(run, n * CHANNELS + channel,  // seldom
                row + clamp_to(x + n, width - 1) * CHANNELS + channel);  // seldom
    return run;
}

// Pixels on either side of a run that has two more there, in whole words.
template <int CHANNELS, class T>
constexpr int BESIDE = 2 * CHANNELS * sizeof(T) < 4 ? 4 / (CHANNELS * sizeof(T)) : 2;

// N pixels of CHANNELS interleaved values from column `x` on, with BESIDE ones on either side; columns
// outside repeat the edge. WHOLE: `width` is a multiple of N or another N follow these, and the row has an
// address that the widest access can read.
template <int CHANNELS, int N, bool WHOLE, class T>
BOTH Run<(N + 2 * BESIDE<CHANNELS, T>) * CHANNELS, T> fetch_with_sides(const T* row, int x, int width) {
    constexpr int SIDE = BESIDE<CHANNELS, T>, SIZE = CHANNELS * sizeof(T), WORDS = SIDE * SIZE / 4;
    Run<(N + 2 * SIDE) * CHANNELS, T> run = {};
    if (!WHOLE) {
#pragma unroll
        for (int n = 0; n < N + 2 * SIDE; ++n)
#pragma unroll
            for (int channel = 0; channel < CHANNELS; ++channel)
                put(run, n * CHANNELS + channel,
                    row + clamp_to(x + n - SIDE, width - 1) * CHANNELS + channel);
        return run;
    }
    const auto inner = load_aligned<WIDEST<N * CHANNELS, T>, N * CHANNELS>(row + x * CHANNELS);
    const uint32_t* const words = reinterpret_cast<const uint32_t*>(row + x * CHANNELS);
    constexpr uint32_t first = SIZE == 1 ? 0x0000 : SIZE == 2 ? 0x1010 : 0x3210,
                       last = SIZE == 1 ? 0x3333 : SIZE == 2 ? 0x3232 : 0x3210;
#pragma unroll
    for (int n = 0; n < WORDS; ++n) {
        run.words[n] = x > 0 ? words[n - WORDS] : __byte_perm(inner.words[0], 0, first);
        run.words[WORDS + inner.WORDS + n] =
            x + N < width ? words[inner.WORDS + n]
                          : __byte_perm(inner.words[inner.WORDS - 1], 0, last);
    }
#pragma unroll
    for (int n = 0; n < inner.WORDS; ++n) run.words[WORDS + n] = inner.words[n];
    return run;
}

template <int N>
BOTH bool has_zero_byte(const Run<N, uint8_t>& run) {
    uint32_t found = 0;
#pragma unroll
    for (int n = 0; n < run.WORDS; ++n)
        found |= (run.words[n] - 0x01010101u) & ~run.words[n] & 0x80808080u;
    return found != 0;
}

// Value `n` of a residual.
template <int N>
BOTH float value_at(const Run<N, float>& run, int n) {
    return __uint_as_float(run.words[n]);
}
template <int N>
BOTH float value_at(const Run<N, __half>& run, int n) {
    return __half2float(from_bits<__half>(bits_at(run, n)));
}

// N values as float32, or rounded to float16.
template <class V, int N>
BOTH Run<N, V> values_of(const float (&from)[N]) {
    Run<N, V> run;
    if constexpr (sizeof(V) == 4) {
#pragma unroll
        for (int n = 0; n < N; ++n) run.words[n] = __float_as_uint(from[n]);
    } else {
#pragma unroll
        for (int n = 0; n < N; n += 2) {
            const __half2 two = __floats2half2_rn(from[n], from[n + 1]);
            run.words[n / 2] = __half_as_ushort(two.x) | (uint32_t)__half_as_ushort(two.y) << 16;
        }
    }
    return run;
}
