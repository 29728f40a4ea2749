// align: pairs grouped by expert in blocks. Device functions; align.cu and route.cu make kernels of them.
//
// Contract: as BlockAlignment in Experts, to the byte: pairs of an expert ascend, nothing depends on how many threads or
// CTAs run. Counts are by-products.
// Compiled in: PLAIN, where ids are buckets, the block size is a power of two from 4 on, and rows begin at 16 bytes; WARPS of
// a CTA; ITEMS, the pairs of a thread.
// What limits these kernels is neither bytes nor arithmetic but the chain of dependent instructions, each met once: so
// divisions, branches and address arithmetic are kept off it.
#pragma once

#include "device.cuh"
#include "route_arguments.h"

constexpr int THREADS = 32 * WARPS;

__device__ inline int blocks_for(const align_arguments &a, int count) {
    int rounded = count + a.block_size - 1;
    if (PLAIN || a.block_shift >= 0) return rounded >> a.block_shift;
    return (unsigned)rounded / (unsigned)a.block_size;
}

__device__ inline int rows_in(const align_arguments &a, int blocks) {
    return PLAIN ? blocks << a.block_shift : blocks * a.block_size;
}

__device__ inline int bucket_of(const align_arguments &a, int id) {
    int known = (unsigned)id < (unsigned)a.experts ? id : -1;
    return PLAIN ? known : a.bucket_of[known + 1];
}

__device__ inline int label_of(const align_arguments &a, int bucket) { return PLAIN ? bucket : a.label_of[bucket]; }

__device__ inline bool takes_rows(const align_arguments &a, int bucket) { return PLAIN || a.label_of[bucket] > -2; }

// The number of the running pass; loaded early, used late.
__device__ inline unsigned running_pass(const align_arguments &a) { return a.record.counts ? *a.record.pass : 0; }

__device__ inline int *record_row(const align_arguments &a, unsigned pass) {
    return a.record.counts + ((pass & a.record.mask) * a.record.stride + a.record.offset);
}

// By one thread of the CTA that records, after all its threads know the pass.
__device__ inline void finish(const align_arguments &a, int used, unsigned pass) {
    *a.padded = rows_in(a, used);
    if (a.record.counts && a.record.advances) *a.record.pass = pass + 1;
}

// Rows and blocks from the given ones on, as if nobody used them; `lane` of `lanes` threads.
__device__ inline void fill_from(const align_arguments &a, int row, int block, int lane, int lanes) {
#pragma unroll 1
    for (row += lane; row < a.capacity; row += lanes) a.sorted[row] = a.pairs;
#pragma unroll 1
    for (block += lane; block < a.block_capacity; block += lanes) a.blocks[block] = -1;
}

// Shared memory of `align_few`, for `buckets` buckets.
struct FewTables {
    int *blocks;  // [64] blocks of the bucket whose first pair this is
    int *counts;  // [buckets]

    __device__ FewTables(void *memory) : blocks((int *)memory), counts((int *)memory + 64) {}

    __device__ void clear(const align_arguments &a) const {
        for (int word = threadIdx.x; word < 64 + a.buckets; word += THREADS) blocks[word] = 0;
    }
};

// At most 64 pairs: a warp per pair compares its id with all others, so that no table of experts is walked. To 32 pairs there
// are at least as many warps, above there are 32. `id(i)` is readable by every thread. Further CTAs only fill what lies behind.
template <class Ids>
__device__ void align_few(const align_arguments &a, const FewTables &t, Ids id, int part, int parts) {
    int lane = lane_index(), warp = threadIdx.x >> 5, pairs = a.pairs;
    int rows = min(rows_in(a, pairs), a.capacity);  // the rows that pairs may get
    if (part > 0) {
        fill_from(a, rows, pairs, (part - 1) * THREADS + threadIdx.x, (parts - 1) * THREADS);
        return;
    }
    int low = lane < pairs ? id(lane) : -1, high = lane + 32 < pairs ? id(lane + 32) : -1;
    unsigned pass = running_pass(a);
    // Every row is a pad until a pair gets it.
    if (PLAIN) {
        int4 pad = make_int4(pairs, pairs, pairs, pairs);
        for (int quad = threadIdx.x; quad < rows >> 2; quad += THREADS) ((int4 *)a.sorted)[quad] = pad;
    } else {
        for (int row = threadIdx.x; row < rows; row += THREADS) a.sorted[row] = pairs;
    }
    if (a.fill_tail) {
        if (parts == 1) fill_from(a, rows & (PLAIN ? ~3 : ~0), pairs, threadIdx.x, THREADS);
        else if (PLAIN && threadIdx.x < (rows & 3)) a.sorted[(rows & ~3) + threadIdx.x] = pairs;
        if (threadIdx.x < min(pairs, a.block_capacity)) a.blocks[threadIdx.x] = -1;
    }
    low = lane < pairs ? bucket_of(a, low) : -1;
    high = lane + 32 < pairs ? bucket_of(a, high) : -1;

    // This warp's pairs, `warp` and `warp + 32`: their bucket, its pairs, and those of them that come earlier. No branch, so that
    // the second pair is worked on while the first waits.
    constexpr int TURNS = WARPS < 32 ? 1 : 2;
    int mine[TURNS], count[TURNS], earlier[TURNS], first[TURNS];
#pragma unroll
    for (int turn = 0; turn < TURNS; turn++) {
        mine[turn] = __shfl_sync(ALL_LANES, turn ? high : low, warp);
        unsigned equal_low = __ballot_sync(ALL_LANES, low == mine[turn]);
        unsigned equal_high = __ballot_sync(ALL_LANES, high == mine[turn]);
        unsigned before = (1u << warp) - 1;
        count[turn] = __popc(equal_low) + __popc(equal_high);
        earlier[turn] = turn ? __popc(equal_low) + __popc(equal_high & before) : __popc(equal_low & before);
        if (earlier[turn] == 0 && mine[turn] >= 0 && lane == 0) {
            t.counts[mine[turn]] = count[turn];
            if (takes_rows(a, mine[turn])) t.blocks[warp + 32 * turn] = blocks_for(a, count[turn]);
        }
    }
    __syncthreads();
    int blocks_low = t.blocks[lane], blocks_high = t.blocks[lane + 32];
#pragma unroll
    for (int turn = 0; turn < TURNS; turn++)
        first[turn] = __reduce_add_sync(
            ALL_LANES, (low < mine[turn] ? blocks_low : 0) + (high < mine[turn] ? blocks_high : 0));
#pragma unroll
    for (int turn = 0; turn < TURNS; turn++) {
        if (mine[turn] < 0 || !takes_rows(a, mine[turn])) continue;
        if (lane == 0) a.sorted[rows_in(a, first[turn]) + earlier[turn]] = warp + 32 * turn;
        if (earlier[turn] > 0) continue;
        int blocks = blocks_for(a, count[turn]), label = label_of(a, mine[turn]);
#pragma unroll 1
        for (int block = lane; block < blocks; block += 32) a.blocks[first[turn] + block] = label;
    }
    if (a.record.counts) {
        int *row = record_row(a, pass);
        for (int expert = threadIdx.x; expert < a.experts; expert += THREADS)
            row[expert] = t.counts[PLAIN ? expert : a.bucket_of[expert + 1]];
    }
    if (warp == 0) {
        int used = __reduce_add_sync(ALL_LANES, blocks_low + blocks_high);
        if (lane == 0) finish(a, used, pass);
    }
}

// The tables of one CTA in dynamic shared memory.
struct AlignTables {
    int half;        // words in a row of packed counts: two buckets each, a multiple of 4
    int4 *spans;     // [2 * half] of each bucket: first pad row, end row, first block, end block
    unsigned *rows;  // [warps, half] counts of each warp; after `sum_warps` counts of the warps before it
    unsigned *team;  // [ctas, half] counts of each CTA of a cluster
    int *base;       // [2 * half] the row of this CTA's first pair of a bucket
    int *sums;       // [32], the last word: blocks in use
    int *stage;      // rows of this CTA's part, for CTAs that work alone

    __device__ AlignTables(void *memory, int buckets, int warps, int ctas) {
        half = (buckets + 7) / 8 * 4;
        spans = (int4 *)memory;
        rows = (unsigned *)(spans + 2 * half);
        team = rows + warps * half;
        base = (int *)(team + (ctas > 1 ? ctas * half : 0));
        sums = base + 2 * half;
        stage = sums + 32;
    }
};

// Clears what `rank_pairs` adds to; a warp clears its own row.
__device__ inline void clear_row(const AlignTables &t) {
    uint4 *row = (uint4 *)(t.rows + (threadIdx.x >> 5) * t.half);
    for (int quad = lane_index(); quad < t.half >> 2; quad += 32) row[quad] = make_uint4(0, 0, 0, 0);
}

// The lanes with this lane's bucket. Ten ballots take less time than one `match_any`.
__device__ inline unsigned same_bucket(int bucket, int buckets) {
    unsigned equal = __ballot_sync(ALL_LANES, bucket >= 0);
    if (bucket < 0) equal = ~equal;
#pragma unroll
    for (int bit = 0; bit < 10; bit++) {
        if (1 << bit >= buckets) break;
        bool set = bucket >> bit & 1;
        unsigned lanes = __ballot_sync(ALL_LANES, set);
        equal &= set ? lanes : ~lanes;
    }
    return equal;
}

// Counts 32 * ITEMS consecutive pairs into the warp's row. `place[j]` becomes bucket << 16 | earlier pairs of the warp with
// that bucket, or -1.
template <class Ids>
__device__ inline void rank_pairs(const align_arguments &a, const AlignTables &t, Ids id, int first, int (&place)[ITEMS]) {
    u16 *row = (u16 *)(t.rows + (threadIdx.x >> 5) * t.half);
    int pair = first + lane_index();
#pragma unroll
    for (int item = 0; item < ITEMS; item++) place[item] = pair + item * 32 < a.pairs ? id(pair + item * 32) : -1;
    __syncwarp();
#pragma unroll
    for (int item = 0; item < ITEMS; item++) {
        int mine = PLAIN || pair + item * 32 < a.pairs ? bucket_of(a, place[item]) : -1;
        unsigned equal = same_bucket(mine, a.buckets);
        int earlier = __popc(equal & lanes_below());
        int known = 0;
        if (item > 0) {
            if (mine >= 0) known = row[mine];
            __syncwarp();
        }
        if (mine >= 0 && earlier == 0) row[mine] = (u16)(known + __popc(equal));
        if (item + 1 < ITEMS) __syncwarp();
        place[item] = mine >= 0 ? mine << 16 | (known + earlier) : -1;
    }
}

// Turns the warps' counts into counts of the warps before; returns this thread's two buckets' pairs in the CTA, packed.
__device__ inline unsigned sum_warps(const AlignTables &t) {
    unsigned sum = 0;
    if (threadIdx.x < t.half) {
        unsigned *column = t.rows + threadIdx.x;
        constexpr int AT_ONCE = WARPS < 16 ? WARPS : 16;
#pragma unroll
        for (int first = 0; first < WARPS; first += AT_ONCE) {
            unsigned count[AT_ONCE];
#pragma unroll
            for (int warp = 0; warp < AT_ONCE; warp++) count[warp] = column[(first + warp) * t.half];
#pragma unroll
            for (int warp = 0; warp < AT_ONCE; warp++) {
                column[(first + warp) * t.half] = sum;
                sum += count[warp];
            }
        }
    }
    return sum;
}

// Gives every bucket its rows, from the pairs of this thread's two buckets and those in the CTAs before, and writes the
// counts to `row` unless it is null. Returns the blocks in use.
__device__ inline int lay_out(const align_arguments &a, const AlignTables &t, int2 total, int2 before, int *row) {
    int lane = lane_index(), warp = threadIdx.x >> 5, column = threadIdx.x, warps = (t.half + 31) >> 5, end = 0;
    int2 blocks = make_int2(0, 0);
    if (warp < warps) {
        blocks = make_int2(blocks_for(a, total.x), blocks_for(a, total.y));
        if (!PLAIN) {
            if (2 * column >= a.buckets || !takes_rows(a, 2 * column)) blocks.x = 0;
            if (2 * column + 1 >= a.buckets || !takes_rows(a, 2 * column + 1)) blocks.y = 0;
        }
        end = blocks.x + blocks.y;
#pragma unroll
        for (int distance = 1; distance < 32; distance <<= 1) {
            int other = __shfl_up_sync(ALL_LANES, end, distance);
            if (lane >= distance) end += other;
        }
        if (warps > 1 && lane == 31) t.sums[warp] = end;
    }
    if (warps > 1) {
        __syncthreads();
        if (warp < warps) end += __reduce_add_sync(ALL_LANES, lane < warp ? t.sums[lane] : 0);
    }
    if (column < t.half) {
        int middle = end - blocks.y, first = middle - blocks.x;
        int2 start = make_int2(rows_in(a, first), rows_in(a, middle));
        ((int2 *)t.base)[column] = make_int2(start.x + before.x, start.y + before.y);
        t.spans[2 * column] = make_int4(start.x + total.x, start.y, first, middle);
        t.spans[2 * column + 1] = make_int4(start.y + total.y, rows_in(a, end), middle, end);
        if (column == t.half - 1) t.sums[31] = end;
        if (PLAIN && row) {
            if (2 * column < a.experts) row[2 * column] = total.x;
            if (2 * column + 1 < a.experts) row[2 * column + 1] = total.y;
        }
        if (!PLAIN && row) ((int2 *)t.stage)[column] = total;
    }
    __syncthreads();
    int used = t.sums[31];
    if (!PLAIN && row) {
        for (int expert = threadIdx.x; expert < a.experts; expert += THREADS)
            row[expert] = t.stage[a.bucket_of[expert + 1]];
        __syncthreads();
    }
    return used;
}

// The row of a ranked pair.
__device__ inline int row_of(const align_arguments &a, const AlignTables &t, int place) {
    const u16 *row = (const u16 *)(t.rows + (threadIdx.x >> 5) * t.half);
    int bucket = place >> 16;
    return t.base[bucket] + row[bucket] + (place & 0xffff);
}

// Writes each pair to its row; then pads and labels, a warp per bucket, shared by the CTAs.
__device__ inline void write_all(
    const align_arguments &a, const AlignTables &t, int first, const int (&place)[ITEMS], int used, int part, int parts) {
    int lane = lane_index(), worker = (threadIdx.x >> 5) * parts + part, workers = WARPS * parts;
#pragma unroll
    for (int item = 0; item < ITEMS; item++)
        if (place[item] >= 0 && takes_rows(a, place[item] >> 16))
            a.sorted[row_of(a, t, place[item])] = first + item * 32 + lane;
#pragma unroll 1
    for (int bucket = worker; bucket < a.buckets; bucket += workers) {
        int4 span = t.spans[bucket];
        if (span.z == span.w) continue;
        int label = label_of(a, bucket);
#pragma unroll 1
        for (int row = span.x + lane; row < span.y; row += 32) a.sorted[row] = a.pairs;
#pragma unroll 1
        for (int block = span.z + lane; block < span.w; block += 32) a.blocks[block] = label;
    }
    if (a.fill_tail) fill_from(a, rows_in(a, used), used, worker * 32 + lane, workers * 32);
}

// What may be done before the inputs are there.
__device__ inline void prepare_alone(const align_arguments &a, const AlignTables &t) {
    clear_row(t);
    if (PLAIN)
        for (int quad = threadIdx.x; quad < a.stage_rows >> 2; quad += THREADS)
            ((int4 *)t.stage)[quad] = make_int4(a.pairs, a.pairs, a.pairs, a.pairs);
}

// `parts` CTAs, each of which counts all of at most 32 * WARPS * ITEMS pairs and writes the rows of some buckets: they are
// put together in shared memory. No CTA waits for another.
template <class Ids>
__device__ void align_alone(const align_arguments &a, const AlignTables &t, Ids id, int part, int parts) {
    int warp = threadIdx.x >> 5, first = warp * 32 * ITEMS, place[ITEMS];
    unsigned pass = part == 0 ? running_pass(a) : 0;
    rank_pairs(a, t, id, first, place);
    __syncthreads();
    unsigned sum = sum_warps(t);
    int *record = part == 0 && a.record.counts ? record_row(a, pass) : nullptr;
    int used = lay_out(a, t, make_int2(sum & 0xffff, sum >> 16), make_int2(0, 0), record);
    if (part == 0 && threadIdx.x == 0) finish(a, used, pass);
    if (!PLAIN) return write_all(a, t, first, place, used, part, parts);

    int share = (a.buckets + parts - 1) / parts, from = min(part * share, a.buckets), to = min(from + share, a.buckets);
    if (from < to) {
        int begin = rows_in(a, t.spans[from].z), end = t.spans[to - 1].y;
#pragma unroll
        for (int item = 0; item < ITEMS; item++) {
            int bucket = place[item] >> 16;
            if (place[item] >= 0 && bucket >= from && bucket < to)
                t.stage[row_of(a, t, place[item]) - begin] = first + item * 32 + lane_index();
        }
        if (threadIdx.x < to - from) {
            int4 span = t.spans[from + threadIdx.x];
#pragma unroll 1
            for (int block = span.z; block < span.w; block++) a.blocks[block] = from + threadIdx.x;
        }
        __syncthreads();
        int4 *out = (int4 *)(a.sorted + begin);
        for (int quad = threadIdx.x; quad < (end - begin) >> 2; quad += THREADS) out[quad] = ((int4 *)t.stage)[quad];
    }
    if (a.fill_tail)
        fill_from(a, rows_in(a, used), used, part * THREADS + threadIdx.x, parts * THREADS);
}
