// route_arguments: what the routing kernels are told. Read by Swift and, as it is, by the device compiler.
#pragma once

#ifdef __CUDACC_RTC__
/// Device memory of elements T.
#define DEVICE(T) T *
#else
#include <stdint.h>
#define DEVICE(T) uint64_t
#endif

/// Where a launch that counts leaves its counts: a row of slot `pass & mask` of a ring of passes.
typedef struct {
    DEVICE(int) counts;          // [slots, layers, experts], a row overwritten; null when nobody records
    DEVICE(unsigned) pass;       // [1] the number of the running pass
    unsigned mask;               // slots - 1; slots are a power of two
    int stride;                  // layers * experts
    int offset;                  // layer * experts
    int advances;                // whether this launch is its pass's last and increments `pass`
} route_record;

/// Pairs to blocks; see `BlockRule` in Experts for what the fields mean.
///
/// A bucket holds the pairs that end up together; blocks come in the order of buckets. Without tables a bucket is an id.
typedef struct {
    DEVICE(const int) ids;        // [pairs]; an id that is neither -1 nor below `experts` counts as -1
    DEVICE(const int) bucket_of;  // [1 + experts] the bucket of -1, then of each id; -1: none
    DEVICE(const int) label_of;   // [buckets] what blocks of a bucket are labelled; -2: its pairs take no rows
    DEVICE(int) sorted;           // [capacity]
    DEVICE(int) blocks;           // [block_capacity]
    DEVICE(int) padded;           // [1]
    DEVICE(unsigned) workspace;   // for grids, zero at first: the last launch's number, 32 words on what CTAs exchange
    int pairs, experts, buckets;
    int block_size, block_shift;  // block_shift: log2 of the block size, or -1
    int capacity, block_capacity;
    int stage_rows;               // shared rows of a CTA that works alone; a multiple of 4
    int fill_tail;                // rows behind the padded count become `pairs`, blocks behind it -1
    route_record record;
} align_arguments;

/// Logits to experts; the rule itself is compiled in. See `selectExperts` in Experts.
typedef struct {
    DEVICE(const void) logits;        // [tokens, experts]
    DEVICE(const float) bias;         // [experts], if compiled with BIAS
    DEVICE(float) weights;            // [tokens, columns]
    DEVICE(int) ids;                  // [tokens, columns]
    DEVICE(const int) real_tokens;    // [1] rows from here on are padding; null when all are real
    DEVICE(const int) starts;         // [experts + 1] first entry of each expert in `slots`; null without dispatch
    DEVICE(const int) slots;          // physical experts
    DEVICE(const unsigned) shares;    // upper end of each entry's share of the 32-bit line; null when they take turns
    int tokens;
    int first_token;                  // number of the first row, for dispatch and the shared copies
    int targets;                      // physical experts and shared copies
    int shared_copies;                // 0 without a shared column
    float scale, shared_weight;
} gate_arguments;

/// Gate, dispatch, align and record.
typedef struct {
    gate_arguments gate;
    align_arguments align;            // `pairs` and `experts` as the gate makes them; `ids` unused
} route_arguments;
