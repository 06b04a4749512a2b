// What a guide and a motion network's inputs are written to; edges repeat.
#pragma once

#include "guide_cells.h"
#include "guide_fields.h"

namespace {

constexpr int MAPS = 6;

INLINE float* map_row(const GuideFields& fields, int map, int row) {
    return fields.maps + (int64_t(map) * fields.out_rows + row) * fields.out_columns;
}

void repeat_right(float* row, int filled, int columns) {
    for (int n = filled; n < columns; ++n) row[n] = row[filled - 1];
}

void repeat_below(float* planes, int count, int filled, int rows, int columns) {
    for (int plane = 0; plane < count; ++plane) {
        float* first = planes + int64_t(plane) * rows * columns;
        const float* last = first + int64_t(filled - 1) * columns;
        for (int row = filled; row < rows; ++row)
            std::memcpy(first + int64_t(row) * columns, last, columns * sizeof(float));
    }
}

// As networks and `StillAreas` take them.
void give_pictures(const CellRow& cells, const Grid& grid, int row, const GuideFields& fields) {
    const int64_t width = 2 * int64_t(fields.out_columns), size = width * 2 * fields.out_rows;
    for (int picture = 0; picture < PICTURES; ++picture)
        for (int line = 0; line < 2; ++line) {
            float* out = fields.pictures + picture * size + (2 * row + line) * width;
            const float* even = cells.codes[picture][2 * line];
            const float* odd = cells.codes[picture][2 * line + 1];
            for (int n = 0; n < grid.columns; ++n) {
                out[2 * n] = even[n] * (1.0f / 255.0f);
                out[2 * n + 1] = odd[n] * (1.0f / 255.0f);
            }
            repeat_right(out, 2 * grid.columns, 2 * fields.out_columns);
        }
}

// The motion that this part's flow tells, which the backward one does the other way round; the
// second part adds the time.
void give_motion(const Field& carried, const Grid& grid, const GuideFields& fields) {
    const int64_t size = int64_t(fields.out_rows) * fields.out_columns;
    float* planes = fields.motion + 2 * fields.part * size;
    for (int part = 0; part < 2; ++part)
        for (int row = 0; row < grid.rows; ++row) {
            const float* from = (part ? carried.y : carried.x) + row * grid.stride;
            float* out = planes + part * size + int64_t(row) * fields.out_columns;
            for (int n = 0; n < grid.columns; ++n) out[n] = fields.part ? -from[n] : from[n];
            repeat_right(out, grid.columns, fields.out_columns);
        }
    repeat_below(planes, 2, grid.rows, fields.out_rows, fields.out_columns);
    if (fields.part)
        for (int64_t n = 0; n < size; ++n) planes[2 * size + n] = fields.time;
}

}  // namespace
