// Storage that the caller lends, given out one part after another.
#pragma once

#include <cstdint>

namespace {

// Without a beginning parts are only counted: so the caller learns how much to lend.
struct Room {
    uint8_t* begin;
    int64_t used = 0;

    template <class T>
    T* of(int64_t count) {
        T* part = begin ? reinterpret_cast<T*>(begin + used) : nullptr;
        used += (count * int64_t(sizeof(T)) + 63) / 64 * 64;
        return part;
    }
};

}  // namespace
