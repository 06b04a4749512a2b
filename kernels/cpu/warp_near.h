// Runs that look nowhere beyond an edge, bilinearly and sixteen pixels at a time: the arithmetic is that
// of `place_inside`, `blend` and `mix`.
//
// Between two rows of cells the samples of a few neighbours mostly lie in three rows of sixteen bytes.
// Where these begin is found once for all rows of pixels there; each of these then loads the bytes and
// puts them in order, instead of gathering sample by sample.
#pragma once

#ifdef __AVX2__

#include "warp_runs.h"

namespace {

// In registers pixels lie as packing leaves them: 0 to 3 and 8 to 11 are one half, the others the other.
constexpr int SOME = 16, HALVES = 2;
constexpr int BYTES_SEEN = 16, ROWS_SEEN = 3;
constexpr int BIAS = 1 << 14;  // pixels: makes a place positive
constexpr int SLIP = 256;      // more than what lies between two rows of cells is rounded by

// Where SOME pixels look to in a plane, for all rows of pixels between two rows of cells.
struct Spots {
    alignas(64) int16_t order[SOME];  // with 257 times the whole part: two bytes from `offset` on
    alignas(32) int16_t top[SOME];
    int64_t offset[HALVES];  // of what each half sees, in bytes from the first pixel
    bool are_near;           // whether that is no more than ROWS_SEEN rows of BYTES_SEEN bytes
};

struct Sixteen {
    __m256i first, second;  // eight of 32 bits each
};

inline __m256i both_halves(const __m128i& first, const __m128i& second) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(first), second, 1);
}

inline __m256i whole_of(const Sixteen& it) {
    return _mm256_packs_epi32(_mm256_srai_epi32(it.first, PLACE_BITS),
                              _mm256_srai_epi32(it.second, PLACE_BITS));
}

inline __m256i share_of(const Sixteen& it) {
    const __m256i part = _mm256_set1_epi32(WHOLE - 1);
    return _mm256_packs_epi32(_mm256_and_si256(it.first, part),
                              _mm256_and_si256(it.second, part));
}

struct Span {
    __m256i least, most;  // whole pixels from the first one's own place, with BIAS
};

inline Span span_of(const Enlarged& flow, int at, const __m256i& own) {
    Sixteen least, most;
    for (int n = 0; n < 2; ++n) {
        const __m256 upper = _mm256_loadu_ps(flow.upper + at + n * CHUNK);
        const __m256 lower = _mm256_loadu_ps(flow.lower + at + n * CHUNK);
        const __m256i slip = _mm256_set1_epi32(SLIP);
        (n ? least.second : least.first) =
            _mm256_sub_epi32(_mm256_cvttps_epi32(_mm256_min_ps(upper, lower)), slip);
        (n ? most.second : most.first) =
            _mm256_add_epi32(_mm256_cvttps_epi32(_mm256_max_ps(upper, lower)), slip);
    }
    return {_mm256_add_epi16(whole_of(least), own), _mm256_add_epi16(whole_of(most), own)};
}

// The least of each half in all of it.
inline __m256i least_of(const __m256i& values) {
    const __m256i least =
        both_halves(_mm_minpos_epu16(_mm256_castsi256_si128(values)),
                    _mm_minpos_epu16(_mm256_extracti128_si256(values, 1)));
    return _mm256_shuffle_epi8(least, _mm256_set1_epi16(0x0100));
}

inline void find_spots(const Enlarged& flow_x, const Enlarged& flow_y, int at, int64_t stride,
                       Spots& out) {
    const __m256i bias = _mm256_set1_epi16(BIAS);
    const __m256i numbers =
        _mm256_setr_epi16(0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15);
    const Span x = span_of(flow_x, at, _mm256_add_epi16(numbers, bias));
    const Span y = span_of(flow_y, at, bias);
    const __m256i left = least_of(x.least), top = least_of(y.least);
    const __m256i beyond =
        _mm256_or_si256(_mm256_subs_epu16(_mm256_sub_epi16(x.most, left),
                                          _mm256_set1_epi16(BYTES_SEEN - 2)),
                        _mm256_subs_epu16(_mm256_sub_epi16(y.most, top),
                                          _mm256_set1_epi16(ROWS_SEEN - 2)));
    out.are_near = _mm256_testz_si256(beyond, beyond);
    const __m256i from_left = _mm256_sub_epi16(_mm256_add_epi16(numbers, bias), left);
    _mm256_store_si256((__m256i*)out.order,
                       _mm256_add_epi16(_mm256_mullo_epi16(from_left, _mm256_set1_epi16(0x0101)),
                                        _mm256_set1_epi16(0x0100)));
    _mm256_store_si256((__m256i*)out.top, _mm256_sub_epi16(top, bias));
    for (int n = 0; n < HALVES; ++n) {
        const __m128i half = n ? _mm256_extracti128_si256(left, 1) : _mm256_castsi256_si128(left);
        const int32_t column = _mm_extract_epi16(half, 0) - BIAS;
        out.offset[n] = out.top[n * CHUNK] * stride + column;
    }
}

inline __m256i along(const __m256i& a, const __m256i& b, const __m256i& share) {
    return _mm256_add_epi16(a, _mm256_mulhrs_epi16(_mm256_sub_epi16(b, a), share));
}

// `Line::at` of each.
inline Sixteen values_at(const Line& line, int i) {
    const auto eight = [&](int k) {
        const __m256 more =
            _mm256_mul_ps(_mm256_loadu_ps(line.more + k), _mm256_set1_ps(line.down));
        return _mm256_cvttps_epi32(_mm256_add_ps(_mm256_loadu_ps(line.upper + k), more));
    };
    return {eight(i), eight(i + CHUNK)};
}

inline __m256i shares_at(const Line& line, int i) {
    const Sixteen values = values_at(line, i);
    return _mm256_max_epi16(_mm256_packs_epi32(values.first, values.second),
                            _mm256_setzero_si256());
}

// Samples and the next ones to the right, these in the upper bytes.
struct Pairs {
    __m256i upper, lower;
};

inline Pairs see_near(const uint8_t* at, int64_t stride, const Sixteen& x, const Sixteen& y,
                      const Spots& spots) {
    const uint8_t *const first = at + spots.offset[0], *const second = at + spots.offset[1];
    const auto row = [&](int n) {
        return both_halves(_mm_loadu_si128((const __m128i*)(first + n * stride)),
                           _mm_loadu_si128((const __m128i*)(second + n * stride)));
    };
    const __m256i order =
        _mm256_add_epi16(_mm256_mullo_epi16(whole_of(x), _mm256_set1_epi16(0x0101)),
                         _mm256_load_si256((const __m256i*)spots.order));
    const __m256i is_below =
        _mm256_cmpgt_epi16(whole_of(y), _mm256_load_si256((const __m256i*)spots.top));
    const __m256i middle = _mm256_shuffle_epi8(row(1), order);
    return {_mm256_blendv_epi8(_mm256_shuffle_epi8(row(0), order), middle, is_below),
            _mm256_blendv_epi8(middle, _mm256_shuffle_epi8(row(2), order), is_below)};
}

// The same wherever the samples lie; seldom, and kept apart from the loops that call it.
__attribute__((noinline)) Pairs see_far(const uint8_t* at, int64_t stride, const Sixteen& x,
                                        const Sixteen& y) {
    const auto offsets = [&](const __m256i& right, const __m256i& below) {
        const __m256i row = _mm256_mullo_epi32(_mm256_srai_epi32(below, PLACE_BITS),
                                               _mm256_set1_epi32((int32_t)stride));
        return _mm256_add_epi32(_mm256_add_epi32(row, _mm256_srai_epi32(right, PLACE_BITS)),
                                _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    };
    const __m256i first = offsets(x.first, y.first), second = offsets(x.second, y.second);
    const auto pairs = [&](const uint8_t* from) {
        const __m256i pair = _mm256_set1_epi32(0xffff);
        const __m256i one = _mm256_i32gather_epi32((const int*)from, first, 1);
        const __m256i other = _mm256_i32gather_epi32((const int*)(from + CHUNK), second, 1);
        return _mm256_packus_epi32(_mm256_and_si256(one, pair), _mm256_and_si256(other, pair));
    };
    return {pairs(at), pairs(at + stride)};
}

// Code values in 1/128 of SOME pixels of a row; `at` is the first one's own place.
inline __m256i look_up(const uint8_t* at, int64_t stride, const Sixteen& x, const Sixteen& y,
                       const Spots& spots) {
    const Pairs seen = __builtin_expect(spots.are_near, true) ? see_near(at, stride, x, y, spots)
                                                              : see_far(at, stride, x, y);
    const __m256i across = share_of(x);
    const auto between = [&](const __m256i& pairs) {
        const __m256i left =
            _mm256_slli_epi16(_mm256_and_si256(pairs, _mm256_set1_epi16(255)), CODE_BITS);
        // Half of what the next one has more: a weight of 128 would not fit.
        const __m256i half = _mm256_maddubs_epi16(pairs, _mm256_set1_epi16(0x40c0));
        return _mm256_add_epi16(left, _mm256_mulhrs_epi16(_mm256_slli_epi16(half, 1), across));
    };
    return along(between(seen.upper), between(seen.lower), share_of(y));
}

inline __m256i codes_at(const uint8_t* at) {
    const __m128i bytes = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i*)at), 0xd8);
    return _mm256_slli_epi16(_mm256_cvtepu8_epi16(bytes), CODE_BITS);
}

// `code_of` each.
inline void store_codes(const __m256i& values, uint8_t* out) {
    const __m256i odd =
        _mm256_and_si256(_mm256_srli_epi16(values, CODE_BITS), _mm256_set1_epi16(1));
    const __m256i half = _mm256_set1_epi16((1 << (CODE_BITS - 1)) - 1);
    const __m256i codes =
        _mm256_srai_epi16(_mm256_add_epi16(_mm256_add_epi16(values, half), odd), CODE_BITS);
    const __m128i bytes =
        _mm_packus_epi16(_mm256_castsi256_si128(codes), _mm256_extracti128_si256(codes, 1));
    _mm_storeu_si128((__m128i*)out, _mm_shuffle_epi32(bytes, 0xd8));
}

}  // namespace

#endif
