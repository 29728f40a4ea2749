// The kernels for x86-64 with AVX-512, its products of bf16 and its permutations of bytes.

#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512bf16"))), apply_to = function)
#define KERNELS cpu_kernels_avx512bf16
#define ISA_NAME "avx512bf16"
#define TILE_ROWS 8
#define TILE_WHOLE 8
#define FUSED 1
#define PERMUTES 1
#define MADD_PAIRS 1
#include "kernels/all.h"
#pragma clang attribute pop
#else
typedef int not_on_this_architecture;
#endif
