// Eight floats at a time in the compiler's own vectors, and places bounded to a picture.
//
// Sums run in the same order at every level of processor, so that all find the same motion.
#pragma once

#include <cstdint>
#include <cstring>

#include "inline.h"

typedef float Lanes __attribute__((vector_size(32)));
typedef int32_t Wholes __attribute__((vector_size(32)));

namespace {

constexpr int LANES = 8;

INLINE Lanes load(const float* from) {
    Lanes lanes;
    std::memcpy(&lanes, from, sizeof lanes);
    return lanes;
}

INLINE void store(float* to, const Lanes& lanes) { std::memcpy(to, &lanes, sizeof lanes); }

INLINE float sum(const Lanes& lanes) {
    float part[LANES];
    store(part, lanes);
    return ((part[0] + part[4]) + (part[1] + part[5])) + ((part[2] + part[6]) + (part[3] + part[7]));
}

// What is no number becomes `low`.
INLINE float bounded(float value, float low, float high) {
    value = value > low ? value : low;
    return value < high ? value : high;
}

INLINE Lanes bounded(const Lanes& value, const Lanes& low, const Lanes& high) {
    const Lanes above = value > low ? value : low;
    return above < high ? above : high;
}

INLINE Lanes size_of(const Lanes& value) { return value < 0.0f ? -value : value; }

}  // namespace
