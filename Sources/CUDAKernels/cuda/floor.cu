// floor: kernels that do nothing, so that a measurement can say what a launch alone costs.

#include "device.cuh"
#include "route_arguments.h"

extern "C" __global__ void empty(const __grid_constant__ align_arguments a) {}

extern "C" __global__ void empty_early(const __grid_constant__ align_arguments a) {
    let_next_begin();
    wait_for_inputs();
}

extern "C" __global__ void empty_cluster(const __grid_constant__ align_arguments a) {
    let_next_begin();
    wait_for_inputs();
    cluster_arrive();
    cluster_wait();
}

// Reads the ids and writes as many rows: the memory's part of an alignment.
extern "C" __global__ void copy_ids(const __grid_constant__ align_arguments a) {
    let_next_begin();
    wait_for_inputs();
    for (int pair = blockIdx.x * blockDim.x + threadIdx.x; pair < a.pairs; pair += gridDim.x * blockDim.x)
        a.sorted[pair] = a.ids[pair];
}
