// gate_many: many rows at once, LANES lanes of a warp each. Same contract as gate.cuh, for rules without a choice of groups and
// at most 256 experts.
//
// Method: an expert is one integer, the upper 24 bits of its key above its number, so that an exchange of two is a minimum and a
//         maximum. A lane of a row sorts its experts in short lists and keeps the best; then lanes merge theirs in pairs. Where 24
//         bits may not decide, which is where the last choice has an equal outside or two choices are equal, and where keys are
//         infinite or no numbers, the whole warp does the row again as gate.cuh does it. Of bfloat16 and half precision, 24 bits
//         are all there are.
// Compiled in besides: LANES, 4 or 8. Logits begin at 16 bytes.
#pragma once

#include "gate.cuh"

// The least power of two that is no less.
__device__ constexpr int power_of_two(int least) { return least <= 1 ? 1 : 2 * power_of_two((least + 1) / 2); }

constexpr int CLASSES = 16 / LANES;                     // of the sixteen partial sums, those of a lane
constexpr int MINE = (EXPERTS + 15) / 16 * CLASSES;     // experts of a lane: some neighbours of every sixteen
constexpr int BEST = power_of_two(TOP_K);               // the length of a list
constexpr int PICKS = (TOP_K + LANES - 1) / LANES;      // choices that a lane writes
constexpr bool EXACT = LOGITS != 0 && !BIAS;            // whether 24 bits always decide
constexpr int ID_BITS = 0xff, NOBODY = 0x7fffff00;

__device__ inline int expert_at(int i) {
    return i / CLASSES * 16 + threadIdx.x % LANES * CLASSES + i % CLASSES;
}

// The less the better: 24 bits of the key, then the expert.
__device__ inline int entry_of(float x, int expert) {
    int bits = __float_as_int(x + 0.0f);  // both zeros are one
    return ~((bits & 0x7fffff00) ^ sign_above(bits, ~expert));
}

// The least float with the entry's 24 bits.
__device__ inline float least_of(int entry) {
    return __int_as_float(entry < 0 ? ~entry & 0x7fffff00 : entry | 0x800000ff);
}

__device__ inline void order(int &first, int &second) {
    int better = min(first, second);
    second = max(first, second);
    first = better;
}

// Batcher's odd-even merge sort (Sorting networks and their applications, 1968). Templates, since loops of this shape are not
// unrolled, and what a loop indexes lies in memory.
template <int FIRST, int COUNT, int APART>
__device__ inline void merge_halves(int (&e)[BEST]) {
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
__device__ inline void sort(int (&e)[BEST]) {
    if constexpr (COUNT > 1) {
        sort<FIRST, COUNT / 2>(e);
        sort<FIRST + COUNT / 2, COUNT / 2>(e);
        merge_halves<FIRST, COUNT, 1>(e);
    }
}

// Sorts a list that falls and then rises, or the other way.
template <int APART>
__device__ inline void sort_bitonic(int (&list)[BEST]) {
    if constexpr (APART > 0) {
#pragma unroll
        for (int i = 0; i < BEST; i++)
            if (!(i & APART)) order(list[i], list[i + APART]);
        sort_bitonic<APART / 2>(list);
    }
}

// The best of two sorted lists.
__device__ inline void merge(int (&list)[BEST], const int (&other)[BEST]) {
#pragma unroll
    for (int i = 0; i < BEST; i++) list[i] = min(list[i], other[BEST - 1 - i]);
    sort_bitonic<BEST / 2>(list);
}

// The best of a lane's values FIRST to FIRST + COUNT, sorted. Neighbours are merged first, so that merges do not wait in a row.
template <int FIRST, int COUNT>
__device__ inline void best_of(const float (&value)[MINE], int (&list)[BEST]) {
    if constexpr (COUNT <= BEST) {
#pragma unroll
        for (int i = 0; i < BEST; i++) {
            list[i] = NOBODY;
            if (i < COUNT && expert_at(FIRST + i) < EXPERTS)
                list[i] = entry_of(value[FIRST + i], expert_at(FIRST + i) - expert_at(0));
        }
        sort<0, BEST>(list);
    } else {
        constexpr int HALF = power_of_two(COUNT) / 2;
        int other[BEST];
        best_of<FIRST, HALF>(value, list);
        best_of<FIRST + HALF, COUNT - HALF>(value, other);
        merge(list, other);
    }
}

// A lane's logits, or -infinity where there is no expert.
__device__ inline void load_logits(const gate_arguments &a, u64 row, float (&logit)[MINE]) {
#if LOGITS == 0
    typedef float element;
#else
    typedef u16 element;
#endif
    constexpr int WIDTH = EXPERTS % CLASSES == 0 ? CLASSES : 1;  // rows begin at whole vectors
    struct __align__(WIDTH * sizeof(element)) vector { element e[WIDTH]; };
#pragma unroll
    for (int i = 0; i < MINE; i += WIDTH) {
        bool exists = expert_at(i) < EXPERTS;
        vector loaded;
        if (exists) loaded = *(const vector *)((const element *)a.logits + row + expert_at(i));
#pragma unroll
        for (int j = 0; j < WIDTH; j++) logit[i + j] = exists ? logit_at(loaded.e, j) : -INFINITE;
    }
}

// Sum over the row of exp(logit - maximum), in the order of sixteen lanes as `ordered_sum`.
__device__ inline float sum_of_row(const float (&logit)[MINE], float maximum) {
    float sum[CLASSES];
#pragma unroll
    for (int i = 0; i < CLASSES; i++) sum[i] = 0;
#pragma unroll
    for (int i = 0; i < MINE; i++) sum[i % CLASSES] += exponential(logit[i] - maximum);
#pragma unroll
    for (int distance = 8; distance >= CLASSES; distance /= 2) {
#pragma unroll
        for (int i = 0; i < CLASSES; i++) sum[i] += __shfl_xor_sync(ALL_LANES, sum[i], distance / CLASSES);
    }
#pragma unroll
    for (int half = CLASSES / 2; half >= 1; half /= 2) {
#pragma unroll
        for (int i = 0; i < half; i++) sum[i] += sum[i + half];
    }
    return sum[0];
}

// Logits become what decides under a bias; returns the sum of the row's scores.
__device__ inline float choices(const gate_arguments &a, float &maximum, float (&value)[MINE]) {
    float total = 1;
    if (!SIGMOID) {
        maximum = value[0];
#pragma unroll
        for (int i = 1; i < MINE; i++) maximum = fmaxf(maximum, value[i]);
#pragma unroll
        for (int distance = LANES / 2; distance > 0; distance /= 2)
            maximum = fmaxf(maximum, __shfl_xor_sync(ALL_LANES, maximum, distance));
        total = sum_of_row(value, maximum);
    }
#pragma unroll
    for (int i = 0; i < MINE; i++) {
        if (expert_at(i) >= EXPERTS) continue;
        float score = SIGMOID ? logistic(value[i]) : exponential(value[i] - maximum) / total;
        value[i] = score + a.bias[expert_at(i)];
    }
    return total;
}

// Whether 24 bits may not decide about a row. All lanes of the row get the same answer.
__device__ inline bool is_unsure(const float (&value)[MINE], const int (&list)[BEST]) {
    bool unsure = false;
#pragma unroll
    for (int i = 0; i + 1 < TOP_K; i++) unsure |= (unsigned)(list[i] ^ list[i + 1]) <= ID_BITS;
    float least = least_of(list[TOP_K - 1]), reached = 0;
#pragma unroll
    for (int i = 0; i < MINE; i++)
        if (value[i] >= least) reached += 1;
#pragma unroll
    for (int distance = LANES / 2; distance > 0; distance /= 2)
        reached += __shfl_xor_sync(ALL_LANES, reached, distance);
    unsure |= reached != TOP_K;
    if (__any_sync(ALL_LANES, unsure)) {
        // Logits that were bfloat16 have no more bits, and their many equals are in order already.
        int rest = 0;
#pragma unroll
        for (int i = 0; i < MINE; i++) rest |= __float_as_int(value[i]);
#pragma unroll
        for (int distance = LANES / 2; distance > 0; distance /= 2)
            rest |= __shfl_xor_sync(ALL_LANES, rest, distance);
        unsure = unsure && (rest & ID_BITS) != 0;
    }
    return unsure;
}

// Gates row `token` and writes it, if it `exists`; all lanes of a warp call this.
__device__ inline void route_row_of_many(const gate_arguments &a, int token, bool exists) {
    int place = threadIdx.x % LANES, columns = TOP_K + (a.shared_copies > 0);
    u64 row = (u64)token * EXPERTS;
    float value[MINE], maximum = 0, total = 1;
    load_logits(a, row, value);
    if (BIAS) total = choices(a, maximum, value);
    int list[BEST];
    best_of<0, MINE>(value, list);
#pragma unroll
    for (int i = 0; i < BEST; i++) list[i] += expert_at(0);
#pragma unroll
    for (int distance = 1; distance < LANES; distance *= 2) {
        int other[BEST];
#pragma unroll
        for (int i = 0; i < BEST; i++) other[i] = __shfl_xor_sync(ALL_LANES, list[i], distance);
        merge(list, other);
    }
    // The best is +infinity or no number, or the last choice is -infinity or nobody.
    bool again = list[0] < (int)0x80800000 || list[TOP_K - 1] >= 0x7f800000;
    if (BIAS && !SIGMOID) again |= !(fabsf(maximum) < INFINITE);
    if (!EXACT) again |= is_unsure(value, list);

    int chosen[PICKS];
    float weight[PICKS];
#pragma unroll
    for (int pick = 0; pick < PICKS; pick++) {
        int mine = list[pick * LANES];
#pragma unroll
        for (int i = 1; i < LANES && pick * LANES + i < BEST; i++)
            if (place == i) mine = list[pick * LANES + i];
        chosen[pick] = min(mine & ID_BITS, EXPERTS - 1);
        weight[pick] = logit_at(a.logits, row + chosen[pick]);
    }
    if (!SIGMOID && !BIAS) {
        maximum = __shfl_sync(ALL_LANES, weight[0], 0, LANES);
        if (!RENORMALIZE) total = sum_of_row(value, maximum);
    }
#pragma unroll
    for (int pick = 0; pick < PICKS; pick++) {
        weight[pick] = SIGMOID ? logistic(weight[pick]) : exponential(weight[pick] - maximum);
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
    if (exists && !again) {
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
    unsigned rows = __ballot_sync(ALL_LANES, exists && again && place == 0);
    if (rows == 0) return;
    float bias[PER_LANE];
    load_bias(a, bias);
#pragma unroll 1
    for (; rows != 0; rows &= rows - 1)
        route_row(a, __shfl_sync(ALL_LANES, token, __ffs(rows) - 1), bias, nullptr);
}
