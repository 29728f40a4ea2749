// The kernels for x86-64 with AVX2.

#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#define ROUTE_AVX2
#define KERNELS route_kernels_avx2
#include "all.h"
#pragma clang attribute pop
#else
typedef int not_on_this_architecture;
#endif
