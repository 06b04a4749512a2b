// What a program is given by standard input: bytes, and arrays after their lengths.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace {

void read(void* to, size_t bytes) {
    if (std::fread(to, 1, bytes, stdin) != bytes) std::exit(2);
}

// So many bytes as are told before them, where a line of cache begins.
template <class Element>
Element* array() {
    int64_t bytes;
    read(&bytes, sizeof bytes);
    void* const at = std::aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
    read(at, bytes);
    return static_cast<Element*>(at);
}

}  // namespace
