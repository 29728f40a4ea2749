// gate_many: many rows at once, LANES lanes of a warp each. Same contract as gate.cuh, for rules without a choice of groups and
// at most 16 * LANES experts.
//
// Method: lane q of a row holds experts q, q + LANES, …, sorts them, and keeps the best; then lanes merge their lists in pairs. A
//         warp per row waits less for one row, but spends its lanes on finding one expert at a time.
// Compiled in besides: LANES, 4, 8 or 16.
#pragma once

#include "gate.cuh"

// The least power of two that is no less.
__device__ constexpr int power_of_two(int least) { return least <= 1 ? 1 : 2 * power_of_two((least + 1) / 2); }

constexpr int MINE = (EXPERTS + LANES - 1) / LANES;  // experts of a lane
constexpr int SORTED = power_of_two(MINE);
constexpr int BEST = power_of_two(TOP_K);            // the length of a list
constexpr int CLASSES = 16 / LANES;                  // of the sixteen partial sums, those of a lane
constexpr int PICKS = (TOP_K + LANES - 1) / LANES;   // choices that a lane writes
constexpr bool PACKED = LOGITS == 1 && !BIAS;        // a key leaves room for the expert

// Greater is better: by key, then the lower expert.
#if LOGITS == 1 && !BIAS
typedef unsigned entry;
#else
typedef u64 entry;
#endif

__device__ inline entry entry_of(unsigned key, int expert) {
    return PACKED ? (entry)((key & 0xffff0000u) | (0xffffu - expert)) : (entry)((u64)key << 32 | (unsigned)~expert);
}

__device__ inline unsigned key_in(entry e) {
    if (!PACKED) return (unsigned)((u64)e >> 32);
    unsigned key = (unsigned)e & 0xffff0000u;
    return key >> 31 ? key : key | 0xffffu;  // below zero all bits are turned round
}

__device__ inline int expert_of(entry e) { return PACKED ? 0xffff - (int)(e & 0xffff) : (int)~(unsigned)e; }

// The better one first. One comparison for both: of 64 bits, it is two instructions.
__device__ inline void order(entry &first, entry &second) {
    bool turn = first < second;
    entry better = turn ? second : first;
    second = turn ? first : second;
    first = better;
}

// Batcher's odd-even merge sort (Sorting networks and their applications, 1968). Templates, since loops of this shape are not
// unrolled, and what a loop indexes lies in memory.
template <int FIRST, int COUNT, int APART>
__device__ inline void merge_halves(entry (&e)[SORTED]) {
    if constexpr (2 * APART < COUNT) {
        merge_halves<FIRST, COUNT, 2 * APART>(e);
        merge_halves<FIRST + APART, COUNT, 2 * APART>(e);
#pragma unroll
        for (int i = FIRST + APART; i + APART < FIRST + COUNT; i += 2 * APART) order(e[i], e[i + APART]);
    } else {
        order(e[FIRST], e[FIRST + APART]);
    }
}

template <int FIRST, int COUNT>
__device__ inline void sort(entry (&e)[SORTED]) {
    if constexpr (COUNT > 1) {
        sort<FIRST, COUNT / 2>(e);
        sort<FIRST + COUNT / 2, COUNT / 2>(e);
        merge_halves<FIRST, COUNT, 1>(e);
    }
}

// Sorts a list that rises and then falls.
template <int APART>
__device__ inline void sort_bitonic(entry (&list)[BEST]) {
    if constexpr (APART > 0) {
#pragma unroll
        for (int i = 0; i < BEST; i++)
            if (!(i & APART)) order(list[i], list[i + APART]);
        sort_bitonic<APART / 2>(list);
    }
}

// The best of two lists, this lane's and that of the lane `distance` away.
__device__ inline void merge(entry (&list)[BEST], int distance) {
    entry other[BEST];
#pragma unroll
    for (int i = 0; i < BEST; i++) other[i] = __shfl_xor_sync(ALL_LANES, list[BEST - 1 - i], distance);
#pragma unroll
    for (int i = 0; i < BEST; i++) list[i] = max(list[i], other[i]);
    sort_bitonic<BEST / 2>(list);
}

// Sum over the row in the order of sixteen lanes, as `ordered_sum`.
__device__ inline float sum_of_row(const float (&value)[MINE]) {
    float sum[CLASSES];
#pragma unroll
    for (int i = 0; i < CLASSES; i++) sum[i] = 0;
#pragma unroll
    for (int i = 0; i < MINE; i++) sum[i % CLASSES] += value[i];
#pragma unroll
    for (int half = CLASSES / 2; half >= 1; half /= 2) {
#pragma unroll
        for (int i = 0; i < half; i++) sum[i] += sum[i + half];
    }
#pragma unroll
    for (int distance = LANES / 2; distance > 0; distance /= 2)
        sum[0] += __shfl_xor_sync(ALL_LANES, sum[0], distance);
    return sum[0];
}

// Gates row `token` and writes it, if it `exists`; all lanes of a warp call this.
__device__ inline void route_row_of_many(const gate_arguments &a, int token, bool exists, const float (&bias)[MINE]) {
    int place = threadIdx.x % LANES, columns = TOP_K + (a.shared_copies > 0);
    u64 row = (u64)token * EXPERTS;
    float logit[MINE];
#pragma unroll
    for (int i = 0; i < MINE; i++) {
        int expert = place + LANES * i;
        logit[i] = expert < EXPERTS ? logit_at(a.logits, row + expert) : -INFINITE;
        if (!(logit[i] == logit[i])) logit[i] = -INFINITE;
    }
    float maximum = 0, total = 1;
    if (!SIGMOID) {
        maximum = logit[0];
#pragma unroll
        for (int i = 1; i < MINE; i++) maximum = fmaxf(maximum, logit[i]);
#pragma unroll
        for (int distance = LANES / 2; distance > 0; distance /= 2)
            maximum = fmaxf(maximum, __shfl_xor_sync(ALL_LANES, maximum, distance));
        if (maximum == -INFINITE) {
            // No expert is preferred: all are equal.
            maximum = 0;
#pragma unroll
            for (int i = 0; i < MINE; i++)
                if (place + LANES * i < EXPERTS) logit[i] = 0;
        }
    }
    float score[MINE];
    if (!SIGMOID && (!RENORMALIZE || BIAS)) {
#pragma unroll
        for (int i = 0; i < MINE; i++) score[i] = above(logit[i], maximum);
        total = sum_of_row(score);
    }
    entry all[SORTED], list[BEST];
#pragma unroll
    for (int i = 0; i < SORTED; i++) {
        all[i] = 0;
        int expert = place + LANES * i;
        if (i >= MINE || expert >= EXPERTS) continue;
        float choice = logit[i];
        if (BIAS) {
            choice = (SIGMOID ? logistic(choice) : score[i] / total) + bias[i];
            if (!(choice == choice)) choice = -INFINITE;
        }
        all[i] = entry_of(key_of(choice), expert);
    }
    sort<0, SORTED>(all);
#pragma unroll
    for (int i = 0; i < BEST; i++) list[i] = i < SORTED ? all[i] : 0;
#pragma unroll
    for (int distance = 1; distance < LANES; distance *= 2) merge(list, distance);

    int chosen[PICKS];
    float weight[PICKS];
#pragma unroll
    for (int pick = 0; pick < PICKS; pick++) {
        entry mine = list[pick * LANES];
#pragma unroll
        for (int i = 1; i < LANES && pick * LANES + i < BEST; i++)
            if (place == i) mine = list[pick * LANES + i];
        chosen[pick] = expert_of(mine);
        float from = float_of(key_in(mine));
        if (BIAS) {
            // Under a bias the keys are not the scores.
            from = place + pick * LANES < TOP_K ? logit_at(a.logits, row + chosen[pick]) : 0;
            if (!(from == from)) from = -INFINITE;
        }
        weight[pick] = SIGMOID ? logistic(from) : above(from, maximum);
        if (!SIGMOID && (!RENORMALIZE || BIAS)) weight[pick] = weight[pick] / total;
    }
    if (RENORMALIZE) {
        float sum = 0;
#pragma unroll
        for (int pick = 0; pick < TOP_K; pick++)
            sum += __shfl_sync(ALL_LANES, weight[pick / LANES], pick % LANES, LANES);
#pragma unroll
        for (int pick = 0; pick < PICKS; pick++) weight[pick] = weight[pick] / (sum + 1e-20f);
    }
    if (!exists) return;
    bool real = !a.real_tokens || token < *a.real_tokens;
    u64 out = (u64)token * columns + place;
#pragma unroll
    for (int pick = 0; pick < PICKS; pick++) {
        if (place + pick * LANES >= TOP_K) break;
        a.ids[out + pick * LANES] = real ? slot_of(a, chosen[pick], a.first_token + token) : -1;
        a.weights[out + pick * LANES] = real ? weight[pick] * a.scale : 0;
    }
    if (columns > TOP_K && place == TOP_K % LANES) {
        u64 last = (u64)token * columns + TOP_K;
        a.ids[last] = real ? a.targets - a.shared_copies + (a.first_token + token) % a.shared_copies : -1;
        a.weights[last] = real ? a.shared_weight : 0;
    }
}
