// How a picture is made of two: of the motions that are told, the one both pictures confirm.
//
// What `pack_motion` and `ReferenceMotionEngine` compute together, straight from two small pictures
// of one byte per pixel and the flows between them. Reads both once, and looks each up at four
// places per pixel by either flow; gives 6 floats per cell, and 29 more where a network takes them.
// All between is rows, and 12 planes of cells.
//
// Three steps, each in two parts that may run at once; a step needs both parts of the one before.

#include <cstdint>
#include <initializer_list>

#include "exported.h"
#include "guide_fields.h"
#include "guide_choice.h"
#include "guide_out.h"

namespace {

struct Work {
    Grid grid;
    Codes ends[2];
    Field coarse[2], carried[2];
    float* measures[MEASURES];
    CellRow cells[GUIDE_PARTS];
    Sums sums[GUIDE_PARTS];
};

Work laid_out(int height, int width, Room& room) {
    Work work;
    const int rows = (height + 1) / 2, columns = (width + 1) / 2;
    work.grid = {rows, columns, whole_lanes(columns)};
    for (Codes& end : work.ends) end = codes_in(room, height, width);
    for (Field* field : {&work.coarse[0], &work.coarse[1], &work.carried[0], &work.carried[1]})
        *field = {room.of<float>(work.grid.size()), room.of<float>(work.grid.size())};
    for (float*& plane : work.measures) plane = room.of<float>(work.grid.size());
    // A row of cells and what is looked at beyond either end.
    const auto line = [&] {
        float* whole = room.of<float>(work.grid.stride + 3 * LANES);
        return whole ? whole + LANES : nullptr;
    };
    for (CellRow& cells : work.cells) {
        for (auto& picture : cells.codes)
            for (float*& part : picture) part = line();
        for (int part = 0; part < 2; ++part) cells.x[part] = line(), cells.y[part] = line();
    }
    for (Sums& sums : work.sums)
        for (int n = 0; n < MISMATCHES; ++n)
            sums.narrow[n] = line(), sums.wide[n] = line(), sums.detail[n] = line();
    return work;
}

Work laid_out(const GuideFields& fields) {
    Room room = {fields.scratch};
    return laid_out(fields.height, fields.width, room);
}

// Where this part begins, and with the next one where it ends.
int first_row(const GuideFields& fields, const Grid& grid, int more) {
    return grid.rows * (fields.part + more) / GUIDE_PARTS;
}

void compare(const GuideFields& fields, const Work& work, const CellRow& cells, int row) {
    const float shares[2][2] = {{-2 * fields.time, 2 * (1 - fields.time)},
                                {2 * fields.time, -2 * (1 - fields.time)}};
    for (int n = 0; n < 2; ++n) {
        enlarge_down(work.carried[n], work.grid, row, cells);
        bring(work.ends, shares[n], work.grid, row, cells, 2 * n);
    }
    for (int end = 0; end < 2; ++end)
        take(work.ends[end], work.grid, row, cells.codes[4 + end]);
    repeat_last(work.ends[0], work.grid, row, cells);
    measure(cells, work.grid, work.measures, row * work.grid.stride);
    if (fields.pictures) give_pictures(cells, work.grid, row, fields);
}

}  // namespace

// Each part brings one flow to the wanted time. Without scratch it only says how many bytes of it
// are needed.
EXPORTED void guide_carry(GuideFields* fields) {
    Room room = {fields->scratch};
    const Work work = laid_out(fields->height, fields->width, room);
    fields->scratch_bytes = room.used;
    if (fields->scratch == nullptr) return;
    const int n = fields->part;
    copy(n ? fields->second : fields->first, n ? fields->second_stride : fields->first_stride,
         work.ends[n]);
    make_coarser(n ? fields->backward : fields->forward, fields->height, fields->width, work.grid,
                 work.coarse[n]);
    carry(work.coarse[n], work.grid, n ? fields->time - 1 : -fields->time, work.carried[n]);
    if (fields->motion) give_motion(work.carried[n], work.grid, *fields);
}

// Each part has half of the rows, here and in the last step.
EXPORTED void guide_compare(GuideFields* fields) {
    const Work work = laid_out(*fields);
    const int end = first_row(*fields, work.grid, 1);
    for (int row = first_row(*fields, work.grid, 0); row < end; ++row)
        compare(*fields, work, work.cells[fields->part], row);
    if (fields->pictures && end == work.grid.rows)
        repeat_below(fields->pictures, PICTURES, 2 * end, 2 * fields->out_rows,
                     2 * fields->out_columns);
}

EXPORTED void guide_choose(GuideFields* fields) {
    const Work work = laid_out(*fields);
    const int end = first_row(*fields, work.grid, 1);
    for (int row = first_row(*fields, work.grid, 0); row < end; ++row)
        choose_row(*fields, work.grid, work.carried, work.measures, work.sums[fields->part], row);
    if (end == work.grid.rows)
        repeat_below(fields->maps, MAPS, end, fields->out_rows, fields->out_columns);
}
