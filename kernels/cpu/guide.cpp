// How a picture is made of two: of the motions that are told, the one both pictures confirm.
//
// What `pack_motion` and `ReferenceMotionEngine` compute together, straight from two small pictures
// of one byte per pixel and the flows between them. Reads both once, and looks each up at four
// places per pixel by either flow; gives 6 floats per cell. All between is rows, and 10 planes of cells.

#include <cstdint>
#include <initializer_list>

#include "exported.h"
#include "guide_fields.h"
#include "guide_choice.h"

namespace {

struct Work {
    Grid grid;
    Codes ends[2];
    Field coarse, carried[2];
    float* measures[MEASURES];
    CellRow cells;
    Sums sums;
};

Work laid_out(int height, int width, Room& room) {
    Work work;
    const int rows = (height + 1) / 2, columns = (width + 1) / 2;
    work.grid = {rows, columns, whole_lanes(columns)};
    for (Codes& end : work.ends) end = codes_in(room, height, width);
    for (Field* field : {&work.coarse, &work.carried[0], &work.carried[1]})
        *field = {room.of<float>(work.grid.size()), room.of<float>(work.grid.size())};
    for (float*& plane : work.measures) plane = room.of<float>(work.grid.size());
    // A row of cells and what is looked at beyond either end.
    const auto line = [&] {
        float* whole = room.of<float>(work.grid.stride + 3 * LANES);
        return whole ? whole + LANES : nullptr;
    };
    for (auto& picture : work.cells.codes)
        for (float*& part : picture) part = line();
    for (int part = 0; part < 2; ++part) work.cells.x[part] = line(), work.cells.y[part] = line();
    for (int n = 0; n < MISMATCHES; ++n)
        work.sums.narrow[n] = line(), work.sums.wide[n] = line(), work.sums.detail[n] = line();
    return work;
}

void compare(const GuideFields& fields, const Work& work, int row) {
    const float shares[2][2] = {{-2 * fields.time, 2 * (1 - fields.time)},
                                {2 * fields.time, -2 * (1 - fields.time)}};
    for (int n = 0; n < 2; ++n) {
        enlarge_down(work.carried[n], work.grid, row, work.cells);
        bring(work.ends, shares[n], work.grid, row, work.cells, 2 * n);
    }
    for (int end = 0; end < 2; ++end)
        take(work.ends[end], work.grid, row, work.cells.codes[4 + end]);
    repeat_last(work.ends[0], work.grid, row, work.cells);
    measure(work.cells, work.grid, work.measures, row * work.grid.stride);
    if (fields.pictures) give_out(work.cells, work.grid, row, fields.pictures);
}

}  // namespace

// Without scratch it only says how many bytes of it are needed.
EXPORTED void guide_make(GuideFields* fields) {
    Room room = {fields->scratch};
    const Work work = laid_out(fields->height, fields->width, room);
    fields->scratch_bytes = room.used;
    if (fields->scratch == nullptr) return;
    copy(fields->first, fields->first_stride, work.ends[0]);
    copy(fields->second, fields->second_stride, work.ends[1]);
    const float* flows[2] = {fields->forward, fields->backward};
    const float shares[2] = {-fields->time, fields->time - 1};
    for (int n = 0; n < 2; ++n) {
        make_coarser(flows[n], fields->height, fields->width, work.grid, work.coarse);
        carry(work.coarse, work.grid, shares[n], work.carried[n]);
    }
    for (int row = 0; row < work.grid.rows; ++row) compare(*fields, work, row);
    for (int row = 0; row < work.grid.rows; ++row)
        choose_row(*fields, work.grid, work.carried, work.measures, work.sums, row);
}
