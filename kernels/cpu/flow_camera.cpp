// Puts the camera's motion into a flow, wherever it explains one picture by the other as well or
// better; `streamer/ops/motion_global.py` is the definition.
//
// Takes what `flow_search` takes, with the flow filled, and changes the flow. Reads about 6 bytes
// per pixel twice. A place counts with the 9x9 pixels around it; edges repeat.

#include <cstdint>
#include <cstring>

#include "exported.h"
#include "flow_camera.h"
#include "flow_codes.h"
#include "flow_fields.h"

namespace {

constexpr int AROUND = 9, HALF = AROUND / 2;
constexpr float FAVOUR = 1.2f;
constexpr float UNITS = 64.0f;  // of a code value; 255 times that and the favour fits 16 bits

typedef int16_t Shorts __attribute__((vector_size(2 * LANES)));

struct Work {
    Codes codes;
    Point* points;
    double *off, *sorted;
    int16_t* worse;  // by how much the camera explains a pixel worse
    int64_t stride;
    float *x, *y, *start;  // one row
    int32_t* columns;      // of `worse`, summed; with `HALF` more at either end
    int32_t* around;       // of those, summed
};

Work laid_out(int height, int width, Room& room) {
    Work work;
    const int count = points_of(height, width);
    work.stride = whole_lanes(width);
    work.codes = codes_in(room, height, width);
    work.points = room.of<Point>(count);
    work.off = room.of<double>(count);
    work.sorted = room.of<double>(count);
    work.worse = room.of<int16_t>(work.stride * height);
    work.x = room.of<float>(work.stride);
    work.y = room.of<float>(work.stride);
    work.start = room.of<float>(work.stride);
    work.columns = room.of<int32_t>(work.stride + AROUND);
    work.around = room.of<int32_t>(work.stride);
    return work;
}

void compare_row(const Fields& fields, const Work& work, const Camera& camera, int row) {
    const int width = fields.width;
    const float* flow = fields.flow + 2 * int64_t(row) * width;
    const uint8_t* start = fields.start + row * fields.start_stride;
    for (int x = 0; x < width; ++x) {
        work.x[x] = flow[2 * x], work.y[x] = flow[2 * x + 1];
        work.start[x] = start[x];
    }
    const float down = (row - fields.height / 2.0f) / width;
    const Lanes y = Lanes{} + float(row);
    const Lanes camera_x = y * 0.0f + (camera.x[0] + down * camera.x[2]);
    const Lanes camera_y = y + (camera.y[0] + down * camera.y[2]);
    int16_t* worse = work.worse + row * work.stride;
    for (int left = 0; left < width; left += LANES) {
        const Lanes x = counted_from(left), codes = load(work.start + left);
        const Lanes across = (x - width / 2.0f) * (1.0f / width);
        const Lanes by_flow = look_up(work.codes, x + load(work.x + left), y + load(work.y + left));
        const Lanes by_camera = look_up(work.codes, x + (camera_x + across * camera.x[1]),
                                        camera_y + across * camera.y[1]);
        const Wholes units =
            whole((size_of(by_camera - codes) - FAVOUR * size_of(by_flow - codes)) * UNITS);
        const Shorts kept = __builtin_convertvector(units, Shorts);
        std::memcpy(worse + left, &kept, sizeof kept);
    }
}

// Of AROUND columns each: `sums` have HALF more at either end.
inline void sum_across(const int32_t* __restrict sums, int width, int32_t* __restrict around) {
    for (int x = 0; x < width; ++x) {
        int32_t sum = 0;
        for (int n = -HALF; n <= HALF; ++n) sum += sums[x + n];
        around[x] = sum;
    }
}

inline void put(const int32_t* __restrict around, const Camera& camera, float down, int width,
                float* __restrict flow) {
    const float middle_x = camera.x[0] + down * camera.x[2], gain_x = camera.x[1];
    const float middle_y = camera.y[0] + down * camera.y[2], gain_y = camera.y[1];
    for (int x = 0; x < width; ++x) {
        const float across = (x - width / 2.0f) * (1.0f / width);
        flow[2 * x] = around[x] <= 0 ? middle_x + across * gain_x : flow[2 * x];
        flow[2 * x + 1] = around[x] <= 0 ? middle_y + across * gain_y : flow[2 * x + 1];
    }
}

// One row more below, one less above.
inline void move_down(const int16_t* __restrict below, const int16_t* __restrict above, int width,
                      int32_t* __restrict sums) {
    for (int x = 0; x < width; ++x) sums[x] += below[x] - above[x];
}

void choose(const Fields& fields, const Work& work, const Camera& camera) {
    int32_t* sums = work.columns + HALF;
    const int width = fields.width;
    const auto row_of = [&](int row) {
        row = row < 0 ? 0 : row < fields.height ? row : fields.height - 1;
        return work.worse + row * work.stride;
    };
    for (int x = 0; x < width; ++x) sums[x] = 0;
    for (int row = -HALF; row <= HALF; ++row)
        for (int x = 0; x < width; ++x) sums[x] += row_of(row)[x];
    for (int row = 0; row < fields.height; ++row) {
        if (row) move_down(row_of(row + HALF), row_of(row - HALF - 1), width, sums);
        for (int n = 1; n <= HALF; ++n) sums[-n] = sums[0], sums[width - 1 + n] = sums[width - 1];
        sum_across(sums, width, work.around);
        const float down = (row - fields.height / 2.0f) / width;
        put(work.around, camera, down, width, fields.flow + 2 * int64_t(row) * width);
    }
}

}  // namespace

// Without scratch it only says how many bytes of it are needed.
EXPORTED void flow_complete(Fields* fields) {
    Room room = {fields->scratch};
    const Work work = laid_out(fields->height, fields->width, room);
    fields->scratch_bytes = room.used;
    if (fields->scratch == nullptr) return;
    copy(fields->end, fields->end_stride, work.codes);
    const Camera camera = fitted(fields->flow, fields->height, fields->width, work.points,
                                 work.off, work.sorted);
    for (int row = 0; row < fields->height; ++row) compare_row(*fields, work, camera, row);
    choose(*fields, work, camera);
}
