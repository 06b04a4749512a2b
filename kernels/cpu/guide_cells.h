// One row of cells: both pictures brought to the wanted time, and how far they differ in each cell.
#pragma once

#include "guide_carry.h"

namespace {

constexpr int PARTS = 4;  // pixels of a cell: left and right of the upper row, then of the lower

// Both pictures by the forward flow, by the backward flow, and as they are.
constexpr int PICTURES = 6, PAIRS = 3;

// Of each cell: the mean difference of each pair, and the variances of what differs by either
// flow and of the first picture.
constexpr int MISMATCHES = 3, VARIANCES = 3, MEASURES = MISMATCHES + VARIANCES;

struct CellRow {
    float* codes[PICTURES][PARTS];
    float *x[2], *y[2];  // a flow between rows of cells, one cell more at either end
};

// A flow at the two rows of pixels of a row of cells.
void enlarge_down(const Field& flow, const Grid& grid, int row, const CellRow& cells) {
    const float* middle_x = flow.x + row * grid.stride;
    const float* middle_y = flow.y + row * grid.stride;
    for (int part = 0; part < 2; ++part) {
        const int beside = part ? (row + 1 < grid.rows ? row + 1 : row) : (row > 0 ? row - 1 : 0);
        const float* x = flow.x + beside * grid.stride;
        const float* y = flow.y + beside * grid.stride;
        for (int n = 0; n < grid.columns; ++n) {
            cells.x[part][n] = 0.75f * middle_x[n] + 0.25f * x[n];
            cells.y[part][n] = 0.75f * middle_y[n] + 0.25f * y[n];
        }
        for (float* line : {cells.x[part], cells.y[part]}) {
            line[-1] = line[0];
            for (int n = 0; n < LANES; ++n) line[grid.columns + n] = line[grid.columns - 1];
        }
    }
}

// Both pictures at the end of one flow: `shares` of it lead to them, in pixels for a flow in cells.
void bring(const Codes* ends, const float* shares, const Grid& grid, int row, const CellRow& cells,
           int picture) {
    for (int part = 0; part < PARTS; ++part) {
        const float* line_x = cells.x[part / 2];
        const float* line_y = cells.y[part / 2];
        const int beside = part % 2 ? 1 : -1;
        const Lanes line = Lanes{} + float(2 * row + part / 2);
        for (int left = 0; left < grid.columns; left += LANES) {
            const Lanes column = 2.0f * counted_from(left) + float(part % 2);
            const Lanes x = 0.75f * load(line_x + left) + 0.25f * load(line_x + left + beside);
            const Lanes y = 0.75f * load(line_y + left) + 0.25f * load(line_y + left + beside);
            for (int end = 0; end < 2; ++end)
                store(cells.codes[picture + end][part] + left,
                      look_up(ends[end], column + shares[end] * x, line + shares[end] * y));
        }
    }
}

void take(const Codes& codes, const Grid& grid, int row, float* const* parts) {
    for (int part = 0; part < PARTS; ++part) {
        // The lower of two pixels lies behind the upper one.
        const uint8_t* from = codes.at + 2 * (int64_t(2 * row) * codes.stride + part % 2) + part / 2;
        for (int n = 0; n < grid.columns; ++n) parts[part][n] = from[4 * n];
    }
}

// What lies beyond odd sides repeats the last pixel.
void repeat_last(const Codes& codes, const Grid& grid, int row, const CellRow& cells) {
    const bool is_last = codes.height % 2 && row + 1 == grid.rows;
    for (int picture = 0; picture < PICTURES; ++picture) {
        float* const* parts = cells.codes[picture];
        if (codes.width % 2)
            for (int part = 0; part < PARTS; part += 2)
                parts[part + 1][grid.columns - 1] = parts[part][grid.columns - 1];
        if (is_last)
            for (int part = 0; part < 2; ++part)
                std::memcpy(parts[part + 2], parts[part], grid.columns * sizeof(float));
    }
}

INLINE Lanes variance(const Lanes& a, const Lanes& b, const Lanes& c, const Lanes& d) {
    const Lanes mean = 0.25f * ((a + b) + (c + d));
    const Lanes p = a - mean, q = b - mean, r = c - mean, s = d - mean;
    return 0.25f * ((p * p + q * q) + (r * r + s * s));
}

void measure(const CellRow& cells, const Grid& grid, float* const* measures, int64_t at) {
    for (int left = 0; left < grid.columns; left += LANES) {
        for (int pair = 0; pair < PAIRS; ++pair) {
            Lanes off[PARTS];
            for (int part = 0; part < PARTS; ++part)
                off[part] = load(cells.codes[2 * pair][part] + left) -
                            load(cells.codes[2 * pair + 1][part] + left);
            const Lanes apart = 0.25f * ((size_of(off[0]) + size_of(off[1])) +
                                         (size_of(off[2]) + size_of(off[3])));
            store(measures[pair] + at + left, apart);
            if (pair < 2)
                store(measures[MISMATCHES + pair] + at + left,
                      variance(off[0], off[1], off[2], off[3]));
        }
        float* const* first = cells.codes[0];
        store(measures[MISMATCHES + 2] + at + left,
              variance(load(first[0] + left), load(first[1] + left), load(first[2] + left),
                       load(first[3] + left)));
    }
}

}  // namespace
