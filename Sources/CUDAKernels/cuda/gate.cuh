// gate: a warp chooses K of E experts for one row of logits.
//
// Contract: as `selectExperts` in Experts, to the bit: the same exp by powers of two and a polynomial, no multiply-add fused
// (compile with --fmad=false), sums in the order of sixteen lanes. Ties go to the lower id, NaN counts as -infinity.
// Compiled in: EXPERTS, TOP_K, SIGMOID, RENORMALIZE, BIAS, GROUPS and KEPT (equal without a choice among groups), and LOGITS:
// 0 float, 1 bfloat16, 2 half.
// Method: lane l holds experts l, l + 32, …, as integer keys that order as the floats do; 0 is below every key. A pick is two
//         reductions over the warp: the best key, then the lowest expert that has it.
#pragma once

#include "device.cuh"
#include "route_arguments.h"

constexpr int PER_LANE = (EXPERTS + 31) / 32;
// Words of scratch for each warp: groups that are not whole warps wide are scored through memory.
constexpr int SCRATCH = KEPT < GROUPS && EXPERTS / GROUPS % 32 != 0 ? (EXPERTS + 3) / 4 * 4 : 0;
#define INFINITE __int_as_float(0x7f800000)

// exp(x) for x at most 0; 0 below -87 and for NaN.
__device__ inline float exponential(float x) {
    float shifted = x * 1.442695f + 12582912.0f, power = shifted - 12582912.0f;
    float rest = (x - power * 0.693359375f) - power * -2.12194440e-4f;
    float value = 1.9875691e-4f;
    value = value * rest + 1.3981999e-3f;
    value = value * rest + 8.3334519e-3f;
    value = value * rest + 4.1665796e-2f;
    value = value * rest + 1.6666665e-1f;
    value = value * rest + 0.5f;
    value = value * (rest * rest) + rest + 1.0f;
    value = __int_as_float(__float_as_int(value) + (__float_as_int(shifted) << 23));
    return x >= -87.0f ? value : 0.0f;
}

__device__ inline float above(float logit, float maximum) {
    return exponential(logit == maximum ? 0.0f : logit - maximum);
}

// 1 / (1 + exp(-x)), from the side that does not overflow; 0 for NaN.
__device__ inline float logistic(float x) {
    bool negative = x < 0.0f;
    float small = exponential(negative ? x : -x);
    float value = (negative ? small : 1.0f) / (small + 1.0f);
    return x == x ? value : 0.0f;
}

// Integers that order as the floats do; both zeros are one.
__device__ inline unsigned key_of(float x) {
    int bits = __float_as_int(x + 0.0f);
    return (unsigned)(bits ^ (bits >> 31 | (int)0x80000000));
}

__device__ inline float float_of(unsigned key) {
    return __uint_as_float(key ^ ((key >> 31) - 1 | 0x80000000u));
}

__device__ inline float logit_at(const void *logits, u64 index) {
#if LOGITS == 0
    return ((const float *)logits)[index];
#elif LOGITS == 1
    return __uint_as_float((unsigned)((const u16 *)logits)[index] << 16);
#else
    return half_as_float(((const u16 *)logits)[index]);
#endif
}

// The lowest lane with the largest score that is not taken; groups are few, so a lane each.
__device__ inline unsigned keep_groups(float score) {
    int lane = lane_index();
    unsigned kept = 0, unordered = __ballot_sync(ALL_LANES, lane < GROUPS && score != score);
    unsigned key = lane >= GROUPS ? 0 : score != score ? 1 : key_of(score);
#pragma unroll
    for (int turn = 0; turn < KEPT; turn++) {
        unsigned best = __reduce_max_sync(ALL_LANES, key);
        int winner = __ffs(__ballot_sync(ALL_LANES, key == best)) - 1;
        // A score that is no number loses every comparison, except that the first group starts as the winner.
        int first = __ffs(~kept) - 1;
        if (unordered >> first & 1) winner = first;
        kept |= 1u << winner;
        if (lane == winner) key = 0;
    }
    return kept;
}

// Keys of experts in groups that are not kept become -infinity. 
__device__ inline void mask_groups(unsigned (&key)[PER_LANE], unsigned *scratch) {
    constexpr int SIZE = EXPERTS / GROUPS;
    int lane = lane_index();
    float score = 0;
    if (SIZE % 32 == 0) {
#pragma unroll
        for (int group = 0; group < GROUPS; group++) {
            unsigned mine = 0, loser = 0;
#pragma unroll
            for (int part = 0; part < SIZE / 32; part++) {
                unsigned other = key[group * (SIZE / 32) + part];
                loser = max(loser, min(mine, other));
                mine = max(mine, other);
            }
            unsigned first = __reduce_max_sync(ALL_LANES, mine);
            float sum = float_of(first);
            if (BIAS) {
                int winner = __ffs(__ballot_sync(ALL_LANES, mine == first)) - 1;
                sum += float_of(__reduce_max_sync(ALL_LANES, lane == winner ? loser : mine));
            }
            if (lane == group) score = sum;
        }
    } else {
#pragma unroll
        for (int part = 0; part < PER_LANE; part++)
            if (lane + 32 * part < EXPERTS) scratch[lane + 32 * part] = key[part];
        __syncwarp();
        if (lane < GROUPS) {
            unsigned first = 0, second = 0;
#pragma unroll 8
            for (int member = 0; member < SIZE; member++) {
                unsigned other = scratch[lane * SIZE + member];
                second = max(second, min(first, other));
                first = max(first, other);
            }
            score = BIAS && SIZE > 1 ? float_of(first) + float_of(second) : float_of(first);
        }
        __syncwarp();
    }
    unsigned kept = keep_groups(score);
#pragma unroll
    for (int part = 0; part < PER_LANE; part++) {
        int expert = lane + 32 * part;
        if (expert < EXPERTS && !(kept >> (expert / SIZE) & 1)) key[part] = key_of(-INFINITE);
    }
}

// Sum over the row in the order of sixteen lanes: lane l adds experts l, l + 16, …, then lanes are added in pairs.
__device__ inline float ordered_sum(const float (&value)[PER_LANE]) {
    bool low = lane_index() < 16;
    float sum = 0;
#pragma unroll
    for (int part = 0; part < PER_LANE; part++) {
        float other = __shfl_xor_sync(ALL_LANES, value[part], 16);
        sum += low ? value[part] : other;
        sum += low ? other : value[part];
    }
#pragma unroll
    for (int distance = 8; distance > 0; distance >>= 1) sum += __shfl_xor_sync(ALL_LANES, sum, distance);
    return sum;
}

// Lane k < TOP_K receives the k-th best expert and its weight.
__device__ inline void gate_row(
    const gate_arguments &a, int token, const float (&bias)[PER_LANE], unsigned *scratch, int &chosen, float &weight) {
    int lane = lane_index();
    u64 row = (u64)token * EXPERTS;
    float logit[PER_LANE];
#pragma unroll
    for (int part = 0; part < PER_LANE; part++) {
        int expert = lane + 32 * part;
        logit[part] = expert < EXPERTS ? logit_at(a.logits, row + expert) : -INFINITE;
    }
    unsigned key[PER_LANE];
#pragma unroll
    for (int part = 0; part < PER_LANE; part++) {
        if (!(logit[part] == logit[part])) logit[part] = -INFINITE;
        key[part] = lane + 32 * part < EXPERTS ? key_of(logit[part]) : 0;
    }
    float maximum = 0, total = 1;
    if (!SIGMOID) {
        unsigned mine = key[0];
#pragma unroll
        for (int part = 1; part < PER_LANE; part++) mine = max(mine, key[part]);
        maximum = float_of(__reduce_max_sync(ALL_LANES, mine));
        if (maximum == -INFINITE) {
            // No expert is preferred: all are equal.
            maximum = 0;
#pragma unroll
            for (int part = 0; part < PER_LANE; part++)
                if (lane + 32 * part < EXPERTS) logit[part] = 0, key[part] = key_of(0);
        }
    }
    float score[PER_LANE];
    if (!SIGMOID && (!RENORMALIZE || BIAS)) {
#pragma unroll
        for (int part = 0; part < PER_LANE; part++) score[part] = above(logit[part], maximum);
        total = ordered_sum(score);
    }
    if (BIAS) {
#pragma unroll
        for (int part = 0; part < PER_LANE; part++) {
            if (lane + 32 * part >= EXPERTS) continue;
            float choice = (SIGMOID ? logistic(logit[part]) : score[part] / total) + bias[part];
            key[part] = key_of(choice == choice ? choice : -INFINITE);
        }
    }
    if (KEPT < GROUPS) mask_groups(key, scratch);

    unsigned best = 0;
    int at = 0;
    auto find = [&] {
        best = key[0], at = 0;
#pragma unroll
        for (int part = 1; part < PER_LANE; part++)
            if (key[part] > best) best = key[part], at = part;
    };
    find();
    unsigned picked = 0;
    chosen = 0;
#pragma unroll
    for (int pick = 0; pick < TOP_K; pick++) {
        unsigned top = __reduce_max_sync(ALL_LANES, best);
        int winner = __reduce_min_sync(ALL_LANES, best == top ? (unsigned)(lane + 32 * at) : ALL_LANES);
        if (lane == pick) chosen = winner, picked = top;
        if (pick + 1 < TOP_K && lane == (winner & 31)) {
#pragma unroll
            for (int part = 0; part < PER_LANE; part++)
                if (part == at) key[part] = 0;
            find();
        }
    }
    // Under a bias the keys are not the scores.
    float from = float_of(picked);
    if (BIAS) {
        from = lane < TOP_K ? logit_at(a.logits, row + chosen) : 0;
        if (!(from == from)) from = -INFINITE;
    }
    weight = SIGMOID ? logistic(from) : above(from, maximum);
    if (!SIGMOID && (!RENORMALIZE || BIAS)) weight = weight / total;
    if (RENORMALIZE) {
        float sum = 0;
#pragma unroll
        for (int pick = 0; pick < TOP_K; pick++) sum += __shfl_sync(ALL_LANES, weight, pick);
        weight = weight / (sum + 1e-20f);
    }
    weight *= a.scale;
}

// The physical expert that serves row `token` of a pass.
__device__ inline int slot_of(const gate_arguments &a, int expert, int token) {
    if (!a.starts) return expert;
    int start = a.starts[expert], count = a.starts[expert + 1] - start;
    if (count == 1) return a.slots[start];
    if (!a.shares) return a.slots[start + (unsigned)token % (unsigned)count];
    unsigned place = (unsigned)token * 0x9E3779B9u + (unsigned)expert * 0x85EBCA6Bu;
    int entry = start;
    while (entry < start + count - 1 && place >= a.shares[entry]) entry++;
    return a.slots[entry];
}

// The bias of this lane's experts; may run before the inputs are there, since a bias is a weight of the model.
__device__ inline void load_bias(const gate_arguments &a, float (&bias)[PER_LANE]) {
#pragma unroll
    for (int part = 0; part < PER_LANE; part++) {
        int expert = lane_index() + 32 * part;
        bias[part] = BIAS && expert < EXPERTS ? a.bias[expert] : 0;
    }
}

// Gates a row and writes it; returns in lane c < columns the id of column c.
__device__ inline int route_row(const gate_arguments &a, int token, const float (&bias)[PER_LANE], unsigned *scratch) {
    int lane = lane_index(), columns = TOP_K + (a.shared_copies > 0), id = -1;
    float weight = 0;
    if (!a.real_tokens || token < *a.real_tokens) {
        gate_row(a, token, bias, scratch, id, weight);
        if (lane < TOP_K) {
            id = slot_of(a, id, a.first_token + token);
        } else if (a.shared_copies > 0) {
            id = a.targets - a.shared_copies + (a.first_token + token) % a.shared_copies;
            weight = a.shared_weight;
        }
    }
    if (lane < columns) {
        a.ids[(u64)token * columns + lane] = id;
        a.weights[(u64)token * columns + lane] = weight;
    }
    return id;
}
