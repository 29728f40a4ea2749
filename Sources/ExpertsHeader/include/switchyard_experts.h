// switchyard_experts: expert routing and placement for other languages. One self-contained library; no dependency.
//
// Every function returns 0, or -1 after writing one line into `message` (`message_size` bytes, always ended by 0): what was
// wrong, and what is expected. Memory is the caller's; nothing is kept after a call. Arrays are dense and row-major.
// Functions may be called from any thread; a workspace from one thread at a time.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// Rises when anything below changes.
#define SWITCHYARD_EXPERTS_VERSION 1

/// The version that the library was built with.
int32_t switchyard_experts_version(void);

/// Reusable memory of `switchyard_align`.
typedef void *switchyard_workspace;
switchyard_workspace switchyard_workspace_create(void);
void switchyard_workspace_destroy(switchyard_workspace workspace);

/// Block alignment (moe_align_block_size): pairs grouped by expert, ascending inside an expert, in blocks of block_size rows.
typedef struct {
    const void *ids;             // [count] expert of each pair, or -1
    int64_t count;
    int32_t id_bytes;            // 4 or 8: int32 or int64
    int32_t experts;             // ids are below this
    int32_t block_size;
    bool drop_foreign;           // pairs of other ranks take no rows; otherwise they have blocks of expert -1
    const int32_t *expert_map;   // [experts] local id, or -1 for an expert of another rank; NULL: all are here
    int32_t *sorted_pairs;       // [sorted_capacity] pair indices; `count` in pad rows and in the tail
    int64_t sorted_capacity;
    int32_t *block_experts;      // [block_capacity] expert of each block; -1 in the tail
    int64_t block_capacity;
    int32_t *counts;             // [experts] pairs per expert, or NULL
} switchyard_align_request;

/// Writes the result where the request says, and the rows in use to `padded_count`. Returns -2 when the result needs more
/// room than it got; count + (experts + 1) * (block_size - 1) rows always suffice.
int32_t switchyard_align(
    switchyard_workspace workspace, const switchyard_align_request *request, int32_t *padded_count, char *message,
    size_t message_size);

/// Gating: the experts and weights of every token. A shared column follows the top_k routed ones if shared_copies > 0.
typedef struct {
    const float *logits;         // [tokens, experts]
    int64_t tokens;
    int32_t experts, top_k;
    bool sigmoid;                // scores: the logistic function instead of softmax
    bool renormalize;            // weights are divided by their sum
    int32_t groups, groups_kept; // groups of experts, of which a token keeps some; 0: no groups
    float scale;                 // a factor on every routed weight
    const float *bias;           // [experts] decides with the score, never part of a weight; or NULL
    int64_t real_tokens;         // rows from here on get ids -1 and weights 0; negative: none
    int32_t shared_copies;       // fused shared experts
    float shared_weight;
    float *weights;              // [tokens, top_k (+ 1)]
    int32_t *ids;                // [tokens, top_k (+ 1)]
} switchyard_topk_request;

int32_t switchyard_topk(const switchyard_topk_request *request, char *message, size_t message_size);

/// A placement of logical experts on physical slots that evens out the ranks' loads (EPLB).
typedef struct {
    const float *load;           // [layers, experts] tokens per expert
    int32_t layers, experts;
    int32_t slots;               // physical experts of a layer, at least `experts`
    int32_t groups, nodes, gpus; // groups of experts that stay on one node; 1, 1, G for a flat plan
    bool compatible;             // slot for slot DeepSeek's EPLB; otherwise the better balanced plan
    int32_t *physical_to_logical; // [layers, slots]
} switchyard_plan_request;

int32_t switchyard_plan(const switchyard_plan_request *request, char *message, size_t message_size);

#ifdef __cplusplus
}
#endif
