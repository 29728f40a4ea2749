// device: what all kernels share.
#pragma once

#include "ptx.cuh"

#define ALL_LANES 0xffffffffu

__device__ inline int lane_index() { return threadIdx.x & 31; }

// The lanes below this one.
__device__ inline unsigned lanes_below() { return (1u << lane_index()) - 1; }
