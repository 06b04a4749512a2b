// Pictures in 4:2:0: where their samples are, and what code value a sample holds.
#pragma once

#include "runs.cuh"

// Strides are bytes from row to row. `chroma` is the U plane, or the plane of U, V pairs;
// `second` is the V plane, and unused with pairs. Chroma has (width + 1) / 2 columns and
// (height + 1) / 2 rows.
struct Surface {
    void* luma;
    void* chroma;
    void* second;
    int32_t luma_stride;
    int32_t chroma_stride;
    int32_t width;
    int32_t height;
};

// A sample of 8 bits is its code value; one of 10 bits holds it in its upper bits, as P010 does.
template <class T>
struct Depth;
template <>
struct Depth<uint8_t> {
    static constexpr int shift = 0, unit = 1, top = 255;  // unit: code values per 8-bit code value
};
template <>
struct Depth<uint16_t> {
    static constexpr int shift = 6, unit = 4, top = 1023;
};

struct Nv12 {
    using Sample = uint8_t;
    static constexpr bool has_pairs = true;
};
struct P010 {
    using Sample = uint16_t;
    static constexpr bool has_pairs = true;
};
struct Yuv420p {
    using Sample = uint8_t;
    static constexpr bool has_pairs = false;
};

template <class T>
BOTH float code_of(T sample) {
    return (float)(sample >> Depth<T>::shift);
}

// The nearest code value, halves to even, inside the range of the depth.
template <class T>
BOTH float rounded(float value) {
    return clamp_to(rintf(value), 0.0f, (float)Depth<T>::top);
}

template <class T>
BOTH T sample_of(float value) {
    return (T)((int)rounded<T>(value) << Depth<T>::shift);
}

// What a network adds, in code values of 8 bits; a value that is not finite adds nothing.
BOTH float finite(float value) { return fabsf(value) <= 3.402823466e38f ? value : 0.0f; }

// N codes of U and of V from chroma column `x` on, in row `y`; edges repeat.
template <class F, int PIECE, int N>
BOTH void fetch_chroma(const Surface& in, int x, int y, float (&u)[N], float (&v)[N]) {
    using T = typename F::Sample;
    const int width = (in.width + 1) / 2;
    if constexpr (F::has_pairs) {
        T pairs[2 * N];
        fetch<PIECE, 2, N>(row_of<T>(in.chroma, in.chroma_stride, y), x, width, pairs);
#pragma unroll
        for (int n = 0; n < N; ++n) u[n] = code_of(pairs[2 * n]), v[n] = code_of(pairs[2 * n + 1]);
    } else {
        T first[N], second[N];
        fetch<PIECE, 1, N>(row_of<T>(in.chroma, in.chroma_stride, y), x, width, first);
        fetch<PIECE, 1, N>(row_of<T>(in.second, in.chroma_stride, y), x, width, second);
#pragma unroll
        for (int n = 0; n < N; ++n) u[n] = code_of(first[n]), v[n] = code_of(second[n]);
    }
}
