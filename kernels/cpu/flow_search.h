// The search at one level: where each square of the start went, and what its pixels make of that.
#pragma once

#include "flow_level.h"

namespace {

// Added to the squared gradients of a square of 64 pixels: what is even, or only noise, stays where
// the coarser level put it. 500 leave more noise in soft pictures, 4000 take from fine texture.
constexpr float RIDGE = 1500.0f;

constexpr float SAME_PX = 0.05f;     // nearer than this another motion is no other motion
constexpr float ARRIVED_PX = 0.01f;  // a step this short is the last

struct Square {
    const float* start;
    const float* across;
    const float* down;
    float mean_x, mean_y;      // of the gradients
    float by_xx, by_xy, by_yy;  // inverse of the sums of their products, without the mean
};

struct Match {
    float error;  // squared code values, without a difference of brightness
    float x, y;   // sums of difference and gradient
};

struct Place {
    const float* at;
    int64_t stride;
    Lanes right, below;  // shares of the next pixels
};

INLINE Place place_of(const Level& level, float x, float y) {
    x = bounded(x, -SIDE, level.width), y = bounded(y, -SIDE, level.height);
    // The border makes both positive: rounded down.
    const int left = int(x + BORDER) - BORDER, top = int(y + BORDER) - BORDER;
    return {level.end + top * level.stride + left, level.stride, Lanes{} + (x - float(left)),
            Lanes{} + (y - float(top))};
}

// Rows of a place one after another, between pixels.
struct Rows {
    const Place& place;
    Lanes upper;

    INLINE explicit Rows(const Place& place) : place(place), upper(between(place.at)) {}

    INLINE Lanes between(const float* at) const {
        const Lanes left = load(at);
        return left + place.right * (load(at + 1) - left);
    }

    INLINE Lanes operator[](int row) {
        const Lanes lower = between(place.at + (row + 1) * place.stride);
        const Lanes found = upper + place.below * (lower - upper);
        upper = lower;
        return found;
    }
};

INLINE Match match(const Level& level, const Square& square, float x, float y) {
    const Place place = place_of(level, x, y);
    Rows rows(place);
    Lanes sums = {}, squares = {}, by_x = {}, by_y = {};
    for (int n = 0; n < SIDE; ++n) {
        const int64_t at = n * level.stride;
        const Lanes off = rows[n] - load(square.start + at);
        sums += off;
        squares += off * off;
        by_x += off * load(square.across + at);
        by_y += off * load(square.down + at);
    }
    const float total = sum(sums);
    return {sum(squares) - total * total * (1.0f / (SIDE * SIDE)),
            sum(by_x) - total * square.mean_x, sum(by_y) - total * square.mean_y};
}

INLINE Square measured(const Level& level, int top, int left) {
    const int64_t at = top * level.stride + left;
    Square square = {level.start + at, level.across + at, level.down + at, 0, 0, 0, 0, 0};
    Lanes x = {}, y = {}, xx = {}, xy = {}, yy = {};
    for (int n = 0; n < SIDE; ++n) {
        const Lanes across = load(square.across + n * level.stride);
        const Lanes down = load(square.down + n * level.stride);
        x += across, y += down, xx += across * across, xy += across * down, yy += down * down;
    }
    constexpr float EACH = 1.0f / (SIDE * SIDE);
    const float sum_x = sum(x), sum_y = sum(y);
    const float in_xx = sum(xx) - sum_x * sum_x * EACH + RIDGE;
    const float in_yy = sum(yy) - sum_y * sum_y * EACH + RIDGE;
    const float in_xy = sum(xy) - sum_x * sum_y * EACH;
    // At least the square of the ridge, by Cauchy and Schwarz.
    const float scale = 1.0f / bounded(in_xx * in_yy - in_xy * in_xy, RIDGE * RIDGE, 1e30f);
    square.mean_x = sum_x * EACH, square.mean_y = sum_y * EACH;
    square.by_xx = scale * in_yy, square.by_yy = scale * in_xx, square.by_xy = -scale * in_xy;
    return square;
}

struct Motion {
    float x, y;
};

// Gauss and Newton's steps along gradients that stay as they are; what ends farther off than a
// square is wide has lost its way.
INLINE Motion descended(const Level& level, const Square& square, int top, int left, Motion from,
                        Match now, int steps) {
    Motion motion = from;
    for (int n = 0; n < steps; ++n) {
        const float x = square.by_xx * now.x + square.by_xy * now.y;
        const float y = square.by_xy * now.x + square.by_yy * now.y;
        motion.x -= x, motion.y -= y;
        if (n + 1 == steps || x * x + y * y < ARRIVED_PX * ARRIVED_PX) break;
        const Match next = match(level, square, left + motion.x, top + motion.y);
        if (!(next.error < now.error)) break;
        now = next;
    }
    const float x = motion.x - from.x, y = motion.y - from.y;
    return x * x + y * y <= SIDE * SIDE ? motion : from;
}

// One pass over all squares, from the first to the last or back: each tries what its neighbours
// before it have found.
void pass(const Level& level, const Square* squares, Motion* motions, int steps, bool is_back) {
    const int count = level.squares(), step = is_back ? -1 : 1;
    for (int n = 0; n < count; ++n) {
        const int at = is_back ? count - 1 - n : n;
        const int row = at / level.columns, column = at % level.columns;
        const int top = level.row(row), left = level.column(column);
        const Square& square = squares[at];
        Motion best = motions[at];
        Match by_best = match(level, square, left + best.x, top + best.y);
        const bool has_beside = is_back ? column + 1 < level.columns : column > 0;
        const bool has_over = is_back ? row + 1 < level.rows : row > 0;
        for (int side = 0; side < 2; ++side) {
            if (!(side ? has_over : has_beside)) continue;
            const Motion other = motions[at - step * (side ? level.columns : 1)];
            const float x = other.x - best.x, y = other.y - best.y;
            if (x * x + y * y < SAME_PX * SAME_PX) continue;
            const Match by_other = match(level, square, left + other.x, top + other.y);
            if (by_other.error < by_best.error) best = other, by_best = by_other;
        }
        motions[at] = descended(level, square, top, left, best, by_best, steps);
    }
}

// Each pixel's motion: the mean of the squares over it, the less they explain the less they count.
// `total` has one float per pixel to work in.
void spread(const Level& level, const Motion* motions, float* across, float* down, float* total) {
    const size_t pixels = size_t(level.height) * level.width;
    std::memset(across, 0, pixels * sizeof(float));
    std::memset(down, 0, pixels * sizeof(float));
    std::memset(total, 0, pixels * sizeof(float));
    for (int n = 0; n < level.squares(); ++n) {
        const int top = level.row(n / level.columns), left = level.column(n % level.columns);
        const Motion motion = motions[n];
        const Place place = place_of(level, left + motion.x, top + motion.y);
        Rows rows(place);
        for (int row = 0; row < SIDE; ++row) {
            const float* start = level.start + (top + row) * level.stride + left;
            const Lanes off = size_of(rows[row] - load(start));
            const Lanes share = 1.0f / (off > 1.0f ? off : Lanes{} + 1.0f);
            const size_t at = size_t(top + row) * level.width + left;
            store(across + at, load(across + at) + share * motion.x);
            store(down + at, load(down + at) + share * motion.y);
            store(total + at, load(total + at) + share);
        }
    }
    for (size_t n = 0; n < pixels; ++n) {
        const float share = 1.0f / total[n];
        across[n] *= share, down[n] *= share;
    }
}

}  // namespace
