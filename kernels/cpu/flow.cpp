// Dense inverse search (Kroeger et al. 2016): the flow from one picture to another.
//
// Squares of 8x8 pixels are looked for in the other picture, from a coarse level to the pictures'
// own size. Each begins with what the level before says, tries what its neighbours found and
// descends along the gradients of its own picture.
//
// Takes two pictures of one byte per pixel and any stride, at least 8 pixels on each side, and
// gives two floats for each pixel, x and y. Scratch: see `room`.

#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "exported.h"
#include "flow_fields.h"
#include "flow_room.h"
#include "flow_search.h"

namespace {

constexpr int LEVELS = 7;

// 4 apart and in two passes where all depends on it; at the pictures' own size, where most of the
// time goes, what is left is less than a pixel: 4 apart and a second pass give 0.08 dB for twice the time.
constexpr int APART = 4, STEPS = 3, PASSES = 2;
constexpr int APART_LAST = 6, STEPS_LAST = 2, PASSES_LAST = 1;

struct Search {
    Level levels[LEVELS];
    int coarsest;
    float *across, *down, *total;
    Square* squares;
    Motion* motions;
};

// The coarsest level has 23 to 44 pixels along its longer side, and a square along the shorter.
int coarsest_level(int height, int width) {
    int level = 0;
    int longer = height > width ? height : width, shorter = height > width ? width : height;
    while (level + 1 < LEVELS && 10 * longer >= 7 * 8 * SIDE && shorter / 2 >= SIDE)
        ++level, longer /= 2, shorter /= 2;
    return level;
}

Search laid_out(int height, int width, Room& room) {
    Search search;
    search.coarsest = coarsest_level(height, width);
    const int64_t pixels = int64_t(height) * width;
    int most = 0;
    for (int n = 0; n <= search.coarsest; ++n) {
        Level& level = search.levels[n];
        level.height = height >> n, level.width = width >> n;
        level.apart = n ? APART : APART_LAST;
        level.rows = squares_along(level.height, level.apart);
        level.columns = squares_along(level.width, level.apart);
        level.stride = level.width + 2 * BORDER;
        most = level.squares() > most ? level.squares() : most;
        for (float** part : {&level.start, &level.end, &level.across, &level.down}) {
            float* whole = room.of<float>(level.stride * (level.height + 2 * BORDER));
            *part = whole ? whole + BORDER * level.stride + BORDER : nullptr;
        }
    }
    search.across = room.of<float>(pixels);
    search.down = room.of<float>(pixels);
    search.total = room.of<float>(pixels);
    search.squares = room.of<Square>(most);
    search.motions = room.of<Motion>(most);
    return search;
}

int64_t pixels_of(const Level& level) { return int64_t(level.height) * level.width; }

// The motion of each square by the level before, or none.
void begin(const Search& search, int n) {
    const Level& level = search.levels[n];
    for (int at = 0; at < level.squares(); ++at) {
        Motion motion = {0, 0};
        if (n < search.coarsest) {
            const Level& before = search.levels[n + 1];
            int y = (level.row(at / level.columns) + SIDE / 2) / 2;
            int x = (level.column(at % level.columns) + SIDE / 2) / 2;
            y = y < before.height ? y : before.height - 1;
            x = x < before.width ? x : before.width - 1;
            const int64_t middle = int64_t(y) * before.width + x;
            motion = {2 * search.across[middle], 2 * search.down[middle]};
        }
        search.motions[at] = motion;
    }
}

void run(const Search& search, int n) {
    const Level& level = search.levels[n];
    begin(search, n);
    for (int at = 0; at < level.squares(); ++at)
        search.squares[at] =
            measured(level, level.row(at / level.columns), level.column(at % level.columns));
    for (int round = 0; round < (n ? PASSES : PASSES_LAST); ++round)
        pass(level, search.squares, search.motions, n ? STEPS : STEPS_LAST, round % 2 == 1);
    spread(level, search.motions, search.across, search.down, search.total);
}

}  // namespace

// Without scratch it only says how many bytes of it are needed.
EXPORTED void flow_search(Fields* fields) {
    Room room = {fields->scratch};
    const Search search = laid_out(fields->height, fields->width, room);
    fields->scratch_bytes = room.used;
    if (fields->scratch == nullptr) return;
    for (int n = 0; n <= search.coarsest; ++n) {
        const Level& level = search.levels[n];
        if (n == 0) {
            take(fields->start, fields->start_stride, level.start, level);
            take(fields->end, fields->end_stride, level.end, level);
        } else {
            const Level& finer = search.levels[n - 1];
            halve(finer.start, finer.stride, level.start, level);
            halve(finer.end, finer.stride, level.end, level);
        }
        find_gradients(level);
    }
    for (int n = search.coarsest; n >= 0; --n) {
        run(search, n);
        const int64_t pixels = pixels_of(search.levels[n]);
        if (n)
            average(pixels, search.across, search.down, search.total);
        else
            average(pixels, search.across, search.down, search.total, fields->flow);
    }
}
