// A made plane: one or two planes looked up where a guide says, and mixed by its mask.
//
// One thread:  RUN neighbouring samples of one row: RUN pixels, or RUN / 2 pairs of U and V.
// first, second, out: planes of width x height pixels with CHANNELS samples each (pairs: 2), 8 bits
//              or 10 in the upper bits; any stride and alignment; out is neither of the others.
// flow:        contiguous (4, rows, columns) in cells of the grid: x and y into the first plane, x
//              and y into the second; one-sided (2, rows, columns). float16 or float32.
// mask:        contiguous (rows, columns), share of the first plane, clipped to 0..1.
// Per sample:  reads 1 sample of each plane (4 with a linear and 16 with a cubic kernel, from the
//              cache) and 5 / cell^2 map values, writes 1 sample.
// Coordinates are float32 whatever the maps are: float16 has no half pixels beyond 1024.
// Edges:       samples outside repeat the edge, however far a flow points; NaN points to the top left.

#include "cubic.cuh"
#include "guide.cuh"
#include "picture.cuh"

constexpr int RUN = 4;

struct WarpArguments {
    const void* first;
    const void* second;
    void* out;
    const void* flow;
    const void* mask;
    int32_t first_stride;
    int32_t second_stride;
    int32_t out_stride;
    int32_t width;
    int32_t height;
    Grid grid;
};

struct Place {
    int x, y;
    float across, down;
};

// Two pixels outside is all that four samples can tell apart.
BOTH Place place_of(float x, float y, int width, int height) {
    x = clamp_to(x, -3, (float)(width + 2));
    y = clamp_to(y, -3, (float)(height + 2));
    const float left = floorf(x), top = floorf(y);
    return {(int)left, (int)top, x - left, y - top};
}

template <class T, int CHANNELS>
struct Linear {
    static BOTH void look(const void* plane, int stride, int width, int height, const Place& at,
                          float (&codes)[CHANNELS]) {
        const int left = clamp_to(at.x, width - 1), right = clamp_to(at.x + 1, width - 1);
        const T* const upper = row_of<T>(plane, stride, clamp_to(at.y, height - 1));
        const T* const lower = row_of<T>(plane, stride, clamp_to(at.y + 1, height - 1));
#pragma unroll
        for (int n = 0; n < CHANNELS; ++n) {
            const int a = left * CHANNELS + n, b = right * CHANNELS + n;
            codes[n] = along(along(code_of(upper[a]), code_of(upper[b]), at.across),
                             along(code_of(lower[a]), code_of(lower[b]), at.across), at.down);
        }
    }
};

template <class T, int CHANNELS>
struct Cubic {
    static BOTH void look(const void* plane, int stride, int width, int height, const Place& at,
                          float (&codes)[CHANNELS]) {
        float across[4], down[4], lines[CHANNELS][4];
        cubic_weights(at.across, across);
        cubic_weights(at.down, down);
#pragma unroll
        for (int tap = 0; tap < 4; ++tap) {
            const T* const row = row_of<T>(plane, stride, clamp_to(at.y - 1 + tap, height - 1));
#pragma unroll
            for (int n = 0; n < CHANNELS; ++n) {
                float at_x[4];
#pragma unroll
                for (int m = 0; m < 4; ++m)
                    at_x[m] = code_of(row[clamp_to(at.x - 1 + m, width - 1) * CHANNELS + n]);
                lines[n][tap] = weighted(across, at_x[0], at_x[1], at_x[2], at_x[3]);
            }
        }
#pragma unroll
        for (int n = 0; n < CHANNELS; ++n) {
            const float code = weighted(down, lines[n][0], lines[n][1], lines[n][2], lines[n][3]);
            codes[n] = clamp_to(code, 0, (float)Depth<T>::top);
        }
    }
};

// The pixel (x, y) as plane `side` has it, moved.
template <class How, int CHANNELS>
BOTH void moved(const WarpArguments& it, int side, const Spot& spot, int x, int y,
                float (&codes)[CHANNELS]) {
    const float to_x = x + it.grid.cell * look_up(it.grid, it.flow, 2 * side, spot);
    const float to_y = y + it.grid.cell * look_up(it.grid, it.flow, 2 * side + 1, spot);
    const Place place = place_of(to_x, to_y, it.width, it.height);
    How::look(side ? it.second : it.first, side ? it.second_stride : it.first_stride, it.width,
              it.height, place, codes);
}

template <class T, int CHANNELS, class How, int SIDES>
BOTH void warp_run(const WarpArguments& it, int sample, int y) {
    T made[RUN];
#pragma unroll
    for (int n = 0; n < RUN; n += CHANNELS) {
        const int x = (sample + n) / CHANNELS;
        const Spot spot = spot_at(it.grid, x, y);
        float codes[CHANNELS];
        moved<How>(it, 0, spot, x, y, codes);
        if constexpr (SIDES == 2) {
            float others[CHANNELS];
            moved<How>(it, 1, spot, x, y, others);
            const float share = clamp_to(look_up(it.grid, it.mask, 0, spot), 0, 1);
#pragma unroll
            for (int channel = 0; channel < CHANNELS; ++channel)
                codes[channel] = codes[channel] * share + others[channel] * (1 - share);
        }
#pragma unroll
        for (int channel = 0; channel < CHANNELS; ++channel)
            made[n + channel] = sample_of<T>(codes[channel]);
    }
    T* const row = row_of<T>(it.out, it.out_stride, y);
    store(row + sample, made, it.width * CHANNELS - sample);
}

#define KERNEL(name, T, CHANNELS, HOW, SIDES)                    \
    extern "C" __global__ void warp_##name(WarpArguments it) {   \
        FOR_EACH_Y(y, it.height)                                 \
        FOR_EACH_X(sample, RUN, it.width * CHANNELS)             \
        warp_run<T, CHANNELS, HOW<T, CHANNELS>, SIDES>(it, sample, y); \
    }
#define SIDES_OF(name, T, CHANNELS)                              \
    KERNEL(two_##name##_linear, T, CHANNELS, Linear, 2)          \
    KERNEL(two_##name##_cubic, T, CHANNELS, Cubic, 2)            \
    KERNEL(one_##name##_linear, T, CHANNELS, Linear, 1)          \
    KERNEL(one_##name##_cubic, T, CHANNELS, Cubic, 1)

SIDES_OF(plane_8, uint8_t, 1)
SIDES_OF(pairs_8, uint8_t, 2)
SIDES_OF(plane_10, uint16_t, 1)
SIDES_OF(pairs_10, uint16_t, 2)
