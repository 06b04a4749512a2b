// The enhanced picture: the bicubic upscale of a picture and a network's residual, in one pass.
//
// One thread:  one row of the output in two neighbouring cells: 4 * SCALE of luma, or 2 * SCALE of
//              U and of V; a cell is 2x2 luma and one of each chroma in the small picture. S below
//              is SCALE, which the compiler is given.
// in, out:     Surface, any stride and alignment; out has SCALE times the width and height.
// residual:    float16, float32, or uint8 around 128, contiguous (6 * SCALE^2, rows, columns), in
//              8-bit code values:
//              (2 * SCALE)^2 phases of luma, row by row, then SCALE^2 of U, then of V. rows and
//              columns may exceed the cells of the picture, what is beyond them is not read.
// Per output pixel: reads 1.5 / SCALE^2 samples and 1.5 residual values, writes 1.5 samples
//              (4.5 bytes for 8 bits and float16, and 1.5 / SCALE^2 of the small picture).
// The upscale is rounded and clipped before the sum is, so that a residual of nothing gives the
//              plain upscale; a residual that is not finite counts as nothing.
// Odd edges:   samples outside repeat the edge; output pixels outside are not written.

#include "cubic.cuh"
#include "picture.cuh"

constexpr int CELLS = 2;

struct AddResidualArguments {
    Surface in;
    Surface out;
    const void* residual;
    int32_t rows;
    int32_t columns;
};

// The residual of CELLS cells in plane `plane`; a cell outside the grid has none.
template <class V>
BOTH void fetch_residual(const AddResidualArguments& it, int plane, int row, int column,
                         float (&added)[CELLS]) {
    const V* const line =
        static_cast<const V*>(it.residual) + ((int64_t)plane * it.rows + row) * it.columns;
    V values[CELLS] = {};
    if (column + CELLS <= it.columns)
        load(line + column, values);
    else
        values[0] = line[column];
#pragma unroll
    for (int n = 0; n < CELLS; ++n) added[n] = finite(to_float(values[n]));
}

// S pixels for each input pixel but the PAD first and last ones of `columns`, which holds the
// row blended vertically: rounded and clipped codes.
template <class T, int S, int PIXELS, int PAD>
BOTH void upscale_row(const float (&columns)[PIXELS + 2 * PAD], float (&codes)[PIXELS * S]) {
#pragma unroll
    for (int phase = 0; phase < S; ++phase) {
        float weights[4];
        const int first = PAD + cubic_phase<S>(phase, weights);
#pragma unroll
        for (int n = 0; n < PIXELS; ++n) {
            const float* const at = columns + first + n;
            codes[n * S + phase] =
                rounded<T>(weighted(weights, at[0], at[1], at[2], at[3]));
        }
    }
}

template <class T, class V, int S>
BOTH void luma_row(const AddResidualArguments& it, int row, int i, int column) {
    constexpr int PIXELS = 2 * CELLS, PAD = 2, OUT = PIXELS * S;
    constexpr int PIECE = OUT % 8 ? 4 : OUT * sizeof(T) > 16 ? 16 / sizeof(T) : OUT;
    const int y = 2 * S * row + i, x = 2 * S * column;
    if (y >= it.out.height) return;
    float weights[4], columns[PIXELS + 2 * PAD] = {};
    const int first = 2 * row + i / S + cubic_phase<S>(i % S, weights);
#pragma unroll
    for (int tap = 0; tap < 4; ++tap) {
        T samples[PIXELS + 2 * PAD];
        const int from = clamp_to(first + tap, it.in.height - 1);
        fetch<2, 1, PIXELS + 2 * PAD>(row_of<T>(it.in.luma, it.in.luma_stride, from),
                                      2 * column - PAD, it.in.width, samples);
#pragma unroll
        for (int n = 0; n < PIXELS + 2 * PAD; ++n) columns[n] += weights[tap] * code_of(samples[n]);
    }
    float codes[OUT];
    upscale_row<T, S, PIXELS, PAD>(columns, codes);
    T made[OUT];
#pragma unroll
    for (int j = 0; j < 2 * S; ++j) {
        float added[CELLS];
        fetch_residual<V>(it, 2 * S * i + j, row, column, added);
#pragma unroll
        for (int n = 0; n < CELLS; ++n) {
            const int at = 2 * S * n + j;
            made[at] = sample_of<T>(codes[at] + Depth<T>::unit * added[n]);
        }
    }
    store_pieces<PIECE>(row_of<T>(it.out.luma, it.out.luma_stride, y) + x, made, it.out.width - x);
}

// Adds the residual to the upscaled codes of one chroma plane, `number` 0 for U and 1 for V.
template <class T, class V, int S>
BOTH void add_chroma(const AddResidualArguments& it, int number, int row, int i, int column,
                     const float (&columns)[CELLS + 4], T (&made)[CELLS * S]) {
    float codes[CELLS * S];
    upscale_row<T, S, CELLS, 2>(columns, codes);
#pragma unroll
    for (int j = 0; j < S; ++j) {
        float added[CELLS];
        const int plane = (4 + number) * S * S + S * i + j;
        fetch_residual<V>(it, plane, row, column, added);
#pragma unroll
        for (int n = 0; n < CELLS; ++n) {
            const int at = S * n + j;
            made[at] = sample_of<T>(codes[at] + Depth<T>::unit * added[n]);
        }
    }
}

template <class F, class V, int S>
BOTH void chroma_row(const AddResidualArguments& it, int row, int i, int column) {
    using T = typename F::Sample;
    constexpr int PAD = 2, OUT = CELLS * S;
    const int y = S * row + i, x = S * column;
    if (y >= (it.out.height + 1) / 2) return;
    float weights[4], u[CELLS + 2 * PAD] = {}, v[CELLS + 2 * PAD] = {};
    const int first = row + cubic_phase<S>(i, weights);
#pragma unroll
    for (int tap = 0; tap < 4; ++tap) {
        float of_u[CELLS + 2 * PAD], of_v[CELLS + 2 * PAD];
        const int from = clamp_to(first + tap, (it.in.height + 1) / 2 - 1);
        fetch_chroma<F, 2, CELLS + 2 * PAD>(it.in, column - PAD, from, of_u, of_v);
#pragma unroll
        for (int n = 0; n < CELLS + 2 * PAD; ++n) {
            u[n] += weights[tap] * of_u[n];
            v[n] += weights[tap] * of_v[n];
        }
    }
    T made_u[OUT], made_v[OUT];
    add_chroma<T, V, S>(it, 0, row, i, column, u, made_u);
    add_chroma<T, V, S>(it, 1, row, i, column, v, made_v);
    const int left = (it.out.width + 1) / 2 - x;
    T* const line = row_of<T>(it.out.chroma, it.out.chroma_stride, y);
    if constexpr (F::has_pairs) {
        constexpr int PIECE = OUT % 4 ? 4 : 2 * OUT * sizeof(T) > 16 ? 16 / sizeof(T) : 2 * OUT;
        T pairs[2 * OUT];
#pragma unroll
        for (int n = 0; n < OUT; ++n) pairs[2 * n] = made_u[n], pairs[2 * n + 1] = made_v[n];
        store_pieces<PIECE>(line + 2 * x, pairs, 2 * left);
    } else {
        constexpr int PIECE = OUT % 4 ? 2 : OUT;
        store_pieces<PIECE>(line + x, made_u, left);
        store_pieces<PIECE>(row_of<T>(it.out.second, it.out.chroma_stride, y) + x, made_v, left);
    }
}

// Of the 3 * S lines of a row of cells, 2 * S are luma; all threads of a warp have the same.
template <class F, class V, int S>
BOTH void add_line(const AddResidualArguments& it, int line, int column) {
    const int row = line / (3 * S), i = line % (3 * S);
    if (i < 2 * S)
        luma_row<typename F::Sample, V, S>(it, row, i, column);
    else
        chroma_row<F, V, S>(it, row, i - 2 * S, column);
}

#ifndef SCALE
#error "compile with -DSCALE=1, 2, 3 or 4: one factor takes a quarter of the time of all"
#endif

#define KERNEL(name, F, V)                                                          \
    extern "C" __global__ void add_residual_##name(AddResidualArguments it) {       \
        FOR_EACH_Y(line, 3 * SCALE * ((it.in.height + 1) / 2))                      \
        FOR_EACH_X(column, CELLS, (it.in.width + 1) / 2)                            \
        add_line<F, V, SCALE>(it, line, column);                                    \
    }

KERNEL(nv12_f16, Nv12, __half)
KERNEL(nv12_f32, Nv12, float)
KERNEL(nv12_u8, Nv12, uint8_t)
KERNEL(p010_f16, P010, __half)
KERNEL(p010_f32, P010, float)
KERNEL(p010_u8, P010, uint8_t)
KERNEL(yuv420p_f16, Yuv420p, __half)
KERNEL(yuv420p_f32, Yuv420p, float)
KERNEL(yuv420p_u8, Yuv420p, uint8_t)
