// Whole numbers in the compiler's own vectors, for convolutions: sums of 32 bits in each lane, products of
// pairs of 16 bits.
#pragma once

#include <cstdint>
#include <cstring>

#ifdef __SSE2__
#include <immintrin.h>
#endif

#include "inline.h"

namespace {

#ifdef __AVX512BW__
constexpr int LANES = 16;
#elif defined(__AVX2__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif

typedef uint32_t Sums __attribute__((vector_size(4 * LANES)));  // these may wrap around
typedef int32_t Steps __attribute__((vector_size(4 * LANES)));
typedef int16_t Pairs __attribute__((vector_size(4 * LANES)));
typedef float Reals __attribute__((vector_size(4 * LANES)));

// So many channels of a pixel are a step of what is done to each by itself.
constexpr int SHORTS = 16;
typedef int16_t Shorts __attribute__((vector_size(2 * SHORTS)));
typedef uint8_t Bytes __attribute__((vector_size(SHORTS)));

template <class Vector>
INLINE Vector load(const void* from) {
    Vector lanes;
    std::memcpy(&lanes, from, sizeof lanes);
    return lanes;
}

template <class Vector>
INLINE void store(void* to, const Vector& lanes) {
    std::memcpy(to, &lanes, sizeof lanes);
}

INLINE Shorts widened(const int16_t* from) { return load<Shorts>(from); }
INLINE Shorts widened(const uint8_t* from) {
    return __builtin_convertvector(load<Bytes>(from), Shorts);
}

// The same pair in every lane.
INLINE Pairs spread(const int16_t* from) {
    uint32_t pair;
    std::memcpy(&pair, from, sizeof pair);
    return (Pairs)(Sums{} + pair);
}

// `sums`, and in each lane the products of both of its pair; what leaves 32 bits wraps around.
INLINE Sums plus_products(const Sums& sums, const Pairs& one, const Pairs& other) {
#if defined(__AVX512VNNI__)
    return (Sums)_mm512_dpwssd_epi32((__m512i)sums, (__m512i)one, (__m512i)other);
#elif defined(__AVX512BW__)
    return (Sums)_mm512_add_epi32((__m512i)sums, _mm512_madd_epi16((__m512i)one, (__m512i)other));
#elif defined(__AVX2__)
    return (Sums)_mm256_add_epi32((__m256i)sums, _mm256_madd_epi16((__m256i)one, (__m256i)other));
#elif defined(__SSE2__)
    return (Sums)_mm_add_epi32((__m128i)sums, _mm_madd_epi16((__m128i)one, (__m128i)other));
#else
    Sums products;
    for (int n = 0; n < LANES; ++n)
        products[n] = (uint32_t)(one[2 * n] * other[2 * n]) +
                      (uint32_t)(one[2 * n + 1] * other[2 * n + 1]);
    return sums + products;
#endif
}

// To whole numbers, to even; for values that fit into 32 bits, elsewhere than on x86 into 23.
INLINE Steps nearest(const Reals& values) {
#if defined(__AVX512BW__)
    return (Steps)_mm512_cvtps_epi32((__m512)values);
#elif defined(__AVX2__)
    return (Steps)_mm256_cvtps_epi32((__m256)values);
#elif defined(__SSE2__)
    return (Steps)_mm_cvtps_epi32((__m128)values);
#else
    // Adding this leaves no bits behind the point.
    constexpr float ROUNDER = 12582912.0f;
    return __builtin_convertvector((values + ROUNDER) - ROUNDER, Steps);
#endif
}

INLINE Steps bounded(const Steps& values, int low, int high) {
    const Steps lowest = Steps{} + low, highest = Steps{} + high;
    const Steps above = values > lowest ? values : lowest;
    return above < highest ? above : highest;
}

// Of whole numbers that leave as bytes: `zero` is added to what is within bounds.
struct Limits {
    int32_t low, high, zero;
};

template <int COUNT>
INLINE void store_bytes(uint8_t* to, const Steps* values, const Limits& limits) {
#if defined(__AVX2__) && !defined(__AVX512BW__)
    __m256i shorts = _mm256_packs_epi32((__m256i)values[0], (__m256i)values[COUNT - 1]);
    shorts = _mm256_max_epi16(shorts, _mm256_set1_epi16((int16_t)limits.low));
    shorts = _mm256_min_epi16(shorts, _mm256_set1_epi16((int16_t)limits.high));
    shorts = _mm256_add_epi16(shorts, _mm256_set1_epi16((int16_t)limits.zero));
    const __m256i bytes = _mm256_permutevar8x32_epi32(
        _mm256_packus_epi16(shorts, shorts), _mm256_setr_epi32(0, 4, 1, 5, 0, 4, 1, 5));
    std::memcpy(to, &bytes, COUNT * LANES);
#else
    for (int n = 0; n < COUNT; ++n) {
        const Steps bytes = bounded(values[n], limits.low, limits.high) + limits.zero;
#ifdef __AVX512BW__
        store(to + n * LANES, _mm512_cvtepi32_epi8((__m512i)bytes));
#else
        for (int lane = 0; lane < LANES; ++lane) to[n * LANES + lane] = (uint8_t)bytes[lane];
#endif
    }
#endif
}

}  // namespace
