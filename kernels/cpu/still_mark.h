// Planes of a luma's size and of half of it, and what is marked in them: 255 for yes, 0 for no.
#pragma once

#include <cstdint>
#include <cstring>

#include "flow_room.h"

namespace {

constexpr int REACH = 3;   // pixels around a still one that are copied as well
constexpr int AROUND = 4;  // small pixels to either side over which evidence is gathered
constexpr int ENDS = 64;   // values before a line and behind it

template <class Value>
Value* line_in(Room& room, int64_t count) {
    Value* const whole = room.of<Value>(count + 2 * ENDS);
    return whole ? whole + ENDS : nullptr;
}

struct Small {
    int height, width, rows, columns;
    uint8_t *detail, *old;       // of the luma's size; `detail` is marked by ones
    uint8_t *there, *explained;  // of half its size: how much of a pixel is old, and is explained
    float* moved;
    uint8_t* bytes[2];  // lines of the luma's width
    uint16_t* sums[2];  // lines of half of it
    float* floats;

    Small(Room& room, int luma_height, int luma_width)
        : height(luma_height), width(luma_width), rows(height / 2), columns(width / 2) {
        const int64_t pixels = (int64_t)height * width, small = (int64_t)rows * columns;
        detail = room.of<uint8_t>(pixels), old = room.of<uint8_t>(pixels);
        there = room.of<uint8_t>(small), explained = room.of<uint8_t>(small);
        moved = room.of<float>(small);
        for (uint8_t*& each : bytes) each = line_in<uint8_t>(room, width);
        for (uint16_t*& each : sums) each = line_in<uint16_t>(room, columns);
        floats = line_in<float>(room, columns);
    }
};

// Mirrored about the first and the last.
inline int mirrored(int n, int count) {
    n = n < 0 ? -n : n;
    return n < count ? n : 2 * (count - 1) - n;
}

template <class Value>
inline void mirror_ends(Value* line, int count, int reach) {
    for (int n = 1; n <= reach; ++n) {
        line[-n] = line[mirrored(-n, count)];
        line[count - 1 + n] = line[mirrored(count - 1 + n, count)];
    }
}

struct OldEnough {
    uint8_t needed, contrast, crowd;
};

inline void find_detail(const uint8_t* __restrict age, const uint8_t* __restrict contrast,
                        const OldEnough& limits, int64_t count, uint8_t* __restrict detail) {
    const uint8_t needed = limits.needed, least = limits.contrast;
    for (int64_t n = 0; n < count; ++n)
        detail[n] = (uint8_t)((age[n] >= needed) & (contrast[n] > least));
}

inline void add_three(const uint8_t* __restrict a, const uint8_t* __restrict b,
                      const uint8_t* __restrict c, int count, uint8_t* __restrict sum) {
    for (int x = 0; x < count; ++x) sum[x] = (uint8_t)(a[x] + b[x] + c[x]);
}

inline void find_crowds(const uint8_t* __restrict detail, const uint8_t* __restrict sums,
                        uint8_t crowd, int count, uint8_t* __restrict old) {
    for (int x = 0; x < count; ++x) {
        const uint8_t among = (uint8_t)(sums[x - 1] + sums[x] + sums[x + 1]);
        old[x] = (uint8_t)-(uint8_t)(detail[x] & (among >= crowd));
    }
}

inline void shrink(const uint8_t* __restrict upper, const uint8_t* __restrict lower, int count,
                   uint8_t* __restrict there) {
    for (int x = 0; x < count; ++x) {
        const uint16_t four = (uint16_t)(upper[2 * x] + upper[2 * x + 1] + lower[2 * x] +
                                         lower[2 * x + 1]);
        there[x] = (uint8_t)((four + 2) >> 2);
    }
}

// Detail that is old enough, and not by itself; and how much of each small pixel it is.
void mark_old(const uint8_t* age, const uint8_t* contrast, const OldEnough& limits,
              const Small& it) {
    find_detail(age, contrast, limits, (int64_t)it.height * it.width, it.detail);
    const auto row = [&](uint8_t* plane, int y) { return plane + (int64_t)y * it.width; };
    for (int y = 0; y < it.height; ++y) {
        uint8_t* const sums = it.bytes[0];
        add_three(row(it.detail, mirrored(y - 1, it.height)), row(it.detail, y),
                  row(it.detail, mirrored(y + 1, it.height)), it.width, sums);
        mirror_ends(sums, it.width, 1);
        find_crowds(row(it.detail, y), sums, limits.crowd, it.width, row(it.old, y));
        if (y % 2)
            shrink(row(it.old, y - 1), row(it.old, y), it.columns,
                   it.there + (int64_t)(y / 2) * it.columns);
    }
}

inline bool take_near(const uint8_t* __restrict old, const float* __restrict evidence, float enough,
                      int columns, uint8_t* __restrict near) {
    uint8_t any = 0;
    for (int x = 0; x < columns; ++x) {
        const uint8_t is_enough = (uint8_t)(evidence[x] > enough ? 255 : 0);
        near[2 * x] = (uint8_t)(old[2 * x] & is_enough);
        near[2 * x + 1] = (uint8_t)(old[2 * x + 1] & is_enough);
        any = (uint8_t)(any | near[2 * x] | near[2 * x + 1]);
    }
    return any != 0;
}

inline void widen(const uint8_t* __restrict near, int count, uint8_t* __restrict out) {
    for (int x = 0; x < count; ++x) {
        uint8_t any = 0;
        for (int n = -REACH; n <= REACH; ++n) any |= near[x + n];
        out[x] = any;
    }
}

inline void add_to(const uint8_t* __restrict from, int count, uint8_t* __restrict to) {
    for (int x = 0; x < count; ++x) to[x] |= from[x];
}

// What is old where there is evidence, and what is around it; whether that is anything.
bool mark_still(const float* evidence, float enough, const Small& it, uint8_t* mask) {
    bool is_any = false;
    uint8_t *near = it.bytes[0], *wide = it.bytes[1];
    for (int n = 1; n <= REACH; ++n) near[-n] = near[it.width - 1 + n] = 0;
    std::memset(mask, 0, (size_t)it.height * it.width);
    for (int y = 0; y < it.height; ++y) {
        const float* const of_row = evidence + (int64_t)(y / 2) * it.columns;
        if (!take_near(it.old + (int64_t)y * it.width, of_row, enough, it.columns, near)) continue;
        is_any = true;
        widen(near, it.width, wide);
        const int first = y > REACH ? y - REACH : 0;
        for (int other = first; other <= y + REACH && other < it.height; ++other)
            add_to(wide, it.width, mask + (int64_t)other * it.width);
    }
    return is_any;
}

}  // namespace
