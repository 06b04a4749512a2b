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

// The code less `less` that sample `n` of a run holds. The bits of 2^23 + code are the byte's below those
// of 2^23, and those of 2^17 + code the sample's of 16 bits below those of 2^17.
template <int N>
BOTH float code_at(const Run<N, uint8_t>& run, int n, int less = 0) {
    const uint32_t bits = __byte_perm(run.words[n / 4], 0x4B000000u, 0x7540u | n % 4);
    return __uint_as_float(bits) - (float)(8388608 + less);
}
template <int N>
BOTH float code_at(const Run<N, uint16_t>& run, int n, int less = 0) {
    const uint32_t kept = run.words[n / 2] & 0xFFC0FFC0u;
    const uint32_t bits = __byte_perm(kept, 0x48000000u, n % 2 ? 0x7632u : 0x7610u);
    return __uint_as_float(bits) - (float)(131072 + less);
}

template <class T>
BOTH float code_of(T sample) {
    return (float)(sample >> Depth<T>::shift);
}

// Inside the range of the depth and above ABOVE: rounded to the nearest, halves to even, and in its
// lowest bits.
template <class T>
BOTH float rounded_above(float code) {
    return clamp_to(code, 0.0f, (float)Depth<T>::top) + ABOVE;
}

// N samples of the codes that are the lowest bits of each.
template <class T, int N>
BOTH Run<N, T> joined(const uint32_t (&bits)[N]) {
    Run<N, T> run;
#pragma unroll
    for (int n = 0; n < run.WORDS; ++n) {
        if constexpr (sizeof(T) == 1)
            run.words[n] = __byte_perm(__byte_perm(bits[4 * n], bits[4 * n + 1], 0x0040),
                                       __byte_perm(bits[4 * n + 2], bits[4 * n + 3], 0x0040), 0x5410);
        else
            run.words[n] = __byte_perm(bits[2 * n], bits[2 * n + 1], 0x5410) << Depth<T>::shift;
    }
    return run;
}

// The samples of N codes, each rounded so.
template <class T, int N>
BOTH Run<N, T> samples_of(const float (&codes)[N]) {
    uint32_t bits[N];
#pragma unroll
    for (int n = 0; n < N; ++n) bits[n] = __float_as_uint(rounded_above<T>(codes[n]));
    return joined<T>(bits);
}

// What a network adds, in code values of 8 bits; a value that is not finite adds nothing.
BOTH float finite(float value) { return fabsf(value) <= 3.402823466e38f ? value : 0.0f; }

// N codes less `LESS` of U and of V from chroma column `x` on, in row `y`; edges repeat.
template <class F, int N, int LESS, bool WHOLE>
BOTH void fetch_chroma(const Surface& in, int x, int y, float (&u)[N], float (&v)[N]) {
    using T = typename F::Sample;
    const int width = (in.width + 1) / 2;
    const T* const row = row_of<T>(in.chroma, in.chroma_stride, y);
    if constexpr (F::has_pairs) {
        const auto pairs = fetch<2, N, WHOLE>(row, x, width);
#pragma unroll
        for (int n = 0; n < N; ++n)
            u[n] = code_at(pairs, 2 * n, LESS), v[n] = code_at(pairs, 2 * n + 1, LESS);
    } else {
        const auto first = fetch<1, N, WHOLE>(row, x, width);
        const auto second =
            fetch<1, N, WHOLE>(row_of<T>(in.second, in.chroma_stride, y), x, width);
#pragma unroll
        for (int n = 0; n < N; ++n) u[n] = code_at(first, n, LESS), v[n] = code_at(second, n, LESS);
    }
}

// Whether all rows of a plane begin where accesses of so many bytes can.
BOTH bool is_even(const void* plane, int stride, int bytes) {
    return ((reinterpret_cast<uintptr_t>(plane) | stride) & (bytes - 1)) == 0;
}

// Whether all rows of all planes do.
BOTH bool is_even(const Surface& picture, bool has_pairs, int luma_bytes, int chroma_bytes) {
    return is_even(picture.luma, picture.luma_stride, luma_bytes) &&
           is_even(picture.chroma, picture.chroma_stride, chroma_bytes) &&
           (has_pairs || is_even(picture.second, 0, chroma_bytes));
}
