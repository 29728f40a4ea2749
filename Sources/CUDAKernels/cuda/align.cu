// align: block alignment with counts in one launch. Which of these kernels suits how many pairs is AlignLaunch's choice, in
// Compute. Compiled in: PLAIN, TEAM (0 few, 1 alone, 2 cluster, 3 grid), WARPS, ITEMS, CTAS of a cluster.

#include "align.cuh"

struct GlobalIds {
    const int *ids;
    __device__ int operator()(int pair) const { return ids[pair]; }
};

#if TEAM == 0
extern "C" __global__ void __launch_bounds__(WARPS * 32) align(const __grid_constant__ align_arguments a) {
    extern __shared__ __align__(16) char memory[];
    FewTables t(memory);
    t.clear(a);
    __syncthreads();
    let_next_begin();
    wait_for_inputs();
    align_few(a, t, GlobalIds{a.ids}, blockIdx.x, gridDim.x);
}
#endif

#if TEAM == 1
extern "C" __global__ void __launch_bounds__(WARPS * 32) align(const __grid_constant__ align_arguments a) {
    extern __shared__ __align__(16) char memory[];
    AlignTables t(memory, a.buckets, WARPS, 1);
    prepare_alone(a, t);
    let_next_begin();
    wait_for_inputs();
    align_alone(a, t, GlobalIds{a.ids}, blockIdx.x, gridDim.x);
}
#endif

#if TEAM == 2
// The grid is one cluster; each CTA has 32 * WARPS * ITEMS pairs, and tells the others how many of each bucket.
extern "C" __global__ void __launch_bounds__(WARPS * 32) align(const __grid_constant__ align_arguments a) {
    extern __shared__ __align__(16) char memory[];
    int part = blockIdx.x, warp = threadIdx.x >> 5;
    AlignTables t(memory, a.buckets, WARPS, CTAS);
    cluster_arrive();  // this CTA has begun
    clear_row(t);
    let_next_begin();
    wait_for_inputs();
    unsigned pass = part == 0 ? running_pass(a) : 0;
    int first = (part * WARPS + warp) * 32 * ITEMS, place[ITEMS];
    rank_pairs(a, t, GlobalIds{a.ids}, first, place);
    __syncthreads();
    unsigned sum = sum_warps(t);
    cluster_wait();    // all have begun
    if (threadIdx.x < t.half) {
#pragma unroll
        for (int cta = 0; cta < CTAS; cta++) store_to_cta(t.team + part * t.half + threadIdx.x, cta, sum);
    }
    cluster_arrive();
    cluster_wait();    // all counts are here
    int2 total = make_int2(0, 0), before = make_int2(0, 0);
    if (threadIdx.x < t.half) {
        unsigned count[CTAS];
#pragma unroll
        for (int cta = 0; cta < CTAS; cta++) count[cta] = t.team[cta * t.half + threadIdx.x];
#pragma unroll
        for (int cta = 0; cta < CTAS; cta++) {
            if (cta == part) before = total;
            total.x += count[cta] & 0xffff;
            total.y += count[cta] >> 16;
        }
    }
    int *record = part == 0 && a.record.counts ? record_row(a, pass) : nullptr;
    int used = lay_out(a, t, total, before, record);
    if (part == 0 && threadIdx.x == 0) finish(a, used, pass);
    write_all(a, t, first, place, used, part, CTAS);
}
#endif

#if TEAM == 3
// All threads of all CTAs meet. The grid must be cooperative.
__device__ inline void meet(unsigned *state) {
    __syncthreads();
    if (threadIdx.x == 0) {
        unsigned generation = load_acquire(state + 1);
        if (increment(state) == gridDim.x - 1) {
            state[0] = 0;
            store_release(state + 1, generation + 1);
        } else {
            while (load_acquire(state + 1) == generation) {}
        }
    }
    __syncthreads();
}

// A cooperative grid; each CTA has 32 * WARPS * ITEMS pairs.
extern "C" __global__ void __launch_bounds__(WARPS * 32) align(const __grid_constant__ align_arguments a) {
    extern __shared__ __align__(16) char memory[];
    int part = blockIdx.x, parts = gridDim.x, warp = threadIdx.x >> 5;
    AlignTables t(memory, a.buckets, WARPS, 1);
    int2 *totals = (int2 *)t.spans;  // [half] totals, then [half] of the CTAs before; read before spans are written
    for (int column = threadIdx.x; column < 2 * t.half; column += THREADS) totals[column] = make_int2(0, 0);
    clear_row(t);
    let_next_begin();
    wait_for_inputs();
    unsigned pass = part == 0 ? running_pass(a) : 0;
    int first = (part * WARPS + warp) * 32 * ITEMS, place[ITEMS];
    rank_pairs(a, t, GlobalIds{a.ids}, first, place);
    __syncthreads();
    unsigned sum = sum_warps(t);
    unsigned *counts = a.workspace + 32;
    if (threadIdx.x < t.half) counts[part * t.half + threadIdx.x] = sum;
    meet(a.workspace);
    // Each group of threads sums some of the CTAs; integer sums do not depend on the order.
    int groups = THREADS / t.half, group = threadIdx.x / t.half, column = threadIdx.x - group * t.half;
    if (group < groups) {
        int2 total = make_int2(0, 0), before = make_int2(0, 0);
#pragma unroll 16
        for (int cta = group; cta < parts; cta += groups) {
            unsigned count = __ldcg(counts + cta * t.half + column);
            int2 two = make_int2(count & 0xffff, count >> 16);
            total.x += two.x, total.y += two.y;
            if (cta < part) before.x += two.x, before.y += two.y;
        }
        atomicAdd(&totals[column].x, total.x);
        atomicAdd(&totals[column].y, total.y);
        atomicAdd(&totals[t.half + column].x, before.x);
        atomicAdd(&totals[t.half + column].y, before.y);
    }
    __syncthreads();
    int2 total = make_int2(0, 0), before = make_int2(0, 0);
    if (threadIdx.x < t.half) total = totals[threadIdx.x], before = totals[t.half + threadIdx.x];
    __syncthreads();
    int *record = part == 0 && a.record.counts ? record_row(a, pass) : nullptr;
    int used = lay_out(a, t, total, before, record);
    if (part == 0 && threadIdx.x == 0) finish(a, used, pass);
    write_all(a, t, first, place, used, part, parts);
}
#endif
