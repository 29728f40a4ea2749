// The kernels for x86-64 with AVX-512: a tile of 6 rows and two panels keeps 12 accumulators of 16 floats.

#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq"))), apply_to = function)
#define KERNELS cpu_kernels_avx512
#define ISA_NAME "avx512"
#define TILE_ROWS 6
#define TILE_PANELS 2
#define FUSED 1
#include "kernels/all.h"
#pragma clang attribute pop
#else
typedef int not_on_this_architecture;
#endif
