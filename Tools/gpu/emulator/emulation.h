// emulation: CUDA C++ for a CPU compiler, as far as our kernels use it. Included before every emulated kernel.
//
// A thread of a CTA is a fiber, a CTA is an operating system thread. A fiber runs until it meets others.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

struct uint3 { unsigned x, y, z; };
struct int2 { int x, y; };
struct alignas(16) int4 { int x, y, z, w; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
inline int2 make_int2(int x, int y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

#define __CUDACC_RTC__
#define __CUDA_ARCH__ 900
#define __device__
#define __global__
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) alignas(n)
// One per CTA, since a CTA is a thread.
#define __shared__ static thread_local

/// What the emulator gives to kernels; in emulator.cpp.
extern "C" {
struct emulated_thread {
    uint3 index, block, block_size, grid_size;
};
emulated_thread *emulated_self(void);
void *emulated_shared(void);
/// All lanes of the warp meet and leave a word each; returns the 32 words.
const uint32_t *emulated_exchange(uint32_t word);
/// The first `threads` threads of the CTA meet; 0: all that have not ended.
void emulated_meet(unsigned threads);
void emulated_cluster_arrive(void);
void emulated_cluster_wait(void);
/// The place of `local` in the shared memory of CTA `rank` of the cluster.
void *emulated_remote(void *local, unsigned rank);
/// Lets others run; for loops that wait.
void emulated_yield(void);
}

/// Where this CTA's static shared memory lies, whatever the address: the same distance from it in every CTA.
extern "C" inline __attribute__((used, visibility("default"))) void *emulated_static_base(void) {
    static thread_local int base;
    return &base;
}

#define threadIdx (emulated_self()->index)
#define blockIdx (emulated_self()->block)
#define blockDim (emulated_self()->block_size)
#define gridDim (emulated_self()->grid_size)

template <class T> T min(T a, T b) { return b < a ? b : a; }
template <class T> T max(T a, T b) { return a < b ? b : a; }
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }

inline void __syncthreads() { emulated_meet(0); }
inline void __syncwarp() { emulated_exchange(0); }

inline int emulated_lane() { return (int)(threadIdx.x & 31); }

inline unsigned __ballot_sync(unsigned, bool holds) {
    const uint32_t *words = emulated_exchange(holds);
    unsigned mask = 0;
    for (int lane = 0; lane < 32; lane++) mask |= (words[lane] & 1) << lane;
    return mask;
}

inline bool __any_sync(unsigned mask, bool holds) { return __ballot_sync(mask, holds) != 0; }

template <class T> T __shfl_sync(unsigned, T value, int lane, int width = 32) {
    int from = (emulated_lane() & ~(width - 1)) + (lane & (width - 1));
    return std::bit_cast<T>(emulated_exchange(std::bit_cast<uint32_t>(value))[from]);
}

template <class T> T __shfl_xor_sync(unsigned, T value, int distance) {
    int from = emulated_lane() ^ distance;
    if constexpr (sizeof(T) == 8) {
        uint64_t bits = std::bit_cast<uint64_t>(value);
        uint64_t high = emulated_exchange((uint32_t)(bits >> 32))[from];
        return std::bit_cast<T>(high << 32 | emulated_exchange((uint32_t)bits)[from]);
    } else {
        return std::bit_cast<T>(emulated_exchange(std::bit_cast<uint32_t>(value))[from]);
    }
}

template <class T> T __shfl_up_sync(unsigned, T value, int distance) {
    int from = emulated_lane() - distance;
    const uint32_t *words = emulated_exchange(std::bit_cast<uint32_t>(value));
    return from < 0 ? value : std::bit_cast<T>(words[from]);
}

inline unsigned __reduce_max_sync(unsigned, unsigned value) {
    const uint32_t *words = emulated_exchange(value);
    unsigned result = 0;
    for (int lane = 0; lane < 32; lane++) result = max(result, words[lane]);
    return result;
}

inline unsigned __reduce_min_sync(unsigned, unsigned value) {
    const uint32_t *words = emulated_exchange(value);
    unsigned result = ~0u;
    for (int lane = 0; lane < 32; lane++) result = min(result, words[lane]);
    return result;
}

inline int __reduce_add_sync(unsigned, int value) {
    const uint32_t *words = emulated_exchange((uint32_t)value);
    unsigned result = 0;
    for (int lane = 0; lane < 32; lane++) result += words[lane];
    return (int)result;
}
