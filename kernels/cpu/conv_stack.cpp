// A stack of 3x3 convolutions from a packed picture to its residual, in whole numbers, all layers at once:
// each has only the rows at hand that the next one stands on, so that they never leave the cache.
//
// in:          (6, rows, columns) float32, as networks take it; or 12, of two such pictures.
// out:         (outs, rows, columns) uint8, `zero` of the last layer being none.
// Arithmetic:  conv_tiles.h; the same to the bit at every level of processor, and wherever a picture is
//              cut into parts.

#include "conv_ends.h"
#include "conv_tiles.h"
#include "exported.h"

namespace {

constexpr int MOST_LAYERS = 16;

// As `_Fields` in kernels/native_conv.py.
struct ConvFields {
    ConvLayer layers[MOST_LAYERS];
    const char* packed;
    int64_t packed_plane, packed_row;  // bytes
    uint8_t* residual;
    int64_t residual_plane, residual_row;
    char* scratch;
    int64_t scratch_bytes;
    float skip_share, kept_share;  // of the last layer but one and of the first one; both 0: no skip
    int32_t layers_count, outs;
    int32_t rows, columns, begin;
    int32_t first, end;            // rows that are filled, of those from `begin` on
    int32_t* left;                 // steps of rows that nobody has begun
    int32_t repeats_edge;  // for the first layer; else there is nothing beyond the picture
    int32_t phases;        // planes of `packed`, 6 or 12
    int32_t top;           // code values that they reach, up and down
};

// The last rows of something, as pixels with one more on either side.
struct Ring {
    char* at;
    int64_t row_bytes;
    int count;

    char* row(int y) const { return at + (y + count) % count * row_bytes; }
};

// Four rows of a layer stand on six of the one before, which ends with the last of these: each begins
// that much higher up.
constexpr int AT_HAND = REACH, HIGHER = REACH - SIDE + 1;

class Stack {
  public:
    Stack(const ConvFields& fields, char* scratch) : it(fields), next(scratch) {
        tiles = (it.columns + SIDE - 1) / SIDE;
        const int pixels = SIDE * tiles + 2, last = it.layers_count - 1;
        input = ring(AT_HAND, (int64_t)pixels * SHORTS * sizeof(int16_t));
        int widest = SHORTS, most_outs = 0;
        for (int n = 0; n <= last; ++n) {
            const ConvLayer& layer = it.layers[n];
            if (layer.channels > widest) widest = layer.channels;
            if (layer.outs > most_outs) most_outs = layer.outs;
            const bool is_kept = n == 0 && has_skip();
            // What a skip carries over waits for all layers between.
            if (n < last) rings[n] = ring(is_kept ? last + AT_HAND : AT_HAND, pixels * step(n));
        }
        finished = ring(SIDE, pixels * step(last));
        // Rows beyond the picture are read as nothing; those that nobody needs are written to the other.
        nothing = take(pixels * (int64_t)(widest * sizeof(int16_t)));
        unwanted = take(pixels * (int64_t)(most_outs + SHORTS));
        room = reinterpret_cast<ConvRoom*>(take(sizeof(ConvRoom)));
        carried = take((int64_t)PLACES * CHUNK * widest * sizeof(int16_t));
    }

    int64_t bytes(const char* scratch) const { return next - scratch; }

    void run() {
        std::memset(input.at, 0, nothing - input.at);
        std::memset(nothing, 0, unwanted - nothing);
        room->carried = reinterpret_cast<int16_t*>(carried);
        const int last = it.layers_count - 1;
        for (int n = 0; n <= last; ++n) {
            done[n] = it.begin - HIGHER * (last - n);
            while (done[n] <= -SIDE) done[n] += SIDE;
        }
        taken = done[0] > 0 ? done[0] - 1 : 0;
        // Whoever comes from the other end takes from the same number.
        for (int y = it.begin; __atomic_fetch_sub(it.left, 1, __ATOMIC_RELAXED) > 0; y += SIDE) {
            produce(last, y + SIDE);
            for (int row = y < it.first ? it.first : y; row < y + SIDE && row < it.end; ++row)
                give_row(reinterpret_cast<uint8_t*>(finished.row(row)) + step(last), step(last),
                         it.outs, it.columns, it.residual + row * it.residual_row,
                         it.residual_plane);
        }
    }

  private:
    bool has_skip() const { return it.skip_share != 0 || it.kept_share != 0; }

    // Bytes from pixel to pixel of what layer `n` gives.
    int64_t step(int n) const {
        const int outs = it.layers[n].outs;
        return n + 1 < it.layers_count ? it.layers[n + 1].channels
                                       : (outs + SHORTS - 1) / SHORTS * SHORTS;
    }

    char* take(int64_t size) {
        char* taken = next;
        next += (size + 63) / 64 * 64;
        return taken;
    }

    Ring ring(int count, int64_t row_bytes) {
        // Whole lines of cache, and never a power of two, whose rows would all share the same few.
        const int64_t padded = (row_bytes + 63) / 64 * 64 + 64;
        return {take(count * padded), padded, count};
    }

    bool is_inside(int y) const { return 0 <= y && y < it.rows; }

    // Has layer `n` finish its rows up to `end`, which may lie beyond the picture.
    void produce(int n, int end) {
        while (done[n] < end && done[n] < it.rows) {
            const int y = done[n];
            if (n == 0) {
                take_rows(y + SIDE + 1);
                convolve<int16_t>(n, y, input);
            } else {
                produce(n - 1, y + SIDE + 1);
                convolve<uint8_t>(n, y, rings[n - 1]);
            }
            done[n] += SIDE;
        }
    }

    void take_rows(int end) {
        for (; taken < end && taken < it.rows; ++taken) {
            int16_t* const to = reinterpret_cast<int16_t*>(input.row(taken)) + SHORTS;
            take_row(it.packed + taken * it.packed_row, it.packed_plane, it.phases, (float)it.top,
                     it.columns, to);
            if (it.repeats_edge) {
                std::memcpy(to - SHORTS, to, SHORTS * sizeof *to);
                int16_t* const beyond = to + it.columns * SHORTS;
                std::memcpy(beyond, beyond - SHORTS, SHORTS * sizeof *to);
            }
        }
    }

    template <class Element>
    void convolve(int n, int y, const Ring& source) {
        const Element* rows[REACH];
        for (int row = 0; row < REACH; ++row) {
            int at = y - 1 + row;
            if (n == 0 && it.repeats_edge) at = at < 0 ? 0 : at < it.rows ? at : it.rows - 1;
            rows[row] = reinterpret_cast<const Element*>(is_inside(at) ? source.row(at) : nothing);
        }
        const int last = it.layers_count - 1;
        const Ring& target = n == last ? finished : rings[n];
        uint8_t* out[SIDE];
        Skip skip;
        for (int row = 0; row < SIDE; ++row) {
            const bool is_wanted = is_inside(y + row);
            out[row] = reinterpret_cast<uint8_t*>(is_wanted ? target.row(y + row) : unwanted) + step(n);
            if (n == last - 1 && has_skip()) {
                skip.share = it.skip_share;
                skip.kept_share = it.kept_share;
                skip.kept[row] = reinterpret_cast<const uint8_t*>(
                                     is_wanted ? rings[0].row(y + row) : nothing) + step(n);
            }
        }
        convolve_rows(it.layers[n], rows, tiles, *room, out, step(n), skip);
        // Tiles may be wider than the picture.
        const int64_t beyond = SIDE * tiles - it.columns;
        for (uint8_t* row : out) std::memset(row + it.columns * step(n), 0, beyond * step(n));
    }

    const ConvFields& it;
    char* next;
    int tiles;
    Ring input, rings[MOST_LAYERS], finished;
    char *nothing, *unwanted, *carried;
    ConvRoom* room;
    int done[MOST_LAYERS], taken;
};

}  // namespace

// How wide vectors are that `outs` is counted in.
EXPORTED int conv_lanes() { return LANES; }

// Bytes of scratch that a part of such a picture needs, however many rows it has.
EXPORTED void conv_plan(ConvFields* it) {
    char* const nowhere = nullptr;
    it->scratch_bytes = Stack(*it, nowhere).bytes(nowhere);
}

// Fills rows from `begin` on, SIDE at a time, while any are left. Strides may be negative: with weights that
// are upside down as well, rows are filled from the other end. Scratch begins at a multiple of 64.
EXPORTED void conv_stack(const ConvFields* it) { Stack(*it, it->scratch).run(); }
