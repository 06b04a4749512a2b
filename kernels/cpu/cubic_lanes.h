// As many cells as a vector of this level holds 32 bits, in the compiler's own vectors.
#pragma once

#include <cstdint>
#include <cstring>

#ifdef __SSE2__
#include <immintrin.h>
#endif

#include "inline.h"

namespace {

#if defined(__AVX512BW__)
constexpr int CELLS = 16;
#elif defined(__AVX2__)
constexpr int CELLS = 8;
#else
constexpr int CELLS = 4;
#endif

typedef int32_t Cells __attribute__((vector_size(4 * CELLS)));
typedef uint32_t Wholes __attribute__((vector_size(4 * CELLS)));
typedef float Reals __attribute__((vector_size(4 * CELLS)));
typedef int16_t Halves __attribute__((vector_size(4 * CELLS)));
typedef uint16_t Shorts __attribute__((vector_size(2 * CELLS)));
typedef uint8_t Bytes __attribute__((vector_size(CELLS)));
typedef uint8_t PairedBytes __attribute__((vector_size(2 * CELLS)));

struct PairedReals {
    float at[2 * CELLS];
};

INLINE Halves halves_at(const int16_t* from) {
    Halves found;
    std::memcpy(&found, from, sizeof found);
    return found;
}

// Of the two 16 bits in each 32: the sum of both times their weights.
INLINE Cells summed(const Halves& pairs, int first, int second) {
    const int32_t weights = (int32_t)((uint32_t)second << 16 | (uint16_t)first);
#if defined(__AVX512BW__)
    return (Cells)_mm512_madd_epi16((__m512i)pairs, _mm512_set1_epi32(weights));
#elif defined(__AVX2__)
    return (Cells)_mm256_madd_epi16((__m256i)pairs, _mm256_set1_epi32(weights));
#elif defined(__SSE2__)
    return (Cells)_mm_madd_epi16((__m128i)pairs, _mm_set1_epi32(weights));
#else
    const Cells both = (Cells)pairs;
    const Cells lower = (Cells)((Wholes)both << 16) >> 16;
    (void)weights;
    return lower * first + (both >> 16) * second;
#endif
}

// Compilers take several instructions for each of these three.
INLINE Cells widened(const Bytes& bytes) {
#if defined(__AVX512BW__)
    return (Cells)_mm512_cvtepu8_epi32((__m128i)bytes);
#else
    return __builtin_convertvector(__builtin_convertvector(bytes, Shorts), Cells);
#endif
}

INLINE Halves widened(const PairedBytes& bytes) {
#if defined(__AVX512BW__)
    return (Halves)_mm512_cvtepu8_epi16((__m256i)bytes);
#else
    return __builtin_convertvector(bytes, Halves);
#endif
}

INLINE Halves clipped(const Halves& values) {
#if defined(__AVX512BW__)
    const __m512i positive = _mm512_max_epi16((__m512i)values, _mm512_setzero_si512());
    return (Halves)_mm512_min_epi16(positive, _mm512_set1_epi16(255));
#else
    const Halves positive = values > 0 ? values : Halves{};
    return positive < 255 ? positive : Halves{} + 255;
#endif
}

// Loads what lies there; or only its first `count` values, behind which nothing is read.
struct Whole {
    template <class Vector, class Value>
    static INLINE Vector loaded(const Value* from, int) {
        Vector found;
        std::memcpy(&found, from, sizeof found);
        return found;
    }
    template <class Vector>
    static INLINE void store(const Vector& bytes, uint8_t* to, int) {
        std::memcpy(to, &bytes, sizeof bytes);
    }
};
struct Part {
    template <class Vector, class Value>
    static INLINE Vector loaded(const Value* from, int count) {
        Vector found = {};
        std::memcpy(&found, from, count * sizeof(Value));
        return found;
    }
    template <class Vector>
    static INLINE void store(const Vector& bytes, uint8_t* to, int count) {
        std::memcpy(to, &bytes, count);
    }
};

}  // namespace
