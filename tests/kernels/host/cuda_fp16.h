// CUDA's words for a host compiler: every thread of a launch runs after the other.
// Takes the place of CUDA's own header, so that the kernels are compiled unchanged.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#define __host__
#define __device__
#define __global__
#define __shared__ static
#define __forceinline__ inline
#define __launch_bounds__(...)

struct Index {
    unsigned x, y, z;
};
extern Index threadIdx, blockIdx, blockDim, gridDim;

// Waits until every thread of the block is here.
void __syncthreads();

template <class T>
T atomicAdd(T* to, T by) {
    const T before = *to;
    *to += by;
    return before;
}

// The bits of a float16. Both ways are exact, or rounded to nearest with halves to even.
struct __half {
    uint16_t bits;
};

inline float __half2float(__half value) {
    const uint32_t sign = (uint32_t)(value.bits & 0x8000) << 16;
    const int exponent = value.bits >> 10 & 31;
    const uint32_t fraction = value.bits & 1023;
    if (exponent == 0) return std::copysign(std::ldexp((float)fraction, -24), sign ? -1.0f : 1.0f);
    const uint32_t wide = exponent == 31 ? 255 : exponent + 112;
    const uint32_t bits = sign | wide << 23 | fraction << 13;
    float result;
    std::memcpy(&result, &bits, sizeof result);
    return result;
}

inline __half __float2half_rn(float value) {
    const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
    const float size = std::fabs(value);
    if (value != value) return {(uint16_t)(sign | 0x7fff)};
    if (size >= 65520.0f) return {(uint16_t)(sign | 0x7c00)};
    // One step of float16 at this size; rounding to a multiple of it may carry into the next size.
    const int exponent = size < 0x1p-14f ? -14 : std::ilogb(size);
    const float steps = std::nearbyint(std::ldexp(size, 10 - exponent));
    return {(uint16_t)(sign | ((exponent + 14) * 1024 + (int)steps))};
}

struct __half2 {
    __half x, y;
};
inline __half2 __floats2half2_rn(float x, float y) {
    return {__float2half_rn(x), __float2half_rn(y)};
}
inline __half2 __float2half2_rn(float value) { return __floats2half2_rn(value, value); }
// Whether it is so of both; of NaN nothing is.
inline bool __hbgt2(__half2 a, __half2 b) {
    return __half2float(a.x) > __half2float(b.x) && __half2float(a.y) > __half2float(b.y);
}
inline bool __hble2(__half2 a, __half2 b) {
    return __half2float(a.x) <= __half2float(b.x) && __half2float(a.y) <= __half2float(b.y);
}
inline uint16_t __half_as_ushort(__half value) { return value.bits; }
inline __half __ushort_as_half(uint16_t bits) { return {bits}; }

inline uint32_t __float_as_uint(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}
inline float __uint_as_float(uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

// Four of the eight bytes of `low` and `high`, one for each digit of `selector`.
inline uint32_t __byte_perm(uint32_t low, uint32_t high, uint32_t selector) {
    const uint64_t bytes = (uint64_t)high << 32 | low;
    uint32_t chosen = 0;
    for (int n = 0; n < 4; ++n)
        chosen |= (uint32_t)(bytes >> (selector >> 4 * n & 7) * 8 & 255) << 8 * n;
    return chosen;
}

// The sum of the absolute differences of four bytes, and of two whole numbers plus a third.
inline uint32_t __vsadu4(uint32_t a, uint32_t b) {
    uint32_t sum = 0;
    for (int n = 0; n < 32; n += 8) sum += std::abs((int)(a >> n & 255) - (int)(b >> n & 255));
    return sum;
}
inline uint32_t __usad(uint32_t a, uint32_t b, uint32_t sum) { return sum + (a > b ? a - b : b - a); }

// The sum of the products of four bytes, plus `sum`.
inline uint32_t __dp4a(uint32_t a, uint32_t b, uint32_t sum) {
    for (int n = 0; n < 32; n += 8) sum += (a >> n & 255) * (b >> n & 255);
    return sum;
}
inline uint32_t min(uint32_t a, uint32_t b) { return a < b ? a : b; }

// The sum, rounded down.
inline float __fadd_rd(float a, float b) {
    const float rounded = a + b;
    return (double)rounded - b > a ? std::nextafterf(rounded, -INFINITY) : rounded;
}

inline float __saturatef(float value) { return std::fmin(std::fmax(value, 0.0f), 1.0f); }
