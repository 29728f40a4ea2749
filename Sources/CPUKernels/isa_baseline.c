// The kernels for any machine of the architecture: SSE2 on x86-64, NEON on arm64.

#define KERNELS cpu_kernels_baseline
#define ISA_NAME "baseline"
#if defined(__aarch64__)
#define TILE_ROWS 4
#define TILE_WHOLE 2
#else
#define TILE_ROWS 2
#define TILE_WHOLE 1
#endif
#include "kernels/all.h"
