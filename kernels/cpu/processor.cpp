// What this processor can do, so that the best of the libraries that were compiled is loaded; and what
// it was compiled of.

#include <stdint.h>

#include "exported.h"

EXPORTED uint64_t compiled_sources() { return SOURCES; }

EXPORTED int processor_level() {
#if defined(__x86_64__) && defined(__GNUC__)
    __builtin_cpu_init();
    const bool has_3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                       __builtin_cpu_supports("bmi2");
    const bool has_4 = has_3 && __builtin_cpu_supports("avx512f") &&
                       __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                       __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512cd");
    const bool has_5 = has_4 && __builtin_cpu_supports("avx512vnni");
    return has_5 ? 5 : has_4 ? 4 : has_3 ? 3 : 1;
#else
    return 1;
#endif
}
