// A picture of one byte per pixel, looked up between its pixels; its edges repeat.
#pragma once

#include <cstdint>
#include <cstring>

#include "flow_lanes.h"
#include "flow_room.h"

namespace {

// A copy in which each pixel is followed by the one below it, with a column more: four bytes anywhere are
// the four pixels that a place lies between.
struct Codes {
    uint8_t* at;
    int32_t stride, height, width;  // `stride` in pixels, of two bytes each
};

constexpr int BEYOND = 8;  // pixels of a row after the last one

Codes codes_in(Room& room, int height, int width) {
    const int stride = width + BEYOND;
    return {room.of<uint8_t>(2 * int64_t(stride) * height), stride, height, width};
}

inline void pair_up(const uint8_t* __restrict upper, const uint8_t* __restrict lower, int count,
                    uint8_t* __restrict out) {
    for (int x = 0; x < count; ++x) out[2 * x] = upper[x], out[2 * x + 1] = lower[x];
}

void copy(const uint8_t* from, int64_t stride, const Codes& codes) {
    for (int y = 0; y < codes.height; ++y) {
        const uint8_t* row = from + y * stride;
        uint8_t* to = codes.at + 2 * int64_t(y) * codes.stride;
        pair_up(row, y + 1 < codes.height ? row + stride : row, codes.width, to);
        uint8_t* last = to + 2 * (codes.width - 1);
        for (int n = 1; n <= BEYOND; ++n) last[2 * n] = last[0], last[2 * n + 1] = last[1];
    }
}

INLINE Wholes whole(const Lanes& value) { return __builtin_convertvector(value, Wholes); }
INLINE Lanes real(const Wholes& value) { return __builtin_convertvector(value, Lanes); }

// `at` counts pairs of bytes.
INLINE Wholes four_bytes(const uint8_t* from, const Wholes& at) {
#if defined(__AVX512F__)
    return (Wholes)_mm512_i32gather_epi32((__m512i)at, from, 2);
#elif defined(__AVX2__)
    return (Wholes)_mm256_i32gather_epi32(reinterpret_cast<const int*>(from), (__m256i)at, 2);
#else
    Wholes found;
    for (int n = 0; n < LANES; ++n) {
        int32_t bytes;
        std::memcpy(&bytes, from + 2 * at[n], sizeof bytes);
        found[n] = bytes;
    }
    return found;
#endif
}

// Code values at places in pixels; what is no number is taken for the first row or column.
INLINE Lanes look_up(const Codes& codes, Lanes x, Lanes y) {
    x = bounded(x, Lanes{}, Lanes{} + float(codes.width - 1));
    y = bounded(y, Lanes{}, Lanes{} + float(codes.height - 1));
    const Wholes left = whole(x), top = whole(y);
    const Wholes four = four_bytes(codes.at, top * codes.stride + left);
    const Lanes right = x - real(left), below = y - real(top);
    const Lanes one = real(four & 255), other = real((four >> 8) & 255);
    const Lanes above = one + right * (real((four >> 16) & 255) - one);
    const Lanes under = other + right * (real((four >> 24) & 255) - other);
    return above + below * (under - above);
}

INLINE Lanes counted_from(int first) {
    Wholes numbers;
    for (int n = 0; n < LANES; ++n) numbers[n] = n;
    return real(numbers) + float(first);
}

// As many floats as whole lanes have.
INLINE int whole_lanes(int count) { return (count + LANES - 1) / LANES * LANES; }

}  // namespace
