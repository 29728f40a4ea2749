// route_kernels: gating and counting on the widest registers of this machine. Allocates nothing, keeps no state, cannot fail; shapes are
// checked by the caller.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// Chooses top_k of `experts` experts for every row; see `selectExperts` in Experts for what each field means.
typedef struct {
    const float *logits;       // [rows, experts]
    const float *bias;         // [experts], or NULL
    float *weights;            // [rows, columns], the first top_k of each row are written, best first
    int32_t *ids;              // [rows, columns], the first top_k of each row are written
    float *scratch;            // [route_gate_scratch(experts, groups)]
    ptrdiff_t experts, top_k, columns;
    ptrdiff_t groups, groups_kept;  // equal if there is no choice among groups
    bool sigmoid;              // scores: the logistic function, else softmax
    bool renormalize;          // weights are divided by their sum
    float scale;               // a factor on every weight
} route_gate_args;

/// Floats of scratch.
static inline ptrdiff_t route_gate_scratch(ptrdiff_t experts, ptrdiff_t groups) {
    return 3 * ((experts + 31) / 16 * 16) + 2 * groups;
}

/// One instruction set's kernels.
typedef struct {
    /// Gates rows begin ..< end.
    void (*gate)(const route_gate_args *args, ptrdiff_t begin, ptrdiff_t end);
    /// Counts ids into the first of `tables` (1 or 4) tables, each [experts + 1] with the -1 first; the others are scratch.
    /// Returns whether every id is at least -1 and below `experts`; the tables are undefined if not.
    bool (*count)(const int32_t *ids, ptrdiff_t n, int32_t experts, int32_t *table, int tables);
} route_kernels;

/// The kernels for the instruction set `name` ("avx512", "avx2", "baseline"), or the best for NULL; NULL when this machine
/// lacks it.
const route_kernels *route_kernels_named(const char *name);
