// Where a stack of convolutions meets the world: planes of floats to pixels of shorts, pixels of bytes to
// planes of bytes.
#pragma once

#include "conv_lanes.h"

namespace {

constexpr int PHASES = 6;  // of a picture as networks take it: four of luma, then U and V
constexpr int MOST_PHASES = 2 * PHASES;

// The nearest whole number within `top`, to even, in the last sixteen bits.
INLINE uint32_t code(float value, float top) {
    value = value > -top ? value : -top;
    value = value < top ? value : top;
    // Added this, no bits are left behind the point.
    value += 12582912.0f;
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

// A row of `columns` pixels of `phases` floats, `stride` bytes apart, to code values less their zero, of one
// picture after the other; none lies further from zero than `top`.
void take_row(const char* from, int64_t stride, int phases, float top, int columns,
              int16_t* to) {
    constexpr int AT_ONCE = 64;
    for (int first = 0; first < columns; first += AT_ONCE) {
        const int count = columns - first < AT_ONCE ? columns - first : AT_ONCE;
        uint32_t pairs[MOST_PHASES / 2][AT_ONCE];
        for (int n = 0; n < phases; n += 2) {
            const float share = n % PHASES < 4 ? 219.0f : 224.0f;
            const float* even = reinterpret_cast<const float*>(from + n * stride) + first;
            const float* odd = reinterpret_cast<const float*>(from + (n + 1) * stride) + first;
            for (int x = 0; x < count; ++x)
                pairs[n / 2][x] =
                    (code(even[x] * share, top) & 0xffff) | code(odd[x] * share, top) << 16;
        }
        for (int x = 0; x < count; ++x)
            for (int n = 0; n < phases / 2; ++n)
                std::memcpy(to + (first + x) * SHORTS + 2 * n, &pairs[n][x], sizeof pairs[n][x]);
    }
}

#if defined(__SSE2__)
INLINE Bytes lower_halves(const Bytes& a, const Bytes& b) {
    return (Bytes)_mm_unpacklo_epi8((__m128i)a, (__m128i)b);
}
INLINE Bytes upper_halves(const Bytes& a, const Bytes& b) {
    return (Bytes)_mm_unpackhi_epi8((__m128i)a, (__m128i)b);
}
#elif defined(__ARM_NEON)
INLINE Bytes lower_halves(const Bytes& a, const Bytes& b) {
    return (Bytes)vzip1q_u8((uint8x16_t)a, (uint8x16_t)b);
}
INLINE Bytes upper_halves(const Bytes& a, const Bytes& b) {
    return (Bytes)vzip2q_u8((uint8x16_t)a, (uint8x16_t)b);
}
#endif

#if defined(__SSE2__) || defined(__ARM_NEON)
// From sixteen rows to another sixteen: of each two that are half a block apart, byte beside byte.
INLINE void pair_rows(const Bytes* from, Bytes* to) {
    for (int n = 0; n < 8; ++n) {
        to[2 * n] = lower_halves(from[n], from[n + 8]);
        to[2 * n + 1] = upper_halves(from[n], from[n + 8]);
    }
}

// Sixteen pixels of sixteen bytes, turned over.
INLINE void turn_over(Bytes* block) {
    Bytes other[16];
    for (int round = 0; round < 2; ++round) {
        pair_rows(block, other);
        pair_rows(other, block);
    }
}
#endif

// A row of pixels of `step` bytes, of which `outs` count, to as many planes, `stride` bytes apart.
void give_row(const uint8_t* from, int64_t step, int outs, int columns, uint8_t* to, int64_t stride) {
    int x = 0;
#if defined(__SSE2__) || defined(__ARM_NEON)
    for (; x + 16 <= columns; x += 16)
        for (int first = 0; first < outs; first += 16) {
            Bytes block[16];
            for (int n = 0; n < 16; ++n)
                block[n] = load<Bytes>(from + (int64_t)(x + n) * step + first);
            turn_over(block);
            for (int n = 0; n < 16 && first + n < outs; ++n)
                store(to + (int64_t)(first + n) * stride + x, block[n]);
        }
#endif
    for (; x < columns; ++x)
        for (int out = 0; out < outs; ++out) to[(int64_t)out * stride + x] = from[x * step + out];
}

}  // namespace
