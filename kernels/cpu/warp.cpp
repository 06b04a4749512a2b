// A made plane: two planes looked up where a guide says and mixed by its mask; luma is softened
// where it is a guess, and gets the residual.
//
// first, second, out: planes of width x height bytes, any stride; out is neither of the others.
// Maps:        float32 (rows, columns), any stride from row to row. A flow that is not finite points
//              to the top left; other values that are not count as 0.
// begin, end:  the rows that are filled; calls for different rows may run at once, each with a
//              scratch of its own.
// Arithmetic:  places in 1/32768 pixel, code values in 1/128, rounded once to make a plane and once
//              to finish it: the twins are warp and finish in kernels/reference.py, which this
//              meets within one code value. Flow reaches FARTHEST pixels at most.
// Edges:       samples outside repeat the edge, however far a flow points.
// A run of a row in which nothing moves is copied, one that a single plane has the whole share of
// does not touch the other, and only what is soft is blurred.

#include "exported.h"
#include "warp_finish.h"
#include "warp_near.h"
#include "warp_runs.h"

namespace {

constexpr float FARTHEST = 16384;  // pixels; as much as a place can hold
constexpr float MOST_ADDED = 64;   // times the range of codes
constexpr float MOST_SHARE = 64;
constexpr Range SHARES = {WHOLE, MOST_SHARE * WHOLE, 0};
constexpr Range ADDED = {TOP, MOST_ADDED * TOP, 0};

inline Range moved_by(float cell) {
    return {cell * WHOLE, FARTHEST * WHOLE, -FARTHEST * WHOLE};
}

struct Trio {
    Plane first, second;
    uint8_t* out;
    int64_t out_stride;
};

constexpr int MOST_TRIOS = 2;

struct WarpFields {
    Trio trios[MOST_TRIOS];
    Guide guide;
    void* scratch;
    int32_t trios_count;
    int32_t width, height;
    int32_t begin, end;
    int32_t is_sharp;
};

// Takes parts of the caller's storage, each at a new cache line.
struct Storage {
    char* at;

    template <class T>
    T* take(int64_t count) {
        at += -(uintptr_t)at % 64;
        T* const taken = reinterpret_cast<T*>(at);
        at += count * (int64_t)sizeof(T);
        return taken;
    }
};

// The storage for one call; kernels/native_warp.py says how much that is.
struct Scratch {
    Enlarged flow[4];
    Enlarged mask, softness, residual;
    Across across;
    int whole;  // pixels of a row, whole lanes
    float* cells;
    uint8_t* kinds;
    Runs to_warp, to_finish;
    Ring ring;
#ifdef __AVX2__
    Spots* spots[2];
#endif

    explicit Scratch(const WarpFields& it) {
        Storage storage{static_cast<char*>(it.scratch)};
        whole = (it.width + LANES - 1) / LANES * LANES;
        const int pixels = whole + LANES, columns = it.guide.columns + 1;
        for (Enlarged* map : {&flow[0], &flow[1], &flow[2], &flow[3], &mask, &softness, &residual})
            *map = {storage.take<float>(pixels), storage.take<float>(pixels),
                    storage.take<float>(pixels)};
        cells = storage.take<float>(columns);
        int32_t* const cell = storage.take<int32_t>(pixels);
        float* const share = storage.take<float>(pixels);
        int32_t* const begin = storage.take<int32_t>(pixels + 1);
        fill_across(cell, share, begin, pixels, it.guide.across, it.guide.columns);
        across = {cell, share, begin};
        kinds = storage.take<uint8_t>(2 * columns);
        const int blocks = it.width / BLOCK + 1;
        to_warp = {storage.take<Run>(blocks), 0, 0, -1};
        to_finish = {storage.take<Run>(blocks), 0, 0, -1};
        const int64_t stride = it.width + 2 * MARGIN;
        ring = {storage.take<uint8_t>(TAPS_OF_BLUR * stride), stride};
#ifdef __AVX2__
        for (Spots*& each : spots) each = storage.take<Spots>(it.width / SOME);
#endif
    }

    void take(const Map& map, const Between& rows, const Range& range, const Guide& guide,
              Enlarged& out) const {
        out.take(map, rows, range, guide.columns, across, whole, cells);
    }
};

template <int TAPS>
struct Looking {
    Places places[2];
    Seen<TAPS> seen;
    alignas(64) int16_t share[RUN];
    alignas(64) int16_t values[2][RUN];
};

// What one row of a run is looked up by.
struct Row {
    const Run& run;
    int y;
    float down;  // between two rows of cells
    bool is_inside[2];
};

// Where a row of a run looks to in planes of this stride.
template <int TAPS>
inline void place(const WarpFields& it, const Scratch& scratch, const Row& row, int side,
                  int64_t stride, Places& out) {
    const int begin = row.run.begin, whole = row.run.whole();
    const Line flow_x(scratch.flow[2 * side], begin, row.down);
    const Line flow_y(scratch.flow[2 * side + 1], begin, row.down);
    if (row.is_inside[side])
        place_inside(out, flow_x, flow_y, (int32_t)stride, whole);
    else
        place<TAPS>(out, flow_x, flow_y, begin, row.y, whole, it.width, it.height);
}

template <int TAPS>
inline void look(const WarpFields& it, const Plane& plane, const Row& row, int side,
                 Looking<TAPS>& looking) {
    const int begin = row.run.begin, whole = row.run.whole();
    const uint8_t* const at = plane.row(row.y) + begin;
    int16_t* __restrict const values = looking.values[side];
    if (!(row.run.kind & (side ? SECOND_MOVES : FIRST_MOVES))) {
        for (int i = 0; i < row.run.count; ++i) values[i] = (int16_t)(at[i] << CODE_BITS);
        return;
    }
    Places& places = looking.places[side];
    if (row.is_inside[side])
        fetch_inside<TAPS>(at, plane.stride, places.offset, whole, looking.seen);
    else
        fetch<TAPS>(plane, places, whole, it.width, it.height, looking.seen);
    blend(looking.seen, places, whole, values);
}

inline void mix(const int16_t* __restrict one, const int16_t* __restrict other,
                const int16_t* __restrict share, int count, uint8_t* __restrict out) {
    for (int i = 0; i < count; ++i) out[i] = code_of(along(other[i], one[i], share[i]));
}

#ifdef __AVX2__
inline bool have_one_stride(const WarpFields& it) {
    const int64_t stride = it.trios[0].first.stride;
    bool are_same = true;
    for (int n = 0; n < it.trios_count; ++n)
        are_same &= it.trios[n].first.stride == stride && it.trios[n].second.stride == stride;
    return are_same;
}

// As `make_run` for a run that looks nowhere beyond an edge; KIND is its own.
template <int KIND, int TRIOS>
void make_near(const WarpFields& it, const Scratch& scratch, const Row& row, uint8_t* const* outs) {
    constexpr bool USES[2] = {(KIND & USES_FIRST) != 0, (KIND & USES_SECOND) != 0};
    constexpr bool MOVES[2] = {(KIND & FIRST_MOVES) != 0, (KIND & SECOND_MOVES) != 0};
    const int begin = row.run.begin;
    const auto line = [&](const Enlarged& map) { return Line(map, begin, row.down); };
    const Line flow[4] = {line(scratch.flow[0]), line(scratch.flow[1]), line(scratch.flow[2]),
                          line(scratch.flow[3])};
    const Line mask = line(scratch.mask);
    const int64_t stride = it.trios[0].first.stride;
    const uint8_t* at[TRIOS][2];
    for (int n = 0; n < TRIOS; ++n) {
        at[n][0] = it.trios[n].first.row(row.y) + begin;
        at[n][1] = it.trios[n].second.row(row.y) + begin;
    }
    for (int i = 0; i < row.run.count; i += SOME) {
        __m256i values[TRIOS][2];
        for (int side = 0; side < 2; ++side) {
            const Spots& spots = scratch.spots[side][(begin + i) / SOME];
            if (MOVES[side]) {
                const Sixteen x = values_at(flow[2 * side], i);
                const Sixteen y = values_at(flow[2 * side + 1], i);
                for (int n = 0; n < TRIOS; ++n)
                    values[n][side] = look_up(at[n][side] + i, stride, x, y, spots);
            } else if (USES[side]) {
                for (int n = 0; n < TRIOS; ++n) values[n][side] = codes_at(at[n][side] + i);
            }
        }
        for (int n = 0; n < TRIOS; ++n)
            store_codes(USES[0] && USES[1]
                            ? along(values[n][1], values[n][0], shares_at(mask, i))
                            : values[n][USES[0] ? 0 : 1],
                        outs[n] + i);
    }
}

template <int TRIOS>
void make_near(const WarpFields& it, const Scratch& scratch, const Row& row, uint8_t* const* outs) {
    constexpr int BOTH = USES_FIRST | USES_SECOND, MOVE = FIRST_MOVES | SECOND_MOVES;
    switch (row.run.kind) {
        case BOTH | MOVE: return make_near<BOTH | MOVE, TRIOS>(it, scratch, row, outs);
        case BOTH | FIRST_MOVES:
            return make_near<BOTH | FIRST_MOVES, TRIOS>(it, scratch, row, outs);
        case BOTH | SECOND_MOVES:
            return make_near<BOTH | SECOND_MOVES, TRIOS>(it, scratch, row, outs);
        case BOTH: return make_near<BOTH, TRIOS>(it, scratch, row, outs);
        case USES_FIRST | FIRST_MOVES:
            return make_near<USES_FIRST | FIRST_MOVES, TRIOS>(it, scratch, row, outs);
        default: return make_near<USES_SECOND | SECOND_MOVES, TRIOS>(it, scratch, row, outs);
    }
}
#endif

// One run of row y, into `outs` at its first pixel.
template <int TAPS>
inline void make_run(const WarpFields& it, const Scratch& scratch, const Run& run, int y,
                     float down, Looking<TAPS>& looking, uint8_t* const* outs) {
    const bool uses[2] = {(run.kind & USES_FIRST) != 0, (run.kind & USES_SECOND) != 0};
    const bool moves[2] = {(run.kind & FIRST_MOVES) != 0, (run.kind & SECOND_MOVES) != 0};
    const bool is_mixed = uses[0] && uses[1];
    const int only = uses[0] ? 0 : 1;
    const Bounds<TAPS> bounds{it.width, it.height};
    Row row = {run, y, down, {}};
    for (int side = 0; side < 2; ++side)
        row.is_inside[side] =
            moves[side] && bounds.hold_all(run.reach[side], run.begin, run.whole(), y);
#ifdef __AVX2__
    if (TAPS == 2 && run.count % SOME == 0 && (is_mixed || moves[only]) &&
        moves[0] == row.is_inside[0] && moves[1] == row.is_inside[1] && have_one_stride(it)) {
        (it.trios_count > 1 ? make_near<2> : make_near<1>)(it, scratch, row, outs);
        return;
    }
#endif
    if (is_mixed) fill_shares(Line(scratch.mask, run.begin, down), run.count, looking.share);
    for (int n = 0; n < it.trios_count; ++n) {
        const Plane planes[2] = {it.trios[n].first, it.trios[n].second};
        uint8_t* const out = outs[n];
        if (!is_mixed && !moves[only]) {
            memcpy(out, planes[only].row(y) + run.begin, (size_t)run.count);
            continue;
        }
        const Trio& last = it.trios[n ? n - 1 : 0];
        const int64_t strides[2] = {last.first.stride, last.second.stride};
        for (int side = 0; side < 2; ++side) {
            if (!uses[side]) continue;
            if (moves[side] && (n == 0 || planes[side].stride != strides[side]))
                place<TAPS>(it, scratch, row, side, planes[side].stride, looking.places[side]);
            look<TAPS>(it, planes[side], row, side, looking);
        }
        if (is_mixed)
            mix(looking.values[0], looking.values[1], looking.share, run.count, out);
        else
            round_to(out, looking.values[only], run.count);
    }
}

// What is the same for all rows of pixels between two rows of cells.
template <int TAPS>
void look_ahead(const WarpFields& it, const Scratch& scratch, int side, Run& run) {
    const Enlarged &flow_x = scratch.flow[2 * side], &flow_y = scratch.flow[2 * side + 1];
    run.reach[side] = reach_of(flow_x, flow_y, run.begin, run.whole());
#ifdef __AVX2__
    if (TAPS > 2) return;
    for (int x = run.begin; x + SOME <= run.begin + run.count; x += SOME)
        find_spots(flow_x, flow_y, x, it.trios[0].first.stride, scratch.spots[side][x / SOME]);
#else
    (void)it;
#endif
}

template <int TAPS>
void make_row(const WarpFields& it, Scratch& scratch, int y, Looking<TAPS>& looking,
              uint8_t* const* outs) {
    const Guide& guide = it.guide;
    const Between rows = between(y, guide.down, guide.rows);
    Runs& found = scratch.to_warp;
    if (find_runs(guide, scratch.across, rows, it.width, TO_WARP, scratch.kinds, found)) {
        if (found.all & (FIRST_MOVES | SECOND_MOVES))
            for (int n = 0; n < 4; ++n)
                scratch.take(guide.flow[n], rows, moved_by(n % 2 ? guide.down : guide.across),
                             guide, scratch.flow[n]);
        for (int n = 0; n < found.count; ++n)
            for (int side = 0; side < 2; ++side)
                if (found.runs[n].kind & (side ? SECOND_MOVES : FIRST_MOVES))
                    look_ahead<TAPS>(it, scratch, side, found.runs[n]);
        if ((found.all & USES_FIRST) && (found.all & USES_SECOND))
            scratch.take(guide.mask, rows, SHARES, guide, scratch.mask);
    }
    for (int n = 0; n < found.count; ++n) {
        const Run& run = found.runs[n];
        uint8_t* at[MOST_TRIOS] = {};
        for (int m = 0; m < it.trios_count; ++m) at[m] = outs[m] + run.begin;
        make_run<TAPS>(it, scratch, run, y, rows.share, looking, at);
    }
}

void finish_row(const WarpFields& it, Scratch& scratch, int y, Finishing& finishing, uint8_t* out) {
    const Guide& guide = it.guide;
    const Between rows = between(y, guide.down, guide.rows);
    Runs& found = scratch.to_finish;
    if (find_runs(guide, scratch.across, rows, it.width, TO_FINISH, scratch.kinds, found)) {
        if (found.all & IS_SOFT)
            scratch.take(guide.softness, rows, SHARES, guide, scratch.softness);
        if (found.all & HAS_RESIDUAL)
            scratch.take(guide.residual, rows, ADDED, guide, scratch.residual);
    }
    for (int n = 0; n < found.count; ++n) {
        const Run& run = found.runs[n];
        finish_run(run, scratch.ring, y, it.height, rows.share, scratch.softness, scratch.residual,
                   finishing, out + run.begin);
    }
}

template <int TAPS>
void warp_rows(const WarpFields& it) {
    Scratch scratch(it);
    Looking<TAPS> looking;
    uint8_t* outs[MOST_TRIOS] = {};
    if (it.guide.residual.at == nullptr) {
        for (int y = it.begin; y < it.end; ++y) {
            for (int n = 0; n < it.trios_count; ++n)
                outs[n] = it.trios[n].out + y * it.trios[n].out_stride;
            make_row<TAPS>(it, scratch, y, looking, outs);
        }
        return;
    }
    Finishing finishing;
    const int last = it.end + REACH < it.height ? it.end + REACH : it.height;
    int made = it.begin > REACH ? it.begin - REACH : 0;
    for (int y = it.begin; y < it.end; ++y) {
        for (; made < last && made <= y + REACH; ++made) {
            outs[0] = scratch.ring.row(made);
            make_row<TAPS>(it, scratch, made, looking, outs);
            scratch.ring.repeat_edges(made, it.width);
        }
        finish_row(it, scratch, y, finishing, it.trios[0].out + y * it.trios[0].out_stride);
    }
}

}  // namespace

EXPORTED void warp_rows(const WarpFields* it) {
    if (it->is_sharp)
        warp_rows<4>(*it);
    else
        warp_rows<2>(*it);
}
