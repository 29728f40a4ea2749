// What this machine is: its instruction set, chosen once, whose table kernels are then called through, and how it reads memory.

#include "cpu_kernels.h"

#include <string.h>

extern const cpu_kernels cpu_kernels_baseline;
#if defined(__x86_64__)
extern const cpu_kernels cpu_kernels_avx2;
extern const cpu_kernels cpu_kernels_avx512;
extern const cpu_kernels cpu_kernels_avx512bf16;

static bool has_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
static bool has_avx512(void) {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
static bool has_avx512bf16(void) {
    return has_avx512() && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vbmi");
}
#endif

// The newer ones of AMD read one stream at the full rate by themselves, and up to a seventh slower when they are asked too;
// those of Intel lose up to half when they are not.
ptrdiff_t cpu_ahead_of_row = CPU_AHEAD;

__attribute__((constructor)) static void know_processor(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_is("amd") && has_avx2()) cpu_ahead_of_row = 0;
#endif
}

const cpu_kernels *cpu_kernels_named(const char *name) {
#if defined(__x86_64__)
    if ((!name || !strcmp(name, cpu_kernels_avx512bf16.name)) && has_avx512bf16()) return &cpu_kernels_avx512bf16;
    if ((!name || !strcmp(name, cpu_kernels_avx512.name)) && has_avx512()) return &cpu_kernels_avx512;
    if ((!name || !strcmp(name, cpu_kernels_avx2.name)) && has_avx2()) return &cpu_kernels_avx2;
#endif
    if (!name || !strcmp(name, cpu_kernels_baseline.name)) return &cpu_kernels_baseline;
    return NULL;
}
