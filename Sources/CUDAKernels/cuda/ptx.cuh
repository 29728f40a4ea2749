// ptx: all instructions that have no name in CUDA C++. The emulator in Tools/gpu has a file of the same name.
#pragma once

typedef unsigned short u16;
typedef unsigned long long u64;

// Waits until the launch before this one has ended. What stands above it may run while that one still does.
__device__ inline void wait_for_inputs() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// Lets the next launch begin, as far as its own `wait_for_inputs`.
__device__ inline void let_next_begin() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// All CTAs of a cluster meet: what they wrote before `arrive` is seen after `wait`. Whole warps at a time.
__device__ inline void cluster_arrive() {
#if __CUDA_ARCH__ >= 900
    __syncwarp();
    asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
#endif
}

__device__ inline void cluster_wait() {
#if __CUDA_ARCH__ >= 900
    __syncwarp();
    asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#endif
}

// Writes a word at the place of `local` in the shared memory of CTA `rank` of the cluster.
__device__ inline void store_to_cta(void *local, unsigned rank, unsigned value) {
#if __CUDA_ARCH__ >= 900
    unsigned address = (unsigned)__cvta_generic_to_shared(local), remote;
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote) : "r"(address), "r"(rank));
    asm volatile("st.shared::cluster.u32 [%0], %1;" ::"r"(remote), "r"(value) : "memory");
#endif
}

__device__ inline float half_as_float(unsigned short half) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(half));
    return value;
}

// The sign of `value` in the upper three bytes, the lowest byte of `low` in the last.
__device__ inline int sign_above(int value, int low) {
    int bytes;
    asm("prmt.b32 %0, %1, %2, 0xbbb4;" : "=r"(bytes) : "r"(value), "r"(low));
    return bytes;
}

// A word of 64 bits as other CTAs have left it, whole; nothing is said about what they wrote besides.
__device__ inline u64 load_word(const u64 *word) {
    u64 value;
    asm volatile("ld.relaxed.gpu.u64 %0, [%1];" : "=l"(value) : "l"(word) : "memory");
    return value;
}

__device__ inline void store_word(u64 *word, u64 value) {
    asm volatile("st.relaxed.gpu.u64 [%0], %1;" ::"l"(word), "l"(value) : "memory");
}
