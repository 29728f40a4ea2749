// The kernels for x86-64 with AVX-512.

#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,popcnt"))), apply_to = function)
#define ROUTE_AVX512
#define KERNELS route_kernels_avx512
#include "all.h"
#pragma clang attribute pop
#else
typedef int not_on_this_architecture;
#endif
