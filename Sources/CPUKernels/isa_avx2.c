// The kernels for x86-64 with AVX2 and FMA: a tile of 6 rows and half a panel, or 3 rows and a panel, fills 12 of
// 16 registers.

#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#define KERNELS cpu_kernels_avx2
#define ISA_NAME "avx2"
#define TILE_ROWS 6
#define TILE_WHOLE 3
#define FUSED 1
#include "kernels/all.h"
#pragma clang attribute pop
#else
typedef int not_on_this_architecture;
#endif
