// Two pictures at one of the sizes at which they are searched, with a border that repeats the edge.
#pragma once

#include <cstdint>
#include <cstring>

#include "flow_lanes.h"

namespace {

constexpr int SIDE = 8;     // pixels of a square on each side
constexpr int BORDER = 16;  // pixels; a square may lie wholly beyond an edge

struct Level {
    int height, width;
    int apart;          // pixels from one square to the next; the last one ends with the picture
    int rows, columns;  // of squares
    int64_t stride;     // floats from row to row of these, which begin within their borders:
    float* start;
    float* end;
    float* across;  // gradient of `start`, code values per pixel
    float* down;

    int row(int n) const { return place(n, height); }
    int column(int n) const { return place(n, width); }
    int squares() const { return rows * columns; }

   private:
    int place(int n, int side) const { return n * apart < side - SIDE ? n * apart : side - SIDE; }
};

int squares_along(int side, int apart) { return (side - SIDE + apart - 1) / apart + 1; }

void repeat_edges(float* picture, const Level& level) {
    for (int y = 0; y < level.height; ++y) {
        float* row = picture + y * level.stride;
        for (int x = 1; x <= BORDER; ++x) {
            row[-x] = row[0];
            row[level.width - 1 + x] = row[level.width - 1];
        }
    }
    const size_t size = level.stride * sizeof(float);
    float* top = picture - BORDER;
    float* bottom = top + (level.height - 1) * level.stride;
    for (int y = 1; y <= BORDER; ++y) {
        std::memcpy(top - y * level.stride, top, size);
        std::memcpy(bottom + y * level.stride, bottom, size);
    }
}

inline void widen(const uint8_t* __restrict codes, int count, float* __restrict row) {
    for (int x = 0; x < count; ++x) row[x] = codes[x];
}

void take(const uint8_t* codes, int64_t stride, float* picture, const Level& level) {
    for (int y = 0; y < level.height; ++y)
        widen(codes + y * stride, level.width, picture + y * level.stride);
    repeat_edges(picture, level);
}

// The mean of four pixels each; an odd last row or column is left out.
void halve(const float* finer, int64_t stride, float* picture, const Level& level) {
    for (int y = 0; y < level.height; ++y) {
        const float* upper = finer + 2 * y * stride;
        const float* lower = upper + stride;
        float* row = picture + y * level.stride;
        for (int x = 0; x < level.width; ++x)
            row[x] = 0.25f * ((upper[2 * x] + upper[2 * x + 1]) + (lower[2 * x] + lower[2 * x + 1]));
    }
    repeat_edges(picture, level);
}

void find_gradients(const Level& level) {
    const int64_t stride = level.stride;
    for (int y = 0; y < level.height; ++y) {
        const float* row = level.start + y * stride;
        for (int x = 0; x < level.width; ++x) {
            level.across[y * stride + x] = 0.5f * (row[x + 1] - row[x - 1]);
            level.down[y * stride + x] = 0.5f * (row[x + stride] - row[x - stride]);
        }
    }
}

}  // namespace
