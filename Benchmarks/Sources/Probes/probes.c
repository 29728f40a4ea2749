#include "probes.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

static atomic_size_t allocations;

size_t probe_allocations(void) { return atomic_load_explicit(&allocations, memory_order_relaxed); }

#if defined(__GLIBC__) || defined(__linux__)
// The program's own allocator calls come here first; glibc keeps its functions under these names.
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static void count(void) { atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed); }

void *malloc(size_t size) {
    count();
    return __libc_malloc(size);
}
void *calloc(size_t n, size_t size) {
    count();
    return __libc_calloc(n, size);
}
void *realloc(void *p, size_t size) {
    count();
    return __libc_realloc(p, size);
}
void *aligned_alloc(size_t alignment, size_t size) {
    count();
    return __libc_memalign(alignment, size);
}
int posix_memalign(void **p, size_t alignment, size_t size) {
    count();
    *p = __libc_memalign(alignment, size);
    return *p ? 0 : ENOMEM;
}
#endif

typedef float v16 __attribute__((vector_size(64)));

#define DEFINE_READ(NAME, TARGET)                                                   \
    TARGET static float NAME(const float *floats, size_t count) {                   \
        v16 a = {}, b = {}, c = {}, d = {};                                         \
        const v16 *p = (const v16 *)floats;                                         \
        for (size_t i = 0; i + 4 <= count / 16; i += 4) {                           \
            a += p[i];                                                              \
            b += p[i + 1];                                                          \
            c += p[i + 2];                                                          \
            d += p[i + 3];                                                          \
        }                                                                           \
        a += b + c + d;                                                             \
        float sum = 0;                                                              \
        for (int i = 0; i < 16; i++) sum += a[i];                                   \
        return sum;                                                                 \
    }

#define DEFINE_MULTIPLY_ADD(NAME, TARGET)                                           \
    TARGET static float NAME(size_t rounds, int accumulators) {                     \
        v16 x = (v16){} + 1.0001f, y = (v16){} + 0.5f, acc[12];                     \
        for (int i = 0; i < 12; i++) acc[i] = (v16){} + (float)i;                   \
        for (size_t round = 0; round < rounds; round++)                             \
            _Pragma("clang loop unroll(full)") for (int i = 0; i < 12; i++)         \
                if (i < accumulators) acc[i] = __builtin_elementwise_fma(acc[i], x, y); \
        float sum = 0;                                                              \
        for (int i = 0; i < 12; i++) sum += acc[i][0];                              \
        return sum;                                                                 \
    }

#if defined(__x86_64__)
DEFINE_READ(read_avx512, __attribute__((target("avx512f"))))
DEFINE_READ(read_avx2, __attribute__((target("avx2"))))
DEFINE_MULTIPLY_ADD(fma_avx512, __attribute__((target("avx512f,avx512vl,fma"))))
DEFINE_MULTIPLY_ADD(fma_avx2, __attribute__((target("avx2,fma"))))
#endif
DEFINE_READ(read_baseline, )

float probe_read(const float *floats, size_t count) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) return read_avx512(floats, count);
    if (__builtin_cpu_supports("avx2")) return read_avx2(floats, count);
#endif
    return read_baseline(floats, count);
}

static volatile float sink;

double probe_multiply_add(size_t rounds) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) {
        sink = fma_avx512(rounds, 12);
        return 2.0 * 16 * 12 * (double)rounds;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        sink = fma_avx2(rounds, 6);  // 12 registers of 8
        return 2.0 * 16 * 6 * (double)rounds;
    }
#endif
    return 0;
}
