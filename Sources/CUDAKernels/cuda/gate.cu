// gate: a warp per row; what one row gets does not depend on the others.

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
