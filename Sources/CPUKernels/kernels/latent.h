// latent_store, latent_attention: multi-head latent attention (DeepSeek-AI, arXiv:2405.04434) in its absorbed form.
//
// All heads read one key per position, [latent | rotated key], whose latent is their value, too. A page of keys lies like
// a panel of weights, [rank + rotary][16 positions], so scores of several heads are a tile of a matrix product. Sums over
// positions run in 16 lanes, which are folded at the end of a block; blocks lie at fixed positions, as in `attention`.

static void latent_store(const void *restrict raw, ptrdiff_t begin, ptrdiff_t end) {
    const cpu_latent_store_args *a = raw;
    const cpu_cache *cache = &a->cache;
    const ptrdiff_t dim = a->rank + a->rotary, half = a->rotary / 2;
    for (ptrdiff_t t = begin; t < end; t++) {
        ptrdiff_t position = cache->positions[t];
        const float *cosines = a->cosines + position * half, *sines = a->sines + position * half;
        ptrdiff_t page = cache->tables[cache->sequences[t] * cache->table_stride + position / CPU_PAGE];
        ptrdiff_t slot = position % CPU_PAGE;
        char *keys = (char *)cache->keys + page * key_bytes(dim, cache->type);
        store_key(keys, slot, 0, a->latent + t * a->rank, a->rank, cache->type);
        float *key_rotary = a->key_rotary + t * a->rotary;
        rotate(key_rotary, cosines, sines, half);
        store_key(keys, slot, a->rank, key_rotary, a->rotary, cache->type);
        for (ptrdiff_t h = t * a->heads; h < (t + 1) * a->heads; h++) {
            float *query = a->query + h * (a->nope + a->rotary) + a->nope;
            rotate(query, cosines, sines, half);
            if (t < a->absorbed_tokens)
                memcpy(a->absorbed + h * dim + a->rank, query, (size_t)a->rotary * sizeof *query);
        }
    }
}

// What `heads` heads make of one block of positions: out = out * keep + Σ weights[i] * latent[i].
INLINE void latent_values(const int heads, const cpu_type type, const cpu_cache *cache, const int32_t *page, ptrdiff_t count,
                          const float (*weights)[BLOCK_POSITIONS], const float *keep, ptrdiff_t rank, float *out) {
    const i16 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const ptrdiff_t size = key_bytes(cache->head_dim, type), whole = count / CPU_PAGE;
    const char *keys = cache->keys;
    v16 columns[TILE_ROWS][CPU_LANES];
    for (ptrdiff_t c = 0; c < rank; c += CPU_LANES) {
        ptrdiff_t width = rank - c < CPU_LANES ? rank - c : CPU_LANES;
        for (ptrdiff_t i = 0; i < width; i++) {
            v16 acc[TILE_ROWS] = {};
            for (ptrdiff_t p = 0; p < whole; p++) {
                v16 x = load_keys(keys + page[p] * size, c + i, type);
                for (int h = 0; h < heads; h++) acc[h] = madd(load(weights[h] + p * CPU_PAGE), x, acc[h]);
            }
            if (count > whole * CPU_PAGE) {
                // Behind the last position lies anything, NaN too.
                i16 valid = lane < (int32_t)(count - whole * CPU_PAGE);
                v16 x = select(valid, load_keys(keys + page[whole] * size, c + i, type), (v16){});
                for (int h = 0; h < heads; h++) acc[h] = madd(load(weights[h] + whole * CPU_PAGE), x, acc[h]);
            }
            for (int h = 0; h < heads; h++) columns[h][i] = acc[h];
        }
        for (int h = 0; h < heads; h++) {
            for (ptrdiff_t i = width; i < CPU_LANES; i++) columns[h][i] = (v16){};
            float *to = out + h * rank + c;
            v16 sum = sums(columns[h]);
            if (keep[h] != 0) sum = madd(load_part(to, width), splat(keep[h]), sum);
            store_part(to, sum, width);
        }
    }
}

// Scores of `heads` heads (a tile_height) at the 16 positions of a page.
#define SCORE_CASE(R)                                                                                             \
    case R:                                                                                                       \
        if (type == CPU_F32)                                                                                      \
            tile_##R##x1(x, keys, CPU_PAGE, 0, dim, CPU_F32, (v16(*)[1])out);                                     \
        else                                                                                                      \
            tile_##R##x1(x, keys, CPU_PAGE, 0, dim, CPU_BF16, (v16(*)[1])out);                                    \
        break;
static void score_tile(int heads, const float *const *x, const char *keys, ptrdiff_t dim, cpu_type type, v16 *out) {
    switch (heads) { HEIGHTS(SCORE_CASE) }
}

// The running softmax of some heads of a token.
typedef struct {
    float largest[CPU_LATENT_HEADS], total[CPU_LATENT_HEADS];
} latent_state;

#define VALUES_CASE(R)                                                                                            \
    case R:                                                                                                       \
        if (cache->type == CPU_F32)                                                                               \
            latent_values(R, CPU_F32, cache, page, count, weights, keep, a->rank, to);                            \
        else                                                                                                      \
            latent_values(R, CPU_BF16, cache, page, count, weights, keep, a->rank, to);                           \
        break;

// One block of positions, from `first` on, for `heads` heads of a token.
static void latent_block(const cpu_latent_args *a, ptrdiff_t t, ptrdiff_t first, int heads, const float *query,
                         float *out, latent_state *state) {
    const cpu_cache *cache = &a->cache;
    const i16 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const ptrdiff_t dim = cache->head_dim, left = cache->positions[t] + 1 - first;
    const ptrdiff_t count = left < BLOCK_POSITIONS ? left : BLOCK_POSITIONS, pages = (count + CPU_PAGE - 1) / CPU_PAGE;
    const int32_t *page = cache->tables + cache->sequences[t] * cache->table_stride + first / CPU_PAGE;
    float weights[TILE_ROWS][BLOCK_POSITIONS], keep[TILE_ROWS];
    for (int head = 0, tall; head < heads; head += tall) {
        tall = tile_height(heads - head);
        const float *x[TILE_ROWS];
        v16 scores[TILE_ROWS], top[TILE_ROWS];
        for (int h = 0; h < tall; h++) {
            x[h] = query + (head + h) * dim;
            top[h] = splat(-INFINITY);
        }
        for (ptrdiff_t p = 0; p < pages; p++) {
            const char *keys = (const char *)cache->keys + page[p] * key_bytes(dim, cache->type);
            score_tile(tall, x, keys, dim, cache->type, scores);
            i16 valid = lane < (int32_t)(count - p * CPU_PAGE);
            for (int h = 0; h < tall; h++) {
                v16 score = select(valid, scores[h] * a->scale, splat(-INFINITY));
                top[h] = select(score > top[h], score, top[h]);
                store(weights[h] + p * CPU_PAGE, score);
            }
        }
        for (int h = 0; h < tall; h++) {
            float *largest = state->largest + head + h, *total = state->total + head + h, new_largest = maximum(top[h]);
            if (first > 0 && *largest > new_largest) new_largest = *largest;
            keep[h] = first == 0 ? 0 : expf(*largest - new_largest);
            *largest = new_largest;
            v16 sum_of_block = {};
            for (ptrdiff_t p = 0; p < pages; p++) {
                i16 valid = lane < (int32_t)(count - p * CPU_PAGE);
                v16 e = select(valid, exponential(load(weights[h] + p * CPU_PAGE) - new_largest), (v16){});
                sum_of_block += e;
                store(weights[h] + p * CPU_PAGE, e);
            }
            *total = (first == 0 ? 0 : *total * keep[h]) + sum(sum_of_block);
        }
        float *to = out + head * a->rank;
        switch (tall) { HEIGHTS(VALUES_CASE) }
    }
}

static void latent_attention(const void *restrict raw, ptrdiff_t begin, ptrdiff_t end) {
    const cpu_latent_args *a = raw;
    const ptrdiff_t groups = (a->heads + a->item_heads - 1) / a->item_heads;
    latent_state states[CPU_LATENT_TOKENS];
    for (ptrdiff_t item = begin; item < end; item++) {
        ptrdiff_t first_token = item / groups * a->item_tokens, head = item % groups * a->item_heads, longest = 0;
        ptrdiff_t tokens = a->tokens - first_token < a->item_tokens ? a->tokens - first_token : a->item_tokens;
        int heads = (int)(a->heads - head < a->item_heads ? a->heads - head : a->item_heads);
        const int32_t *positions = a->cache.positions + first_token;
        for (ptrdiff_t i = 0; i < tokens; i++) longest = positions[i] >= longest ? positions[i] + 1 : longest;
        // Blocks outside, tokens and heads inside: a block's pages stay in the cache while they pass by.
        for (ptrdiff_t first = 0; first < longest; first += BLOCK_POSITIONS)
            for (ptrdiff_t i = 0; i < tokens; i++) {
                ptrdiff_t row = (first_token + i) * a->heads + head;
                if (first <= positions[i])
                    latent_block(a, first_token + i, first, heads, a->query + row * a->cache.head_dim,
                                 a->out + row * a->rank, states + i);
            }
        for (ptrdiff_t i = 0; i < tokens; i++) {
            float *out = a->out + ((first_token + i) * a->heads + head) * a->rank;
            for (int h = 0; h < heads; h++)
                for (ptrdiff_t c = 0; c < a->rank; c++) out[h * a->rank + c] /= states[i].total[h];
        }
    }
}
