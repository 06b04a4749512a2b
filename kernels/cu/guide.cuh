// Maps of a guide at low resolution, looked up bilinearly at the pixels of a large plane.
#pragma once

#include "runs.cuh"

// `cell` is how many pixels of the plane lie along one cell. The grid begins at the plane's top
// left, so that cell j has its centre at cell * (j + 0.5) - 0.5; before the first centre and behind
// the last one the maps go on unchanged.
struct Grid {
    int32_t columns;
    int32_t rows;
    float cell;
    int32_t is_half;  // the maps are float16, else float32
};

struct Spot {
    int64_t corners[4];
    float across;
    float down;
};

BOTH float along(float a, float b, float share) { return a + (b - a) * share; }

BOTH Spot spot_at(const Grid& grid, int x, int y) {
    const float column = clamp_to((x + 0.5f) / grid.cell - 0.5f, 0, (float)(grid.columns - 1));
    const float row = clamp_to((y + 0.5f) / grid.cell - 0.5f, 0, (float)(grid.rows - 1));
    const int left = (int)column, top = (int)row;
    const int right = clamp_to(left + 1, grid.columns - 1);
    const int64_t upper = (int64_t)top * grid.columns;
    const int64_t lower = (int64_t)clamp_to(top + 1, grid.rows - 1) * grid.columns;
    return {{upper + left, upper + right, lower + left, lower + right}, column - left, row - top};
}

// Map `number` of contiguous (n, rows, columns) maps.
BOTH float look_up(const Grid& grid, const void* maps, int number, const Spot& spot) {
    const int64_t begin = (int64_t)number * grid.rows * grid.columns;
    float at[4];
#pragma unroll
    for (int n = 0; n < 4; ++n) {
        const int64_t place = begin + spot.corners[n];
        at[n] = grid.is_half ? to_float(static_cast<const __half*>(maps)[place])
                             : static_cast<const float*>(maps)[place];
    }
    return along(along(at[0], at[1], spot.across), along(at[2], at[3], spot.across), spot.down);
}
