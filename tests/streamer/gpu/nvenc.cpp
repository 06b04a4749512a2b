// NVENC as libav sees it, which codes nothing: a packet is the picture itself, luma and then pairs, as it lies
// there when the stream that libav named comes to it.
#include <cstdint>
#include <cstring>
#include <vector>

extern "C" {
int cuLaunchHostFunc(void *stream, void (*function)(void *), void *data);
int cuStreamSynchronize(void *stream);

int nvenc_reconfigured = 0;
int nvenc_registered = 0;
}

namespace {

// As far as they are read here, from nvEncodeAPI.h.
struct Guid { uint32_t a; uint16_t b, c; uint8_t d[8]; };
const Guid H264 = {0x6bc82762, 0x4e63, 0x4ca4, {0xaa, 0x85, 0x1e, 0x50, 0xf3, 0x21, 0xf6, 0xbf}};
struct Resource {
    uint32_t version, type, width, height, pitch, part;
    const uint8_t *address;
    void *registered;
    uint32_t format;
};
struct Mapping {
    uint32_t version, part;
    void *input, *registered, *mapped;
    uint32_t format;
};
struct Bitstream {
    uint32_t version, size, heap, reserved;
    void *made;
};
struct Picture {
    uint32_t version, width, height, pitch, flags, index;
    uint64_t time, duration;
    void *input, *output;
};
struct Locked {
    uint32_t version, flags;
    void *output;
    uint32_t *slices;
    uint32_t index, status, slice_count, size_bytes;
    uint64_t time, duration;
    void *bytes;
    uint32_t type, structure, quantiser;
};
constexpr uint32_t FORCE_IDR = 2, LAST = 8, IDR = 3, P = 0;

struct Output {
    std::vector<uint8_t> bytes;
    uint64_t time;
    uint32_t type;
};
struct Session {
    void *stream = nullptr;
    bool has_begun = false;
};
struct Coding { Resource from; Output *to; };

void code(void *data) {
    auto *coding = static_cast<Coding *>(data);
    const Resource &from = coding->from;
    coding->to->bytes.clear();
    // Pairs lie right behind luma.
    for (uint32_t row = 0; row < from.height * 3 / 2; ++row) {
        const uint8_t *begin = from.address + size_t(row) * from.pitch;
        coding->to->bytes.insert(coding->to->bytes.end(), begin, begin + from.width);
    }
    delete coding;
}

int open(void *, void **session) { *session = new Session; return 0; }
int close(void *session) { delete static_cast<Session *>(session); return 0; }
int guid_count(void *, uint32_t *count) { *count = 1; return 0; }
int guids(void *, Guid *to, uint32_t, uint32_t *count) { *to = H264; *count = 1; return 0; }
int caps(void *, Guid, const uint32_t *asked, int *value) {
    constexpr uint32_t WIDTH = 16, HEIGHT = 17, BLOCKS = 31;
    *value = asked[1] == WIDTH || asked[1] == HEIGHT ? 4096 : asked[1] == BLOCKS ? 65536 : 1;
    return 0;
}
int preset(void *, Guid, Guid, int, void *) { return 0; }
int initialize(void *, void *) { return 0; }
int reconfigure(void *, void *) { ++nvenc_reconfigured; return 0; }
int streams(void *session, void *const *in, void *const *) {
    static_cast<Session *>(session)->stream = *in;
    return 0;
}
int make_output(void *, Bitstream *to) { to->made = new Output; return 0; }
int drop_output(void *, void *output) { delete static_cast<Output *>(output); return 0; }
int enter(void *, Resource *resource) {
    ++nvenc_registered;
    resource->registered = new Resource(*resource);
    return 0;
}
int leave(void *, void *registered) { delete static_cast<Resource *>(registered); return 0; }
int map(void *, Mapping *mapping) {
    mapping->mapped = mapping->registered;
    mapping->format = static_cast<Resource *>(mapping->registered)->format;
    return 0;
}
int unmap(void *, void *) { return 0; }
int encode(void *handle, const Picture *picture) {
    if (picture->flags & LAST) return 0;
    auto *session = static_cast<Session *>(handle);
    auto *output = static_cast<Output *>(picture->output);
    output->time = picture->time;
    output->type = !session->has_begun || picture->flags & FORCE_IDR ? IDR : P;
    session->has_begun = true;
    const Resource &from = *static_cast<Resource *>(picture->input);
    return cuLaunchHostFunc(session->stream, code, new Coding{from, output});
}
int lock(void *session, Locked *locked) {
    auto *output = static_cast<Output *>(locked->output);
    cuStreamSynchronize(static_cast<Session *>(session)->stream);
    locked->bytes = output->bytes.data();
    locked->size_bytes = output->bytes.size();
    locked->time = output->time;
    locked->type = output->type;
    locked->structure = locked->slice_count = locked->quantiser = 1;
    return 0;
}
int unlock(void *, void *) { return 0; }
const char *last_error(void *) { return "none"; }
int not_there() { return 8; }

struct Functions {
    uint32_t version, reserved;
    void *entries[300];
};

template <typename Function> void *entry(Function *function) { return reinterpret_cast<void *>(function); }

}  // namespace

extern "C" {
int NvEncodeAPIGetMaxSupportedVersion(uint32_t *version) { *version = 0xfff; return 0; }
int NvEncodeAPICreateInstance(Functions *functions) {
    // In the order of NV_ENCODE_API_FUNCTION_LIST.
    for (int n = 0; n < 33; ++n) functions->entries[n] = entry(not_there);
    functions->entries[1] = entry(guid_count);
    functions->entries[4] = entry(guids);
    functions->entries[7] = entry(caps);
    functions->entries[11] = entry(initialize);
    functions->entries[14] = entry(make_output);
    functions->entries[15] = entry(drop_output);
    functions->entries[16] = entry(encode);
    functions->entries[17] = entry(lock);
    functions->entries[18] = entry(unlock);
    functions->entries[25] = entry(map);
    functions->entries[26] = entry(unmap);
    functions->entries[27] = entry(close);
    functions->entries[29] = entry(open);
    functions->entries[30] = entry(enter);
    functions->entries[31] = entry(leave);
    functions->entries[32] = entry(reconfigure);
    functions->entries[37] = entry(last_error);
    functions->entries[38] = entry(streams);
    functions->entries[39] = entry(preset);
    return 0;
}
}
