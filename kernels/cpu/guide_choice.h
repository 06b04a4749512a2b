// From what each motion explains to the guide; `streamer/infer/reference_motion.py` is the
// definition, and says why.
#pragma once

#include "guide_cells.h"
#include "guide_out.h"

namespace {

constexpr float CODES = 255.0f;
constexpr float TEMPER = 384.0f / CODES;
constexpr float SOFT_START = -4.5f, SOFT_PULL = 90.0f / CODES, SOFT_LATER = 0.5f, SOFT_LEAST = 0.1f;
constexpr float NOISE = 2.5f, LEAST_POWER = 1e-7f * CODES * CODES;
constexpr int NARROW = 1, WIDE = 3, DETAIL = 4;  // cells to either side

// 2 to a power, as its bits.
INLINE Lanes power_of_two(const Wholes& exponent) {
    const Wholes bits = (exponent + 127) << 23;
    Lanes power;
    std::memcpy(&power, &bits, sizeof power);
    return power;
}

// e to a power, exact to about 2e-7 of it (Cephes' polynomial).
INLINE Lanes exponential(const Lanes& value) {
    const Lanes x = bounded(value, Lanes{} - 87.0f, Lanes{} + 87.0f);
    const Lanes shifted = x * 1.44269504f;
    const Wholes exponent = whole(shifted + (shifted < 0.0f ? Lanes{} - 0.5f : Lanes{} + 0.5f));
    const Lanes n = real(exponent);
    const Lanes r = x - n * 0.693359375f + n * 2.12194440e-4f;
    Lanes p = Lanes{} + 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    return (p * r * r + r + 1.0f) * power_of_two(exponent);
}

INLINE Lanes sigmoid(const Lanes& value) { return 1.0f / (1.0f + exponential(-value)); }

// How far a place lies beyond the edge, 0 to a whole cell.
INLINE Lanes beyond(const Grid& grid, const Lanes& x, const Lanes& y) {
    const Lanes right = x - float(grid.columns - 1), below = y - float(grid.rows - 1);
    const Lanes across = greater(-x, right), down = greater(-y, below);
    return bounded(greater(across, down), Lanes{}, Lanes{} + 1.0f);
}

// The sum of `2 * reach + 1` rows, edges repeated: into `line`, which has `DETAIL` more at either end.
void sum_down(const float* plane, const Grid& grid, int row, int reach, float* line) {
    for (int n = -reach; n <= reach; ++n) {
        int other = row + n;
        other = other < 0 ? 0 : other < grid.rows ? other : grid.rows - 1;
        const float* from = plane + other * grid.stride;
        if (n == -reach)
            std::memcpy(line, from, grid.columns * sizeof(float));
        else
            for (int x = 0; x < grid.columns; ++x) line[x] += from[x];
    }
    for (int n = 1; n <= DETAIL; ++n) line[-n] = line[0];
    for (int n = 0; n < DETAIL + LANES; ++n) line[grid.columns + n] = line[grid.columns - 1];
}

template <int REACH>
INLINE Lanes mean_across(const float* line) {
    Lanes sums = load(line - REACH);
    for (int n = 1 - REACH; n <= REACH; ++n) sums += load(line + n);
    return sums * (1.0f / ((2 * REACH + 1) * (2 * REACH + 1)));
}

struct Sums {
    float *narrow[MISMATCHES], *wide[MISMATCHES], *detail[VARIANCES];
};

void choose_row(const GuideFields& fields, const Grid& grid, const Field* carried,
                float* const* measures, const Sums& sums, int row) {
    for (int n = 0; n < MISMATCHES; ++n) {
        sum_down(measures[n], grid, row, NARROW, sums.narrow[n]);
        sum_down(measures[n], grid, row, WIDE, sums.wide[n]);
        sum_down(measures[MISMATCHES + n], grid, row, DETAIL, sums.detail[n]);
    }
    const float time = fields.time, later = time > 1.0f ? time - 1.0f : 0.0f;
    const float start = SOFT_START + SOFT_LATER * later;
    const float share = time < 1.0f ? 1.0f - time : 0.0f;
    const float kept = share * share + (1.0f - share) * (1.0f - share);
    for (int left = 0; left < grid.columns; left += LANES) {
        Lanes apart[MISMATCHES], detail[VARIANCES];
        for (int n = 0; n < MISMATCHES; ++n) {
            apart[n] = 0.5f * (mean_across<NARROW>(sums.narrow[n] + left) +
                               mean_across<WIDE>(sums.wide[n] + left));
            detail[n] = mean_across<DETAIL>(sums.detail[n] + left);
        }
        const Lanes forward = apart[0], backward = apart[1], standing = apart[2];
        const Lanes ahead = sigmoid(TEMPER * (backward - forward));
        const Lanes moves =
            sigmoid(TEMPER * (standing - lesser(forward, backward)));
        const int64_t from = row * grid.stride + left;
        // Carried backward flow points the other way.
        const Lanes ahead_x = load(carried[0].x + from), back_x = -load(carried[1].x + from);
        const Lanes ahead_y = load(carried[0].y + from), back_y = -load(carried[1].y + from);
        const Lanes x = moves * (back_x + ahead * (ahead_x - back_x));
        const Lanes y = moves * (back_y + ahead * (ahead_y - back_y));
        const Lanes flow[4] = {-time * x, -time * y, (1.0f - time) * x, (1.0f - time) * y};
        Lanes mask = {};
        if (time < 1.0f) {
            const Lanes column = counted_from(left), line = Lanes{} + float(row);
            mask = share + (beyond(grid, column + flow[2], line + flow[3]) -
                            beyond(grid, column + flow[0], line + flow[1]));
            mask = bounded(mask, Lanes{}, Lanes{} + 1.0f);
        }
        const Lanes moved = backward + ahead * (forward - backward);
        const Lanes differs = standing + moves * (moved - standing);
        const Lanes guess =
            (sigmoid(start + SOFT_PULL * differs) - SOFT_LEAST) * (1.0f / (1.0f - SOFT_LEAST));
        const Lanes error = 0.5f * lesser(detail[0], detail[1]);
        const Lanes power = detail[2] - (1.0f - kept) * error;
        const Lanes most = NOISE * kept * error / greater(power, Lanes{} + LEAST_POWER);
        const Lanes soft = bounded(guess, Lanes{}, most);
        const int count = grid.columns - left < LANES ? grid.columns - left : LANES;
        const Lanes maps[MAPS] = {flow[0], flow[1], flow[2], flow[3], mask, soft};
        for (int part = 0; part < MAPS; ++part)
            std::memcpy(map_row(fields, part, row) + left, &maps[part], count * sizeof(float));
    }
    for (int part = 0; part < MAPS; ++part)
        repeat_right(map_row(fields, part, row), grid.columns, fields.out_columns);
}

}  // namespace
