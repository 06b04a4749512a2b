// A made plane: one or two planes looked up where a guide says, and mixed by its mask.
//
// One thread:  RUN neighbouring samples of one row: RUN pixels, or RUN / 2 pairs of U and V.
// first, second, out: planes of width x height pixels with CHANNELS samples each (pairs: 2), 8 bits
//              or 10 in the upper bits; below 2 GiB, any stride from 0 and alignment; out is neither of
//              the others.
// guide:       float32, contiguous (5, rows, columns): x and y into the first plane, x and y into the
//              second, in cells of the grid, and the share of the first plane, clipped to 0..1;
//              one-sided (2, rows, columns).
// Per sample:  reads 1 sample of each plane (4 with a linear and 16 with a cubic kernel, from the
//              cache) and 5 / cell^2 map values, writes 1 sample.
// Some 100 instructions for a pixel of two planes (linear): four times as many as there is time for
//              while memory moves its bytes.
// Coordinates are float32; samples outside repeat the edge, however far a flow points; NaN points to
//              the top left.

#include "cubic.cuh"
#include "guide.cuh"
#include "picture.cuh"

constexpr int RUN = 8;

struct WarpArguments {
    const void* first;
    const void* second;
    void* out;
    const float* guide;
    int32_t first_stride;
    int32_t second_stride;
    int32_t out_stride;
    int32_t width;
    int32_t height;
    Grid grid;
};

struct Source {
    const void* plane;
    int stride;
    int width;
    int height;
};

// The codes of the four samples around a place; all of them are inside.
template <class T, int CHANNELS>
BOTH void corners_inside(const Source& from, int x, int y, float (&codes)[4][CHANNELS]) {
    const uint32_t upper = y * from.stride + x * (int)(CHANNELS * sizeof(T));
    const uint32_t lower = upper + from.stride;
    const char* const plane = static_cast<const char*>(from.plane);
#pragma unroll
    for (int n = 0; n < CHANNELS; ++n) {
        const int left = n * sizeof(T), right = (n + CHANNELS) * sizeof(T);
        codes[0][n] = code_of(*reinterpret_cast<const T*>(plane + upper + left));
        codes[1][n] = code_of(*reinterpret_cast<const T*>(plane + upper + right));
        codes[2][n] = code_of(*reinterpret_cast<const T*>(plane + lower + left));
        codes[3][n] = code_of(*reinterpret_cast<const T*>(plane + lower + right));
    }
}

template <class T, int CHANNELS>
BOTH void corners(const Source& from, int x, int y, float (&codes)[4][CHANNELS]) {
    const int left = clamp_to(x, from.width - 1) * CHANNELS;
    const int right = clamp_to(x + 1, from.width - 1) * CHANNELS;
    const T* const upper = row_of<T>(from.plane, from.stride, clamp_to(y, from.height - 1));
    const T* const lower = row_of<T>(from.plane, from.stride, clamp_to(y + 1, from.height - 1));
#pragma unroll
    for (int n = 0; n < CHANNELS; ++n) {
        codes[0][n] = code_of(upper[left + n]), codes[1][n] = code_of(upper[right + n]);
        codes[2][n] = code_of(lower[left + n]), codes[3][n] = code_of(lower[right + n]);
    }
}

// Whether all four samples around a place are inside. Of two positive floats the bits are ordered as
// they are; those of negative ones and of NaN lie above.
BOTH bool is_inside(const Source& in, float x, float y) {
    return __float_as_uint(x) < __float_as_uint((float)(in.width - 1)) &&
           __float_as_uint(y) < __float_as_uint((float)(in.height - 1));
}

// Two pixels outside is all that four samples can tell apart.
BOTH float near(float place, int size) { return clamp_to(place, -3, (float)(size + 2)); }

template <class T, int CHANNELS>
struct Linear {
    template <bool INSIDE>
    static BOTH void look(const Source& from, float x, float y, float (&made)[CHANNELS]) {
        const Place column = place_of(INSIDE ? x : near(x, from.width));
        const Place row = place_of(INSIDE ? y : near(y, from.height));
        float codes[4][CHANNELS];
        if constexpr (INSIDE)
            corners_inside<T, CHANNELS>(from, column.first, row.first, codes);
        else
            corners<T, CHANNELS>(from, column.first, row.first, codes);
#pragma unroll
        for (int n = 0; n < CHANNELS; ++n)
            made[n] = along(along(codes[0][n], codes[1][n], column.behind),
                            along(codes[2][n], codes[3][n], column.behind), row.behind);
    }
};

BOTH float blended(const float (&weights)[4], float a, float b, float c, float d) {
    return fmaf(weights[3], d, fmaf(weights[2], c, fmaf(weights[1], b, weights[0] * a)));
}

template <class T, int CHANNELS>
struct Cubic {
    template <bool>
    static BOTH void look(const Source& from, float x, float y, float (&made)[CHANNELS]) {
        const Place column = place_of(near(x, from.width)), row = place_of(near(y, from.height));
        float across[4], down[4], lines[CHANNELS][4];
        cubic_weights(column.behind, across);
        cubic_weights(row.behind, down);
#pragma unroll
        for (int tap = 0; tap < 4; ++tap) {
            const T* const line = row_of<T>(from.plane, from.stride,
                                            clamp_to(row.first - 1 + tap, from.height - 1));
#pragma unroll
            for (int n = 0; n < CHANNELS; ++n) {
                float codes[4];
#pragma unroll
                for (int m = 0; m < 4; ++m)
                    codes[m] = code_of(
                        line[clamp_to(column.first - 1 + m, from.width - 1) * CHANNELS + n]);
                lines[n][tap] = blended(across, codes[0], codes[1], codes[2], codes[3]);
            }
        }
#pragma unroll
        for (int n = 0; n < CHANNELS; ++n) {
            const float code = blended(down, lines[n][0], lines[n][1], lines[n][2], lines[n][3]);
            made[n] = clamp_to(code, 0, (float)Depth<T>::top);
        }
    }
};

// Where the pixels of a run look: x and y in each source, and the share of the first one.
template <int PIXELS, int SIDES>
struct Looks {
    float x[SIDES][PIXELS], y[SIDES][PIXELS], share[PIXELS];
};

template <class T, int CHANNELS, class How, bool INSIDE, int PIXELS, int SIDES>
BOTH Run<PIXELS * CHANNELS, T> looked_up(const Source (&from)[2], const Looks<PIXELS, SIDES>& at) {
    float made[PIXELS * CHANNELS];
#pragma unroll
    for (int n = 0; n < PIXELS; ++n) {
        float codes[2][CHANNELS];
#pragma unroll
        for (int side = 0; side < SIDES; ++side)
            How::template look<INSIDE>(from[side], at.x[side][n], at.y[side][n], codes[side]);
#pragma unroll
        for (int channel = 0; channel < CHANNELS; ++channel)
            made[n * CHANNELS + channel] =
                SIDES == 1 ? codes[0][channel]
                           : along(codes[SIDES - 1][channel], codes[0][channel], at.share[n]);
    }
    return samples_of<T>(made);
}

template <class T, int CHANNELS, template <class, int> class How, int SIDES>
BOTH void warp_run(const WarpArguments& it, int sample, int y) {
    constexpr int PIXELS = RUN / CHANNELS, MAPS = SIDES == 2 ? 5 : 2;
    const Source from[] = {{it.first, it.first_stride, it.width, it.height},
                           {it.second, it.second_stride, it.width, it.height}};
    Along<MAPS> guide(it.grid, it.guide, sample / CHANNELS, y);
    Looks<PIXELS, SIDES> at;
    bool all_inside = true;
#pragma unroll
    for (int n = 0; n < PIXELS; ++n) {
        const int x = sample / CHANNELS + n;
        float values[MAPS];
        guide.at(x, values);
#pragma unroll
        for (int side = 0; side < SIDES; ++side) {
            at.x[side][n] = fmaf(it.grid.cell, values[2 * side], (float)x);
            at.y[side][n] = fmaf(it.grid.cell, values[2 * side + 1], (float)y);
            all_inside = all_inside && is_inside(from[side], at.x[side][n], at.y[side][n]);
        }
        at.share[n] = clamp_to(values[MAPS - 1], 0, 1);
    }
    T* const row = row_of<T>(it.out, it.out_stride, y);
    const int left = it.width * CHANNELS - sample;
    if (all_inside)
        store(row + sample, looked_up<T, CHANNELS, How<T, CHANNELS>, true>(from, at), left);
    else
        store(row + sample, looked_up<T, CHANNELS, How<T, CHANNELS>, false>(from, at), left);  // seldom
}

#define KERNEL(name, T, CHANNELS, HOW, SIDES)                    \
    extern "C" __global__ void warp_##name(WarpArguments it) {   \
        FOR_EACH_Y(y, it.height)                                 \
        FOR_EACH_X(sample, RUN, it.width * CHANNELS)             \
        warp_run<T, CHANNELS, HOW, SIDES>(it, sample, y); \
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
