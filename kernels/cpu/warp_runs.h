// What a part of a row needs, so that it is made in the shortest way its guide allows.
#pragma once

#include <cmath>

#include "warp_look.h"

namespace {

constexpr int BLOCK = 32;  // pixels that are treated alike

// Of a cell, and of all that it has a share in.
enum Kind : uint8_t {
    USES_FIRST = 1,
    USES_SECOND = 2,
    FIRST_MOVES = 4,
    SECOND_MOVES = 8,
    IS_SOFT = 16,
    HAS_RESIDUAL = 32,
};
constexpr uint8_t TO_WARP = USES_FIRST | USES_SECOND | FIRST_MOVES | SECOND_MOVES;
constexpr uint8_t TO_FINISH = IS_SOFT | HAS_RESIDUAL;

// A share below it changes no code value by more than half.
constexpr float NOTHING = 1.0f / 512;
// Pixels; what moves less stands: less than a code value even where neighbours differ by 30.
constexpr float STANDS = 1.0f / 32;

struct Guide {
    Map flow[4];  // x and y into the first plane, x and y into the second, in cells
    Map mask;
    Map residual, softness;  // of luma; nowhere for chroma
    int columns, rows;
    float across, down;  // pixels to a cell
};

struct Run {
    int begin, count;
    uint8_t kind;
    Reach reach[2];  // into each plane where that moves

    // Chunks are made whole.
    int whole() const { return (count + CHUNK - 1) / CHUNK * CHUNK; }
};

struct Runs {
    Run* runs;
    int count;
    uint8_t all;  // every bit that one of them has
    int upper;    // the row of cells they are for
};

// What no comparison holds for is no number: it counts as moving, and as a share.
inline void kinds_of_row(const Guide& guide, int row, uint8_t* __restrict kinds) {
    const float *x0 = guide.flow[0].row(row), *y0 = guide.flow[1].row(row);
    const float *x1 = guide.flow[2].row(row), *y1 = guide.flow[3].row(row);
    const float* mask = guide.mask.row(row);
    const float across = STANDS / guide.across, down = STANDS / guide.down;
    for (int j = 0; j < guide.columns; ++j) {
        const bool stands_0 = std::fabs(x0[j]) < across && std::fabs(y0[j]) < down;
        const bool stands_1 = std::fabs(x1[j]) < across && std::fabs(y1[j]) < down;
        kinds[j] = (uint8_t)((mask[j] <= NOTHING ? 0 : USES_FIRST) |
                             (mask[j] >= 1 - NOTHING ? 0 : USES_SECOND) |
                             (stands_0 ? 0 : FIRST_MOVES) | (stands_1 ? 0 : SECOND_MOVES));
    }
    if (guide.residual.at == nullptr) return;
    const float *softness = guide.softness.row(row), *residual = guide.residual.row(row);
    for (int j = 0; j < guide.columns; ++j)
        kinds[j] = (uint8_t)(kinds[j] | (softness[j] <= NOTHING ? 0 : IS_SOFT) |
                             (residual[j] == 0 ? 0 : HAS_RESIDUAL));
}

// A side that no pixel uses is not looked at.
inline uint8_t without_unused(uint8_t kind) {
    if (!(kind & USES_FIRST)) kind &= (uint8_t)~FIRST_MOVES;
    if (!(kind & USES_SECOND)) kind &= (uint8_t)~SECOND_MOVES;
    return kind;
}

// The runs of the rows of pixels between two rows of cells, as far as the bits of `which` tell
// them apart; false where they are the same as last time. `kinds` holds two rows.
inline bool find_runs(const Guide& guide, const Across& across, const Between& rows, int width,
                      uint8_t which, uint8_t* kinds, Runs& out) {
    if (out.upper == rows.upper) return false;
    uint8_t* const lower = kinds + guide.columns;
    kinds_of_row(guide, rows.upper, kinds);
    kinds_of_row(guide, rows.lower, lower);
    out.upper = rows.upper;
    out.count = 0;
    out.all = 0;
    for (int x = 0; x < width; x += BLOCK) {
        const int count = width - x < BLOCK ? width - x : BLOCK;
        const int last = across.cell[x + count - 1] + 1;
        uint8_t kind = 0;
        for (int j = across.cell[x]; j <= last && j < guide.columns; ++j)
            kind = (uint8_t)(kind | kinds[j] | lower[j]);
        kind = (uint8_t)(without_unused(kind) & which);
        out.all |= kind;
        Run* const before = out.count ? &out.runs[out.count - 1] : nullptr;
        // Those at the edges look beyond them, the others hardly ever.
        const bool is_apart = which == TO_WARP && (x == BLOCK || x + BLOCK >= width);
        if (before && before->kind == kind && before->count + count <= RUN && !is_apart)
            before->count += count;
        else
            out.runs[out.count++] = {x, count, kind, {}};
    }
    return true;
}

}  // namespace
