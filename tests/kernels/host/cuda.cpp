// A CUDA driver over host memory: kernels are those that g++ compiled, streams do their work as late as
// they may. Work is done when a stream or an event is waited for, and then only what that needs; so
// whoever reads too early, or writes over what another stream has still to read, is seen every time.
// Told on standard error: what was called wrongly, and at the end what was not given back.
#include <dlfcn.h>

#include "device.h"

extern "C" {
// What no driver has: for tests.
void emulated_fail(const char *function, int status, long after) {
    std::lock_guard<std::recursive_mutex> in(door);
    faults[function] = {status, after};
}
void emulated_reset() {
    std::lock_guard<std::recursive_mutex> in(door);
    faults.clear();
    if (lost) {
        // All that was in its context went with it; what tests still look at is not freed.
        live.clear();
        locked.clear();
        streams.clear();
        graphs.clear();
        modules.clear();
        null_stream.done = null_stream.queued();
        null_stream.queue.clear();
    }
    lost = 0;
    capacity = size_t(1) << 30;
    complaints = 0;
}
void emulated_capacity(size_t bytes) { capacity = bytes; }
void emulated_run_all() {
    std::lock_guard<std::recursive_mutex> in(door);
    run_all();
}
size_t emulated_count(const char *what) {
    std::lock_guard<std::recursive_mutex> in(door);
    const std::string name = what;
    if (name == "allocations") return allocations;
    if (name == "launches") return launches;
    if (name == "complaints") return complaints;
    if (name == "busy waits") return busy_waits;
    if (name == "streams") return streams.size();
    if (name == "events") return events.size();
    if (name == "modules") return modules.size();
    if (name == "graphs") return graphs.size();
    if (name == "memory") return live.size() + locked.size();
    size_t waiting = null_stream.queue.size();
    for (Stream *stream : streams) waiting += stream->queue.size();
    return waiting;
}

CUresult cuInit(unsigned) {
    std::lock_guard<std::recursive_mutex> in(door);
    return said(trouble("cuInit", false));
}
CUresult cuDeviceGet(CUdevice *device, int) { *device = 0; return said(0); }
CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice) {
    *context = primary;
    return said(0);
}
CUresult cuDevicePrimaryCtxRelease_v2(CUdevice) { return said(lost); }
CUresult cuCtxSetCurrent(CUcontext context) { current = context; return said(lost); }
CUresult cuCtxGetCurrent(CUcontext *context) { *context = current; return said(0); }
CUresult cuCtxSynchronize() {
    BEGIN(cuCtxSynchronize);
    ++busy_waits;
    run_all();
    return said(lost);
}
CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute which, CUdevice) {
    *value = which == 75 ? 9 : 0;
    return said(0);
}
CUresult cuDeviceGetName(char *name, int size, CUdevice) {
    std::snprintf(name, size, "Device of a test");
    return said(0);
}
CUresult cuDriverGetVersion(int *version) { *version = 13020; return said(0); }
CUresult cuGetErrorName(CUresult status, const char **name) {
    static const std::map<int, const char *> names = {
        {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE"},
        {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY"},
        {100, "CUDA_ERROR_NO_DEVICE"},
        {INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE"},
        {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT"},
        {222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION"},
        {INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE"},
        {NOT_FOUND, "CUDA_ERROR_NOT_FOUND"},
        {NOT_READY, "CUDA_ERROR_NOT_READY"},
        {700, "CUDA_ERROR_ILLEGAL_ADDRESS"},
        {803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"},
        {LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED"}};
    auto found = names.find(status);
    *name = found == names.end() ? nullptr : found->second;
    return said(0);
}
CUresult cuMemGetInfo_v2(size_t *free, size_t *total) {
    BEGIN(cuMemGetInfo_v2);
    *free = *total = capacity;
    for (auto &each : live) *free -= each.second;
    return said(0);
}
CUresult cuMemAlloc_v2(CUdeviceptr *address, size_t size) {
    BEGIN(cuMemAlloc_v2);
    return take(live, reinterpret_cast<void **>(address), size);
}
CUresult cuMemAllocHost_v2(void **memory, size_t size) {
    BEGIN(cuMemAllocHost_v2);
    return take(locked, memory, size);
}
CUresult cuMemFree_v2(CUdeviceptr address) {
    BEGIN(cuMemFree_v2);
    return give(live, pointer(address));
}
CUresult cuMemFreeHost(void *memory) {
    BEGIN(cuMemFreeHost);
    return give(locked, memory);
}
CUresult cuMemsetD8_v2(CUdeviceptr address, unsigned char value, size_t size) {
    BEGIN(cuMemsetD8_v2);
    if (!covers(live, pointer(address), size)) return wrong("bytes are set beyond their memory");
    return queue(nullptr, [=] { std::memset(pointer(address), value, size); });
}
CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t size) {
    BEGIN(cuMemcpyHtoD_v2);
    if (!covers(live, pointer(to), size)) return wrong("a copy goes beyond its memory");
    // Memory that is not page-locked is only staged when this returns, "the DMA to final destination
    // may not have completed"; what is on the null stream comes first.
    run_all(&null_stream);
    auto *bytes = static_cast<const char *>(from);
    const std::vector<char> staged(bytes, bytes + size);
    return queue(nullptr, [=] { std::memcpy(pointer(to), staged.data(), size); });
}
CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t size) {
    BEGIN(cuMemcpyDtoH_v2);
    if (!covers(live, pointer(from), size)) return wrong("a copy goes beyond its memory");
    run_all(&null_stream);
    std::memcpy(to, pointer(from), size);
    return said(0);
}
CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t size, CUstream stream) {
    BEGIN(cuMemcpyHtoDAsync_v2);
    if (!covers(live, pointer(to), size) || !covers(locked, from, size))
        return wrong("a copy goes beyond its memory, or is not of page-locked memory");
    return copy(pointer(to), from, size, stream);
}
CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t size, CUstream stream) {
    BEGIN(cuMemcpyDtoHAsync_v2);
    if (!covers(locked, to, size) || !covers(live, pointer(from), size))
        return wrong("a copy goes beyond its memory, or is not of page-locked memory");
    return copy(to, pointer(from), size, stream);
}
CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream) {
    BEGIN(cuMemcpyDtoDAsync_v2);
    if (!covers(live, pointer(to), size) || !covers(live, pointer(from), size))
        return wrong("a copy goes beyond its memory");
    return copy(pointer(to), pointer(from), size, stream);
}
CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t size, CUstream stream) {
    BEGIN(cuMemsetD8Async);
    if (!covers(live, pointer(to), size)) return wrong("bytes are set beyond their memory");
    return queue(stream, [=] { std::memset(pointer(to), value, size); });
}
CUresult cuStreamCreate(CUstream *stream, unsigned flags) {
    BEGIN(cuStreamCreate);
    if (flags != 1) return wrong("a stream waits for the null stream");
    auto *made = new Stream;
    streams.insert(made);
    *stream = reinterpret_cast<CUstream>(made);
    return said(0);
}
CUresult cuStreamDestroy_v2(CUstream handle) {
    BEGIN(cuStreamDestroy_v2);
    auto *stream = reinterpret_cast<Stream *>(handle);
    run_all(stream);
    // It is not deleted: events remember it, as they do with a driver.
    return streams.erase(stream) ? said(0) : wrong("a stream is not there", INVALID_HANDLE);
}
CUresult cuStreamSynchronize(CUstream handle) {
    BEGIN(cuStreamSynchronize);
    Stream *const stream = stream_of(handle);
    if (stream->captures) return wrong("a stream is waited for while it is captured");
    ++busy_waits;
    run_all(stream);
    return said(lost);
}
CUresult cuStreamWaitEvent(CUstream handle, CUevent waited, unsigned) {
    BEGIN(cuStreamWaitEvent);
    auto *event = reinterpret_cast<Event *>(waited);
    Stream *const stream = event->stream;
    const size_t place = event->place;
    if (!stream) return said(0);
    return queue(handle, [=] { run_until(stream, place); });
}
CUresult cuLaunchHostFunc(CUstream stream, CUhostFn function, void *data) {
    BEGIN(cuLaunchHostFunc);
    return queue(stream, [=] { function(data); });
}
CUresult cuEventCreate(CUevent *event, unsigned flags) {
    BEGIN(cuEventCreate);
    auto *made = new Event{flags};
    events.insert(made);
    *event = reinterpret_cast<CUevent>(made);
    return said(0);
}
CUresult cuEventDestroy_v2(CUevent handle) {
    BEGIN(cuEventDestroy_v2);
    auto *event = reinterpret_cast<Event *>(handle);
    if (!events.erase(event)) return wrong("an event is not there", INVALID_HANDLE);
    delete event;
    return said(0);
}
CUresult cuEventRecord(CUevent handle, CUstream on) {
    BEGIN(cuEventRecord);
    auto *event = reinterpret_cast<Event *>(handle);
    Stream *const stream = stream_of(on);
    if (!is_there(stream) || stream->captures) return wrong("nothing is recorded there");
    event->stream = stream;
    event->place = stream->queued();
    return said(0);
}
CUresult cuEventQuery(CUevent handle) {
    BEGIN(cuEventQuery);
    auto *event = reinterpret_cast<Event *>(handle);
    return said(event->stream && event->stream->done < event->place ? NOT_READY : 0);
}
CUresult cuEventSynchronize(CUevent handle) {
    BEGIN(cuEventSynchronize);
    auto *event = reinterpret_cast<Event *>(handle);
    // "If the CU_EVENT_BLOCKING_SYNC flag has not been set, then the CPU thread will busy-wait".
    if (!(event->flags & BLOCKING_SYNC)) ++busy_waits;
    if (event->stream) run_until(event->stream, event->place);
    return said(lost);
}
CUresult cuEventElapsedTime(float *taken_ms, CUevent, CUevent) {
    BEGIN(cuEventElapsedTime);
    *taken_ms = 1.0f;
    return said(0);
}
CUresult cuModuleLoadData(CUmodule *module, const void *image) {
    BEGIN(cuModuleLoadData);
    const std::string text = static_cast<const char *>(image);
    const std::string head = "HOST ";
    void *library = nullptr;
    if (text.compare(0, head.size(), head) == 0)
        library = dlopen(text.c_str() + head.size(), RTLD_NOW | RTLD_LOCAL);
    if (!library) return said(INVALID_IMAGE);
    auto *made = new Module{library};
    modules.insert(made);
    *module = reinterpret_cast<CUmodule>(made);
    return said(0);
}
CUresult cuModuleUnload(CUmodule handle) {
    BEGIN(cuModuleUnload);
    run_all();
    auto *module = reinterpret_cast<Module *>(handle);
    return modules.erase(module) ? said(0) : wrong("a module is not there", INVALID_HANDLE);
}
CUresult cuModuleGetFunction(CUfunction *function, CUmodule handle, const char *name) {
    BEGIN(cuModuleGetFunction);
    void *const library = reinterpret_cast<Module *>(handle)->library;
    void *run = dlsym(library, ("run_" + std::string(name)).c_str());
    void *size = dlsym(library, ("size_" + std::string(name)).c_str());
    void *waits = dlsym(library, "kernels_wait");
    if (!run || !size || !waits) return said(NOT_FOUND);
    auto *made = new Function{
        reinterpret_cast<void (*)(const void *, const Launch *)>(run),
        reinterpret_cast<size_t (*)()>(size)(),
        reinterpret_cast<unsigned (*)()>(waits)()};
    *function = reinterpret_cast<CUfunction>(made);
    return said(0);
}
CUresult cuLaunchKernel(CUfunction handle, unsigned blocks_x, unsigned blocks_y, unsigned blocks_z,
                        unsigned threads_x, unsigned threads_y, unsigned threads_z, unsigned shared,
                        CUstream stream, void **arguments, void **extra) {
    BEGIN(cuLaunchKernel);
    if (blocks_z != 1 || threads_z != 1 || shared || extra) return wrong("no such launch here");
    auto *function = reinterpret_cast<Function *>(handle);
    auto *bytes = static_cast<const char *>(arguments[0]);
    // The driver takes the arguments at once: the caller's may be gone when the work is done.
    const std::vector<char> fields(bytes, bytes + function->size);
    const Launch launch = {blocks_x, blocks_y, threads_x, threads_y, function->waits};
    return queue(stream, [=] {
        ++launches;
        function->run(fields.data(), &launch);
    });
}
CUresult cuStreamBeginCapture_v2(CUstream handle, CUstreamCaptureMode mode) {
    BEGIN(cuStreamBeginCapture_v2);
    auto *stream = reinterpret_cast<Stream *>(handle);
    if (mode != 1 || stream->captures) return wrong("no capture now");
    stream->captures = true;
    return said(0);
}
CUresult cuStreamEndCapture(CUstream handle, CUgraph *graph) {
    BEGIN(cuStreamEndCapture);
    auto *stream = reinterpret_cast<Stream *>(handle);
    if (!stream->captures) return wrong("no capture was begun");
    stream->captures = false;
    auto *work = new std::vector<Work>(std::move(stream->captured));
    stream->captured.clear();
    graphs.insert(work);
    *graph = reinterpret_cast<CUgraph>(work);
    return said(0);
}
CUresult cuGraphInstantiateWithFlags(CUgraphExec *out, CUgraph graph, unsigned long long flags) {
    BEGIN(cuGraphInstantiateWithFlags);
    if (flags != 0) return wrong("a graph with flags");
    auto *work = new std::vector<Work>(*reinterpret_cast<std::vector<Work> *>(graph));
    graphs.insert(work);
    *out = reinterpret_cast<CUgraphExec>(work);
    return said(0);
}
CUresult cuGraphDestroy(CUgraph graph) {
    BEGIN(cuGraphDestroy);
    auto *work = reinterpret_cast<std::vector<Work> *>(graph);
    return graphs.erase(work) ? said(0) : wrong("a graph is not there");
}
CUresult cuGraphExecDestroy(CUgraphExec graph) {
    BEGIN(cuGraphExecDestroy);
    auto *work = reinterpret_cast<std::vector<Work> *>(graph);
    return graphs.erase(work) ? said(0) : wrong("a graph is not there");
}
CUresult cuGraphLaunch(CUgraphExec graph, CUstream handle) {
    BEGIN(cuGraphLaunch);
    for (auto &work : *reinterpret_cast<std::vector<Work> *>(graph)) queue(handle, work);
    return said(0);
}
}
