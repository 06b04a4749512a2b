// What the functions about flow are given; `kernels/native_motion.py` has the same.
#pragma once

#include <cstdint>

namespace {

struct Fields {
    const uint8_t* start;  // height x width codes, rows `start_stride` bytes apart
    const uint8_t* end;
    float* flow;  // height x width x 2: from a pixel of the start to its place in the end
    uint8_t* scratch;
    int64_t start_stride, end_stride, scratch_bytes;
    int32_t height, width;
};

}  // namespace
