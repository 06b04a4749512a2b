// A picture of one byte per pixel, looked up between its pixels; its edges repeat.
#pragma once

#include <cstdint>
#include <cstring>

#include "flow_lanes.h"
#include "flow_room.h"

namespace {

// A copy with a row and a column more, so that four bytes can be read at every pixel.
struct Codes {
    uint8_t* at;
    int32_t stride, height, width;
};

constexpr int BEYOND = 8;  // bytes of a row after the last pixel, and of the copy after the last row

Codes codes_in(Room& room, int height, int width) {
    const int stride = width + BEYOND;
    return {room.of<uint8_t>(int64_t(stride) * (height + 1) + BEYOND), stride, height, width};
}

void copy(const uint8_t* from, int64_t stride, const Codes& codes) {
    for (int y = 0; y <= codes.height; ++y) {
        const uint8_t* row = from + (y < codes.height ? y : codes.height - 1) * stride;
        uint8_t* to = codes.at + int64_t(y) * codes.stride;
        std::memcpy(to, row, codes.width);
        std::memset(to + codes.width, row[codes.width - 1], BEYOND);
    }
}

INLINE Wholes whole(const Lanes& value) { return __builtin_convertvector(value, Wholes); }
INLINE Lanes real(const Wholes& value) { return __builtin_convertvector(value, Lanes); }

INLINE Wholes four_bytes(const uint8_t* from, const Wholes& at) {
#if defined(__AVX512F__)
    return (Wholes)_mm512_i32gather_epi32((__m512i)at, from, 1);
#elif defined(__AVX2__)
    return (Wholes)_mm256_i32gather_epi32(reinterpret_cast<const int*>(from), (__m256i)at, 1);
#else
    Wholes found;
    for (int n = 0; n < LANES; ++n) {
        int32_t bytes;
        std::memcpy(&bytes, from + at[n], sizeof bytes);
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
    const Wholes at = top * codes.stride + left;
    const Wholes upper = four_bytes(codes.at, at);
    const Wholes lower = four_bytes(codes.at + codes.stride, at);
    const Lanes right = x - real(left), below = y - real(top);
    const Lanes one = real(upper & 255), other = real(lower & 255);
    const Lanes above = one + right * (real((upper >> 8) & 255) - one);
    const Lanes under = other + right * (real((lower >> 8) & 255) - other);
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
