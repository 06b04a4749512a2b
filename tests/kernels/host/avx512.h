// The few instructions of AVX-512 that kernels/cpu/conv_lanes.h asks for, in plain arithmetic, so that its
// code for sixteen lanes runs on processors without them. Of the instructions themselves it says nothing.
#pragma once

#include <immintrin.h>
#include <cstdint>

// After the headers, which would take them for what the compiler may use.
#define __AVX512BW__ 1
#ifdef EMULATES_VNNI
#define __AVX512VNNI__ 1
#endif

typedef int16_t EmulatedShorts __attribute__((vector_size(64)));
typedef uint32_t EmulatedSums __attribute__((vector_size(64)));

static inline __m512i emulated_add(__m512i one, __m512i other) {
    return (__m512i)((EmulatedSums)one + (EmulatedSums)other);
}

static inline __m512i emulated_madd(__m512i one, __m512i other) {
    const EmulatedShorts a = (EmulatedShorts)one, b = (EmulatedShorts)other;
    EmulatedSums sums;
    for (int n = 0; n < 16; ++n)
        sums[n] = (uint32_t)(a[2 * n] * b[2 * n]) + (uint32_t)(a[2 * n + 1] * b[2 * n + 1]);
    return (__m512i)sums;
}

static inline __m512i emulated_dpwssd(__m512i sums, __m512i one, __m512i other) {
    return emulated_add(sums, emulated_madd(one, other));
}

static inline __m512i emulated_cvtps(__m512 values) {
    typedef int32_t Wholes __attribute__((vector_size(64)));
    Wholes wholes;
    for (int n = 0; n < 16; ++n) wholes[n] = (int32_t)__builtin_lrintf(values[n]);
    return (__m512i)wholes;
}

static inline __m128i emulated_narrow(__m512i values) {
    const EmulatedSums wholes = (EmulatedSums)values;
    typedef uint8_t Narrow __attribute__((vector_size(16)));
    Narrow bytes;
    for (int n = 0; n < 16; ++n) bytes[n] = (uint8_t)wholes[n];
    return (__m128i)bytes;
}

#define _mm512_add_epi32 emulated_add
#define _mm512_madd_epi16 emulated_madd
#define _mm512_dpwssd_epi32 emulated_dpwssd
#define _mm512_cvtps_epi32 emulated_cvtps
#define _mm512_cvtepi32_epi8 emulated_narrow
