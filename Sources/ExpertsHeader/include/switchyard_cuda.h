// switchyard_cuda: expert routing on NVIDIA GPUs for other languages. One self-contained library; the driver and NVRTC are
// opened at run time.
//
// Memory is the caller's, in the device's primary context, the one that the CUDA runtime and its libraries use. Work is
// enqueued on the caller's stream, and nobody waits for it: arrays are as ordered as the stream is. Addresses are those of
// the device, 0 for an array that is not there; arrays are dense and row-major.
// The first call of a kind compiles its kernel or loads it from ~/.cache/switchyard/kernels. Later ones allocate nothing,
// and may be captured into a graph.
//
// Every function returns 0, or after writing one line into `message` (`message_size` bytes, always ended by 0): -1 for what
// the caller can mend, -2 for too little room, -3 when the driver, the compiler or the GPU fails. Functions may be called
// from any thread; they leave its current context as it was. What is opened or created lives as long as the process.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// Rises when anything below changes.
#define SWITCHYARD_CUDA_VERSION 1

/// The version that the library was built with.
int32_t switchyard_cuda_version(void);

/// A GPU in use.
typedef void *switchyard_cuda_device;

/// Takes GPU number `ordinal` into use. `nvrtc`: a file or folder to look for NVRTC in, or NULL.
int32_t switchyard_cuda_open(
    int32_t ordinal, const char *nvrtc, switchyard_cuda_device *device, char *message, size_t message_size);

/// How pairs become blocks on a GPU; any number of streams may share it.
typedef void *switchyard_cuda_alignment;

/// `expert_map`: [experts] in the host's memory, local id of each expert, or -1; NULL: all are here. Other parameters as of
/// `switchyard_align_request`.
int32_t switchyard_cuda_alignment_create(
    switchyard_cuda_device device, int32_t experts, int32_t block_size, bool drop_foreign, const int32_t *expert_map,
    switchyard_cuda_alignment *alignment, char *message, size_t message_size);

/// Enqueues block alignment (moe_align_block_size) of `count` ids. An id that is neither -1 nor below `experts` counts as -1.
///
/// `ids`: [count] int32. `sorted_pairs`: [sorted_capacity] int32, `count` in pad rows and in the tail. `block_experts`:
/// [block_capacity] int32, -1 in the tail. `padded_count`: [1] int32. count + (experts + 1) * (block_size - 1) rows
/// suffice, without the + 1 if pairs of other ranks are dropped, and so do count * block_size.
int32_t switchyard_cuda_align(
    switchyard_cuda_alignment alignment, void *stream, uint64_t ids, int64_t count, uint64_t sorted_pairs,
    int64_t sorted_capacity, uint64_t block_experts, int64_t block_capacity, uint64_t padded_count, char *message,
    size_t message_size);

/// Gating: which function of the logits decides. Fields as of `switchyard_topk_request`.
typedef struct {
    int32_t experts, top_k;      // at most 512 and 16
    bool sigmoid, renormalize;
    bool has_bias;
    int32_t groups, groups_kept; // at most 32
    float scale;
    int32_t shared_copies;
    float shared_weight;
    int32_t logit_type;          // 0 float32, 1 bfloat16, 2 float16
} switchyard_cuda_gate_rule;

/// A gate on a GPU; any number of streams may share it.
typedef void *switchyard_cuda_gate;

int32_t switchyard_cuda_gate_create(
    switchyard_cuda_device device, const switchyard_cuda_gate_rule *rule, switchyard_cuda_gate *gate, char *message,
    size_t message_size);

/// Enqueues the gating of `tokens` rows.
///
/// `logits`: [tokens, experts]. `bias`: [experts] float32, for a rule with bias. `real_tokens`: [1] int32, rows from there
/// on get ids -1 and weights 0; 0: all are real. `weights`, `ids`: [tokens, top_k (+ 1)] float32 and int32.
int32_t switchyard_cuda_choose(
    switchyard_cuda_gate gate, void *stream, uint64_t logits, int64_t tokens, uint64_t bias, uint64_t real_tokens,
    uint64_t weights, uint64_t ids, char *message, size_t message_size);

#ifdef __cplusplus
}
#endif
