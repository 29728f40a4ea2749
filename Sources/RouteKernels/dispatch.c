// Chooses an instruction set.

#include "route_kernels.h"

#include <string.h>

extern const route_kernels route_kernels_baseline;
#if defined(__x86_64__)
extern const route_kernels route_kernels_avx2;
extern const route_kernels route_kernels_avx512;

static bool has_avx512(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
#endif

const route_kernels *route_kernels_named(const char *name) {
#if defined(__x86_64__)
    if ((!name || !strcmp(name, "avx512")) && has_avx512()) return &route_kernels_avx512;
    if ((!name || !strcmp(name, "avx2")) && __builtin_cpu_supports("avx2")) return &route_kernels_avx2;
#endif
    return !name || !strcmp(name, "baseline") ? &route_kernels_baseline : NULL;
}
