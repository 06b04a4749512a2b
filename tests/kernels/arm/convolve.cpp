// Reads fields and arrays of one call of `conv_stack` and writes the residual it makes: for processors that
// another one plays, where no Python is.

#include <cstdio>
#include <cstdlib>

#include "conv_stack.cpp"
#include "given.h"

int main() {
    static ConvFields fields;
    read(&fields, sizeof fields);
    for (int n = 0; n < fields.layers_count; ++n) {
        fields.layers[n].weights = array<int16_t>();
        fields.layers[n].scale = array<float>();
        fields.layers[n].bias = array<int32_t>();
    }
    fields.packed = array<char>();
    fields.left = array<int32_t>();
    conv_plan(&fields);
    fields.scratch = static_cast<char*>(std::aligned_alloc(64, (fields.scratch_bytes + 63) / 64 * 64));
    const size_t bytes = (size_t)fields.outs * fields.residual_plane;
    fields.residual = static_cast<uint8_t*>(std::calloc(bytes, 1));
    conv_stack(&fields);
    return std::fwrite(fields.residual, 1, bytes, stdout) == bytes ? 0 : 2;
}
