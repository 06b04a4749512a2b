// A picture to the networks' input: planes (6, rows, columns) of four luma phases, U and V.
//
// One thread:  CELLS neighbouring cells of one row; a cell is 2x2 luma and one of each chroma.
// in:          Surface, any stride and alignment.
// out:         float16 or float32, contiguous; phases (0,0) (0,1) (1,0) (1,1) of luma, then U, V, as
//              (code - offset) / gain: 16 and 219 for luma, 128 and 224 for chroma, times 4 in 10 bits.
// Per pixel:   reads 1.5 samples, writes 1.5 values (4.5 bytes for 8 bits to float16).
// Odd edges:   the last row and column repeat, as far as `rows` and `columns` reach.

#include "picture.cuh"

constexpr int CELLS = 4;

struct PackArguments {
    Surface in;
    void* out;
    int32_t rows;
    int32_t columns;
};

template <class V>
BOTH void store_cells(const PackArguments& to, int plane, int row, int column,
                      const float (&codes)[CELLS], float offset, float gain) {
    V values[CELLS];
#pragma unroll
    for (int n = 0; n < CELLS; ++n) values[n] = from_float<V>((codes[n] - offset) / gain);
    V* const line = static_cast<V*>(to.out) + ((int64_t)plane * to.rows + row) * to.columns;
    store(line + column, values, to.columns - column);
}

template <class F, class V>
BOTH void pack_cells(const PackArguments& it, int row, int column) {
    using T = typename F::Sample;
    constexpr float unit = Depth<T>::unit;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
        const int y = clamp_to(2 * row + i, it.in.height - 1);
        T luma[2 * CELLS];
        fetch<2 * CELLS, 1, 2 * CELLS>(row_of<T>(it.in.luma, it.in.luma_stride, y), 2 * column,
                                       it.in.width, luma);
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            float codes[CELLS];
#pragma unroll
            for (int n = 0; n < CELLS; ++n) codes[n] = code_of(luma[2 * n + j]);
            store_cells<V>(it, 2 * i + j, row, column, codes, 16 * unit, 219 * unit);
        }
    }
    float u[CELLS], v[CELLS];
    const int y = clamp_to(row, (it.in.height + 1) / 2 - 1);
    fetch_chroma<F, CELLS, CELLS>(it.in, column, y, u, v);
    store_cells<V>(it, 4, row, column, u, 128 * unit, 224 * unit);
    store_cells<V>(it, 5, row, column, v, 128 * unit, 224 * unit);
}

#define KERNEL(name, F, V)                                       \
    extern "C" __global__ void pack_##name(PackArguments it) {   \
        FOR_EACH_Y(row, it.rows)                                 \
        FOR_EACH_X(column, CELLS, it.columns)                    \
        pack_cells<F, V>(it, row, column);                       \
    }

KERNEL(nv12_f16, Nv12, __half)
KERNEL(nv12_f32, Nv12, float)
KERNEL(p010_f16, P010, __half)
KERNEL(p010_f32, P010, float)
KERNEL(yuv420p_f16, Yuv420p, __half)
KERNEL(yuv420p_f32, Yuv420p, float)
