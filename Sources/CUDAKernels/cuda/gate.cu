// gate: rows of logits to experts; what one row gets does not depend on the others. LANES of a warp for each row.

#if LANES == 32
#include "gate.cuh"

extern "C" __global__ void __launch_bounds__(256) gate_rows(const __grid_constant__ gate_arguments a) {
    __shared__ unsigned scratch[8 * SCRATCH + 1];
    int warp = threadIdx.x >> 5, token = blockIdx.x * (blockDim.x >> 5) + warp;
    float bias[PER_LANE];
    load_bias(a, bias);
    let_next_begin();
    wait_for_inputs();
    if (token < a.tokens) route_row(a, token, bias, scratch + warp * SCRATCH);
}
#else
#include "gate_many.cuh"

extern "C" __global__ void __launch_bounds__(256) gate_rows(const __grid_constant__ gate_arguments a) {
    int token = (blockIdx.x * blockDim.x + threadIdx.x) / LANES;
    wait_for_inputs();
    route_row_of_many(a, min(token, a.tokens - 1), token < a.tokens);
    let_next_begin();  // no earlier: what begins takes room from CTAs that are still to run
}
#endif
