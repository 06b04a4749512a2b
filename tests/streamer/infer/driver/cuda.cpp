// A CUDA driver without a device: memory is the host's, and a stream does its work when it is
// waited for. Told on standard error: what was called wrongly, and at the end what was not given back.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <vector>

#ifndef CUDA_VERSION
// As in cuda.h, which need not be there; where it is, -include cuda.h compares each declaration.
typedef int CUresult, CUdevice, CUdevice_attribute, CUstreamCaptureMode;
typedef unsigned long long CUdeviceptr, cuuint64_t;
typedef struct CUctx_st *CUcontext;
typedef struct CUstream_st *CUstream;
typedef struct CUgraph_st *CUgraph;
typedef struct CUgraphExec_st *CUgraphExec;
#define CUDA_SUCCESS 0
#define CUDA_ERROR_OUT_OF_MEMORY 2
#define CUDA_ERROR_INVALID_VALUE 1
#endif

using Work = std::vector<std::function<void()>>;

struct Stream { Work queue; bool captures = false; };

static std::map<void *, size_t> live;
static std::map<Work *, bool> graphs;
static thread_local CUcontext current = nullptr;
static CUcontext const primary = reinterpret_cast<CUcontext>(0x1234);

static CUresult wrong(const char *what) {
    std::fprintf(stderr, "%s\n", what);
    return static_cast<CUresult>(CUDA_ERROR_INVALID_VALUE);
}

static const CUresult good = static_cast<CUresult>(CUDA_SUCCESS);

static CUresult take(void **out, size_t size) {
    if (!current) return wrong("no context is current in this thread");
    if (size > (1u << 30)) return static_cast<CUresult>(CUDA_ERROR_OUT_OF_MEMORY);
    live[*out = std::calloc(1, size)] = size;
    return good;
}

static CUresult give(void *memory) {
    if (!live.erase(memory)) return wrong("memory is freed that is not there");
    std::free(memory);
    return good;
}

static bool covers(void *memory, size_t size) {
    auto found = live.find(memory);
    return found != live.end() && size <= found->second;
}

static CUresult copy(void *to, const void *from, size_t size, CUstream stream) {
    if (!covers(to, size) || !covers(const_cast<void *>(from), size))
        return wrong("a copy goes beyond its memory, or is not of page-locked memory");
    reinterpret_cast<Stream *>(stream)->queue.push_back([=] { std::memcpy(to, from, size); });
    return good;
}

struct AtTheEnd {
    ~AtTheEnd() {
        if (!live.empty() || !graphs.empty()) std::fprintf(stderr, "something was not given back\n");
    }
} at_the_end;

extern "C" {
CUresult cuInit(unsigned) { return good; }
CUresult cuDeviceGet(CUdevice *device, int) { *device = 0; return good; }
CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice) { *context = primary; return good; }
CUresult cuDevicePrimaryCtxRelease_v2(CUdevice) { return good; }
CUresult cuCtxSetCurrent(CUcontext context) { current = context; return good; }
CUresult cuCtxGetCurrent(CUcontext *context) { *context = current; return good; }
CUresult cuCtxSynchronize() { return good; }
CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute which, CUdevice) {
    *value = which == 75 ? 9 : 0;
    return good;
}
CUresult cuDeviceGetName(char *name, int size, CUdevice) {
    std::snprintf(name, size, "Device of a test");
    return good;
}
CUresult cuDriverGetVersion(int *version) { *version = 13020; return good; }
CUresult cuGetErrorName(CUresult status, const char **name) {
    *name = status == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_INVALID_VALUE";
    return good;
}
CUresult cuMemAlloc_v2(CUdeviceptr *address, size_t size) {
    return take(reinterpret_cast<void **>(address), size);
}
CUresult cuMemAllocHost_v2(void **memory, size_t size) { return take(memory, size); }
CUresult cuMemFree_v2(CUdeviceptr address) { return give(reinterpret_cast<void *>(address)); }
CUresult cuMemFreeHost(void *memory) { return give(memory); }
CUresult cuMemsetD8_v2(CUdeviceptr address, unsigned char value, size_t size) {
    std::memset(reinterpret_cast<void *>(address), value, size);
    return good;
}
CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t size, CUstream stream) {
    return copy(reinterpret_cast<void *>(to), from, size, stream);
}
CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t size, CUstream stream) {
    return copy(to, reinterpret_cast<void *>(from), size, stream);
}
CUresult cuStreamCreate(CUstream *stream, unsigned flags) {
    if (flags != 1) return wrong("a stream waits for the null stream");
    *stream = reinterpret_cast<CUstream>(new Stream);
    return good;
}
CUresult cuStreamDestroy_v2(CUstream stream) {
    delete reinterpret_cast<Stream *>(stream);
    return good;
}
CUresult cuStreamSynchronize(CUstream handle) {
    auto *stream = reinterpret_cast<Stream *>(handle);
    if (stream->captures) return wrong("a stream is waited for while it is captured");
    for (auto &work : stream->queue) work();
    stream->queue.clear();
    return good;
}
CUresult cuStreamBeginCapture_v2(CUstream handle, CUstreamCaptureMode mode) {
    auto *stream = reinterpret_cast<Stream *>(handle);
    if (mode != 1 || stream->captures || !stream->queue.empty()) return wrong("no capture now");
    stream->captures = true;
    return good;
}
CUresult cuStreamEndCapture(CUstream handle, CUgraph *graph) {
    auto *stream = reinterpret_cast<Stream *>(handle);
    if (!stream->captures) return wrong("no capture was begun");
    stream->captures = false;
    auto *work = new Work(std::move(stream->queue));
    stream->queue.clear();
    graphs[work] = true;
    *graph = reinterpret_cast<CUgraph>(work);
    return good;
}
CUresult cuGraphInstantiateWithFlags(CUgraphExec *out, CUgraph graph, unsigned long long flags) {
    if (flags != 0) return wrong("a graph with flags");
    auto *work = new Work(*reinterpret_cast<Work *>(graph));
    graphs[work] = true;
    *out = reinterpret_cast<CUgraphExec>(work);
    return good;
}
CUresult cuGraphDestroy(CUgraph graph) {
    return graphs.erase(reinterpret_cast<Work *>(graph)) ? good : wrong("a graph is not there");
}
CUresult cuGraphExecDestroy(CUgraphExec graph) {
    return graphs.erase(reinterpret_cast<Work *>(graph)) ? good : wrong("a graph is not there");
}
CUresult cuGraphLaunch(CUgraphExec graph, CUstream handle) {
    auto &queue = reinterpret_cast<Stream *>(handle)->queue;
    auto &work = *reinterpret_cast<Work *>(graph);
    queue.insert(queue.end(), work.begin(), work.end());
    return good;
}
}
