// Threads of a block as coroutines (ucontext), so that __syncthreads means what it does on a device.
#include "run.h"

#include <ucontext.h>

#include <vector>

Index threadIdx, blockIdx, blockDim, gridDim;

namespace {

constexpr size_t STACK_BYTES = 64 * 1024;

struct Thread {
    ucontext_t context;
    std::vector<char> stack;
    Index index;
    bool is_done;
};

ucontext_t scheduler;
Thread* current;
const std::function<void()>* body;

void enter() {
    (*body)();
    current->is_done = true;
    swapcontext(&current->context, &scheduler);
}

// Each round brings every thread to its next barrier, or to its end.
void run_waiting_block(std::vector<Thread>& threads) {
    for (Thread& thread : threads) {
        getcontext(&thread.context);
        thread.stack.resize(STACK_BYTES);
        thread.context.uc_stack.ss_sp = thread.stack.data();
        thread.context.uc_stack.ss_size = STACK_BYTES;
        thread.context.uc_link = nullptr;
        thread.is_done = false;
        makecontext(&thread.context, enter, 0);
    }
    for (bool is_running = true; is_running;) {
        is_running = false;
        for (Thread& thread : threads) {
            if (thread.is_done) continue;
            current = &thread;
            threadIdx = thread.index;
            swapcontext(&scheduler, &thread.context);
            is_running = is_running || !thread.is_done;
        }
    }
}

}  // namespace

void __syncthreads() { swapcontext(&current->context, &scheduler); }

void run_grid(const Launch& launch, const std::function<void()>& kernel) {
    blockDim = {launch.threads_x, launch.threads_y, 1};
    gridDim = {launch.blocks_x, launch.blocks_y, 1};
    body = &kernel;
    std::vector<Thread> threads;
    for (unsigned y = 0; y < blockDim.y; ++y)
        for (unsigned x = 0; x < blockDim.x; ++x) threads.push_back({{}, {}, {x, y, 0}, false});
    for (blockIdx.y = 0; blockIdx.y < gridDim.y; ++blockIdx.y)
        for (blockIdx.x = 0; blockIdx.x < gridDim.x; ++blockIdx.x) {
            if (launch.waits) {
                run_waiting_block(threads);
                continue;
            }
            for (Thread& thread : threads) {
                threadIdx = thread.index;
                kernel();
            }
        }
}
