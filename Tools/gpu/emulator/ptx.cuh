// ptx: the instructions of the kernels' file of this name, for the emulator.
#pragma once

__device__ inline void wait_for_inputs() {}
__device__ inline void let_next_begin() {}
__device__ inline void cluster_arrive() { emulated_cluster_arrive(); }
__device__ inline void cluster_wait() { emulated_cluster_wait(); }
__device__ inline void store_to_cta(void *local, unsigned rank, unsigned value) {
    *(unsigned *)emulated_remote(local, rank) = value;
}
__device__ inline unsigned load_acquire(const unsigned *word) {
    emulated_yield();
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}
__device__ inline void store_release(unsigned *word, unsigned value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }
__device__ inline unsigned increment(unsigned *word) { return __atomic_fetch_add(word, 1, __ATOMIC_ACQ_REL); }
__device__ inline float half_as_float(unsigned short half) { return (float)std::bit_cast<_Float16>(half); }
