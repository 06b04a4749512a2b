// NVDEC as libav sees it, which decodes nothing: of each packet it gives the next of a row of drawn pictures,
// in memory of the device, late, and in the order of the stream that it was told.
#include <cstddef>
#include <cstdlib>

extern "C" {
int cuMemAlloc_v2(unsigned long long *address, size_t size);
int cuMemFree_v2(unsigned long long address);
int cuLaunchHostFunc(void *stream, void (*function)(void *), void *data);

// As far as they are read here, from nvcuvid.h and cuviddec.h.
struct Caps {
    int codec, chroma;
    unsigned depth_minus_8, reserved[3];
    unsigned char is_supported, counts[3];
    unsigned most_width, most_height, most_blocks;
    unsigned short least_width, least_height;
};
struct CreateInfo {
    unsigned long width, height, surfaces;
    int codec, chroma;
    unsigned long flags, depth_minus_8, intra_only, most_width, most_height, reserved;
    short display_area[4];
    int output_format, deinterlacing;
    unsigned long target_width, target_height;
};
struct Picture { int width_in_blocks, height_in_blocks, surface; };
struct Processing {
    int flags[4];
    unsigned reserved[2];
    unsigned long long raw_input;
    unsigned raw_input_form[2];
    unsigned long long raw_output;
    unsigned raw_output_form[2];
    void *stream;
};

struct Decoder {
    unsigned pitch, width, height;
    unsigned long long output;
    int next = 0, numbers[64] = {};
};
struct Drawing { Decoder *decoder; int number; };

static void draw(void *data) {
    auto *drawing = static_cast<Drawing *>(data);
    const Decoder &to = *drawing->decoder;
    const unsigned n = drawing->number;
    auto *luma = reinterpret_cast<unsigned char *>(to.output);
    unsigned char *pairs = luma + size_t(to.pitch) * to.height;
    for (unsigned y = 0; y < to.height; ++y)
        for (unsigned x = 0; x < to.width; ++x) luma[size_t(y) * to.pitch + x] = 16 * n + x + 3 * y;
    for (unsigned y = 0; y < to.height / 2; ++y)
        for (unsigned x = 0; x < to.width / 2; ++x) {
            pairs[size_t(y) * to.pitch + 2 * x] = n + 5 * x + y;
            pairs[size_t(y) * to.pitch + 2 * x + 1] = n + x + 7 * y;
        }
    delete drawing;
}

int cuvidGetDecoderCaps(Caps *caps) {
    caps->is_supported = caps->depth_minus_8 == 0;
    caps->most_width = caps->most_height = 4096;
    caps->most_blocks = 65536;
    caps->least_width = caps->least_height = 16;
    return 0;
}
int cuvidCreateDecoder(void **decoder, const CreateInfo *info) {
    auto *made = new Decoder;
    made->width = info->target_width;
    made->height = info->target_height;
    made->pitch = (made->width + 511) / 512 * 512;
    *decoder = made;
    return cuMemAlloc_v2(&made->output, size_t(made->pitch) * made->height * 3 / 2);
}
int cuvidDestroyDecoder(void *decoder) {
    const int status = cuMemFree_v2(static_cast<Decoder *>(decoder)->output);
    delete static_cast<Decoder *>(decoder);
    return status;
}
int cuvidDecodePicture(void *decoder, const Picture *picture) {
    auto *to = static_cast<Decoder *>(decoder);
    to->numbers[picture->surface] = to->next++;
    return 0;
}
int cuvidMapVideoFrame64(void *decoder, int surface, unsigned long long *address, unsigned *pitch,
                         const Processing *how) {
    auto *from = static_cast<Decoder *>(decoder);
    *address = from->output;
    *pitch = from->pitch;
    return cuLaunchHostFunc(how->stream, draw, new Drawing{from, from->numbers[surface]});
}
int cuvidUnmapVideoFrame64(void *, unsigned long long) { return 0; }
int cuvidGetDecodeStatus(void *, int, int *status) { *status = 2; return 0; }
}
