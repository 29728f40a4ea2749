// The kernels for x86-64 with AVX2 and FMA: a tile of 5 rows and half a panel, or 2 rows and a panel, takes 10 or 8 of
// 16 registers. With 6 and 3 the compiler spills some: half the speed of 3 rows, three quarters of that of 6.

#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#define KERNELS cpu_kernels_avx2
#define ISA_NAME "avx2"
#define TILE_ROWS 5
#define TILE_WHOLE 2
#define FUSED 1
#include "kernels/all.h"
#pragma clang attribute pop
#else
typedef int not_on_this_architecture;
#endif
