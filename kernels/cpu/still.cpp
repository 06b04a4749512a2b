// What stands still in front of what moves: streamer/ops/motion_still.py says why, and by OpenCV how.
//
// still_see:   compares a luma with what each pixel was when it last changed, and counts for how long
//              it did not.
// still_weigh: looks for evidence that detail stands, and marks what is to be copied.
// still_copy:  copies marked pixels.
// luma, planes: bytes, any stride; all else lies in one piece. Sides of a luma are even and at least
//              LEAST_SIDE; what it calls small has half of them.
// Borders:     compared pixels are those inside; sums see the picture mirrored about its last pixels.

#include "exported.h"
#include "still_mark.h"
#include "still_weigh.h"

namespace {

struct SeeFields {
    const uint8_t* luma;
    uint8_t *anchor, *age, *contrast;
    int64_t stride;
    int32_t height, width;
    uint8_t least_change, change, oldest;  // `change` in 1/256 of the contrast
};

struct WeighFields {
    const uint8_t *age, *contrast;
    const char* pictures;  // six planes of float32, of which the small picture is filled
    float* evidence;
    uint8_t* mask;
    uint8_t* scratch;
    int64_t plane_stride, row_stride, scratch_bytes;
    int32_t height, width;
    float doubt, times, pace, enough;
    uint8_t needed, least_contrast, crowd;
    uint8_t is_any;  // given back: whether the mask is more than zeros
};

struct CopyFields {
    const uint8_t *mask, *from;
    uint8_t* to;
    int64_t mask_stride, from_stride, to_stride;
    int32_t rows, columns;  // of the mask
    int32_t is_doubled;     // the planes have twice as many
};

// The greatest and the least of three rows, with one more at either end.
inline void spread_down(const uint8_t* __restrict a, const uint8_t* __restrict b,
                        const uint8_t* __restrict c, int count, uint8_t* __restrict most,
                        uint8_t* __restrict least) {
    for (int x = 0; x < count; ++x) {
        const uint8_t high = a[x] > b[x] ? a[x] : b[x], low = a[x] < b[x] ? a[x] : b[x];
        most[x] = high > c[x] ? high : c[x];
        least[x] = low < c[x] ? low : c[x];
    }
}

inline void compare(const SeeFields& it, const uint8_t* __restrict luma,
                    const uint8_t* __restrict most, const uint8_t* __restrict least, int count,
                    uint8_t* __restrict anchor, uint8_t* __restrict age,
                    uint8_t* __restrict contrast) {
    const uint8_t at_least = it.least_change, oldest = it.oldest;
    const uint16_t change = it.change;
    for (int x = 0; x < count; ++x) {
        uint8_t high = most[x - 1] > most[x + 1] ? most[x - 1] : most[x + 1];
        uint8_t low = least[x - 1] < least[x + 1] ? least[x - 1] : least[x + 1];
        high = high > most[x] ? high : most[x];
        low = low < least[x] ? low : least[x];
        const uint8_t spread = (uint8_t)(high - low);
        contrast[x] = spread;
        const uint8_t share = (uint8_t)((uint16_t)(spread * change + 128) >> 8);
        const uint8_t allowed = share > at_least ? share : at_least;
        const uint8_t above = luma[x] > anchor[x] ? luma[x] : anchor[x];
        const uint8_t below = luma[x] > anchor[x] ? anchor[x] : luma[x];
        const bool is_changed = (uint8_t)(above - below) > allowed;
        anchor[x] = is_changed ? luma[x] : anchor[x];
        const uint8_t older = (uint8_t)((age[x] < oldest ? age[x] : oldest) + 1);
        age[x] = is_changed ? 0 : older;
    }
}

constexpr int RUN = 1024, BESIDE = 16;

void see_row(const SeeFields& it, int y) {
    const uint8_t* const row = it.luma + y * it.stride;
    const uint8_t* const above = y > 0 ? row - it.stride : row;
    const uint8_t* const below = y + 1 < it.height ? row + it.stride : row;
    uint8_t spreads[2][RUN + 2 * BESIDE];
    uint8_t *most = spreads[0] + BESIDE, *least = spreads[1] + BESIDE;
    for (int begin = 0; begin < it.width; begin += RUN) {
        const int count = it.width - begin < RUN ? it.width - begin : RUN;
        const int first = begin > 0 ? begin - 1 : 0;
        const int last = begin + count < it.width ? begin + count + 1 : it.width;
        const int off = first - begin;
        spread_down(above + first, row + first, below + first, last - first, most + off,
                    least + off);
        if (begin == 0) most[-1] = most[0], least[-1] = least[0];
        if (begin + count == it.width)
            most[count] = most[count - 1], least[count] = least[count - 1];
        const int64_t at = (int64_t)y * it.width + begin;
        compare(it, row + begin, most, least, count, it.anchor + at, it.age + at,
                it.contrast + at);
    }
}

inline bool is_empty(const uint8_t* mask, int count) {
    uint8_t any = 0;
    for (int x = 0; x < count; ++x) any |= mask[x];
    return any == 0;
}

inline void copy_same(const uint8_t* __restrict mask, const uint8_t* __restrict from, int count,
                      uint8_t* __restrict to) {
    for (int x = 0; x < count; ++x) to[x] = (uint8_t)((from[x] & mask[x]) | (to[x] & ~mask[x]));
}

inline void copy_doubled(const uint8_t* __restrict mask, const uint8_t* __restrict from, int count,
                         uint8_t* __restrict to) {
    for (int x = 0; x < count; ++x) {
        uint16_t pair, under;
        std::memcpy(&pair, from + 2 * x, sizeof pair);
        std::memcpy(&under, to + 2 * x, sizeof under);
        const uint16_t both = (uint16_t)(mask[x] * 257);
        pair = (uint16_t)((pair & both) | (under & ~both));
        std::memcpy(to + 2 * x, &pair, sizeof pair);
    }
}

constexpr int BLOCK = 64;

}  // namespace

EXPORTED void still_see(const SeeFields* it) {
    for (int y = 0; y < it->height; ++y) see_row(*it, y);
}

// Without scratch it only says how many bytes of it are needed.
EXPORTED void still_weigh(WeighFields* it) {
    Room room = {it->scratch};
    const Small small(room, it->height, it->width);
    it->scratch_bytes = room.used;
    if (it->scratch == nullptr) return;
    mark_old(it->age, it->contrast, {it->needed, it->least_contrast, it->crowd}, small);
    measure(it->pictures, it->plane_stride, it->row_stride, small);
    for (int y = 0; y < small.rows; ++y)
        judge(it->pictures, it->plane_stride, it->row_stride, it->times, it->doubt, small, y);
    for (int y = 0; y < small.rows; ++y)
        gather(small, y, it->pace, it->evidence + (int64_t)y * small.columns);
    it->is_any = mark_still(it->evidence, it->enough, small, it->mask);
}

EXPORTED void still_copy(const CopyFields* it) {
    const int times = it->is_doubled ? 2 : 1;
    for (int y = 0; y < it->rows; ++y) {
        const uint8_t* const mask = it->mask + y * it->mask_stride;
        for (int x = 0; x < it->columns; x += BLOCK) {
            const int count = it->columns - x < BLOCK ? it->columns - x : BLOCK;
            if (is_empty(mask + x, count)) continue;
            for (int n = 0; n < times; ++n) {
                const uint8_t* const from = it->from + (times * y + n) * it->from_stride;
                uint8_t* const to = it->to + (times * y + n) * it->to_stride;
                if (it->is_doubled)
                    copy_doubled(mask + x, from + 2 * x, count, to + 2 * x);
                else
                    copy_same(mask + x, from + x, count, to + x);
            }
        }
    }
}
