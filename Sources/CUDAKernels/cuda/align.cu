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
// What CTAs tell each other through global memory: words of 64 bits, a value below the number of the launch, so that a word says
// by itself whether it is there, and nobody waits for more than he reads.
struct Exchange {
    u64 *counts;      // [parts, half] packed counts of two buckets in a CTA
    u64 *totals;      // [half, 2] pairs of a bucket
    u64 *before;      // [parts, half, 2] pairs of a bucket in the CTAs before
    unsigned launch;  // differs from the numbers of the 2^32 launches before

    __device__ Exchange(const align_arguments &a, int half, int parts) {
        counts = (u64 *)(a.workspace + 32);
        totals = counts + half * parts;
        before = totals + 2 * half;
        launch = *a.workspace + 1;
    }

    __device__ void put(u64 *word, unsigned value) const { store_word(word, (u64)launch << 32 | value); }
    __device__ bool is_there(u64 word) const { return (unsigned)(word >> 32) == launch; }

    // Fills `word` with `own` words that are `step` apart.
    template <int MOST>
    __device__ void get(const u64 *from, int step, int own, u64 (&word)[MOST]) const {
#pragma unroll
        for (int i = 0; i < MOST; i++) word[i] = i < own ? load_word(from + i * step) : 0;
#pragma unroll
        for (int i = 0; i < MOST; i++)
            while (i < own && !is_there(word[i])) word[i] = load_word(from + i * step);
    }
};

__device__ inline int2 unpacked(unsigned counts) { return make_int2(counts & 0xffff, counts >> 16); }

// Few CTAs and buckets: each CTA adds up all counts, a group of its threads those of some CTAs.
struct Groups {
    static constexpr int MOST = 4;  // CTAs of a group: 16 bits hold what they can have
    int count, group, column;

    __device__ Groups(int half, int parts) {
        count = (parts + MOST - 1) / MOST;
        group = threadIdx.x / half;
        column = threadIdx.x - group * half;
    }

    __device__ bool suffice(int half) const { return MOST * THREADS * ITEMS < 65536 && count * half <= THREADS; }

    // The sums for threads that have a column; `scratch` has two words for each thread.
    __device__ void sum(const Exchange &e, int half, int part, int parts, unsigned *scratch, int2 &total, int2 &before) const {
        if (group < count) {
            u64 word[MOST];
            int first = group * MOST;
            e.get(e.counts + first * half + column, half, parts - first, word);
            unsigned all = 0, some = 0;
#pragma unroll
            for (int i = 0; i < MOST; i++) {
                all += (unsigned)word[i];
                some += first + i < part ? (unsigned)word[i] : 0;
            }
            scratch[group * half + column] = all;
            scratch[THREADS + group * half + column] = some;
        }
        __syncthreads();
        if (threadIdx.x < half) {
#pragma unroll 8
            for (int other = 0; other < count; other++) {
                const unsigned *words = scratch + other * half + column;
                int2 all = unpacked(words[0]), some = unpacked(words[THREADS]);
                total.x += all.x, total.y += all.y;
                before.x += some.x, before.y += some.y;
            }
        }
        __syncwarp();  // few buckets are laid out by one warp, which overwrites the words
    }
};

// Else some warp of the grid adds up the counts of two buckets, and each CTA takes what it needs.
__device__ inline void sum_column(const Exchange &e, int half, int column, int parts) {
    constexpr int MOST = 8;  // CTAs of a lane; there are at most 256
    int lane = lane_index(), share = (parts + 31) / 32, first = lane * share, own = min(share, parts - first);
    u64 word[MOST];
    e.get(e.counts + first * half + column, half, own, word);
    int2 sum = make_int2(0, 0);
#pragma unroll
    for (int i = 0; i < MOST; i++) {
        int2 two = unpacked((unsigned)word[i]);
        sum.x += two.x, sum.y += two.y;
    }
    __syncwarp();
    int2 end = sum;
#pragma unroll
    for (int distance = 1; distance < 32; distance <<= 1) {
        int x = __shfl_up_sync(ALL_LANES, end.x, distance), y = __shfl_up_sync(ALL_LANES, end.y, distance);
        if (lane >= distance) end.x += x, end.y += y;
    }
    if (lane == 31) e.put(e.totals + 2 * column, end.x), e.put(e.totals + 2 * column + 1, end.y);
    int2 before = make_int2(end.x - sum.x, end.y - sum.y);
#pragma unroll
    for (int i = 0; i < MOST; i++) {
        if (i >= own) continue;
        u64 *out = e.before + 2 * ((first + i) * half + column);
        e.put(out, before.x), e.put(out + 1, before.y);
        int2 two = unpacked((unsigned)word[i]);
        before.x += two.x, before.y += two.y;
    }
}

// A grid whose CTAs all run at once; each has 32 * WARPS * ITEMS pairs.
extern "C" __global__ void __launch_bounds__(WARPS * 32) align(const __grid_constant__ align_arguments a) {
    extern __shared__ __align__(16) char memory[];
    int part = blockIdx.x, parts = gridDim.x, warp = threadIdx.x >> 5;
    AlignTables t(memory, a.buckets, WARPS, 1);
    Groups groups(t.half, parts);
    clear_row(t);
    let_next_begin();
    wait_for_inputs();
    Exchange e(a, t.half, parts);
    unsigned pass = part == 0 ? running_pass(a) : 0;
    int first = (part * WARPS + warp) * 32 * ITEMS, place[ITEMS];
    rank_pairs(a, t, GlobalIds{a.ids}, first, place);
    __syncthreads();
    unsigned sum = sum_warps(t);
    if (threadIdx.x < t.half) e.put(e.counts + part * t.half + threadIdx.x, sum);
    int2 total = make_int2(0, 0), before = make_int2(0, 0);
    if (groups.suffice(t.half)) {
        groups.sum(e, t.half, part, parts, (unsigned *)t.stage, total, before);
    } else {
#pragma unroll 1
        for (int column = warp * parts + part; column < t.half; column += WARPS * parts)
            sum_column(e, t.half, column, parts);
        if (threadIdx.x < t.half) {
            u64 sums[2];
            e.get(e.totals + 2 * threadIdx.x, 1, 2, sums);
            total = make_int2((int)sums[0], (int)sums[1]);
            e.get(e.before + 2 * (part * t.half + threadIdx.x), 1, 2, sums);
            before = make_int2((int)sums[0], (int)sums[1]);
        }
    }
    int *record = part == 0 && a.record.counts ? record_row(a, pass) : nullptr;
    int used = lay_out(a, t, total, before, record);
    if (part == 0 && threadIdx.x == 0) {
        finish(a, used, pass);
        *a.workspace = e.launch;  // all have read it
    }
    write_all(a, t, first, place, used, part, parts);
}
#endif
