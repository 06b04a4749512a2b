// Floats in the compiler's own vectors, and places bounded to a picture.
//
// A row of a square is eight at every level of processor, so that sums run in the same order and all
// find the same motion. What is done to each by itself takes as many as a vector of this level holds.
#pragma once

#include <cstdint>
#include <cstring>

#ifdef __SSE2__
#include <immintrin.h>
#endif

#include "inline.h"

namespace {

#ifdef __AVX512F__
constexpr int LANES = 16;
#else
constexpr int LANES = 8;
#endif

typedef float Eight __attribute__((vector_size(32)));
typedef float Lanes __attribute__((vector_size(4 * LANES)));
typedef int32_t Wholes __attribute__((vector_size(4 * LANES)));

template <class Vector = Lanes>
INLINE Vector load(const float* from) {
    Vector lanes;
    std::memcpy(&lanes, from, sizeof lanes);
    return lanes;
}

template <class Vector>
INLINE void store(float* to, const Vector& lanes) {
    std::memcpy(to, &lanes, sizeof lanes);
}

INLINE float sum(const Eight& lanes) {
    float part[8];
    store(part, lanes);
    return ((part[0] + part[4]) + (part[1] + part[5])) + ((part[2] + part[6]) + (part[3] + part[7]));
}

struct Two {
    float first, second;
};

// `sum` of each.
INLINE Two two_sums(const Eight& one, const Eight& other) {
#ifdef __SSE2__
    __m128 a[2], b[2];
    std::memcpy(a, &one, sizeof a);
    std::memcpy(b, &other, sizeof b);
    const __m128 first = _mm_add_ps(a[0], a[1]), second = _mm_add_ps(b[0], b[1]);
    const __m128 pairs = _mm_add_ps(_mm_shuffle_ps(first, second, _MM_SHUFFLE(2, 0, 2, 0)),
                                    _mm_shuffle_ps(first, second, _MM_SHUFFLE(3, 1, 3, 1)));
    const __m128 sums = _mm_add_ps(pairs, _mm_shuffle_ps(pairs, pairs, _MM_SHUFFLE(3, 3, 1, 1)));
    return {_mm_cvtss_f32(sums), _mm_cvtss_f32(_mm_movehl_ps(sums, sums))};
#else
    return {sum(one), sum(other)};
#endif
}

// What is no number becomes `low`.
INLINE float bounded(float value, float low, float high) {
    value = value > low ? value : low;
    return value < high ? value : high;
}

// One instruction each; compilers take two to compare vectors and choose, and three for a size.
INLINE Lanes greater(const Lanes& value, const Lanes& other) {
#if defined(__AVX512F__)
    return (Lanes)_mm512_max_ps((__m512)value, (__m512)other);
#elif defined(__AVX__)
    return (Lanes)_mm256_max_ps((__m256)value, (__m256)other);
#else
    return value > other ? value : other;
#endif
}

INLINE Lanes lesser(const Lanes& value, const Lanes& other) {
#if defined(__AVX512F__)
    return (Lanes)_mm512_min_ps((__m512)value, (__m512)other);
#elif defined(__AVX__)
    return (Lanes)_mm256_min_ps((__m256)value, (__m256)other);
#else
    return value < other ? value : other;
#endif
}

INLINE Lanes bounded(const Lanes& value, const Lanes& low, const Lanes& high) {
    return lesser(greater(value, low), high);
}

INLINE Lanes size_of(const Lanes& value) {
    return (Lanes)((Wholes)value & INT32_MAX);
}

}  // namespace
