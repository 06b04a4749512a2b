// Pixels of a row looked up where a flow says, bilinearly or bicubically (Keys 1981, a = -0.75).
//
// Neighbouring pixels mostly look at neighbouring samples: eight whose motion has the same whole
// part are loaded at once, others one by one, and those that look beyond an edge with every sample
// clamped. The arithmetic afterwards is the same for all. Where a run's motion is too short to reach
// an edge, none of its pixels is asked.
#pragma once

#ifdef __SSE2__
#include <immintrin.h>
#endif

#include <initializer_list>

#include "fixed.h"
#include "warp_guide.h"

namespace {

constexpr int RUN = 256;  // pixels of a row at a time
constexpr int CHUNK = 8;

struct Plane {
    const uint8_t* at;
    int64_t stride;

    const uint8_t* row(int y) const { return at + y * stride; }
};

// Places of up to RUN pixels.
struct Places {
    alignas(64) int32_t x[RUN];
    alignas(64) int32_t y[RUN];
    alignas(64) int16_t across[RUN];
    alignas(64) int16_t down[RUN];
    // Of the sample there, in bytes: from its pixel's own, or from the plane's first row.
    alignas(64) int32_t offset[RUN];
};

// How far a run's pixels look, in whole pixels or one more.
struct Reach {
    int32_t left, right, up, down;
};

// The samples that TAPS x TAPS taps see: pairs of neighbours, the left one in the lower byte.
template <int TAPS>
struct Seen {
    alignas(64) uint16_t pairs[TAPS][TAPS / 2][RUN];
};

// Whether all samples around a place lie in the plane: `before` it none is missing, nor after it.
template <int TAPS>
struct Bounds {
    static constexpr int BEFORE = TAPS / 2 - 1, AFTER = TAPS / 2;
    // What comes with those in a row, and the row below that comes with two.
    static constexpr int READ = TAPS == 2 ? 4 : 0, ROW_READ = TAPS == 2 ? 1 : 0;
    int width, height;

    bool hold(int left, int right, int top, int bottom) const {
        return left >= BEFORE && right + AFTER < width && top >= BEFORE && bottom + AFTER < height;
    }
    // Of `count` pixels from `begin` on in row y.
    bool hold_all(const Reach& reach, int begin, int count, int y) const {
        return hold(begin + reach.left, begin + count - 1 + reach.right + READ, y + reach.up,
                    y + reach.down + ROW_READ);
    }
};

// Beyond these an edge looks the same everywhere. Two taps need none of that: up to 1/32768 before
// the last sample both of them lie in the plane, if that has two.
template <int TAPS>
inline int32_t lowest() {
    return TAPS == 2 ? 0 : -3 * WHOLE;
}
template <int TAPS>
inline int32_t highest(int side) {
    return TAPS == 2 ? (side - 1) * WHOLE - 1 : (side + 2) * WHOLE;
}

inline void widen(const float* __restrict flow, int count, int32_t& least, int32_t& most) {
    for (int i = 0; i < count; ++i) {
        const int32_t place = (int32_t)flow[i];
        least = place < least ? place : least;
        most = place > most ? place : most;
    }
}

// For all rows of pixels between two rows of cells. What lies between these is rounded, by less than
// the pixel that is added.
inline Reach reach_of(const Enlarged& flow_x, const Enlarged& flow_y, int begin, int count) {
    Reach reach = {INT32_MAX, INT32_MIN, INT32_MAX, INT32_MIN};
    for (const float* row : {flow_x.upper, flow_x.lower})
        widen(row + begin, count, reach.left, reach.right);
    for (const float* row : {flow_y.upper, flow_y.lower})
        widen(row + begin, count, reach.up, reach.down);
    return {(reach.left >> PLACE_BITS) - 1, (reach.right >> PLACE_BITS) + 1,
            (reach.up >> PLACE_BITS) - 1, (reach.down >> PLACE_BITS) + 1};
}

// Where pixels look to, by flow in 1/32768 pixel: whole pixels and shares. They are those of row y
// from `begin` on; `count` is whole chunks, here and below.
template <int TAPS>
inline void place(Places& __restrict it, const Line& flow_x, const Line& flow_y, int begin,
                  int y_of_row, int count, int width, int height) {
    const int32_t low = lowest<TAPS>(), right = highest<TAPS>(width), end = highest<TAPS>(height);
    for (int i = 0; i < count; ++i) {
        const int32_t x = clamped(flow_x.at(i) + (begin + i) * WHOLE, low, right);
        const int32_t y = clamped(flow_y.at(i) + y_of_row * WHOLE, low, end);
        it.across[i] = (int16_t)(x & (WHOLE - 1));
        it.down[i] = (int16_t)(y & (WHOLE - 1));
        it.x[i] = x >> PLACE_BITS;
        it.y[i] = y >> PLACE_BITS;
    }
}

// The same where no pixel looks beyond an edge, in planes of one stride.
inline void place_inside(Places& __restrict it, const Line& flow_x, const Line& flow_y,
                         int32_t stride, int count) {
    for (int i = 0; i < count; ++i) {
        const int32_t x = flow_x.at(i), y = flow_y.at(i);
        it.across[i] = (int16_t)(x & (WHOLE - 1));
        it.down[i] = (int16_t)(y & (WHOLE - 1));
        it.offset[i] = (y >> PLACE_BITS) * stride + (x >> PLACE_BITS);
    }
}

inline uint16_t pair_at(const uint8_t* at) { return (uint16_t)(at[0] | at[1] << 8); }

// Of CHUNK neighbours; compilers do not find the one instruction for it.
inline void fetch_pairs(const uint8_t* at, uint16_t* out) {
#ifdef __SSE2__
    const __m128i left = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(at));
    const __m128i right = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(at + 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm_unpacklo_epi8(left, right));
#else
    for (int k = 0; k < CHUNK; ++k) out[k] = pair_at(at + k);
#endif
}

template <int TAPS>
inline void fetch_together(const uint8_t* at, int64_t stride, int i, Seen<TAPS>& out) {
    at -= Bounds<TAPS>::BEFORE * (stride + 1);
    for (int row = 0; row < TAPS; ++row, at += stride)
        for (int pair = 0; pair < TAPS / 2; ++pair)
            fetch_pairs(at + 2 * pair, out.pairs[row][pair] + i);
}

template <int TAPS>
inline void fetch_each(const uint8_t* at, const int32_t* offset, int64_t stride, int i,
                       Seen<TAPS>& out) {
    at -= Bounds<TAPS>::BEFORE * (stride + 1);
    for (int k = 0; k < CHUNK; ++k)
        for (int row = 0; row < TAPS; ++row)
            for (int pair = 0; pair < TAPS / 2; ++pair)
                out.pairs[row][pair][i + k] =
                    pair_at(at + k + offset[k] + row * stride + 2 * pair);
}

// The same, four samples of a row at a time; behind those of two taps, two more are read.
#ifdef __AVX2__
template <int TAPS>
inline void fetch_near(const uint8_t* at, const int32_t* offset, int64_t stride, int i,
                       Seen<TAPS>& out) {
    const __m256i places = _mm256_add_epi32(_mm256_loadu_si256((const __m256i*)offset),
                                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    const __m256i lower = _mm256_set1_epi32(0xffff);
    const auto store = [](const __m256i& one, const __m256i& other, uint16_t* first,
                          uint16_t* second) {
        const __m256i both = _mm256_permute4x64_epi64(_mm256_packus_epi32(one, other), 0xd8);
        _mm_storeu_si128((__m128i*)first, _mm256_castsi256_si128(both));
        _mm_storeu_si128((__m128i*)second, _mm256_extracti128_si256(both, 1));
    };
    at -= Bounds<TAPS>::BEFORE * (stride + 1);
    __m256i rows[TAPS];
    for (int row = 0; row < TAPS; ++row, at += stride)
        rows[row] = _mm256_i32gather_epi32(reinterpret_cast<const int*>(at), places, 1);
    if (TAPS == 2)
        store(_mm256_and_si256(rows[0], lower), _mm256_and_si256(rows[1], lower),
              out.pairs[0][0] + i, out.pairs[1][0] + i);
    else
        for (int row = 0; row < TAPS; ++row)
            store(_mm256_and_si256(rows[row], lower), _mm256_srli_epi32(rows[row], 16),
                  out.pairs[row][0] + i, out.pairs[row][TAPS / 2 - 1] + i);
}
#else
template <int TAPS>
inline void fetch_near(const uint8_t* at, const int32_t* offset, int64_t stride, int i,
                       Seen<TAPS>& out) {
    fetch_each<TAPS>(at, offset, stride, i, out);
}
#endif

template <int TAPS>
inline void fetch_clamped(const Plane& plane, const Places& places, int width, int height, int i,
                          Seen<TAPS>& out) {
    constexpr int BEFORE = Bounds<TAPS>::BEFORE;
    for (int k = i; k < i + CHUNK; ++k)
        for (int row = 0; row < TAPS; ++row) {
            const uint8_t* const line = plane.row(clamped(places.y[k] + row - BEFORE, 0, height - 1));
            for (int pair = 0; pair < TAPS / 2; ++pair) {
                const int x = places.x[k] + 2 * pair - BEFORE;
                const int left = clamped(x, 0, width - 1), right = clamped(x + 1, 0, width - 1);
                out.pairs[row][pair][k] = (uint16_t)(line[left] | line[right] << 8);
            }
        }
}

inline bool is_one_offset(const int32_t* offset) {
#ifdef __AVX2__
    const __m256i all = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(offset));
    const __m256i differs = _mm256_xor_si256(all, _mm256_set1_epi32(offset[0]));
    return _mm256_testz_si256(differs, differs);
#else
    int32_t differs = 0;
    for (int k = 1; k < CHUNK; ++k) differs |= offset[k] ^ offset[0];
    return differs == 0;
#endif
}

template <int TAPS>
inline bool is_chunk_inside(const Places& places, int i, const Bounds<TAPS>& bounds) {
    for (int k = i; k < i + CHUNK; ++k)
        if (!bounds.hold(places.x[k], places.x[k], places.y[k], places.y[k])) return false;
    return true;
}

// The samples of `count` pixels, by offsets from pixel to pixel on from `at`.
template <int TAPS>
inline void fetch_inside(const uint8_t* at, int64_t stride, const int32_t* offsets, int count,
                         Seen<TAPS>& out) {
    for (int i = 0; i < count; i += CHUNK) {
        if (is_one_offset(offsets + i))
            fetch_together<TAPS>(at + i + offsets[i], stride, i, out);
        else
            fetch_near<TAPS>(at + i, offsets + i, stride, i, out);
    }
}

template <int TAPS>
inline void fetch(const Plane& plane, Places& places, int count, int width, int height,
                  Seen<TAPS>& out) {
    const Bounds<TAPS> bounds{width, height};
    const bool may_miss = TAPS > 2 || width < 2 || height < 2;
    const int32_t stride = (int32_t)plane.stride;
    for (int i = 0; i < count; ++i)
        places.offset[i] = places.y[i] * stride + places.x[i] - i;
    for (int i = 0; i < count; i += CHUNK) {
        const int32_t* const offset = places.offset + i;
        if (may_miss && !is_chunk_inside(places, i, bounds))
            fetch_clamped<TAPS>(plane, places, width, height, i, out);
        else if (is_one_offset(offset))
            fetch_together<TAPS>(plane.at + i + offset[0], plane.stride, i, out);
        else
            fetch_each<TAPS>(plane.at + i, offset, plane.stride, i, out);
    }
}

// Code values of `count` pixels, in 1/128.
inline void blend(const Seen<2>& seen, const Places& places, int count, int16_t* __restrict out) {
    const uint16_t* __restrict const upper = seen.pairs[0][0];
    const uint16_t* __restrict const lower = seen.pairs[1][0];
    for (int i = 0; i < count; ++i) {
        const int16_t a = (int16_t)((upper[i] & 255) << CODE_BITS);
        const int16_t b = (int16_t)((upper[i] >> 8) << CODE_BITS);
        const int16_t c = (int16_t)((lower[i] & 255) << CODE_BITS);
        const int16_t d = (int16_t)((lower[i] >> 8) << CODE_BITS);
        const int16_t share = places.across[i];
        out[i] = along(along(a, b, share), along(c, d, share), places.down[i]);
    }
}

// Weights of four taps for places 0..1 behind the second, in 1/16384; their sum is one.
struct Cubic {
    alignas(64) int16_t first[RUN], second[RUN], third[RUN], last[RUN];
};

inline void fill_cubic(const int16_t* __restrict shares, int count, Cubic& __restrict out) {
    for (int i = 0; i < count; ++i) {
        const int16_t share = shares[i];
        const int16_t square = scaled(share, share), cube = scaled(square, share);
        const int16_t late = (int16_t)(square - cube), early = (int16_t)(share - square - late);
        // With a = -3/4: a (f^3 - 2 f^2 + f), (a + 2) f^3 - (a + 3) f^2 + 1, and a (f^2 - f^3).
        const int16_t first = (int16_t)-((int16_t)(3 * early + 4) >> 3);
        const int16_t last = (int16_t)-((int16_t)(3 * late + 4) >> 3);
        const uint16_t lost = (uint16_t)(square + late + (late >> 2) + 1);
        const int16_t second = (int16_t)(WHOLE / 2 - (lost >> 1));
        out.first[i] = first;
        out.second[i] = second;
        out.third[i] = (int16_t)(WHOLE / 2 - first - second - last);
        out.last[i] = last;
    }
}

inline int16_t weighted(const Cubic& by, int i, int16_t a, int16_t b, int16_t c, int16_t d) {
    return (int16_t)(scaled(a, by.first[i]) + scaled(b, by.second[i]) + scaled(c, by.third[i]) +
                     scaled(d, by.last[i]));
}

inline void blend_line(const uint16_t* __restrict left, const uint16_t* __restrict right,
                       const Cubic& __restrict by, int count, int16_t* __restrict out) {
    for (int i = 0; i < count; ++i)
        out[i] = weighted(by, i, (int16_t)((left[i] << 8) ^ 0x8000),
                          (int16_t)((left[i] & 0xff00) ^ 0x8000),
                          (int16_t)((right[i] << 8) ^ 0x8000),
                          (int16_t)((right[i] & 0xff00) ^ 0x8000));
}

// The same from four by four taps. Around a code value of 128, so that what a sharp edge overshoots
// fits: lines hold it in 1/128, their sum in 1/64.
inline void blend(const Seen<4>& seen, const Places& places, int count, int16_t* __restrict out) {
    alignas(64) int16_t lines[4][RUN];
    Cubic by;
    fill_cubic(places.across, count, by);
    for (int row = 0; row < 4; ++row)
        blend_line(seen.pairs[row][0], seen.pairs[row][1], by, count, lines[row]);
    fill_cubic(places.down, count, by);
    for (int i = 0; i < count; ++i) {
        const int16_t sum = weighted(by, i, lines[0][i], lines[1][i], lines[2][i], lines[3][i]);
        out[i] = (int16_t)(clamped<int16_t>((int16_t)(sum + 128 * 64), 0, TOP / 2) << 1);
    }
}

}  // namespace
