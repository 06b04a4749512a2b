// Bicubic weights as OpenCV's INTER_CUBIC has them (Keys 1981, a = -0.75), in float32.
#pragma once

#include "runs.cuh"

// Weights of the four samples around a place `t` behind the second of them, 0 <= t <= 1.
BOTH void cubic_weights(float t, float (&weights)[4]) {
    constexpr float a = -0.75f;
    const float before = t + 1, behind = 1 - t;
    weights[0] = ((a * before - 5 * a) * before + 8 * a) * before - 4 * a;
    weights[1] = ((a + 2) * t - (a + 3)) * t * t + 1;
    weights[2] = ((a + 2) * behind - (a + 3)) * behind * behind + 1;
    weights[3] = 1 - weights[0] - weights[1] - weights[2];
}

// Where the output pixel `phase` of FACTOR inside one input pixel takes its four samples from:
// the first of them, counted from that input pixel, and their weights. Pixel centres are aligned.
template <int FACTOR>
BOTH int cubic_phase(int phase, float (&weights)[4]) {
    const float place = (phase + 0.5f) / FACTOR - 0.5f;
    const int before = place < 0 ? -1 : 0;
    cubic_weights(place - before, weights);
    return before - 1;
}
