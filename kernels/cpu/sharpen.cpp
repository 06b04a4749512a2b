// A luma plane sharpened as far as the contrast around each pixel leaves room: RCAS, the second half of
// AMD FidelityFX Super Resolution 1 (Lottes 2021), of one plane.
//
// in, out:     width x height bytes, any stride; they share nothing. Edges are repeated.
// Arithmetic:  with S the sum of a pixel's four neighbours, out = (e - lobe * S) / (1 - 4 * lobe), which
//              is e + (4e - S) / 4 * t with t = 4 * lobe / (1 - 4 * lobe). What bounds the lobe are
//              ratios of whole numbers, so that the least of them is found without dividing;
//              three roundings to float32 follow and one to a code, halves up. The twin is
//              kernels/reference_sharpen.py, the same to the bit.
//              No result lies below black or above white where the pixel did not: a full lobe ends
//              there. Where a pixel or a neighbour is at one of them or beyond, nothing changes.
// Per pixel:   reads 1 byte (rows above and below are in the cache), writes 1.

#include <cstdint>
#include <cstring>

#include "exported.h"
#include "fixed.h"

namespace {

constexpr int CHUNK = 256;  // pixels that are prepared before the first division; 2 KB

// Of 4 * lobe, in quarters: a lobe of 3/16, beyond which RCAS rings.
constexpr int MOST = 3;

// As `_Fields` in kernels/native_sharpen.py.
struct SharpenFields {
    const uint8_t* luma;
    uint8_t* out;
    int64_t stride, out_stride;
    int32_t width, height, begin, end, black, white;
    float strength;
};

// Of each pixel: 4 * lobe as a ratio, both times four, and 4e - S.
struct Prepared {
    int16_t share[CHUNK], of[CHUNK], contrast[CHUNK];
};

// Sums and products of bytes fit 16 bits, in which there are twice as many to a vector.
inline uint16_t product(int16_t one, int16_t other) { return (uint16_t)((uint16_t)one * (uint16_t)other); }

template <class T>
inline T lesser(T one, T other) {
    return one < other ? one : other;
}

template <class T>
inline T greater(T one, T other) {
    return one > other ? one : other;
}

// `row` begins one pixel before the first.
void prepare(const uint8_t* __restrict above, const uint8_t* __restrict row,
             const uint8_t* __restrict below, int count, int16_t black, int16_t white,
             Prepared& __restrict to) {
    for (int x = 0; x < count; ++x) {
        const uint8_t up = above[x], left = row[x], pixel = row[x + 1], right = row[x + 2],
                      down = below[x];
        const uint8_t least = lesser(lesser(up, down), lesser(left, right));
        const uint8_t most = greater(greater(up, down), greater(left, right));
        const int16_t over_black = greater<int16_t>(lesser(least, pixel) - black, 0);
        const int16_t under_white = greater<int16_t>(white - greater(most, pixel), 0);
        const int16_t of_black = greater<int16_t>(most - black, 1);
        const int16_t of_white = greater<int16_t>(white - least, 1);
        const bool is_dark = product(over_black, of_white) < product(under_white, of_black);
        const int16_t share = is_dark ? over_black : under_white;
        const int16_t of = is_dark ? of_black : of_white;
        to.share[x] = lesser<int16_t>(4 * share, MOST * of);
        to.of[x] = 4 * of;
        to.contrast[x] = 4 * pixel - (up + down + left + right);
    }
}

void finish(const uint8_t* __restrict pixels, const Prepared& __restrict it, int count, float strength,
            uint8_t* __restrict out) {
    for (int x = 0; x < count; ++x) {
        const float share = strength * it.share[x];
        const float added = it.contrast[x] * 0.25f * (share / (it.of[x] - share));
        // Never below zero, so that cutting off rounds.
        out[x] = (uint8_t)(int32_t)(pixels[x] + 0.5f + added);
    }
}

void make_row(const SharpenFields& it, int y) {
    uint8_t row[CHUNK + 2];
    Prepared prepared;
    const uint8_t* const pixels = it.luma + y * it.stride;
    const uint8_t* const above = y ? pixels - it.stride : pixels;
    const uint8_t* const below = y + 1 < it.height ? pixels + it.stride : pixels;
    uint8_t* const out = it.out + y * it.out_stride;
    for (int begin = 0; begin < it.width; begin += CHUNK) {
        const int count = lesser(CHUNK, it.width - begin), end = begin + count;
        std::memcpy(row + 1, pixels + begin, count);
        row[0] = pixels[greater(begin - 1, 0)];
        row[count + 1] = pixels[lesser(end, it.width - 1)];
        prepare(above + begin, row, below + begin, count, it.black, it.white, prepared);
        finish(row + 1, prepared, count, it.strength, out + begin);
    }
}

}  // namespace

// Fills rows from `begin` to `end`.
EXPORTED void sharpen(const SharpenFields* it) {
    for (int y = it->begin; y < it->end; ++y) make_row(*it, y);
}
