// Chooses an instruction set.

#include "route_kernels.h"

#include <string.h>

void route_gate_baseline(const route_gate_args *, ptrdiff_t, ptrdiff_t);
#if defined(__x86_64__)
void route_gate_avx2(const route_gate_args *, ptrdiff_t, ptrdiff_t);
void route_gate_avx512(const route_gate_args *, ptrdiff_t, ptrdiff_t);

static bool has_avx512(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
#endif

route_gate route_gate_named(const char *name) {
#if defined(__x86_64__)
    if ((!name || !strcmp(name, "avx512")) && has_avx512()) return route_gate_avx512;
    if ((!name || !strcmp(name, "avx2")) && __builtin_cpu_supports("avx2")) return route_gate_avx2;
#endif
    return !name || !strcmp(name, "baseline") ? route_gate_baseline : NULL;
}
