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
