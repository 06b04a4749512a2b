// What libav asks of a CUDA driver beyond tests/kernels/host/cuda.cpp, with which this is compiled into one
// library: it takes none that lacks any of these. Device memory is the computer's own.
#include <cstddef>
#include <cstring>
#include <vector>

extern "C" {
int emulated_attribute(int *value, int which, int device);
int cuCtxGetCurrent(void **context);
int cuCtxSetCurrent(void *context);
int cuMemAlloc_v2(unsigned long long *address, size_t size);
int cuStreamSynchronize(void *stream);
int cuLaunchHostFunc(void *stream, void (*function)(void *), void *data);

// CUDA_MEMCPY2D_v2 of cuda.h; types of memory are 1 for the host's and 2 for the device's.
struct Plane {
    size_t x_bytes, y;
    unsigned type;
    void *host;
    unsigned long long device;
    void *array;
    size_t pitch;
    char *at() const {
        auto *base = type == 1 ? static_cast<char *>(host) : reinterpret_cast<char *>(device);
        return base + y * pitch + x_bytes;
    }
};
struct Copy {
    Plane from, to;
    size_t width_bytes, height;
};

static thread_local std::vector<void *> pushed;

int cuCtxPushCurrent_v2(void *context) {
    void *before = nullptr;
    cuCtxGetCurrent(&before);
    pushed.push_back(before);
    return cuCtxSetCurrent(context);
}
int cuCtxPopCurrent_v2(void **context) {
    if (pushed.empty()) return 201;
    cuCtxGetCurrent(context);
    cuCtxSetCurrent(pushed.back());
    pushed.pop_back();
    return 0;
}
// The other one is compiled under this name: it knows nothing of what rows of a texture lie at.
int cuDeviceGetAttribute(int *value, int which, int device) {
    constexpr int TEXTURE_ALIGNMENT = 14;
    if (which != TEXTURE_ALIGNMENT) return emulated_attribute(value, which, device);
    *value = 512;
    return 0;
}
int cuCtxGetDevice(int *device) { *device = 0; return 0; }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
int cuDeviceComputeCapability(int *major, int *minor, int) { *major = 9; *minor = 0; return 0; }
int cuGetErrorString(int, const char **said) { *said = "as its name says"; return 0; }
int cuStreamQuery(void *stream) { return cuStreamSynchronize(stream); }
int cuMemAllocPitch_v2(unsigned long long *address, size_t *pitch, size_t width, size_t height, unsigned) {
    *pitch = (width + 511) / 512 * 512;
    return cuMemAlloc_v2(address, *pitch * height);
}
static void copied(const Copy &copy) {
    for (size_t row = 0; row < copy.height; ++row)
        std::memcpy(copy.to.at() + row * copy.to.pitch, copy.from.at() + row * copy.from.pitch,
                    copy.width_bytes);
}
static void copied_late(void *data) {
    copied(*static_cast<Copy *>(data));
    delete static_cast<Copy *>(data);
}
int cuMemcpy2DAsync_v2(const Copy *copy, void *stream) {
    if (copy->from.type == 2 && copy->to.type == 2)
        return cuLaunchHostFunc(stream, copied_late, new Copy(*copy));
    // Memory of the host that is not page-locked: it is done when this returns.
    if (int status = cuStreamSynchronize(stream)) return status;
    copied(*copy);
    return 0;
}
int cuMemcpy2D_v2(const Copy *copy) {
    const int status = cuMemcpy2DAsync_v2(copy, nullptr);
    return status ? status : cuStreamSynchronize(nullptr);
}
// Another program of this process has opened it, as it says to who asks for it with other flags.
int cuDevicePrimaryCtxGetState(int, unsigned *flags, int *active) { *flags = 0; *active = 1; return 0; }
}
