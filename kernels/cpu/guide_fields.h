// What the steps of a guide are given; `kernels/native_motion.py` has the same.
#pragma once

#include <cstdint>

namespace {

constexpr int GUIDE_PARTS = 2;  // of each step

struct GuideFields {
    const uint8_t* first;  // height x width codes, rows `first_stride` bytes apart
    const uint8_t* second;
    const float* forward;  // height x width x 2, in pixels
    const float* backward;
    // Planes of `out_rows` x `out_columns` cells of 2x2 pixels, of which an odd last one has but one.
    // What lies beyond the picture's repeats its edge.
    float* maps;      // flow (4), mask and softness
    float* motion;    // none, or 5 planes, as `pack_motion` fills them
    float* pictures;  // none, or 6 planes of twice as many rows and columns, likewise
    uint8_t* scratch;
    int64_t first_stride, second_stride, scratch_bytes;
    int32_t height, width;
    int32_t out_rows, out_columns;
    int32_t part;
    float time;
};

}  // namespace
