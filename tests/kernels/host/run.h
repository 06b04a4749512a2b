// Runs a kernel over a grid of blocks on the host; `RUN_ON_HOST(entry)` makes it callable by name, and
// tells how large its argument is. `kernels_wait()` tells whether the unit has a barrier.
#pragma once

#include "cuda_fp16.h"

#include <functional>

struct Launch {
    unsigned blocks_x, blocks_y, threads_x, threads_y;
    unsigned waits;  // the kernel calls __syncthreads
};

void run_grid(const Launch& launch, const std::function<void()>& kernel);

template <class A>
size_t argument_size(void (*)(A)) {
    return sizeof(A);
}

#define RUN_ON_HOST(entry)                                                               \
    extern "C" size_t size_##entry() { return argument_size(entry); }                    \
    template <class A>                                                                   \
    void entry##_with(void (*kernel)(A), const void* fields, const Launch* launch) {     \
        const A arguments = *static_cast<const A*>(fields);                              \
        run_grid(*launch, [&] { kernel(arguments); });                                   \
    }                                                                                    \
    extern "C" void run_##entry(const void* fields, const Launch* launch) {              \
        entry##_with(entry, fields, launch);                                             \
    }
