// The guide of a warp: maps of low resolution, enlarged to the pixels of one row.
//
// As in kernels/reference.py: cell j has its centre at across * (j + 0.5) - 0.5; before the first
// centre and behind the last one the maps go on unchanged. Two rows of cells are enlarged to the
// width of the plane; all rows of pixels between them blend these two.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "fixed.h"

namespace {

struct Map {
    const float* at;
    int64_t stride;  // bytes from row to row

    const float* row(int y) const {
        return reinterpret_cast<const float*>(reinterpret_cast<const char*>(at) + y * stride);
    }
};

// Where one row of pixels lies between two rows of cells.
struct Between {
    int upper, lower;
    float share;  // of the lower one
};

inline float place_of(int pixel, float cell, int count) {
    const float place = (pixel + 0.5f) / cell - 0.5f;
    return place < 0 ? 0 : place > count - 1 ? count - 1 : place;
}

inline Between between(int y, float down, int rows) {
    const float place = place_of(y, down, rows);
    const int upper = (int)place;
    return {upper, upper + 1 < rows ? upper + 1 : upper, place - upper};
}

// For each column of pixels, and some more: its cell, and how far behind that cell's centre it lies.
// And where the pixels of each cell that has some begin, behind which is where all end.
struct Across {
    const int32_t* cell;
    const float* share;
    const int32_t* begin;
};

inline void fill_across(int32_t* cell, float* share, int32_t* begin, int count, float across,
                        int columns) {
    for (int x = 0; x < count; ++x) {
        const float place = place_of(x, across, columns);
        cell[x] = (int)place;
        share[x] = place - (int)place;
    }
    for (int x = 0; x < count; ++x)
        if (x == 0 || cell[x] != cell[x - 1]) *begin++ = x;
    *begin = count;
}

// How a map is brought to fixed point.
struct Range {
    float scale;
    float most;       // either way, after scaling
    float otherwise;  // what stands for no number, and for none that is finite
};

// Less is nothing in fixed point, and processors take a hundred times as long for subnormal numbers.
constexpr float LEAST = 1e-20f;

// A row of a map in fixed point; the last cell is repeated.
inline void clean(const float* __restrict cells, const Range& range, int columns,
                  float* __restrict out) {
    for (int j = 0; j < columns; ++j) {
        const float value = cells[j];
        const float scaled = (value > LEAST || value < -LEAST ? value : 0) * range.scale;
        const float high = scaled < range.most ? scaled : range.most;
        const float kept = high > -range.most ? high : -range.most;
        // Nothing but a finite number gives zero here.
        out[j] = value - value == 0 ? kept : range.otherwise;
    }
    out[columns] = out[columns - 1];
}

typedef float Floats __attribute__((vector_size(32)));
constexpr int LANES = 8;

// A row of cells at `count` pixels, whole lanes of them; up to LANES - 1 more are written.
inline void enlarge(const float* cells, const Across& across, int count, float* out) {
    for (const int32_t* begin = across.begin; *begin < count; ++begin) {
        const int j = across.cell[*begin], end = begin[1] < count ? begin[1] : count;
        const float left = cells[j], more = cells[j + 1] - left;
        for (int k = *begin; k < end; k += LANES) {
            Floats share;
            memcpy(&share, across.share + k, sizeof share);
            share = left + more * share;
            memcpy(out + k, &share, sizeof share);
        }
    }
}

// One map at the pixels of all rows between two of its own.
struct Enlarged {
    float *upper, *lower;
    float* more;  // than `upper` has `lower`
    int row = -1;  // of the map: what `lower` holds

    // `cells` is room for a row of them.
    void take(const Map& map, const Between& rows, const Range& range, int columns,
              const Across& across, int count, float* cells) {
        std::swap(upper, lower);
        if (row != rows.upper) {
            clean(map.row(rows.upper), range, columns, cells);
            enlarge(cells, across, count, upper);
        }
        clean(map.row(rows.lower), range, columns, cells);
        enlarge(cells, across, count, lower);
        subtract(upper, count);
        row = rows.lower;
    }

   private:
    void subtract(const float* __restrict from, int count) const {
        const float* __restrict const values = lower;
        float* __restrict const out = more;
        for (int i = 0; i < count; ++i) out[i] = values[i] - from[i];
    }
};

// The same at one row of pixels, from the first of a run on.
struct Line {
    const float *upper, *more;
    float down;

    Line(const Enlarged& map, int begin, float share)
        : upper(map.upper + begin), more(map.more + begin), down(share) {}

    int32_t at(int i) const { return (int32_t)(upper[i] + more[i] * down); }
};

// Shares at `count` pixels, in 1/32768.
inline void fill_shares(const Line& map, int count, int16_t* __restrict out) {
    for (int i = 0; i < count; ++i) out[i] = (int16_t)clamped<int32_t>(map.at(i), 0, ALL);
}

}  // namespace
