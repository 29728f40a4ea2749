// route: a decode batch in one launch: gate, dispatch, align, record. At most 32 * WARPS pairs; to 64 pairs as many warps as
// `align_few` wants. Compiled in: what gate.cuh and align.cuh want, FEW (at most 64 pairs), CTAS; ITEMS is 1.
//
// With more than one CTA the grid is one cluster: each CTA gates some rows, and the ids go to all of them through distributed
// shared memory; each then counts all pairs and writes a part of the rows.

#include "align.cuh"
#include "gate.cuh"

struct SharedIds {
    const int *ids;
    __device__ int operator()(int pair) const { return ids[pair]; }
};

extern "C" __global__ void __launch_bounds__(WARPS * 32) route(const __grid_constant__ route_arguments a) {
    extern __shared__ __align__(16) char memory[];
    __shared__ int ids[32 * WARPS];
    int warp = threadIdx.x >> 5, lane = lane_index(), part = blockIdx.x, columns = TOP_K + (a.gate.shared_copies > 0);
    unsigned *scratch = (unsigned *)memory + warp * SCRATCH;
    char *tables = memory + 4 * SCRATCH * WARPS;
    if (CTAS > 1) cluster_arrive();
    FewTables few(tables);
    AlignTables t(tables, a.align.buckets, WARPS, 1);
    if (FEW) few.clear(a.align);
    else prepare_alone(a.align, t);
    float bias[PER_LANE];
    load_bias(a.gate, bias);
    let_next_begin();
    wait_for_inputs();
    if (CTAS > 1) cluster_wait();  // all CTAs have begun
#pragma unroll 1
    for (int token = warp * CTAS + part; token < a.gate.tokens; token += WARPS * CTAS) {
        int id = route_row(a.gate, token, bias, scratch);
        if (lane < columns) {
#pragma unroll
            for (int cta = 0; cta < CTAS; cta++) {
                if (CTAS == 1) ids[token * columns + lane] = id;
                else store_to_cta(ids + token * columns + lane, cta, id);
            }
        }
        __syncwarp();
    }
    if (CTAS > 1) {
        cluster_arrive();
        cluster_wait();
    } else {
        __syncthreads();
    }
    if (FEW) align_few(a.align, few, SharedIds{ids}, part, 1);
    else align_alone(a.align, t, SharedIds{ids}, part, CTAS);
}
