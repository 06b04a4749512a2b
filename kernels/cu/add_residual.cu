// The enhanced picture: the bicubic upscale of a picture and a network's residual, in one pass.
//
// One thread:  all that comes of four neighbouring cells' luma in one row of the small picture, or of
//              their chroma: 8 * SCALE or 4 * SCALE columns of SCALE rows; a cell is 2x2 luma and one
//              of each chroma in the small picture. S below is SCALE, which the compiler is given.
// in, out:     Surface, any stride and alignment; out has SCALE times the width and height.
// residual:    float16 or float32, contiguous (6 * SCALE^2, rows, columns), in 8-bit code values:
//              (2 * SCALE)^2 phases of luma, row by row, then SCALE^2 of U, then of V. rows and
//              columns may exceed the cells of the picture, what is beyond them is not read.
// Per output pixel: reads 1.5 / SCALE^2 samples and 1.5 residual values, writes 1.5 samples
//              (4.5 bytes for 8 bits and float16, and 1.5 / SCALE^2 of the small picture).
// The upscale is rounded and clipped before the sum is, so that a residual of nothing gives the
//              plain upscale; a residual that is not finite counts as nothing.
// Odd edges:   samples outside repeat the edge; output pixels outside are not written.

#include "cubic.cuh"
#include "picture.cuh"

constexpr int CELLS = 4;
constexpr int LINES = 5;  // of the small picture, that SCALE rows of the large one are made of

struct AddResidualArguments {
    Surface in;
    Surface out;
    const void* residual;
    int32_t rows;
    int32_t columns;
};

// Codes are held as shares of 2^bits: a saturation to 0..1, which costs nothing, is then their clip from
// below. All else is as exact as with whole codes, by which power of two they are divided does not matter.
template <class T>
struct Share {
    static constexpr int bits = sizeof(T) == 1 ? 8 : 10;
    static constexpr float top = (float)Depth<T>::top / (1 << bits);
    static constexpr float above = ABOVE / (1 << bits);  // from here on float32 has whole codes only
};

// The bits of 2^15 and a byte's are those of their sum, 2^15 + byte / 256; so are those of 2^7 and a
// sample of 16.
template <int N>
BOTH float share_at(const Run<N, uint8_t>& run, int n) {
    return __uint_as_float(__byte_perm(run.words[n / 4], 0x47000000u, 0x7540u | n % 4)) - 32768.0f;
}
template <int N>
BOTH float share_at(const Run<N, uint16_t>& run, int n) {
    const uint32_t kept = run.words[n / 2] & 0xFFC0FFC0u;
    return __uint_as_float(__byte_perm(kept, 0x43000000u, n % 2 ? 0x7632u : 0x7610u)) - 128.0f;
}

// For x2 and 8 bits a row is as exact with 128 more in each share of its lines (225 * 2^15 < 2^24), which
// the bits of a byte begin with: 128 is taken from the row, once for all its lines.
template <int S, class T>
constexpr bool IS_RAISED = S == 2 && sizeof(T) == 1;

template <int S, int N, class T>
BOTH float line_at(const Run<N, T>& run, int n) {
    if constexpr (IS_RAISED<S, T>)
        return __uint_as_float(__byte_perm(run.words[n / 4], 0x43000000u, 0x7404u | n % 4 << 4));
    else
        return share_at(run, n);
}

// A saturated share, rounded to the nearest code, halves to even, and clipped from above.
template <class T>
BOTH float rounded_above_share(float share) {
    return fminf(share, Share<T>::top) + Share<T>::above;
}

// Where a product is exact, fusing it with the sum gives the same bits and saves an instruction: the
// weights of x2 are multiples of 1/256, those of x4 of 1/2048, and 24 bits hold their products with
// codes, and those of x2 with sums of such products of 8 bits as well (225 * 291 * 256 < 2^24).
template <bool EXACT>
BOTH float more(float sum, float weight, float value) {
    return EXACT ? fmaf(weight, value, sum) : sum + weight * value;
}

// Adds line `number` of LINES, WIDTH columns of it, to the S rows that are blended from them.
template <int S, class T, int WIDTH>
BOTH void add_line_to_rows(int number, const float (&line)[WIDTH], float (&rows)[S][WIDTH]) {
#pragma unroll
    for (int phase = 0; phase < S; ++phase) {
        float weights[4];
        const int tap = number - LINES / 2 - cubic_phase<S>(phase, weights);
        if (S == 1 ? number != LINES / 2 : tap < 0 || tap > 3) continue;
#pragma unroll
        for (int n = 0; n < WIDTH; ++n) {
            rows[phase][n] = S == 1     ? line[n]
                             : tap == 0 ? weights[0] * line[n]
                                        : more<S != 3>(rows[phase][n], weights[tap], line[n]);
            if (IS_RAISED<S, T> && tap == 3) rows[phase][n] -= 128.0f;
        }
    }
}

// S pixels for each but the two first and last ones of `columns`: rounded and clipped.
template <class T, int S, int PIXELS>
BOTH void upscale_row(const float (&columns)[PIXELS + 4], float (&shares)[PIXELS * S]) {
    constexpr bool exact = S == 2 && sizeof(T) == 1;
#pragma unroll
    for (int phase = 0; phase < S; ++phase) {
        float weights[4];
        const int first = 2 + cubic_phase<S>(phase, weights);
#pragma unroll
        for (int n = 0; n < PIXELS; ++n) {
            float share = weights[0] * columns[first + n];
#pragma unroll
            for (int tap = 1; tap < 4; ++tap)
                share = more<exact>(share, weights[tap], columns[first + n + tap]);
            shares[n * S + phase] =
                S == 1 ? columns[n + 2]
                       : rounded_above_share<T>(__saturatef(share)) - Share<T>::above;
        }
    }
}

// Adds to every STEP-th share from `from` on the residual of CELLS cells.
template <int STEP, class V, int N>
BOTH void add_values(const V* values, int from, float (&shares)[N]) {
    const auto residual = load<CELLS, true>(values);
#pragma unroll
    for (int n = 0; n < CELLS; ++n) {
        float& share = shares[from + STEP * n];
        const float value = value_at(residual, n);
        // What is not finite adds nothing.
        if (fabsf(value) <= 3.402823466e38f)
            share = __saturatef(fmaf(value, 1.0f / 256, share));
    }
}

// The samples of N shares.
template <class T, int N>
BOTH Run<N, T> samples_of_shares(const float (&shares)[N]) {
    uint32_t bits[N];
#pragma unroll
    for (int n = 0; n < N; ++n) bits[n] = __float_as_uint(rounded_above_share<T>(shares[n]));
    return joined<T>(bits);
}

// The residual of a cell: so many values further on is what the next plane of it has there.
template <class V>
struct Residual {
    const V* at;
    int64_t plane;
};

template <class V>
BOTH Residual<V> residual_of(const AddResidualArguments& it, int row, int column) {
    return {static_cast<const V*>(it.residual) + (int64_t)row * it.columns + column,
            (int64_t)it.rows * it.columns};
}

template <class T, class V, int S>
BOTH void luma_rows(const AddResidualArguments& it, int y, int column) {
    constexpr int PIXELS = 2 * CELLS;
    float rows[S][PIXELS + 4];
#pragma unroll
    for (int number = 0; number < LINES; ++number) {
        const T* const row = row_of<T>(it.in.luma, it.in.luma_stride,
                                       clamp_to(y + number - LINES / 2, it.in.height - 1));
        const auto samples = fetch_with_sides<1, PIXELS, true>(row, 2 * column, it.in.width);
        float line[PIXELS + 4];
#pragma unroll
        for (int n = 0; n < PIXELS + 4; ++n) line[n] = line_at<S>(samples, n + BESIDE<1, T> - 2);
        add_line_to_rows<S, T>(number, line, rows);
    }
    const auto residual = residual_of<V>(it, y / 2, column);
    const V* values = residual.at + y % 2 * (2 * S * S) * residual.plane;
    const int x = 2 * S * column;
    T* row = row_of<T>(it.out.luma, it.out.luma_stride, S * y) + x;
#pragma unroll
    for (int phase = 0; phase < S; ++phase) {
        float shares[PIXELS * S];
        upscale_row<T, S, PIXELS>(rows[phase], shares);
#pragma unroll
        for (int n = 0; n < 2 * S; ++n, values += residual.plane)
            add_values<2 * S>(values, n, shares);
        store<true>(row, samples_of_shares<T>(shares), PIXELS * S);
        row = row_of<T>(row, it.out.luma_stride, 1);
    }
}

// The S rows of U and of V that a row of the small picture becomes, before they are upscaled.
template <class F, int S>
BOTH void blend_chroma(const AddResidualArguments& it, int y, int column,
                       float (&u)[S][CELLS + 4], float (&v)[S][CELLS + 4]) {
    using T = typename F::Sample;
    const int width = (it.in.width + 1) / 2, height = (it.in.height + 1) / 2;
#pragma unroll
    for (int number = 0; number < LINES; ++number) {
        const int from = clamp_to(y + number - LINES / 2, height - 1);
        const T* const row = row_of<T>(it.in.chroma, it.in.chroma_stride, from);
        float of_u[CELLS + 4], of_v[CELLS + 4];
        if constexpr (F::has_pairs) {
            const auto pairs = fetch_with_sides<2, CELLS, true>(row, column, width);
#pragma unroll
            for (int n = 0; n < CELLS + 4; ++n)
                of_u[n] = line_at<S>(pairs, 2 * n), of_v[n] = line_at<S>(pairs, 2 * n + 1);
        } else {
            const T* const other = row_of<T>(it.in.second, it.in.chroma_stride, from);
            const auto first = fetch_with_sides<1, CELLS, true>(row, column, width);
            const auto second = fetch_with_sides<1, CELLS, true>(other, column, width);
#pragma unroll
            for (int n = 0; n < CELLS + 4; ++n) {
                of_u[n] = line_at<S>(first, n + BESIDE<1, T> - 2);
                of_v[n] = line_at<S>(second, n + BESIDE<1, T> - 2);
            }
        }
        add_line_to_rows<S, T>(number, of_u, u);
        add_line_to_rows<S, T>(number, of_v, v);
    }
}

// A row of one chroma plane; `values` is where its residual begins.
template <class T, int S, class V>
BOTH void chroma_row(const float (&row)[CELLS + 4], const V* values, int64_t plane,
                     float (&shares)[CELLS * S]) {
    upscale_row<T, S, CELLS>(row, shares);
#pragma unroll
    for (int n = 0; n < S; ++n, values += plane)
        add_values<S>(values, n, shares);
}

template <class F, class V, int S>
BOTH void chroma_rows(const AddResidualArguments& it, int y, int column) {
    using T = typename F::Sample;
    constexpr int OUT = CELLS * S;
    float u[S][CELLS + 4], v[S][CELLS + 4];
    blend_chroma<F, S>(it, y, column, u, v);
    const auto residual = residual_of<V>(it, y, column);
    const V* values = residual.at + 4 * S * S * residual.plane;
    const int x = S * column;
    T* row = row_of<T>(it.out.chroma, it.out.chroma_stride, S * y);
    T* other = F::has_pairs ? nullptr : row_of<T>(it.out.second, it.out.chroma_stride, S * y);
#pragma unroll
    for (int phase = 0; phase < S; ++phase, values += S * residual.plane) {
        if (S * y + phase >= (it.out.height + 1) / 2) return;
        float of_u[OUT], of_v[OUT];
        chroma_row<T, S>(u[phase], values, residual.plane, of_u);
        chroma_row<T, S>(v[phase], values + S * S * residual.plane, residual.plane, of_v);
        if constexpr (F::has_pairs) {
            float pairs[2 * OUT];
#pragma unroll
            for (int n = 0; n < OUT; ++n) pairs[2 * n] = of_u[n], pairs[2 * n + 1] = of_v[n];
            store<true>(row + 2 * x, samples_of_shares<T>(pairs), 2 * OUT);
        } else {
            store<true>(row + x, samples_of_shares<T>(of_u), OUT);
            store<true>(other + x, samples_of_shares<T>(of_v), OUT);
            other = row_of<T>(other, it.out.chroma_stride, 1);
        }
        row = row_of<T>(row, it.out.chroma_stride, 1);
    }
}

// One sample of a plane, by itself: what the straight way gives, pixel by pixel.
struct Channel {
    const void* in;
    void* out;
    int in_stride, out_stride, width, height;
    int out_width;
    int step, first;  // samples from pixel to pixel, and before the first one's
};

template <class T, class V, int S>
BOTH void add_sample(const Channel& it, int x, int y, V value) {
    constexpr bool exact = S == 2 && sizeof(T) == 1;
    float down[4], across[4], sum = 0;
    const int top = y / S + cubic_phase<S>(y % S, down), left = x / S + cubic_phase<S>(x % S, across);
#pragma unroll 1
    for (int n = 0; n < 4; ++n) {
        const int column = clamp_to(left + n, it.width - 1) * it.step + it.first;
        float blended = 0;
#pragma unroll 1
        for (int tap = 0; tap < 4; ++tap) {
            const T* const row = row_of<T>(it.in, it.in_stride, clamp_to(top + tap, it.height - 1));
            const float share = code_of(row[column]) / (1 << Share<T>::bits);
            blended = more<S != 3>(blended, down[tap], share);
        }
        sum = more<exact>(sum, across[n], blended);
    }
    Run<4 / sizeof(V), V> residual = {};
    put(residual, 0, &value);
    const float added = value_at(residual, 0);
    float share = rounded_above_share<T>(__saturatef(sum)) - Share<T>::above;
    if (fabsf(added) <= 3.402823466e38f) share = __saturatef(fmaf(added, 1.0f / 256, share));
    const uint32_t code = __float_as_uint(rounded_above_share<T>(share)) & Depth<T>::top;
    row_of<T>(it.out, it.out_stride, y)[x * it.step + it.first] = (T)(code << Depth<T>::shift);
}

// Of CELLS cells from `column` on, each `wide` pixels wide and high in the small plane, the row `y`.
template <class T, class V, int S>
BOTH void add_row_singly(const AddResidualArguments& it, const Channel& of, int plane, int wide, int y,
                         int column) {
    const int end = (column + CELLS) * wide * S, square = wide * S, row = y / square;
#pragma unroll 1
    for (int x = column * square; x < end && x < of.out_width; ++x) {
        const int64_t from = ((int64_t)plane + y % square * square + x % square) * it.rows + row;
        const V* const values = static_cast<const V*>(it.residual);
        add_sample<T, V, S>(of, x, y, values[from * it.columns + x / square]);
    }
}

template <class F, class V, int S>
BOTH void add_line_singly(const AddResidualArguments& it, int line, int column) {
    using T = typename F::Sample;
    const int row = line / 3, part = line % 3;
    const Channel luma = {it.in.luma, it.out.luma, it.in.luma_stride, it.out.luma_stride,
                          it.in.width, it.in.height, it.out.width, 1, 0};
#pragma unroll 1
    for (int phase = 0; phase < S; ++phase) {
        if (part < 2) {
            if (2 * row + part < it.in.height)
                add_row_singly<T, V, S>(it, luma, 0, 2, S * (2 * row + part) + phase, column);
            continue;
        }
        if (S * row + phase >= (it.out.height + 1) / 2) return;
#pragma unroll 1
        for (int n = 0; n < 2; ++n) {
            const bool is_second = n && !F::has_pairs;
            const Channel of = {is_second ? it.in.second : it.in.chroma,
                                is_second ? it.out.second : it.out.chroma,
                                it.in.chroma_stride, it.out.chroma_stride,
                                (it.in.width + 1) / 2, (it.in.height + 1) / 2,
                                (it.out.width + 1) / 2,
                                F::has_pairs ? 2 : 1, F::has_pairs ? n : 0};
            add_row_singly<T, V, S>(it, of, (4 + n) * S * S, 1, S * row + phase, column);
        }
    }
}

// Of three lines two are luma; all threads of a warp have the same.
template <class F, class V, int S>
BOTH void add_line(const AddResidualArguments& it, int line, int column) {
    const int row = line / 3, part = line % 3;
    if (part == 2)
        chroma_rows<F, V, S>(it, row, column);
    else if (2 * row + part < it.in.height)
        luma_rows<typename F::Sample, V, S>(it, 2 * row + part, column);
}

// The straight way where all is inside and every access can be wide; else pixel by pixel, which takes
// few registers: those of a kernel are what its most needs.
template <class F, class V, int S>
BOTH void add(const AddResidualArguments& it, int line, int column) {
    using T = typename F::Sample;
    constexpr int pixels = 2 * CELLS, chroma = CELLS * (F::has_pairs ? 2 : 1);
    const bool is_inside = it.in.width % pixels == 0 || 2 * (column + 2 * CELLS) <= it.in.width;
    const bool is_wide = it.columns % CELLS == 0 && is_aligned<CELLS * sizeof(V)>(it.residual) &&
                         is_even(it.in, F::has_pairs, WIDEST<pixels, T>, WIDEST<chroma, T>) &&
                         is_even(it.out, F::has_pairs, WIDEST<pixels * S, T>, WIDEST<chroma * S, T>);
    if (is_inside && is_wide)
        add_line<F, V, S>(it, line, column);
    else
        add_line_singly<F, V, S>(it, line, column);  // seldom
}

#ifndef SCALE
#error "compile with -DSCALE=1, 2, 3 or 4: one factor takes a quarter of the time of all"
#endif

#define KERNEL(name, F, V)                                                          \
    extern "C" __global__ void __launch_bounds__(256, SCALE < 3 && sizeof(V) < 4 ? 3 : 2) \
    add_residual_##name(AddResidualArguments it) {                                  \
        FOR_EACH_Y(line, 3 * ((it.in.height + 1) / 2))                              \
        FOR_EACH_X(column, CELLS, (it.in.width + 1) / 2)                            \
        add<F, V, SCALE>(it, line, column);                                         \
    }

KERNEL(nv12_f16, Nv12, __half)
KERNEL(nv12_f32, Nv12, float)
KERNEL(p010_f16, P010, __half)
KERNEL(p010_f32, P010, float)
KERNEL(yuv420p_f16, Yuv420p, __half)
KERNEL(yuv420p_f32, Yuv420p, float)
