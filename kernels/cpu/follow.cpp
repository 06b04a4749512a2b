// What a denoising network takes: a packed picture, and what the last cleaned one, where things are now,
// differs from it.
//
// in:          Y of 2 * columns x 2 * rows bytes, U and V of columns x rows, any stride, of both pictures;
//              flow (rows, columns, 2) from each cell of 2x2 pixels to its place before, in cells.
// out:         (12, rows, columns) float32, contiguous along columns: pack.cpp's six planes, then the
//              differences in the same units.
// Arithmetic:  places in 1/32 of a pixel, looked up cubically in whole numbers; the twin is follow in
//              kernels/reference_denoise.py, the same to the bit.

#include <cmath>

#include "cubic_places.h"
#include "exported.h"

namespace {

constexpr int CHUNK = 64;  // cells of a row that are made together

struct FollowPlane {
    const uint8_t *before, *now;
    int64_t before_stride, now_stride;
};

// As `_Fields` in kernels/native_denoise.py.
struct FollowFields {
    FollowPlane planes[3];
    const float* flow;
    char* out;
    int64_t plane_stride, row_stride;  // bytes
    int32_t rows, columns, begin, end;
};

// As in pack.cpp: rounded as the quotient is.
struct Scale {
    int32_t zero;
    double share;
};
constexpr Scale LUMA = {16, 1.0 / 219}, CHROMA = {128, 1.0 / 224};

// Further than this nothing is looked for; also what is no number.
constexpr float FURTHEST = 4096.0f;

// A flow in 1/32 of a luma pixel.
inline int32_t stepped(float flow) {
    flow = flow > -FURTHEST ? flow : -FURTHEST;
    flow = flow < FURTHEST ? flow : FURTHEST;
    return (int32_t)std::floor(flow * (2 * STEPS) + 0.5f);
}

class Rows {
  public:
    explicit Rows(const FollowFields& fields) : it(fields) {}

    void make(int y) {
        for (int begin = 0; begin < it.columns; begin += CHUNK) {
            // Cells beyond the edges are as those at them.
            for (int n = 0; n < 3; ++n) take(clamped(y + n - 1, 0, it.rows - 1), begin, steps[n]);
            const int count = it.columns - begin < CHUNK ? it.columns - begin : CHUNK;
            for (int n = 0; n < 2; ++n) luma(y, n, begin, count);
            for (int plane = 1; plane < 3; ++plane) chroma(y, plane, begin, count);
        }
    }

  private:
    // Flows of a row of cells, the chunk's and one more on either side.
    struct Line {
        int32_t of[2][CHUNK + 2];
    };

    void take(int y, int begin, Line& to) const {
        const float* const row = it.flow + (int64_t)y * it.columns * 2;
        const int last = it.columns - 1;
        for (int axis = 0; axis < 2; ++axis) {
            to.of[axis][0] = stepped(row[2 * clamped(begin - 1, 0, last) + axis]);
            const int count = it.columns - begin < CHUNK ? it.columns - begin : CHUNK;
            const float* const from = row + 2 * begin + axis;
            for (int k = 0; k < count; ++k) to.of[axis][k + 1] = stepped(from[2 * k]);
            const int32_t beyond = stepped(row[2 * clamped(begin + CHUNK, 0, last) + axis]);
            for (int k = count; k < CHUNK + 1; ++k) to.of[axis][k + 1] = beyond;
        }
    }

    float* to(int plane, int y) const {
        return reinterpret_cast<float*>(it.out + plane * it.plane_stride + y * it.row_stride);
    }

    void luma(int y, int n, int begin, int count) const {
        const FollowPlane& plane = it.planes[0];
        const int row = 2 * y + n;
        const Line &near = steps[1], &far = steps[2 * n];
        int32_t down[2][CHUNK + 2], any = 0;
        for (int axis = 0; axis < 2; ++axis)
            for (int k = 0; k < CHUNK + 2; ++k) {
                // Four times the flow halfway down to the other row.
                down[axis][k] = 3 * near.of[axis][k] + far.of[axis][k];
                any |= down[axis][k];
            }
        uint8_t found[2 * CHUNK];
        const uint8_t* before = plane.before + row * plane.before_stride + 2 * begin;
        if (any) {
            int32_t at[2][2 * CHUNK];
            for (int axis = 0; axis < 2; ++axis) {
                const int32_t* const here = down[axis] + 1;
                for (int k = 0; k < CHUNK; ++k) {
                    at[axis][2 * k] = (here[k - 1] + 3 * here[k] + 8) >> 4;
                    at[axis][2 * k + 1] = (3 * here[k] + here[k + 1] + 8) >> 4;
                }
            }
            const LookedUp from = {plane.before, plane.before_stride, 2 * it.columns, 2 * it.rows};
            find(from, row, 2 * begin, 2 * count, at[0], at[1], found);
            before = found;
        }
        const uint8_t* const now = plane.now + row * plane.now_stride + 2 * begin;
        for (int odd = 0; odd < 2; ++odd)
            give<2>(before + odd, now + odd, count, LUMA, to(2 * n + odd, y) + begin,
                    to(2 * n + odd + 6, y) + begin);
    }

    void chroma(int y, int number, int begin, int count) const {
        const FollowPlane& plane = it.planes[number];
        int32_t at[2][CHUNK], any = 0;
        for (int axis = 0; axis < 2; ++axis)
            for (int k = 0; k < CHUNK; ++k) {
                at[axis][k] = (steps[1].of[axis][k + 1] + 1) >> 1;
                any |= at[axis][k];
            }
        uint8_t found[CHUNK];
        const uint8_t* before = plane.before + y * plane.before_stride + begin;
        if (any) {
            const LookedUp from = {plane.before, plane.before_stride, it.columns, it.rows};
            find(from, y, begin, count, at[0], at[1], found);
            before = found;
        }
        give<1>(before, plane.now + y * plane.now_stride + begin, count, CHROMA,
                to(3 + number, y) + begin, to(9 + number, y) + begin);
    }

    // `count` pixels of a row from `first` on, each from a place so many steps away.
    static void find(const LookedUp& from, int row, int first, int count, int32_t* across,
                     int32_t* down, uint8_t* out) {
        for (int k = 0; k < count; k += AT_ONCE) {
            int32_t any = 0;
            for (int n = k; n < k + AT_ONCE; ++n) any |= across[n] | down[n];
            if (!any) {
                const int left = count - k < AT_ONCE ? count - k : AT_ONCE;
                std::memcpy(out + k, from.at + row * from.stride + first + k, left);
                continue;
            }
            for (int n = k; n < k + AT_ONCE; ++n) {
                across[n] += (first + n) * STEPS;
                down[n] += row * STEPS;
            }
            look_up(from, across + k, down + k, out + k);
        }
    }

    // The picture and the difference, of `count` pixels that lie `APART`.
    template <int APART>
    static void give(const uint8_t* __restrict before, const uint8_t* __restrict now, int count,
                     const Scale& scale, float* __restrict packed, float* __restrict difference) {
        for (int n = 0; n < count; ++n) {
            packed[n] = (float)((now[n * APART] - scale.zero) * scale.share);
            difference[n] = (float)((before[n * APART] - now[n * APART]) * scale.share);
        }
    }

    const FollowFields& it;
    Line steps[3];
};

}  // namespace

// Fills rows from `begin` to `end`.
EXPORTED void follow(const FollowFields* it) {
    Rows rows(*it);
    for (int y = it->begin; y < it->end; ++y) rows.make(y);
}
