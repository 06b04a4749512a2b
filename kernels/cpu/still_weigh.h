// Evidence that detail stands: that standing still explains it and motion around it does not.
#pragma once

#include "still_mark.h"

namespace {

inline const float* row_of(const char* pictures, int64_t plane_stride, int64_t row_stride, int n,
                           int y) {
    return reinterpret_cast<const float*>(pictures + n * plane_stride + y * row_stride);
}

inline float apart(float one, float other) { return one > other ? one - other : other - one; }

inline void take_less(const float* __restrict a, const float* __restrict b,
                      const float* __restrict c, const float* __restrict d, int count,
                      float* __restrict out) {
    for (int x = 0; x < count; ++x) {
        const float ahead = apart(a[x], b[x]), back = apart(c[x], d[x]);
        out[x] = ahead < back ? ahead : back;
    }
}

// What the better of both motions leaves of each small pixel.
void measure(const char* pictures, int64_t plane_stride, int64_t row_stride, const Small& it) {
    for (int y = 0; y < it.rows; ++y) {
        const auto row = [&](int n) { return row_of(pictures, plane_stride, row_stride, n, y); };
        take_less(row(0), row(1), row(2), row(3), it.columns, it.moved + (int64_t)y * it.columns);
    }
}

inline void add_three(const float* __restrict a, const float* __restrict b,
                      const float* __restrict c, int count, float* __restrict sum) {
    for (int x = 0; x < count; ++x) sum[x] = a[x] + b[x] + c[x];
}

inline void explain(const float* __restrict moved, const float* __restrict one,
                    const float* __restrict other, const uint8_t* __restrict there, float times,
                    float doubt, int count, uint8_t* __restrict out) {
    for (int x = 0; x < count; ++x) {
        const float mean = (moved[x - 1] + moved[x] + moved[x + 1]) * (1.0f / 9);
        const bool is_better = mean > times * apart(one[x], other[x]) + doubt;
        // Reading only where it is better would keep compilers from making vectors of this.
        out[x] = (uint8_t)(there[x] & -(int)is_better);
    }
}

// How much of each small pixel of a row is old and better explained by standing still.
void judge(const char* pictures, int64_t plane_stride, int64_t row_stride, float times, float doubt,
           const Small& it, int y) {
    const auto moved = [&](int n) {
        return it.moved + (int64_t)mirrored(n, it.rows) * it.columns;
    };
    add_three(moved(y - 1), moved(y), moved(y + 1), it.columns, it.floats);
    mirror_ends(it.floats, it.columns, 1);
    const int64_t at = (int64_t)y * it.columns;
    explain(it.floats, row_of(pictures, plane_stride, row_stride, 4, y),
            row_of(pictures, plane_stride, row_stride, 5, y), it.there + at, times, doubt,
            it.columns, it.explained + at);
}

inline void add(const uint8_t* __restrict from, int count, uint16_t* __restrict sums) {
    for (int x = 0; x < count; ++x) sums[x] = (uint16_t)(sums[x] + from[x]);
}

inline uint16_t sum_across(const uint16_t* at) {
    uint16_t sum = 0;
    for (int n = -AROUND; n <= AROUND; ++n) sum = (uint16_t)(sum + at[n]);
    return sum;
}

inline void average(const uint16_t* __restrict found, const uint16_t* __restrict of, float pace,
                    int count, float* __restrict evidence) {
    constexpr int PIXELS = (2 * AROUND + 1) * (2 * AROUND + 1);
    for (int x = 0; x < count; ++x) {
        // A code value more, so that where nothing is old there is no evidence.
        const float share = (float)sum_across(found + x) / (float)(sum_across(of + x) + PIXELS);
        evidence[x] = evidence[x] * (1 - pace) + share * pace;
    }
}

// A row of the evidence, brought on by what is found around it.
void gather(const Small& it, int y, float pace, float* evidence) {
    const uint8_t* const planes[2] = {it.explained, it.there};
    for (int n = 0; n < 2; ++n) {
        std::memset(it.sums[n], 0, it.columns * sizeof(uint16_t));
        for (int beside = -AROUND; beside <= AROUND; ++beside)
            add(planes[n] + (int64_t)mirrored(y + beside, it.rows) * it.columns, it.columns,
                it.sums[n]);
        mirror_ends(it.sums[n], it.columns, AROUND);
    }
    average(it.sums[0], it.sums[1], pace, it.columns, evidence);
}

}  // namespace
