// A 3x3 convolution, four rows at a time, by Winograd's minimal filtering F(4x4, 3x3) in whole numbers.
//
// Source:      Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015, section 4.3. Its
//              fractions are multiplied out (kernels/conv_weights.py), so that nothing is rounded.
// Arithmetic:  what comes back is GAIN times the sum of the products, to the bit: factors are of 16 bits,
//              sums of 32. These may wrap around on the way; what comes out does not: ConvLayer.check in
//              kernels/conv_weights.py.
#pragma once

#include "conv_lanes.h"

namespace {

// As `_Layer` in kernels/native_conv.py.
struct ConvLayer {
    const int16_t* weights;  // by blocks of so many outs as are made at once: (PLACES, pairs, outs, 2) each
    const float* scale;      // (outs), of GAIN times a sum to a step of what leaves
    const int32_t* bias;     // (outs), added to GAIN times a sum
    int32_t channels;        // of a pixel that is taken, a multiple of SHORTS
    int32_t pairs;           // of channels that are not nothing
    int32_t outs;            // a multiple of LANES
    Limits limits;           // of what leaves
};

constexpr int SIDE = 4, REACH = SIDE + 2, PLACES = REACH * REACH;  // of a tile, and of what it stands on
constexpr int ONES = REACH + 1;  // the place that is in each pixel of a tile once

// What is added to what leaves a layer, pixel by pixel: `share` of it and `kept_share` of `kept`.
struct Skip {
    const uint8_t* kept[SIDE] = {};
    float share = 1, kept_share = 0;
};

// Of sums that are made at once, as registers hold.
#if defined(__AVX512BW__)
constexpr int MOST_SUMS = 24;
#elif defined(__ARM_NEON)
constexpr int MOST_SUMS = 16;
#else
constexpr int MOST_SUMS = 12;
#endif
constexpr int CHUNK = 12;  // tiles whose sums stay in the nearest caches

// Of outs: two at once; the last three together, since one by itself would take as long as one and a half.
constexpr int MOST_VECTORS = 3;

struct ConvRoom {
    alignas(64) int32_t sums[PLACES * CHUNK * MOST_VECTORS * LANES];
    int16_t* carried;  // (PLACES, CHUNK, channels)
};

// From a line of pixels to places; the points are 0, 1, -1, 2, -2 and infinity.
INLINE void carry_line(const Shorts* from, Shorts* to) {
    const Shorts even = from[4] - from[2], far = from[4] - (from[2] << 2);
    const Shorts odd = (from[3] - from[1]) << 1, wide = from[3] - (from[1] << 2);
    to[0] = ((from[0] - from[2]) << 2) + even;
    to[1] = far + wide;
    to[2] = far - wide;
    to[3] = even + odd;
    to[4] = even - odd;
    to[5] = from[5] - from[3] - (odd << 1);
}

// From places to a line of four sums.
INLINE void bring_line(const Sums* from, Sums* to, int step) {
    const Sums ones = from[1] + from[2], one = from[1] - from[2];
    const Sums twos = from[3] + from[4], two = (from[3] - from[4]) << 1;
    to[0] = from[0] + ones + twos;
    to[step] = one + two;
    to[2 * step] = ones + (twos << 2);
    to[3 * step] = one + ((two + from[5]) << 2);
}

// `rows`: the rows that four stand on, from the pixel left of the first tile on.
template <class Element>
void carry(const Element* const* rows, int channels, int tiles, int16_t* out) {
    const int64_t place = (int64_t)CHUNK * channels;
    for (int c = 0; c < channels; c += SHORTS) {
        // Four columns of every other tile; its last two are the next one's first.
        Shorts columns[2][SIDE][REACH];
        const auto carry_column = [&](int x, Shorts* to) {
            Shorts line[REACH];
#pragma GCC unroll 6
            for (int row = 0; row < REACH; ++row) line[row] = widened(rows[row] + x * channels + c);
            carry_line(line, to);
        };
        for (int n = 0; n < 2; ++n) carry_column(n, columns[1][n + 2]);
        for (int t = 0; t < tiles; ++t) {
            const auto& before = columns[~t & 1];
            auto& here = columns[t & 1];
            for (int n = 0; n < SIDE; ++n) carry_column(SIDE * t + 2 + n, here[n]);
            int16_t* to = out + (int64_t)t * channels + c;
            for (int row = 0; row < REACH; ++row) {
                const Shorts line[REACH] = {before[2][row], before[3][row], here[0][row],
                                            here[1][row],   here[2][row],   here[3][row]};
                Shorts carried[REACH];
                carry_line(line, carried);
#pragma GCC unroll 6
                for (int n = 0; n < REACH; ++n, to += place) store(to, carried[n]);
            }
        }
    }
}

// One place of COUNT tiles: VECTORS vectors of sums for each, which begin with `bias`.
template <int COUNT, int VECTORS>
INLINE void multiply(const int16_t* __restrict weights, const int16_t* __restrict carried, int channels,
                     int pairs, const int32_t* __restrict bias, int32_t* __restrict sums) {
    Sums total[COUNT][VECTORS];
#pragma GCC unroll 3
    for (int v = 0; v < VECTORS; ++v) {
        const Sums begin = load<Sums>(bias + v * LANES);
#pragma GCC unroll 12
        for (int t = 0; t < COUNT; ++t) total[t][v] = begin;
    }
    for (int pair = 0; pair < pairs; ++pair, weights += VECTORS * 2 * LANES, carried += 2) {
        Weights weight[VECTORS];
#pragma GCC unroll 3
        for (int v = 0; v < VECTORS; ++v) weight[v] = weights_at(weights + v * 2 * LANES);
#pragma GCC unroll 12
        for (int t = 0; t < COUNT; ++t) {
            const Spread value = spread(carried + (int64_t)t * channels);
#pragma GCC unroll 3
            for (int v = 0; v < VECTORS; ++v)
                total[t][v] = plus_products(total[t][v], value, weight[v]);
        }
    }
#pragma GCC unroll 12
    for (int t = 0; t < COUNT; ++t)
#pragma GCC unroll 3
        for (int v = 0; v < VECTORS; ++v)
            store(sums + (t * VECTORS + v) * LANES, total[t][v]);
}

template <int VECTORS>
void multiply_chunk(const ConvLayer& layer, int first_out, int tiles, ConvRoom& room) {
    constexpr int TILES = MOST_SUMS / VECTORS < CHUNK ? MOST_SUMS / VECTORS : CHUNK;
    // Copies: as far as the compiler knows, what is stored may be one of the layer's own numbers.
    const int channels = layer.channels, pairs = layer.pairs;
    const int64_t block = VECTORS * LANES * 2 * (int64_t)pairs;
    const int16_t* weights = layer.weights + first_out * 2 * (int64_t)pairs * PLACES;
    const int16_t* carried = room.carried;
    const int32_t none[VECTORS * LANES] = {};
    int32_t* sums = room.sums;
    for (int place = 0; place < PLACES; ++place) {
        const int32_t* bias = place == ONES ? layer.bias + first_out : none;
        const int16_t* from = carried;
        int32_t* to = sums;
        int left = tiles;
        const auto some = [&](auto multiplied, int count) {
            for (; left >= count; left -= count) {
                multiplied(weights, from, channels, pairs, bias, to);
                from += (int64_t)count * channels;
                to += count * VECTORS * LANES;
            }
        };
        some(multiply<TILES, VECTORS>, TILES);
        some(multiply<4, VECTORS>, 4);
        some(multiply<1, VECTORS>, 1);
        weights += block;
        carried += CHUNK * (int64_t)channels;
        sums += CHUNK * VECTORS * LANES;
    }
}

// Four pixels of a line of sums, as whole steps.
INLINE void finish_line(const Sums* from, const Reals& scale, Steps* to) {
    Sums pixels[SIDE];
    bring_line(from, pixels, 1);
    for (int x = 0; x < SIDE; ++x)
        to[x] = nearest(__builtin_convertvector((Steps)pixels[x], Reals) * scale);
}

INLINE Steps with_kept(const Steps& steps, const uint8_t* kept, const Skip& skip, const Limits& limits) {
    const Steps whole = bounded(steps, limits.low, limits.high);
    return nearest(__builtin_convertvector(whole, Reals) * skip.share +
                   real(kept) * skip.kept_share);
}

// A line of four pixels, `step` bytes apart.
template <int VECTORS>
INLINE void store_line(uint8_t* to, int64_t step, const Steps (&values)[VECTORS][SIDE],
                       const Limits& limits) {
    uint8_t bytes[4 * LANES];
    for (int v = 0; v + 2 <= VECTORS; v += 2, to += 2 * LANES)
        for (int x = 0; x < SIDE; x += 2) {
            store(bytes, bytes_of(values[v][x], values[v + 1][x], values[v][x + 1],
                                  values[v + 1][x + 1], limits));
            std::memcpy(to + x * step, bytes, 2 * LANES);
            std::memcpy(to + (x + 1) * step, bytes + 2 * LANES, 2 * LANES);
        }
    if (VECTORS % 2 == 0) return;
    const Steps* const last = values[VECTORS - 1];
    store(bytes, bytes_of(last[0], last[1], last[2], last[3], limits));
    for (int x = 0; x < SIDE; ++x) std::memcpy(to + x * step, bytes + x * LANES, LANES);
}

// From the sums of a chunk's tiles to bytes: `out` are its four rows, `step` bytes from pixel to pixel.
template <int VECTORS>
void finish_chunk(const ConvLayer& layer, int first_out, int tiles, const ConvRoom& room,
                  uint8_t* const* out, int64_t step, const Skip& skip) {
    constexpr int64_t PLACE = CHUNK * VECTORS * LANES;
    const Limits limits = layer.limits;
    for (int t = 0; t < tiles; ++t) {
        Sums lines[VECTORS][SIDE][REACH];
        for (int v = 0; v < VECTORS; ++v)
            for (int n = 0; n < REACH; ++n) {
                const int32_t* sums = room.sums + (t * VECTORS + v) * LANES + n * PLACE;
                Sums line[REACH];
                for (int row = 0; row < REACH; ++row) line[row] = load<Sums>(sums + REACH * row * PLACE);
                bring_line(line, &lines[v][0][n], REACH);
            }
        for (int row = 0; row < SIDE; ++row) {
            const int64_t at = SIDE * (int64_t)t * step + first_out;
            Steps steps[VECTORS][SIDE];
            for (int v = 0; v < VECTORS; ++v) {
                const int first = first_out + v * LANES;
                finish_line(lines[v][row], load<Reals>(layer.scale + first), steps[v]);
                if (skip.kept[0] != nullptr)
                    for (int x = 0; x < SIDE; ++x)
                        steps[v][x] = with_kept(
                            steps[v][x], skip.kept[row] + at + x * step + v * LANES, skip, limits);
            }
            store_line(out[row] + at, step, steps, limits);
        }
    }
}

// Four rows of a layer. `rows` as for `carry`; `out` as for `finish_chunk`, which `skip` is beside.
template <class Element>
void convolve_rows(const ConvLayer& layer, const Element* const* rows, int tiles, ConvRoom& room,
                   uint8_t* const* out, int64_t step, const Skip& skip) {
    for (int first = 0; first < tiles; first += CHUNK) {
        const int count = tiles - first < CHUNK ? tiles - first : CHUNK;
        const int64_t pixel = (int64_t)SIDE * first;
        const Element* source[REACH];
        uint8_t* target[SIDE];
        Skip beside = skip;
        for (int row = 0; row < REACH; ++row) source[row] = rows[row] + pixel * layer.channels;
        for (int row = 0; row < SIDE; ++row) {
            target[row] = out[row] + pixel * step;
            if (skip.kept[row] != nullptr) beside.kept[row] += pixel * step;
        }
        carry(source, layer.channels, count, room.carried);
        for (int at = 0; at < layer.outs;) {
            const auto some = [&](auto multiplied, auto finished, int vectors) {
                multiplied(layer, at, count, room);
                finished(layer, at, count, room, target, step, beside);
                at += vectors * LANES;
            };
            const int left = layer.outs - at;
            if (left == 3 * LANES)
                some(multiply_chunk<3>, finish_chunk<3>, 3);
            else if (left >= 2 * LANES)
                some(multiply_chunk<2>, finish_chunk<2>, 2);
            else
                some(multiply_chunk<1>, finish_chunk<1>, 1);
        }
    }
}

}  // namespace
