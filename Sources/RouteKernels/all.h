// All kernels, compiled once for each instruction set. An including file defines KERNELS, and ROUTE_AVX512 or ROUTE_AVX2.

#include "include/route_kernels.h"

#include <math.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#pragma clang diagnostic ignored "-Wpsabi"
#pragma STDC FP_CONTRACT OFF

#define INLINE static inline __attribute__((always_inline))

typedef float v16 __attribute__((vector_size(64)));
typedef int32_t i16 __attribute__((vector_size(64)));
typedef v16 v16_unaligned __attribute__((aligned(4)));
typedef i16 i16_unaligned __attribute__((aligned(4)));

INLINE v16 load(const float *p) { return *(const v16_unaligned *)p; }
INLINE void store(float *p, v16 v) { *(v16_unaligned *)p = v; }
INLINE v16 splat(float x) { return (v16){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }
INLINE i16 splat_int(int32_t x) { return (i16){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }
INLINE i16 lanes(void) { return (i16){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}; }
INLINE v16 choose(i16 mask, v16 yes, v16 no) { return (v16)((mask & (i16)yes) | (~mask & (i16)no)); }
INLINE v16 larger(v16 a, v16 b) { return choose(a > b, a, b); }

#include "gate.h"

#include "count.h"

extern const route_kernels KERNELS;
const route_kernels KERNELS = {.gate = gate, .count = count};
