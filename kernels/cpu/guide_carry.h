// Flow on the guide's grid, brought to the wanted time.
#pragma once

#include "flow_codes.h"

namespace {

// Rows and columns of cells; rows lie `stride` apart, of which what is beyond the columns is free.
struct Grid {
    int rows, columns;
    int64_t stride;

    int64_t size() const { return rows * stride; }
};

// Two planes: x and y.
struct Field {
    float *x, *y;
};

// Half the mean of two by two; the last of odd sides repeat.
void make_coarser(const float* flow, int height, int width, const Grid& grid, const Field& out) {
    for (int row = 0; row < grid.rows; ++row) {
        const float* upper = flow + int64_t(2) * width * (2 * row);
        const float* lower = 2 * row + 1 < height ? upper + 2 * width : upper;
        float* x = out.x + row * grid.stride;
        float* y = out.y + row * grid.stride;
        for (int n = 0; n < width / 2; ++n) {
            x[n] = 0.125f * ((upper[4 * n] + upper[4 * n + 2]) + (lower[4 * n] + lower[4 * n + 2]));
            y[n] = 0.125f *
                   ((upper[4 * n + 1] + upper[4 * n + 3]) + (lower[4 * n + 1] + lower[4 * n + 3]));
        }
        if (width % 2) {
            const int last = 2 * (width - 1), n = grid.columns - 1;
            x[n] = 0.25f * (upper[last] + lower[last]);
            y[n] = 0.25f * (upper[last + 1] + lower[last + 1]);
        }
    }
}

INLINE Lanes gathered(const float* from, const Wholes& at) {
#if defined(__AVX512F__)
    return (Lanes)_mm512_i32gather_ps((__m512i)at, from, 4);
#elif defined(__AVX2__)
    return (Lanes)_mm256_i32gather_ps(from, (__m256i)at, 4);
#else
    Lanes found;
    for (int n = 0; n < LANES; ++n) found[n] = from[at[n]];
    return found;
#endif
}

// A flow is known where it starts, not where its pixel is at `time`; two rounds of looking it up
// where the last round said it starts bring it there.
void carry(const Field& flow, const Grid& grid, float share, const Field& out) {
    const Lanes last_x = Lanes{} + float(grid.columns - 1), last_y = Lanes{} + float(grid.rows - 1);
    const int32_t stride = int32_t(grid.stride);
    for (int row = 0; row < grid.rows; ++row)
        for (int left = 0; left < grid.columns; left += LANES) {
            const int64_t here = row * grid.stride + left;
            Lanes x = load(flow.x + here), y = load(flow.y + here);
            for (int round = 0; round < 2; ++round) {
                const Lanes column = bounded(counted_from(left) + share * x, Lanes{}, last_x);
                const Lanes line = bounded(float(row) + share * y, Lanes{}, last_y);
                const Wholes from = whole(column), top = whole(line);
                // At the last ones the next has no share.
                const Wholes next = from < grid.columns - 1 ? from + 1 : from;
                const Wholes under = top < grid.rows - 1 ? top + 1 : top;
                const Lanes right = column - real(from), below = line - real(top);
                const Wholes a = top * stride + from, b = top * stride + next;
                const Wholes c = under * stride + from, d = under * stride + next;
                for (int part = 0; part < 2; ++part) {
                    const float* plane = part ? flow.y : flow.x;
                    const Lanes one = gathered(plane, a), other = gathered(plane, c);
                    const Lanes upper = one + right * (gathered(plane, b) - one);
                    const Lanes lower = other + right * (gathered(plane, d) - other);
                    (part ? y : x) = upper + below * (lower - upper);
                }
            }
            store(out.x + here, x), store(out.y + here, y);
        }
}

}  // namespace
