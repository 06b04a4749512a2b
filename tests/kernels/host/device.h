// What the driver of cuda.cpp holds: memory, streams and what is queued on them, and what goes wrong.
#pragma once
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#ifndef CUDA_VERSION
// As in cuda.h, which need not be there; where it is, -include cuda.h compares each declaration.
typedef int CUresult, CUdevice, CUdevice_attribute, CUstreamCaptureMode;
typedef unsigned long long CUdeviceptr, cuuint64_t;
typedef struct CUctx_st *CUcontext;
typedef struct CUstream_st *CUstream;
typedef struct CUevent_st *CUevent;
typedef struct CUgraph_st *CUgraph;
typedef struct CUgraphExec_st *CUgraphExec;
typedef struct CUmod_st *CUmodule;
typedef struct CUfunc_st *CUfunction;
typedef void (*CUhostFn)(void *);
#endif

namespace {

struct Launch { unsigned blocks_x, blocks_y, threads_x, threads_y, waits; };

using Work = std::function<void()>;

struct Stream {
    std::deque<Work> queue;
    size_t done = 0;
    bool captures = false;
    std::vector<Work> captured;
    size_t queued() const { return done + queue.size(); }
};

struct Event {
    unsigned flags;
    Stream *stream = nullptr;
    size_t place = 0;
};

struct Module { void *library; };

struct Function {
    void (*run)(const void *, const Launch *);
    size_t size;
    unsigned waits;
};

struct Fault { int status; long after; };

std::recursive_mutex door;
std::map<char *, size_t> live;
std::map<char *, size_t> locked;
std::set<Stream *> streams;
Stream null_stream;  // others do not wait for it: all are made with CU_STREAM_NON_BLOCKING
std::set<Event *> events;
std::set<std::vector<Work> *> graphs;
std::set<Module *> modules;
std::map<std::string, Fault> faults;
int lost = 0;  // what every call says from now on
size_t capacity = size_t(1) << 30;
size_t allocations = 0, launches = 0, complaints = 0, busy_waits = 0;
thread_local CUcontext current = nullptr;
CUcontext const primary = reinterpret_cast<CUcontext>(0x1234);

constexpr int INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_IMAGE = 200, INVALID_CONTEXT = 201,
              INVALID_HANDLE = 400, NOT_FOUND = 500, NOT_READY = 600, LAUNCH_FAILED = 719;
constexpr unsigned BLOCKING_SYNC = 1;

CUresult said(int status) { return static_cast<CUresult>(status); }

CUresult wrong(const char *what, int status = INVALID_VALUE) {
    std::fprintf(stderr, "%s\n", what);
    ++complaints;
    return said(status);
}

// What a call says before it does anything: that the device is lost, what a test asked for, or 0.
int trouble(const char *function, bool needs_context = true) {
    if (lost) return lost;
    if (needs_context && !current) {
        wrong("no context is current in this thread");
        return INVALID_CONTEXT;
    }
    auto found = faults.find(function);
    if (found == faults.end() || found->second.after-- > 0) return 0;
    const int status = found->second.status;
    faults.erase(found);
    // After these a context is of no more use.
    if (status >= 700) lost = status;
    return status;
}

#define BEGIN(function)                             \
    std::lock_guard<std::recursive_mutex> in(door); \
    if (int status = trouble(#function)) return said(status)

void run_until(Stream *stream, size_t place) {
    while (stream->done < place && !stream->queue.empty()) {
        Work work = stream->queue.front();
        work();
        stream->queue.pop_front();
        ++stream->done;
    }
}

void run_all(Stream *stream) { run_until(stream, stream->queued()); }

void run_all() {
    run_all(&null_stream);
    for (Stream *stream : streams) run_all(stream);
}

Stream *stream_of(CUstream handle) {
    return handle ? reinterpret_cast<Stream *>(handle) : &null_stream;
}

bool is_there(Stream *stream) { return stream == &null_stream || streams.count(stream); }

CUresult queue(CUstream handle, Work work) {
    Stream *const stream = stream_of(handle);
    if (!is_there(stream)) return wrong("a stream is used that is not there", INVALID_HANDLE);
    if (stream->captures)
        stream->captured.push_back(std::move(work));
    else
        stream->queue.push_back(std::move(work));
    return said(0);
}

bool covers(const std::map<char *, size_t> &memory, const void *address, size_t size) {
    auto *place = static_cast<const char *>(address);
    auto after = memory.upper_bound(const_cast<char *>(place));
    if (after == memory.begin()) return false;
    auto found = std::prev(after);
    return place + size <= found->first + found->second;
}

CUresult take(std::map<char *, size_t> &memory, void **out, size_t size) {
    size_t used = 0;
    for (auto &each : live) used += each.second;
    if (size > capacity || (&memory == &live && used + size > capacity)) return said(OUT_OF_MEMORY);
    ++allocations;
    // As a device gives it, what was there before is still there: nobody may count on zeros.
    void *made = std::aligned_alloc(512, (size + 511) / 512 * 512);
    std::memset(made, 0xA5, size);
    memory[static_cast<char *>(*out = made)] = size;
    return said(0);
}

CUresult give(std::map<char *, size_t> &memory, void *address) {
    auto found = memory.find(static_cast<char *>(address));
    if (found == memory.end()) return wrong("memory is freed that is not there");
    // Whatever is still queued may use it.
    run_all();
    std::memset(found->first, 0xDD, found->second);
    memory.erase(found);
    std::free(address);
    return said(0);
}

CUresult copy(void *to, const void *from, size_t size, CUstream stream) {
    return queue(stream, [=] { std::memmove(to, from, size); });
}

void *pointer(CUdeviceptr address) { return reinterpret_cast<void *>(address); }

struct AtTheEnd {
    ~AtTheEnd() {
        if (!live.empty() || !locked.empty() || !graphs.empty() || !streams.empty())
            std::fprintf(stderr, "something was not given back\n");
    }
} at_the_end;

}  // namespace
