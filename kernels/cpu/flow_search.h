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
    float total;  // of the differences
};

struct Place {
    const float* at;
    float right, below;  // shares of the next pixels
};

INLINE Place place_of(const Level& level, float x, float y) {
    x = bounded(x, -SIDE, level.width), y = bounded(y, -SIDE, level.height);
    // The border makes both positive: rounded down.
    const int left = int(x + BORDER) - BORDER, top = int(y + BORDER) - BORDER;
    return {level.end + top * level.stride + left, x - float(left), y - float(top)};
}

// Rows of a place one after another, between pixels.
struct Rows {
    const float* at;
    int64_t stride;
    Eight right, below, upper;

    INLINE Rows(const Place& place, int64_t stride)
        : at(place.at), stride(stride), right(Eight{} + place.right),
          below(Eight{} + place.below), upper(between()) {}

    INLINE Eight between() {
        const Eight left = load<Eight>(at), next = load<Eight>(at + 1);
        at += stride;
        return left + right * (next - left);
    }

    INLINE Eight next() {
        const Eight lower = between();
        const Eight found = upper + below * (lower - upper);
        upper = lower;
        return found;
    }
};

// Keeps the rows of differences: most places are only compared, and their gradients never asked for.
INLINE Match match(const Level& level, const Square& square, const Place& place, Eight* off) {
    Rows rows(place, level.stride);
    Eight sums = {}, squares = {};
    for (int n = 0; n < SIDE; ++n) {
        const Eight apart = rows.next() - load<Eight>(square.start + n * level.stride);
        sums += apart;
        squares += apart * apart;
        off[n] = apart;
    }
    const Two both = two_sums(sums, squares);
    return {both.second - both.first * both.first * (1.0f / (SIDE * SIDE)), both.first};
}

struct Slope {
    float x, y;  // sums of difference and gradient
};

INLINE Slope slope(const Level& level, const Square& square, const Match& at, const Eight* off) {
    Eight by_x = {}, by_y = {};
    for (int n = 0; n < SIDE; ++n) {
        by_x += off[n] * load<Eight>(square.across + n * level.stride);
        by_y += off[n] * load<Eight>(square.down + n * level.stride);
    }
    const Two both = two_sums(by_x, by_y);
    return {both.first - at.total * square.mean_x, both.second - at.total * square.mean_y};
}

INLINE Square measured(const Level& level, int top, int left) {
    const int64_t at = top * level.stride + left;
    Square square = {level.start + at, level.across + at, level.down + at, 0, 0, 0, 0, 0};
    Eight x = {}, y = {}, xx = {}, xy = {}, yy = {};
    for (int n = 0; n < SIDE; ++n) {
        const Eight across = load<Eight>(square.across + n * level.stride);
        const Eight down = load<Eight>(square.down + n * level.stride);
        x += across, y += down, xx += across * across, xy += across * down, yy += down * down;
    }
    constexpr float EACH = 1.0f / (SIDE * SIDE);
    const Two of = two_sums(x, y), of_squares = two_sums(xx, yy);
    const float sum_x = of.first, sum_y = of.second;
    const float in_xx = of_squares.first - sum_x * sum_x * EACH + RIDGE;
    const float in_yy = of_squares.second - sum_y * sum_y * EACH + RIDGE;
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

// Squares that are looked for at once: one alone would wait for its own sums most of the time.
constexpr int AT_ONCE = 8;
constexpr int PLACES = 3;  // where a square may begin: its own motion and those of two neighbours

struct Seeker {
    const Square* square;
    int at, top, left;
    bool has_neighbour[PLACES - 1];
    Motion begun, motion;
    Match now;
    int found;  // at which of its places `now` is
};

struct Seekers {
    Seeker of[AT_ONCE];
    Eight off[AT_ONCE][PLACES][SIDE];
    int count;
};

// Some of the seekers. Whether one belongs to them is no branch: nothing could foresee it.
struct Some {
    int of[AT_ONCE];
    int count = 0;

    INLINE void add(int n, bool belongs) {
        of[count] = n;
        count += belongs;
    }
};

INLINE bool is_shorter(float x, float y, float than) { return x * x + y * y < than * than; }

// What is left of some at these motions; `place` says where the differences are kept.
void match_some(const Level& level, Seekers& all, const Some& some, int place,
                const Motion* motions, Match* found) {
    Place places[AT_ONCE];
    for (int m = 0; m < some.count; ++m) {
        const Seeker& it = all.of[some.of[m]];
        places[m] = place_of(level, it.left + motions[m].x, it.top + motions[m].y);
    }
    for (int m = 0; m < some.count; ++m) {
        const int n = some.of[m];
        found[m] = match(level, *all.of[n].square, places[m], all.off[n][place]);
    }
}

// Each tries its own motion and what its neighbours have found, `beside` and `over` it.
void begin_well(const Level& level, const Motion* motions, int beside, int over, Seekers& all) {
    Motion tried[AT_ONCE];
    Match found[AT_ONCE];
    Some every;
    for (int n = 0; n < all.count; ++n) {
        tried[n] = motions[all.of[n].at];
        every.add(n, true);
    }
    match_some(level, all, every, PLACES - 1, tried, found);
    for (int n = 0; n < all.count; ++n) {
        Seeker& it = all.of[n];
        it.motion = tried[n], it.now = found[n], it.found = PLACES - 1;
    }
    for (int side = 0; side < PLACES - 1; ++side) {
        Some some;
        for (int n = 0; n < all.count; ++n) {
            const Seeker& it = all.of[n];
            const int to = it.has_neighbour[side] ? (side ? over : beside) : 0;
            const Motion other = tried[some.count] = motions[it.at + to];
            const float x = other.x - it.motion.x, y = other.y - it.motion.y;
            some.add(n, to != 0 && !is_shorter(x, y, SAME_PX));
        }
        match_some(level, all, some, side, tried, found);
        for (int m = 0; m < some.count; ++m) {
            Seeker& it = all.of[some.of[m]];
            const bool is_better = found[m].error < it.now.error;
            it.found = is_better ? side : it.found;
            it.motion = is_better ? tried[m] : it.motion;
            it.now = is_better ? found[m] : it.now;
        }
    }
}

// Gauss and Newton's steps along gradients that stay as they are; what ends farther off than a
// square is wide has lost its way.
void descend(const Level& level, int steps, Seekers& all) {
    Some going;
    for (int n = 0; n < all.count; ++n) {
        all.of[n].begun = all.of[n].motion;
        going.add(n, true);
    }
    for (int step = 0; step < steps; ++step) {
        Some moving, better;
        Motion tried[AT_ONCE];
        Match found[AT_ONCE];
        for (int m = 0; m < going.count; ++m) {
            const int n = going.of[m];
            Seeker& it = all.of[n];
            const Square& square = *it.square;
            const Slope by = slope(level, square, it.now, all.off[n][it.found]);
            const float x = square.by_xx * by.x + square.by_xy * by.y;
            const float y = square.by_xy * by.x + square.by_yy * by.y;
            it.motion.x -= x, it.motion.y -= y;
            tried[moving.count] = it.motion;
            moving.add(n, !is_shorter(x, y, ARRIVED_PX));
        }
        if (step + 1 == steps) break;
        match_some(level, all, moving, 0, tried, found);
        for (int m = 0; m < moving.count; ++m) {
            Seeker& it = all.of[moving.of[m]];
            better.add(moving.of[m], found[m].error < it.now.error);
            it.now = found[m], it.found = 0;
        }
        going = better;
    }
    for (int n = 0; n < all.count; ++n) {
        Seeker& it = all.of[n];
        const float x = it.motion.x - it.begun.x, y = it.motion.y - it.begun.y;
        it.motion = x * x + y * y <= SIDE * SIDE ? it.motion : it.begun;
    }
}

// One pass over all squares, from the first to the last or back: each tries what its neighbours
// before it have found. Those looked for at once lie each a row below the other and a column before:
// none is another's neighbour.
void pass(const Level& level, const Square* squares, Motion* motions, int steps, bool is_back) {
    const int last = level.squares() - 1, step = is_back ? -1 : 1;
    Seekers all;
    for (int first = 0; first < level.rows; first += AT_ONCE)
        for (int front = 0; front < level.columns + AT_ONCE - 1; ++front) {
            all.count = 0;
            for (int n = 0; n < AT_ONCE; ++n) {
                const int row = first + n, column = front - n;
                if (row >= level.rows || column < 0 || column >= level.columns) continue;
                const int before = row * level.columns + column;
                Seeker& it = all.of[all.count++];
                it.at = is_back ? last - before : before;
                it.square = squares + it.at;
                it.top = level.row(is_back ? level.rows - 1 - row : row);
                it.left = level.column(is_back ? level.columns - 1 - column : column);
                it.has_neighbour[0] = column > 0, it.has_neighbour[1] = row > 0;
            }
            begin_well(level, motions, -step, -step * level.columns, all);
            descend(level, steps, all);
            for (int n = 0; n < all.count; ++n) motions[all.of[n].at] = all.of[n].motion;
        }
}

// What differences count for as doubt, one code value or more.
INLINE Eight doubt(const Eight& off) {
#if defined(__AVX__)
    const __m256 size = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), (__m256)off);
    return (Eight)_mm256_max_ps(size, _mm256_set1_ps(1.0f));
#elif defined(__SSE2__)
    // Compilers take each of the eight by itself to compare vectors that are wider than a register.
    __m128 parts[2];
    std::memcpy(parts, &off, sizeof parts);
    for (__m128& part : parts)
        part = _mm_max_ps(_mm_andnot_ps(_mm_set1_ps(-0.0f), part), _mm_set1_ps(1.0f));
    return load<Eight>(reinterpret_cast<const float*>(parts));
#else
    const Eight size = off < 0.0f ? -off : off;
    return size > 1.0f ? size : Eight{} + 1.0f;
#endif
}

// At each pixel the sums of the motions of the squares over it and of what these count, `total`: the
// less they explain, the less that is.
void spread(const Level& level, const Motion* motions, float* across, float* down, float* total) {
    const size_t pixels = size_t(level.height) * level.width;
    std::memset(across, 0, pixels * sizeof(float));
    std::memset(down, 0, pixels * sizeof(float));
    std::memset(total, 0, pixels * sizeof(float));
    for (int n = 0; n < level.squares(); ++n) {
        const int top = level.row(n / level.columns), left = level.column(n % level.columns);
        const Motion motion = motions[n];
        Rows rows(place_of(level, left + motion.x, top + motion.y), level.stride);
        for (int row = 0; row < SIDE; ++row) {
            const float* start = level.start + (top + row) * level.stride + left;
            const Eight share = 1.0f / doubt(rows.next() - load<Eight>(start));
            const size_t at = size_t(top + row) * level.width + left;
            store(across + at, load<Eight>(across + at) + share * motion.x);
            store(down + at, load<Eight>(down + at) + share * motion.y);
            store(total + at, load<Eight>(total + at) + share);
        }
    }
}

// Each pixel's motion of these sums.
void average(int64_t pixels, float* __restrict across, float* __restrict down,
             const float* __restrict total) {
    for (int64_t n = 0; n < pixels; ++n) {
        const float share = 1.0f / total[n];
        across[n] *= share, down[n] *= share;
    }
}

// The same into a flow.
void average(int64_t pixels, const float* __restrict across, const float* __restrict down,
             const float* __restrict total, float* __restrict flow) {
    for (int64_t n = 0; n < pixels; ++n) {
        const float share = 1.0f / total[n];
        flow[2 * n] = across[n] * share, flow[2 * n + 1] = down[n] * share;
    }
}

}  // namespace
