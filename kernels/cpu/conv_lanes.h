// Whole numbers in the compiler's own vectors, for convolutions: sums of 32 bits in each lane, products of
// pairs of 16 bits.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
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
typedef uint8_t Fours __attribute__((vector_size(4 * LANES)));  // bytes of four of them

// So many channels of a pixel are a step of what is done to each by itself.
constexpr int SHORTS = 16;
typedef int16_t Shorts __attribute__((vector_size(2 * SHORTS)));
typedef uint8_t Bytes __attribute__((vector_size(SHORTS)));

#if defined(__ARM_NEON)
// Anywhere in memory. There GCC copies sixteen bytes as two whole numbers, and arrays of vectors that are
// copied so leave the registers.
template <class Vector>
struct __attribute__((packed, may_alias)) Anywhere {
    Vector lanes;
};

template <class Vector>
INLINE Vector load(const void* from) {
    return static_cast<const Anywhere<Vector>*>(from)->lanes;
}

template <class Vector>
INLINE void store(void* to, const Vector& lanes) {
    static_cast<Anywhere<Vector>*>(to)->lanes = lanes;
}
#else
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
#endif

INLINE Shorts widened(const int16_t* from) { return load<Shorts>(from); }
INLINE Shorts widened(const uint8_t* from) {
#ifdef __AVX2__
    // Of the compiler's own conversion two halves are made.
    return (Shorts)_mm256_cvtepu8_epi16((__m128i)load<Bytes>(from));
#else
    return __builtin_convertvector(load<Bytes>(from), Shorts);
#endif
}

INLINE Reals real(const uint8_t* from) {
    typedef uint8_t Few __attribute__((vector_size(LANES)));
    const Few bytes = load<Few>(from);
#if defined(__AVX2__) && !defined(__AVX512BW__)
    // The compiler's own conversion takes them one by one.
    return (Reals)_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128((int64_t)bytes)));
#else
    return __builtin_convertvector(bytes, Reals);
#endif
}

#if defined(__ARM_NEON)
// A pair for every lane, and of the pairs in the lanes all first ones beside all second ones.
typedef int16x4_t Spread;
typedef int16x4x2_t Weights;

INLINE Weights weights_at(const int16_t* from) { return vld2_s16(from); }
#else
typedef Pairs Spread, Weights;

INLINE Weights weights_at(const int16_t* from) { return load<Pairs>(from); }
#endif

// The same pair for every lane.
INLINE Spread spread(const int16_t* from) {
    uint32_t pair;
    std::memcpy(&pair, from, sizeof pair);
#if defined(__ARM_NEON)
    return vreinterpret_s16_u32(vdup_n_u32(pair));
#else
    return (Pairs)(Sums{} + pair);
#endif
}

// `sums`, and in each lane the products of both of its pair; what leaves 32 bits wraps around.
INLINE Sums plus_products(const Sums& sums, const Spread& one, const Weights& other) {
#if defined(__ARM_NEON)
    const int32x4_t first = vmlal_lane_s16((int32x4_t)sums, other.val[0], one, 0);
    return (Sums)vmlal_lane_s16(first, other.val[1], one, 1);
#elif defined(__AVX512VNNI__)
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

// To whole numbers, to even; for values that fit into 32 bits, where no processor is named into 23.
INLINE Steps nearest(const Reals& values) {
#if defined(__AVX512BW__)
    return (Steps)_mm512_cvtps_epi32((__m512)values);
#elif defined(__AVX2__)
    return (Steps)_mm256_cvtps_epi32((__m256)values);
#elif defined(__SSE2__)
    return (Steps)_mm_cvtps_epi32((__m128)values);
#elif defined(__ARM_NEON)
    return (Steps)vcvtnq_s32_f32((float32x4_t)values);
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

// Four vectors of whole numbers, within their bounds.
INLINE Fours bytes_of(const Steps& a, const Steps& b, const Steps& c, const Steps& d,
                      const Limits& limits) {
#if defined(__AVX512BW__) || !(defined(__SSE2__) || defined(__ARM_NEON))
    const Steps values[4] = {a, b, c, d};
    uint8_t bytes[4 * LANES];
    for (int n = 0; n < 4; ++n) {
        const Steps whole = bounded(values[n], limits.low, limits.high) + limits.zero;
#ifdef __AVX512BW__
        store(bytes + n * LANES, _mm512_cvtepi32_epi8((__m512i)whole));
#else
        for (int lane = 0; lane < LANES; ++lane) bytes[n * LANES + lane] = (uint8_t)whole[lane];
#endif
    }
    return load<Fours>(bytes);
#else
    // What leaves 16 bits, or 8, becomes the nearest that is left: bounds may wait until then.
    const Fours lowest = Fours{} + (uint8_t)(limits.low + limits.zero);
    const Fours highest = Fours{} + (uint8_t)(limits.high + limits.zero);
    Fours bytes;
#ifdef __AVX2__
    const __m256i zero = _mm256_set1_epi16((int16_t)limits.zero);
    bytes = (Fours)_mm256_permutevar8x32_epi32(
        _mm256_packus_epi16(
            _mm256_adds_epi16(_mm256_packs_epi32((__m256i)a, (__m256i)b), zero),
            _mm256_adds_epi16(_mm256_packs_epi32((__m256i)c, (__m256i)d), zero)),
        _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
#elif defined(__ARM_NEON)
    const int16x8_t zero = vdupq_n_s16((int16_t)limits.zero);
    const auto eight = [&](const Steps& one, const Steps& other) {
        const int16x8_t both = vcombine_s16(vqmovn_s32((int32x4_t)one), vqmovn_s32((int32x4_t)other));
        return vqmovun_s16(vqaddq_s16(both, zero));
    };
    bytes = (Fours)vcombine_u8(eight(a, b), eight(c, d));
#else
    const __m128i zero = _mm_set1_epi16((int16_t)limits.zero);
    bytes = (Fours)_mm_packus_epi16(
        _mm_adds_epi16(_mm_packs_epi32((__m128i)a, (__m128i)b), zero),
        _mm_adds_epi16(_mm_packs_epi32((__m128i)c, (__m128i)d), zero));
#endif
    bytes = bytes > lowest ? bytes : lowest;
    return bytes < highest ? bytes : highest;
#endif
}

}  // namespace
