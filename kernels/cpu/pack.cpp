// A picture as networks take it: (6, rows, columns) float32, four phases of luma, then U, then V.
//
// in:          Y of 2 * columns x 2 * rows bytes, U and V of columns x rows, any stride.
// out:         contiguous along columns; `plane_stride` and `row_stride` in bytes.
// Arithmetic:  (code - 16) / 219 for luma, (code - 128) / 224 for chroma, rounded once; the twin is
//              pack in kernels/reference.py.

#include <cstdint>

#include "exported.h"

namespace {

struct PackedPlane {
    const uint8_t* at;
    int64_t stride;
};

struct PackFields {
    PackedPlane planes[3];
    char* out;
    int64_t plane_stride, row_stride;
    int32_t rows, columns;
};

// A product in double is rounded as the quotient is, for every code, and takes half of its time.
struct Scale {
    int32_t offset;
    double share;

    float of(uint8_t code) const { return (float)((int32_t)(code - offset) * share); }
};
constexpr Scale LUMA = {16, 1.0 / 219}, CHROMA = {128, 1.0 / 224};

void pack_luma(const uint8_t* __restrict from, int columns, float* __restrict even,
               float* __restrict odd) {
    for (int x = 0; x < columns; ++x) {
        even[x] = LUMA.of(from[2 * x]);
        odd[x] = LUMA.of(from[2 * x + 1]);
    }
}

void pack_chroma(const uint8_t* __restrict from, int columns, float* __restrict to) {
    for (int x = 0; x < columns; ++x) to[x] = CHROMA.of(from[x]);
}

}  // namespace

EXPORTED void pack(const PackFields* it) {
    for (int row = 0; row < it->rows; ++row) {
        const auto to = [&](int plane) {
            return reinterpret_cast<float*>(it->out + plane * it->plane_stride +
                                            row * it->row_stride);
        };
        for (int n = 0; n < 2; ++n)
            pack_luma(it->planes[0].at + (2 * row + n) * it->planes[0].stride, it->columns,
                      to(2 * n), to(2 * n + 1));
        for (int n = 1; n < 3; ++n)
            pack_chroma(it->planes[n].at + row * it->planes[n].stride, it->columns, to(3 + n));
    }
}
