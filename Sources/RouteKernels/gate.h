// gate: one row of logits to K experts and their weights, sixteen experts at a time.
//
// Method: keys (the logits, or score plus bias) go through lane-wise maxima first. Sixteen lanes hold sixteen different
// experts, so the K-th largest lane maximum is a lower bound of the K-th largest key; few keys reach it, and those are put
// in order by counting, for each, how many are better. So no branch depends on a logit, which random rows would mispredict.
// exp is by powers of two and a polynomial of degree six, after Cody and Waite: relative error below 2e-7 on [-87, 0].

#define SWAP8(v) __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7)
#define SWAP4(v) __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11)
#define SWAP2(v) __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13)
#define SWAP1(v) __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14)

INLINE float largest(v16 v) {
    v = larger(v, SWAP8(v));
    v = larger(v, SWAP4(v));
    v = larger(v, SWAP2(v));
    v = larger(v, SWAP1(v));
    return v[0];
}

INLINE float sum(v16 v) {
    v += SWAP8(v);
    v += SWAP4(v);
    v += SWAP2(v);
    v += SWAP1(v);
    return v[0];
}

// exp(x) for x at most 0; 0 below -87 and for NaN.
INLINE v16 exponential(v16 x) {
    // Adding and subtracting 1.5 · 2^23 rounds to an integer, which the sum's low bits then hold.
    v16 shifted = x * 1.442695f + 12582912.0f, power = shifted - 12582912.0f;
    v16 rest = (x - power * 0.693359375f) - power * -2.12194440e-4f;
    v16 value = splat(1.9875691e-4f);
    value = value * rest + 1.3981999e-3f;
    value = value * rest + 8.3334519e-3f;
    value = value * rest + 4.1665796e-2f;
    value = value * rest + 1.6666665e-1f;
    value = value * rest + 0.5f;
    value = value * (rest * rest) + rest + 1.0f;
    value = (v16)((i16)value + ((i16)shifted << 23));
    return choose(x >= splat(-87), value, splat(0));
}

// exp(logit - maximum); experts at an infinite maximum get 1.
INLINE v16 above(v16 logits, v16 maximum) {
    return exponential(choose(logits == maximum, splat(0), logits - maximum));
}

// 1 / (1 + exp(-x)), from the side that does not overflow; 0 for NaN.
INLINE v16 logistic(v16 x) {
    i16 negative = x < splat(0);
    v16 small = exponential(choose(negative, x, -x));
    return choose(x == x, choose(negative, small, splat(1)) / (small + 1.0f), splat(0));
}

// Appends the keys of a chunk that reach the bound, and their ids; returns the new count. Writes up to 16 beyond it.
INLINE ptrdiff_t collect(
    v16 keys, float bound, int32_t first, ptrdiff_t valid, float *best, int32_t *ids, ptrdiff_t count) {
#if defined(ROUTE_AVX512)
    __mmask16 mask = _mm512_cmp_ps_mask((__m512)keys, _mm512_set1_ps(bound), _CMP_GE_OQ);
    if (valid < 16) mask &= (__mmask16)((1u << valid) - 1);
    i16 numbers = lanes() + splat_int(first);
    _mm512_storeu_ps(best + count, _mm512_maskz_compress_ps(mask, (__m512)keys));
    _mm512_storeu_si512(ids + count, _mm512_maskz_compress_epi32(mask, (__m512i)numbers));
    return count + __builtin_popcount(mask);
#else
    i16 reached = keys >= splat(bound);
    unsigned mask = 0;
#if defined(ROUTE_AVX2)
    for (int half = 0; half < 2; half++)
        mask |= (unsigned)_mm256_movemask_ps(((const __m256 *)&reached)[half]) << 8 * half;
#elif defined(__x86_64__)
    for (int part = 0; part < 4; part++)
        mask |= (unsigned)_mm_movemask_ps(((const __m128 *)&reached)[part]) << 4 * part;
#else
    for (int lane = 0; lane < 16; lane++) mask |= (unsigned)(reached[lane] & 1) << lane;
#endif
    if (valid < 16) mask &= (1u << valid) - 1;
    for (; mask; mask &= mask - 1) {
        int lane = __builtin_ctz(mask);
        best[count] = keys[lane];
        ids[count++] = first + lane;
    }
    return count;
#endif
}

// The place of sixteen candidates among `count`: how many are better, ties to the earlier. Candidates have ascending ids.
INLINE i16 places(const float *keys, ptrdiff_t first, ptrdiff_t count) {
    v16 own = load(keys + first);
    i16 numbers = lanes() + splat_int((int32_t)first), place = {};
    for (ptrdiff_t other = 0; other < count; other++) {
        v16 key = splat(keys[other]);
        place -= (key > own) | ((key == own) & (splat_int((int32_t)other) < numbers));
    }
    return place;
}

// The first `top_k` of `count` candidates, in order, to `out_keys` and `out_ids`.
INLINE void order(
    const float *keys, const int32_t *ids, ptrdiff_t count, ptrdiff_t top_k, float *out_keys, int32_t *out_ids) {
    if (count <= 32) {
        float sorted[48];
        int32_t numbers[48];
        for (ptrdiff_t first = 0; first < count; first += 16) {
            i16 place = places(keys, first, count);
            int32_t to[16];
            memcpy(to, &place, sizeof to);
            for (ptrdiff_t lane = 0; lane < 16 && first + lane < count; lane++) {
                sorted[to[lane]] = keys[first + lane];
                numbers[to[lane]] = ids[first + lane];
            }
        }
        memcpy(out_keys, sorted, sizeof(float) * (size_t)top_k);
        memcpy(out_ids, numbers, sizeof(int32_t) * (size_t)top_k);
        return;
    }
    // Many: K is large, or many keys are equal. Insertion; an equal key never displaces an earlier one.
    ptrdiff_t length = 0;
    for (ptrdiff_t candidate = 0; candidate < count; candidate++) {
        float key = keys[candidate];
        if (length == top_k && !(key > out_keys[top_k - 1])) continue;
        ptrdiff_t slot = length < top_k ? length++ : top_k - 1;
        for (; slot > 0 && key > out_keys[slot - 1]; slot--) {
            out_keys[slot] = out_keys[slot - 1];
            out_ids[slot] = out_ids[slot - 1];
        }
        out_keys[slot] = key;
        out_ids[slot] = ids[candidate];
    }
}

// The K-th largest of sixteen; K at most 16.
INLINE float kth_largest(v16 v, ptrdiff_t k) {
    i16 better = {};
    for (int lane = 0; lane < 16; lane++) better -= splat(v[lane]) > v;
    // Lanes with fewer than K better ones; the least of them.
    v16 inside = choose(better < splat_int((int32_t)k), v, splat(INFINITY));
    return -largest(-inside);
}

// Groups that are not kept lose their keys. A group's score is its best key, or with a bias the sum of its two best.
static void keep_groups(const route_gate_args *a, float *keys, float *scores) {
    ptrdiff_t size = a->experts / a->groups;
    float *marks = scores + a->groups;
    for (ptrdiff_t group = 0; group < a->groups; group++) {
        float first = -INFINITY, second = -INFINITY;
        for (ptrdiff_t expert = group * size; expert < (group + 1) * size; expert++) {
            float key = keys[expert], loser = key > first ? first : key;
            first = key > first ? key : first;
            second = loser > second ? loser : second;
        }
        scores[group] = a->bias && size > 1 ? first + second : first;
        marks[group] = 0;
    }
    for (ptrdiff_t kept = 0; kept < a->groups_kept; kept++) {
        ptrdiff_t winner = -1;
        for (ptrdiff_t group = 0; group < a->groups; group++)
            if (marks[group] == 0 && (winner < 0 || scores[group] > scores[winner])) winner = group;
        marks[winner] = 1;
    }
    for (ptrdiff_t group = 0; group < a->groups; group++)
        if (marks[group] == 0)
            for (ptrdiff_t expert = group * size; expert < (group + 1) * size; expert++) keys[expert] = -INFINITY;
}

INLINE void gate_row(const route_gate_args *a, const float *logits, float *weights, int32_t *ids) {
    ptrdiff_t padded = (a->experts + 15) / 16 * 16;
    float *keys = a->scratch, *candidates = keys + padded + 16;
    int32_t *candidate_ids = (int32_t *)(candidates + padded + 16);
    float *groups = candidates + 2 * (padded + 16);

    // Logits without NaN, the last chunk filled up.
    v16 top = splat(-INFINITY);
    for (ptrdiff_t expert = 0; expert < padded; expert += 16) {
        v16 chunk;
        if (expert + 16 <= a->experts) {
            chunk = load(logits + expert);
        } else {
            float rest[16];
            for (int lane = 0; lane < 16; lane++)
                rest[lane] = expert + lane < a->experts ? logits[expert + lane] : -INFINITY;
            chunk = load(rest);
        }
        chunk = choose(chunk == chunk, chunk, splat(-INFINITY));
        store(keys + expert, chunk);
        top = larger(top, chunk);
    }
    float maximum = largest(top), total = 1;
    if (!a->sigmoid) {
        if (maximum == -INFINITY) {
            // No expert is preferred: all are equal.
            maximum = 0;
            for (ptrdiff_t expert = 0; expert < a->experts; expert++) keys[expert] = 0;
            top = splat(0);
        }
        if (!a->renormalize || a->bias) {
            v16 sums = {};
            for (ptrdiff_t expert = 0; expert < padded; expert += 16)
                sums += above(load(keys + expert), splat(maximum));
            total = sum(sums);
        }
    }
    bool grouped = a->groups_kept < a->groups;
    if (a->bias || grouped) {
        if (a->bias) {
            for (ptrdiff_t expert = 0; expert < padded; expert += 16) {
                v16 chunk = load(keys + expert);
                v16 score = a->sigmoid ? logistic(chunk) : above(chunk, splat(maximum)) / total;
                store(keys + expert, score);
            }
            for (ptrdiff_t expert = 0; expert < a->experts; expert++) {
                float key = keys[expert] + a->bias[expert];
                keys[expert] = key == key ? key : -INFINITY;
            }
            for (ptrdiff_t expert = a->experts; expert < padded; expert++) keys[expert] = -INFINITY;
        }
        if (grouped) keep_groups(a, keys, groups);
        top = splat(-INFINITY);
        for (ptrdiff_t expert = 0; expert < padded; expert += 16) top = larger(top, load(keys + expert));
    }

    float bound = a->top_k <= 16 ? kth_largest(top, a->top_k) : -INFINITY;
    ptrdiff_t count = 0;
    for (ptrdiff_t expert = 0; expert < padded; expert += 16)
        count = collect(
            load(keys + expert), bound, (int32_t)expert, a->experts - expert, candidates, candidate_ids, count);
    order(candidates, candidate_ids, count, a->top_k, weights, ids);

    // Now `weights` holds keys; the scores follow from the logits that the keys were, or are looked up.
    float scores = 0;
    for (ptrdiff_t first = 0; first < a->top_k; first += 16) {
        ptrdiff_t length = a->top_k - first < 16 ? a->top_k - first : 16;
        float chosen[16];
        for (int lane = 0; lane < 16; lane++) {
            float logit = -INFINITY;
            if (lane < length) logit = a->bias ? logits[ids[first + lane]] : weights[first + lane];
            chosen[lane] = logit;
        }
        v16 chunk = load(chosen);
        chunk = a->sigmoid ? logistic(chunk) : above(chunk, splat(maximum)) / total;
        store(chosen, chunk);
        for (ptrdiff_t lane = 0; lane < length; lane++) {
            weights[first + lane] = chosen[lane];
            scores += chosen[lane];
        }
    }
    // The tiny term only matters when every score has underflowed: weights 0 instead of NaN.
    float divisor = a->renormalize ? scores + 1e-20f : 1;
    for (ptrdiff_t slot = 0; slot < a->top_k; slot++) weights[slot] = weights[slot] / divisor * a->scale;
}

static void gate(const route_gate_args *a, ptrdiff_t begin, ptrdiff_t end) {
    for (ptrdiff_t row = begin; row < end; row++)
        gate_row(a, a->logits + row * a->experts, a->weights + row * a->columns, a->ids + row * a->columns);
}
