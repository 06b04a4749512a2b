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
    float* flow;  // 4 planes, and one each; cells of 2x2 pixels, an odd last one has but one
    float* mask;
    float* softness;
    float* pictures;  // none, or 6 planes of whole cells, as `pack_motion` fills them
    uint8_t* scratch;
    int64_t first_stride, second_stride, scratch_bytes;
    int32_t height, width;
    int32_t part;
    float time;
};

}  // namespace
