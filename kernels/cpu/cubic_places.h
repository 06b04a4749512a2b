// Cubic look-up (a = -0.75, as OpenCV's) at places in 1/32 of a pixel, in whole numbers.
#pragma once

#include <cstdint>
#include <cstring>

#include "fixed.h"

namespace {

constexpr int STEP_BITS = 5, STEPS = 1 << STEP_BITS;
constexpr int WEIGHT_BITS = 10;  // of each direction; 255 times both and what overshoots fit into 32
constexpr int TAPS = 4;

// Pixels that are looked up at once: loops over them become vectors.
constexpr int AT_ONCE = 16;

struct LookedUp {
    const uint8_t* at;
    int64_t stride;
    int32_t width, height;
};

// Weights of four neighbours at `share` 32nds behind the second, in 1024ths; together exactly one.
struct CubicWeights {
    int32_t of[TAPS][AT_ONCE];

    void set(const int32_t* share) {
        for (int n = 0; n < AT_ONCE; ++n) {
            // Times 4 * 32 * 32 * 32, the exact cubics are whole; rounded to 1024ths.
            const int32_t k = share[n], square = k * k, cube = square * k;
            const int32_t first = -3 * cube + 192 * square - 3072 * k;
            const int32_t second = 5 * cube - 288 * square + 131072;
            const int32_t last = 3 * cube - 96 * square;
            of[0][n] = (first + 64) >> 7;
            of[1][n] = (second + 64) >> 7;
            of[3][n] = (last + 64) >> 7;
            of[2][n] = (1 << WEIGHT_BITS) - of[0][n] - of[1][n] - of[3][n];
        }
    }
};

// A place beyond the picture by more than this looks the same as one that is.
constexpr int BEYOND = 3;

// Four pixels in a row, the first in the lowest byte.
inline uint32_t four_beside(const LookedUp& from, int32_t row, int32_t column) {
    const uint8_t* const line = from.at + clamped(row, 0, from.height - 1) * from.stride;
    uint32_t four = 0;
    for (int k = 0; k < TAPS; ++k)
        four |= (uint32_t)line[clamped(column + k, 0, from.width - 1)] << 8 * k;
    return four;
}

inline void give(const int32_t* sum, uint8_t* out) {
    for (int n = 0; n < AT_ONCE; ++n) {
        const int32_t code = (sum[n] + (1 << (2 * WEIGHT_BITS - 1))) >> (2 * WEIGHT_BITS);
        out[n] = (uint8_t)clamped(code, 0, 255);
    }
}

// Looks up AT_ONCE pixels at (`x`, `y`), in 32nds; beyond its edges the picture repeats them.
inline void look_up(const LookedUp& from, const int32_t* x, const int32_t* y, uint8_t* out) {
    int32_t column[AT_ONCE], row[AT_ONCE], share_x[AT_ONCE], share_y[AT_ONCE];
    int32_t left = from.width, top = from.height, right = -BEYOND, bottom = -BEYOND;
    for (int n = 0; n < AT_ONCE; ++n) {
        const int32_t px = clamped(x[n], -BEYOND * STEPS, (from.width + BEYOND) * STEPS);
        const int32_t py = clamped(y[n], -BEYOND * STEPS, (from.height + BEYOND) * STEPS);
        column[n] = px >> STEP_BITS;
        row[n] = py >> STEP_BITS;
        share_x[n] = px & (STEPS - 1);
        share_y[n] = py & (STEPS - 1);
        left = column[n] < left ? column[n] : left;
        right = column[n] > right ? column[n] : right;
        top = row[n] < top ? row[n] : top;
        bottom = row[n] > bottom ? row[n] : bottom;
    }
    CubicWeights across, down;
    across.set(share_x);
    down.set(share_y);
    int32_t sum[AT_ONCE] = {};
    const bool is_inside =
        left >= 1 && right + 2 < from.width && top >= 1 && bottom + 2 < from.height;
    int32_t apart = top - bottom;
    for (int n = 0; n < AT_ONCE; ++n) apart |= column[n] - column[0] - n;
    if (is_inside && !apart) {
        // Neighbours that look at neighbours, as most do, are loaded together.
        const uint8_t* line = from.at + (top - 1) * from.stride + left - 1;
        for (int tap = 0; tap < TAPS; ++tap, line += from.stride)
            for (int n = 0; n < AT_ONCE; ++n) {
                const int32_t mixed = line[n] * across.of[0][n] + line[n + 1] * across.of[1][n] +
                                      line[n + 2] * across.of[2][n] + line[n + 3] * across.of[3][n];
                sum[n] += mixed * down.of[tap][n];
            }
        give(sum, out);
        return;
    }
    for (int tap = 0; tap < TAPS; ++tap) {
        uint32_t four[AT_ONCE];
        if (is_inside) {
            const uint8_t* const first = from.at + (tap - 1) * from.stride - 1;
            for (int n = 0; n < AT_ONCE; ++n)
                std::memcpy(&four[n], first + row[n] * from.stride + column[n], sizeof four[n]);
        } else {
            for (int n = 0; n < AT_ONCE; ++n)
                four[n] = four_beside(from, row[n] + tap - 1, column[n] - 1);
        }
        for (int n = 0; n < AT_ONCE; ++n) {
            const int32_t mixed = (int32_t)(four[n] & 255) * across.of[0][n] +
                                  (int32_t)(four[n] >> 8 & 255) * across.of[1][n] +
                                  (int32_t)(four[n] >> 16 & 255) * across.of[2][n] +
                                  (int32_t)(four[n] >> 24) * across.of[3][n];
            sum[n] += mixed * down.of[tap][n];
        }
    }
    give(sum, out);
}

}  // namespace
