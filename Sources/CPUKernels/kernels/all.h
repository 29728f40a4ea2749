// All kernels, compiled once for each instruction set: the sources are written with 16-wide vectors, which the
// compiler maps to one, two or four registers. An including file defines KERNELS, ISA_NAME, the height of
// product tiles (TILE_ROWS; up to TILE_WHOLE with a whole panel), FUSED where the machine has fused multiply-add,
// PERMUTES where it looks sixteen floats up at once, and MADD_PAIRS where it multiplies pairs of bf16 and looks bytes up.

#include "../include/cpu_kernels.h"

#include "vector.h"

#include "bf12.h"

#include "pack.h"

#include "tiles.h"

#include "grouped.h"

#include "pairs.h"

#include "linear.h"

#include "experts.h"

#include "cache.h"

#include "norm_rope.h"

#include "attention.h"

#include "latent.h"

#include "expanded.h"

#include "sample.h"

#include "probe.h"

const cpu_kernels KERNELS = {
    .name = ISA_NAME,
    .pack = pack,
    .embed = embed,
    .norm = norm,
    .clamp = clamp,
    .narrow = narrow,
    .linear = linear,
    .gated = gated,
    .head_linear = head_linear,
    .expert_gate_up = expert_gate_up,
    .expert_down = expert_down,
    .combine = combine,
    .rope = rope,
    .attention = attention,
    .latent_store = latent_store,
    .latent_attention = latent_attention,
    .latent_rows = latent_rows,
    .latent_expand = latent_expand,
    .expanded_attention = expanded_attention,
    .rows = rows_statistics,
    .exponentials = exponentials,
    .probe_read = probe_read,
    .probe_multiply_add = probe_multiply_add,
#ifdef MADD_PAIRS
    .probe_pairs = probe_pairs,
#endif
#ifdef MADD_PAIRS
    .has_bf12 = true,
#endif
    .narrow_inputs = STEP_INPUTS,
    .probe_operations = 2 * CPU_LANES * PROBE_CHAINS,
};
