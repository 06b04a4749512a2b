// A picture cleaned: now + share * (before - now) + residual, as a denoising network says.
//
// in:          Y of 2 * columns x 2 * rows bytes, U and V of columns x rows, any stride; the differences
//              that the network was given (6, rows, columns) float32; what it gave (12, rows, columns)
//              uint8: six shares in 255ths, six residuals around 128.
// out:         planes as in.
// Arithmetic:  whole numbers; the twin is mix in kernels/reference_denoise.py, the same to the bit.

#include <cmath>
#include <cstdint>

#include "exported.h"
#include "fixed.h"

namespace {

constexpr int PHASES = 6, RESIDUAL_ZERO = 128;

struct MixPlane {
    const uint8_t* now;
    uint8_t* out;
    int64_t now_stride, out_stride;
};

// As `_MixFields` in kernels/native_denoise.py.
struct MixFields {
    MixPlane planes[3];
    const char *difference, *change;
    int64_t difference_plane, difference_row, change_plane, change_row;  // bytes
    int32_t rows, columns, begin, end;
};

inline uint8_t mixed(uint8_t now, float difference, float gain, uint8_t share, uint8_t residual) {
    // Halves up; what was packed is a whole code within a millionth.
    const int32_t codes = (int32_t)std::floor(difference * gain + 0.5f);
    // 257 of 65536 is a 255th.
    const int32_t taken = (share * codes * 257 + 32768) >> 16;
    return (uint8_t)clamped(now + taken + residual - RESIDUAL_ZERO, 0, 255);
}

struct Phase {
    const float* difference;
    const uint8_t *share, *residual;

    Phase(const MixFields& it, int n, int y)
        : difference(reinterpret_cast<const float*>(it.difference + n * it.difference_plane +
                                                    y * it.difference_row)),
          share(at(it, n, y)),
          residual(at(it, n + PHASES, y)) {}

    static const uint8_t* at(const MixFields& it, int n, int y) {
        return reinterpret_cast<const uint8_t*>(it.change + n * it.change_plane + y * it.change_row);
    }

    uint8_t of(uint8_t now, int x, float gain) const {
        return mixed(now, difference[x], gain, share[x], residual[x]);
    }
};

void mix_luma(const uint8_t* __restrict now, const Phase& even, const Phase& odd, int columns,
              uint8_t* __restrict out) {
    for (int x = 0; x < columns; ++x) {
        out[2 * x] = even.of(now[2 * x], x, 219.0f);
        out[2 * x + 1] = odd.of(now[2 * x + 1], x, 219.0f);
    }
}

void mix_chroma(const uint8_t* __restrict now, const Phase& phase, int columns,
                uint8_t* __restrict out) {
    for (int x = 0; x < columns; ++x) out[x] = phase.of(now[x], x, 224.0f);
}

}  // namespace

// Fills rows from `begin` to `end`, each of two lines of luma and one of chroma.
EXPORTED void mix(const MixFields* it) {
    for (int y = it->begin; y < it->end; ++y) {
        const MixPlane& luma = it->planes[0];
        for (int n = 0; n < 2; ++n) {
            const int64_t row = 2 * y + n;
            mix_luma(luma.now + row * luma.now_stride, Phase(*it, 2 * n, y), Phase(*it, 2 * n + 1, y),
                     it->columns, luma.out + row * luma.out_stride);
        }
        for (int n = 1; n < 3; ++n) {
            const MixPlane& plane = it->planes[n];
            mix_chroma(plane.now + y * plane.now_stride, Phase(*it, 3 + n, y), it->columns,
                       plane.out + y * plane.out_stride);
        }
    }
}
