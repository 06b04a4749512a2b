// A picture to the networks' input: planes (6, rows, columns) of four luma phases, U and V.
//
// One thread:  CELLS neighbouring cells of one row; a cell is 2x2 luma and one of each chroma.
// in:          Surface, any stride and alignment.
// out:         float16 or float32, contiguous; phases (0,0) (0,1) (1,0) (1,1) of luma, then U, V, as
//              (code - offset) / gain: 16 and 219 for luma, 128 and 224 for chroma, times 4 in 10 bits.
// Per pixel:   reads 1.5 samples, writes 1.5 values (4.5 bytes for 8 bits to float16).
// Odd edges:   the last row and column repeat, as far as `rows` and `columns` reach.

#include "picture.cuh"

// What is written is 16 bytes of a plane, so that those of neighbours lie together in each access.
template <class V>
constexpr int CELLS_OF = 16 / sizeof(V);

struct PackArguments {
    Surface in;
    void* out;
    int32_t rows;
    int32_t columns;
};

// Exactly value / GAIN for every code less its offset: the product with the reciprocal, and what that
// leaves over. A division takes four times as many instructions.
template <int GAIN>
BOTH float divided(float value) {
    constexpr float share = 1.0f / GAIN;
    const float near = value * share;
    return fmaf(fmaf(near, -(float)GAIN, value), share, near);
}

template <int GAIN, bool WHOLE, class V, int CELLS>
BOTH void store_cells(const PackArguments& to, int plane, int row, int column,
                      const float (&codes)[CELLS]) {
    float values[CELLS];
#pragma unroll
    for (int n = 0; n < CELLS; ++n) values[n] = divided<GAIN>(codes[n]);
    V* const line = static_cast<V*>(to.out) + ((int64_t)plane * to.rows + row) * to.columns;
    store<WHOLE>(line + column, values_of<V>(values), to.columns - column);
}

template <class F, class V, bool WHOLE>
BOTH void pack_cells(const PackArguments& it, int row, int column) {
    using T = typename F::Sample;
    constexpr int unit = Depth<T>::unit, CELLS = CELLS_OF<V>;
    // All is read before anything is written: no read could go ahead of a write that may be to its place.
    Run<2 * CELLS, T> luma[2];
#pragma unroll
    for (int i = 0; i < 2; ++i)
        luma[i] = fetch<1, 2 * CELLS, WHOLE>(
            row_of<T>(it.in.luma, it.in.luma_stride, clamp_to(2 * row + i, it.in.height - 1)),
            2 * column, it.in.width);
    float u[CELLS], v[CELLS];
    const int y = clamp_to(row, (it.in.height + 1) / 2 - 1);
    fetch_chroma<F, CELLS, 128 * unit, WHOLE>(it.in, column, y, u, v);
#pragma unroll
    for (int n = 0; n < 4; ++n) {
        float codes[CELLS];
#pragma unroll
        for (int m = 0; m < CELLS; ++m) codes[m] = code_at(luma[n / 2], 2 * m + n % 2, 16 * unit);
        store_cells<219 * unit, WHOLE, V>(it, n, row, column, codes);
    }
    store_cells<224 * unit, WHOLE, V>(it, 4, row, column, u);
    store_cells<224 * unit, WHOLE, V>(it, 5, row, column, v);
}

// The straight way where all is inside and every access can be wide.
template <class F, class V>
BOTH void pack(const PackArguments& it, int row, int column) {
    using T = typename F::Sample;
    constexpr int CELLS = CELLS_OF<V>, chroma = CELLS * (F::has_pairs ? 2 : 1);
    const bool is_whole =
        2 * (column + CELLS) <= it.in.width && it.columns % CELLS == 0 && is_aligned<16>(it.out) &&
        is_even(it.in, F::has_pairs, WIDEST<2 * CELLS, T>, WIDEST<chroma, T>);
    if (is_whole)
        pack_cells<F, V, true>(it, row, column);
    else
        pack_cells<F, V, false>(it, row, column);  // seldom
}

#define KERNEL(name, F, V)                                       \
    extern "C" __global__ void pack_##name(PackArguments it) {   \
        FOR_EACH_Y(row, it.rows)                                 \
        FOR_EACH_X(column, CELLS_OF<V>, it.columns)                  \
        pack<F, V>(it, row, column);                             \
    }

KERNEL(nv12_f16, Nv12, __half)
KERNEL(nv12_f32, Nv12, float)
KERNEL(p010_f16, P010, __half)
KERNEL(p010_f32, P010, float)
KERNEL(yuv420p_f16, Yuv420p, __half)
KERNEL(yuv420p_f32, Yuv420p, float)
