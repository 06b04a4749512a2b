// Maps of a guide at low resolution, enlarged bilinearly to the pixels of a large plane.
#pragma once

#include "runs.cuh"

// `cell` is how many pixels of the plane lie along one cell, 1 at least, and `share` 1 / cell. The grid
// begins at the plane's top left, so that cell j has its centre at cell * (j + 0.5) - 0.5; before the
// first centre and behind the last one the maps go on unchanged.
struct Grid {
    int32_t columns;
    int32_t rows;
    float cell;
    float share;
};

BOTH float along(float a, float b, float share) { return fmaf(b - a, share, a); }

// A place among the cells of a grid, or the pixels of a plane: whole, and what is left of it.
struct Place {
    int first;
    float behind;
};

// Of a float32 between -2^21 and 2^21: rounded down where float32 has whole numbers only, its lowest
// bits are the whole.
BOTH Place place_of(float value) {
    const float whole = __fadd_rd(value, ABOVE);
    return {(int)(__float_as_uint(whole) - __float_as_uint(ABOVE)), value - (whole - ABOVE)};
}

BOTH Place among(int pixel, float share, int cells) {
    return place_of(clamp_to((pixel + 0.5f) * share - 0.5f, 0, (float)(cells - 1)));
}

// MAPS maps, contiguous (MAPS, rows, columns), along one row of pixels from left to right: what is
// blended between two rows of cells stays as long as the pixels lie between the same two columns.
template <int MAPS>
struct Along {
    const Grid& grid;
    const float* maps[MAPS];
    uint32_t upper, lower;
    float down;
    int column;  // of `left`; `right` is the next
    float left[MAPS], right[MAPS], apart[MAPS];

    BOTH Along(const Grid& grid, const float* first, int x, int y) : grid(grid) {
#pragma unroll
        for (int n = 0; n < MAPS; ++n) maps[n] = first + (int64_t)n * grid.rows * grid.columns;
        const Place row = among(y, grid.share, grid.rows);
        upper = row.first * grid.columns;
        lower = clamp_to(row.first + 1, grid.rows - 1) * grid.columns;
        down = row.behind;
        column = among(x, grid.share, grid.columns).first - 1;
        blend(column + 1);
    }

    // Makes `right` that of a column; behind the last one the maps go on unchanged.
    BOTH void blend(int at) {
        at = at < grid.columns ? at : grid.columns - 1;
#pragma unroll
        for (int n = 0; n < MAPS; ++n)
            right[n] = ::along(maps[n][upper + at], maps[n][lower + at], down);
    }

    // The maps at pixel `x`, which is the first one or behind that of the call before.
    BOTH void at(int x, float (&values)[MAPS]) {
        const Place place = among(x, grid.share, grid.columns);
#pragma unroll 1  // hardly ever more than one
        while (column < place.first) {
#pragma unroll
            for (int n = 0; n < MAPS; ++n) left[n] = right[n];
            ++column;
            blend(column + 1);
#pragma unroll
            for (int n = 0; n < MAPS; ++n) apart[n] = right[n] - left[n];
        }
#pragma unroll
        for (int n = 0; n < MAPS; ++n) values[n] = fmaf(apart[n], place.behind, left[n]);
    }
};
