// ptx: the instructions of the kernels' file of this name, for the emulator.
#pragma once

typedef unsigned short u16;
typedef unsigned long long u64;

__device__ inline void wait_for_inputs() {}
__device__ inline void let_next_begin() {}
__device__ inline void cluster_arrive() { emulated_cluster_arrive(); }
__device__ inline void cluster_wait() { emulated_cluster_wait(); }
__device__ inline void store_to_cta(void *local, unsigned rank, unsigned value) {
    *(unsigned *)emulated_remote(local, rank) = value;
}
__device__ inline float half_as_float(unsigned short half) { return (float)std::bit_cast<_Float16>(half); }
__device__ inline int sign_above(int value, int low) { return (value >> 31 & ~0xff) | (low & 0xff); }
__device__ inline u64 load_word(const u64 *word) {
    emulated_yield();
    return __atomic_load_n(word, __ATOMIC_RELAXED);
}
__device__ inline void store_word(u64 *word, u64 value) { __atomic_store_n(word, value, __ATOMIC_RELAXED); }
