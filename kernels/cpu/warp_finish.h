// A made luma softened by a Gaussian (5x5, sigma 1) where it is a guess, and the residual added.
#pragma once

#include "warp_runs.h"

namespace {

constexpr int REACH = 2, TAPS_OF_BLUR = 2 * REACH + 1;
constexpr int MARGIN = 16;  // bytes before and behind a row of the ring

// exp(-x^2 / 2), normalised, as OpenCV's getGaussianKernel(5, 1): 1/32768, their sum is one.
constexpr int16_t FAR = 1785, NEAR = 8002, CENTRE = 13194;

// The last rows that were made, before they are finished.
struct Ring {
    uint8_t* at;
    int64_t stride;

    uint8_t* row(int y) const { return at + MARGIN + y % TAPS_OF_BLUR * stride; }

    void repeat_edges(int y, int width) const {
        uint8_t* const made = row(y);
        for (int n = 1; n <= REACH; ++n) {
            made[-n] = made[0];
            made[width - 1 + n] = made[width - 1];
        }
    }
};

struct Finishing {
    alignas(64) int16_t share[RUN];
    alignas(64) int16_t plain[RUN];
    alignas(64) int16_t columns[RUN + 2 * REACH];
};

// The same, hidden from the compiler: with a constant GCC takes ten instructions for `scaled`, not one.
inline int16_t hidden(int16_t value) {
    int32_t kept = value;
    asm("" : "+r"(kept));
    return (int16_t)kept;
}

inline void soften(const Ring& ring, int y, int height, int begin, int count, Finishing& it) {
    const uint8_t* from[TAPS_OF_BLUR];
    for (int n = 0; n < TAPS_OF_BLUR; ++n)
        from[n] = ring.row(clamped(y + n - REACH, 0, height - 1)) + begin - REACH;
    const uint8_t *a = from[0], *b = from[1], *c = from[2], *d = from[3], *e = from[4];
    int16_t* __restrict const columns = it.columns;
    const int16_t far = hidden(FAR), near = hidden(NEAR), centre = hidden(CENTRE);
    const int16_t two_far = hidden(2 * FAR), two_near = hidden(2 * NEAR);
    // Two samples fit as one in 1/64.
    for (int i = 0; i < count + 2 * REACH; ++i)
        columns[i] = (int16_t)(scaled((int16_t)((a[i] + e[i]) << 6), two_far) +
                               scaled((int16_t)((b[i] + d[i]) << 6), two_near) +
                               scaled((int16_t)(c[i] << CODE_BITS), centre));
    int16_t* __restrict const plain = it.plain;
    for (int i = 0; i < count; ++i) {
        const int16_t soft = (int16_t)(scaled(columns[i], far) + scaled(columns[i + 1], near) +
                                       scaled(columns[i + 2], centre) +
                                       scaled(columns[i + 3], near) + scaled(columns[i + 4], far));
        plain[i] = along(plain[i], soft, it.share[i]);
    }
}

// One run of row y, which is in the ring with those around it.
inline void finish_run(const Run& run, const Ring& ring, int y, int height, float down,
                       const Enlarged& softness, const Enlarged& residual, Finishing& it,
                       uint8_t* out) {
    const uint8_t* const made = ring.row(y) + run.begin;
    if (run.kind == 0) {
        memcpy(out, made, (size_t)run.count);
        return;
    }
    for (int i = 0; i < run.count; ++i) it.plain[i] = (int16_t)(made[i] << CODE_BITS);
    if (run.kind & IS_SOFT) {
        fill_shares(Line(softness, run.begin, down), run.count, it.share);
        soften(ring, y, height, run.begin, run.count, it);
    }
    if (!(run.kind & HAS_RESIDUAL)) {
        round_to(out, it.plain, run.count);
        return;
    }
    const Line line(residual, run.begin, down);
    for (int i = 0; i < run.count; ++i) {
        const int32_t added = clamped<int32_t>(line.at(i), -TOP, TOP);
        out[i] = code_of((int16_t)clamped<int32_t>(it.plain[i] + added, 0, TOP));
    }
}

}  // namespace
