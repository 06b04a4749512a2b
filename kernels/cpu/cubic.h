// Rows twice as high and twice as wide by bicubic interpolation (Keys 1981, a = -0.75), exactly.
//
// Output pixels lie a quarter of a pixel before or behind one of the small plane: the four weights
// are whole 1/256, so that both directions together give whole 1/65536. What is blended down is kept
// as the middle sample and what is added to it, for that fits 16 bits.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "cubic_lanes.h"

namespace {

constexpr int FARTHER = -9, NEARER = 67, NEAREST = 225, BEHIND = -27;  // 1/256
constexpr int ONE = 256;
constexpr int MARGIN = 2;

constexpr int RUN = 1024;  // pixels of a row at a time
constexpr int ROOM = RUN + 2 * MARGIN + 2 * CELLS;

// The two output rows of one row of the small plane, blended down: at [MARGIN + x] for column x of
// the run, with what the columns beside it see.
struct Blended {
    alignas(64) int16_t middle[ROOM] = {};
    alignas(64) int16_t above[ROOM] = {};
    alignas(64) int16_t below[ROOM] = {};
};

struct SmallPlane {
    const uint8_t* at;
    int64_t stride;
    int width, height;

    const uint8_t* row(int y) const {
        return at + (y < 0 ? 0 : y < height ? y : height - 1) * stride;
    }
};

inline void blend_down(const SmallPlane& plane, int y, int begin, int end,
                       int16_t* __restrict middle, int16_t* __restrict above,
                       int16_t* __restrict below) {
    const uint8_t *a = plane.row(y - 2), *b = plane.row(y - 1), *c = plane.row(y);
    const uint8_t *d = plane.row(y + 1), *e = plane.row(y + 2);
    for (int x = begin; x < end; ++x) {
        const int rest = (NEAREST - ONE) * c[x];
        middle[x] = c[x];
        above[x] = (int16_t)(FARTHER * a[x] + NEARER * b[x] + rest + BEHIND * d[x]);
        below[x] = (int16_t)(BEHIND * b[x] + rest + NEARER * d[x] + FARTHER * e[x]);
    }
}

// The run of `count` columns from `begin` on; edges repeat.
inline void fill(const SmallPlane& plane, int y, int begin, int count, Blended& out) {
    const int first = begin < MARGIN ? 0 : begin - MARGIN;
    const int last = begin + count + MARGIN < plane.width ? begin + count + MARGIN : plane.width;
    const int off = MARGIN - begin;
    blend_down(plane, y, first, last, out.middle + off, out.above + off, out.below + off);
    for (int16_t* line : {out.middle + off, out.above + off, out.below + off}) {
        for (int x = begin - MARGIN; x < 0; ++x) line[x] = line[0];
        for (int x = last; x < begin + count + MARGIN; ++x) line[x] = line[last - 1];
    }
}

// Four output pixels each of CELLS cells, which are two pixels of the small plane: in 1/65536.
struct Four {
    Cells of[4];
};

// `at` is the pixel two before the first cell.
INLINE Four blend_across(const int16_t* at) {
    const Halves outer = halves_at(at), left = halves_at(at + 1), inner = halves_at(at + 2);
    const Halves right = halves_at(at + 3), far = halves_at(at + 4);
    return {summed(outer, FARTHER, NEARER) + summed(inner, NEAREST, BEHIND),
            summed(left, BEHIND, NEAREST) + summed(right, NEARER, FARTHER),
            summed(left, FARTHER, NEARER) + summed(right, NEAREST, BEHIND),
            summed(inner, BEHIND, NEAREST) + summed(far, NEARER, FARTHER)};
}

// Code values of four output pixels of each cell, in pairs that lie two pixels apart.
struct Codes {
    Halves even, odd;
};

INLINE Cells rounded(const Cells& sum) {
    // Halves become even codes.
    return sum + 0x7fff + ((sum >> 16) & 1);
}

INLINE Halves paired(const Cells& first, const Cells& second) {
    const Cells lower = (Cells)((Wholes)rounded(first) >> 16);
    return (Halves)(lower | (rounded(second) & ~0xffff));
}

INLINE Codes codes_of(const Four& middle, const Four& more) {
    Cells sums[4];
    for (int n = 0; n < 4; ++n) sums[n] = middle.of[n] * ONE + more.of[n];
    return {clipped(paired(sums[0], sums[2])), clipped(paired(sums[1], sums[3]))};
}

}  // namespace
