// Reads fields and the plane of one call of `sharpen` and writes the plane it fills: for processors that
// another one plays, where no Python is.

#include <cstdio>
#include <cstdlib>

#include "given.h"
#include "sharpen.cpp"

int main() {
    static SharpenFields fields;
    read(&fields, sizeof fields);
    fields.luma = array<uint8_t>();
    const size_t bytes = (size_t)fields.width * fields.height;
    fields.out = static_cast<uint8_t*>(std::calloc(bytes, 1));
    fields.stride = fields.out_stride = fields.width;
    sharpen(&fields);
    return std::fwrite(fields.out, 1, bytes, stdout) == bytes ? 0 : 2;
}
