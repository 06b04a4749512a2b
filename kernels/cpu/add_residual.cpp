// The enhanced picture: planes twice as large by bicubic interpolation and a network's residual, in
// one pass; without a residual the plain upscale.
//
// in, out:     planes of width x height and twice that, bytes, any stride; they share nothing.
// residual:    uint8 around 128, or float32, in code values; phases of (rows, columns), contiguous
//              along columns: of each cell (2x2 pixels of luma or one of chroma in the small plane)
//              the output pixels row by row.
// Arithmetic:  the upscale is exact and rounded once, halves to even, and clipped; then the sum is.
//              The twin is add_residual in kernels/reference.py, which at this factor differs
//              only where float32 cannot hold a sum beyond 256 that then is a half.
//              A residual that is not finite counts as nothing.
// Per output pixel of 1.5 bytes: reads 1.5 / 4 of the small planes and 1.5 residuals.

#include "cubic.h"
#include "exported.h"

namespace {

constexpr int ZERO = 128;
constexpr float MOST = 1024;  // code values: any more blacken or whiten the pixel as well

struct EnlargedPlane {
    SmallPlane in;
    uint8_t* out;
    int64_t out_stride;
    const void* residual;  // nowhere for none
    int32_t cell;          // pixels of the small plane to a side
};

constexpr int PLANES = 3;

struct AddResidualFields {
    EnlargedPlane planes[PLANES];
    int64_t phase_stride, row_stride;  // bytes, of the residual
    int32_t planes_count, is_float;
};

// The residual of one output row.
template <class Value>
struct Detail {
    const char* at;
    int64_t phase_stride;

    const Value* phase(int n) const {
        return reinterpret_cast<const Value*>(at + n * phase_stride);
    }
};

struct Nothing {};

template <int CELL, class Reach>
INLINE Codes added(const Codes& base, const Detail<Nothing>&, int, int) {
    return base;
}

// Luma: cells are two pixels wide, with a phase for each of their four output pixels. Chroma: what
// is two pixels here are two cells, with two phases.
template <int CELL, class Reach>
INLINE Halves added(const Halves& base, const Detail<uint8_t>& it, int n, int x, int count) {
    if (CELL == 1) {
        const auto both = Reach::template loaded<PairedBytes>(it.phase(n) + x, count);
        return clipped(base + widened(both) - ZERO);
    }
    const auto first = Reach::template loaded<Bytes>(it.phase(n) + x / 2, count / 2);
    const auto second = Reach::template loaded<Bytes>(it.phase(n + 2) + x / 2, count / 2);
    const Cells both = widened(first) | widened(second) << 16;
    return clipped(base + (Halves)both - ZERO);
}

INLINE Cells sum_of(const Cells& codes, const Reals& residual) {
    const Reals finite = residual - residual == 0 ? residual : Reals{};
    const Reals high = finite < MOST ? finite : Reals{} + MOST;
    const Reals kept = high > -MOST ? high : Reals{} - MOST;
    // Adding so much leaves no bits behind the point: the nearest whole number, halves to even.
    const Reals sum = (__builtin_convertvector(codes, Reals) + kept) + 12582912.0f;
    return __builtin_convertvector(sum - 12582912.0f, Cells);
}

template <int CELL, class Reach>
INLINE Halves added(const Halves& base, const Detail<float>& it, int n, int x, int count) {
    Reals first, second;
    if (CELL == 2) {
        first = Reach::template loaded<Reals>(it.phase(n) + x / 2, count / 2);
        second = Reach::template loaded<Reals>(it.phase(n + 2) + x / 2, count / 2);
    } else {
        const auto both = Reach::template loaded<PairedReals>(it.phase(n) + x, count);
        for (int k = 0; k < CELLS; ++k) first[k] = both.at[2 * k], second[k] = both.at[2 * k + 1];
    }
    const Cells lower = sum_of((Cells)base & 0xffff, first);
    const Cells upper = sum_of((Cells)base >> 16, second);
    return clipped((Halves)((lower & 0xffff) | (Cells)((Wholes)upper << 16)));
}

template <int CELL, class Reach, class Value>
INLINE Codes added(const Codes& base, const Detail<Value>& it, int x, int count) {
    return {added<CELL, Reach>(base.even, it, 0, x, count),
            added<CELL, Reach>(base.odd, it, 1, x, count)};
}

template <class Reach>
INLINE void store(const Codes& codes, uint8_t* to, int count) {
    Reach::store((Cells)codes.even | (Cells)codes.odd << 8, to, count);
}

// Both output rows of one row of the small plane.
template <class Value>
struct Rows {
    uint8_t *upper, *lower;
    Detail<Value> above, below;
};

// `count` pixels of the small plane from column `at` of its row, which is `x` of the run.
template <class Value, int CELL, class Reach>
INLINE void make_some(const Blended& blended, int x, const Rows<Value>& rows, int at, int count) {
    const Four middle = blend_across(blended.middle + x);
    const Codes above = codes_of(middle, blend_across(blended.above + x));
    store<Reach>(added<CELL, Reach>(above, rows.above, at, count), rows.upper + 2 * at, 2 * count);
    const Codes below = codes_of(middle, blend_across(blended.below + x));
    store<Reach>(added<CELL, Reach>(below, rows.below, at, count), rows.lower + 2 * at, 2 * count);
}

template <class Value, int CELL>
void make_rows(const SmallPlane& in, int y, const Rows<Value>& rows, Blended& blended) {
    constexpr int PIXELS = 2 * CELLS;
    for (int begin = 0; begin < in.width; begin += RUN) {
        const int left = in.width - begin, run = left < RUN ? left : RUN;
        fill(in, y, begin, run, blended);
        int x = 0;
        for (; x + PIXELS <= run; x += PIXELS)
            make_some<Value, CELL, Whole>(blended, x, rows, begin + x, PIXELS);
        if (x < run) make_some<Value, CELL, Part>(blended, x, rows, begin + x, run - x);
    }
}

template <class Value, int CELL>
void make_plane(const AddResidualFields& it, const EnlargedPlane& plane, Blended& blended) {
    for (int y = 0; y < plane.in.height; ++y) {
        const char* const row =
            static_cast<const char*>(plane.residual) + y / CELL * it.row_stride;
        // Phases of an output row: as many as a cell has columns there.
        const int64_t step = 2 * CELL * it.phase_stride;
        const char* const first = row + 2 * (y % CELL) * step;
        uint8_t* const out = plane.out + 2 * y * plane.out_stride;
        const Rows<Value> rows = {out,
                                  out + plane.out_stride,
                                  {first, it.phase_stride},
                                  {first + step, it.phase_stride}};
        make_rows<Value, CELL>(plane.in, y, rows, blended);
    }
}

template <int CELL>
void make(const AddResidualFields& it, const EnlargedPlane& plane, Blended& blended) {
    if (plane.residual == nullptr)
        make_plane<Nothing, CELL>(it, plane, blended);
    else if (it.is_float)
        make_plane<float, CELL>(it, plane, blended);
    else
        make_plane<uint8_t, CELL>(it, plane, blended);
}

}  // namespace

EXPORTED void add_residual(const AddResidualFields* it) {
    Blended blended;
    for (int n = 0; n < it->planes_count; ++n) {
        const EnlargedPlane& plane = it->planes[n];
        if (plane.cell == 2)
            make<2>(*it, plane, blended);
        else
            make<1>(*it, plane, blended);
    }
}
