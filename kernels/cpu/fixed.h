// Fixed point for pictures: places in 1/32768 of a pixel, shares in 1/32768, code values in 1/128.
//
// Written so that compilers make vectors of it (pmulhrsw); the same integers at every level.
#pragma once

#include <cstdint>

namespace {

constexpr int PLACE_BITS = 15, CODE_BITS = 7;
constexpr int WHOLE = 1 << PLACE_BITS;
constexpr int16_t ALL = WHOLE - 1;  // a share of one, as near as it fits
constexpr int16_t TOP = 255 << CODE_BITS;

// value * share, rounded.
inline int16_t scaled(int16_t value, int16_t share) {
    return (int16_t)((((int32_t)value * share >> (PLACE_BITS - 1)) + 1) >> 1);
}

inline int16_t along(int16_t a, int16_t b, int16_t share) {
    return (int16_t)(a + scaled((int16_t)(b - a), share));
}

// Halves become even codes.
inline uint8_t code_of(int16_t value) {
    const int16_t odd = (int16_t)((value >> CODE_BITS) & 1);
    const int16_t half = (1 << (CODE_BITS - 1)) - 1;
    const int16_t code = (int16_t)((int16_t)(value + half + odd) >> CODE_BITS);
    return (uint8_t)(code < 0 ? 0 : code > 255 ? 255 : code);
}

inline void round_to(uint8_t* __restrict out, const int16_t* __restrict values, int count) {
    for (int i = 0; i < count; ++i) out[i] = code_of(values[i]);
}

template <class T>
inline T clamped(T value, T low, T high) {
    value = value > low ? value : low;
    return value < high ? value : high;
}

}  // namespace
