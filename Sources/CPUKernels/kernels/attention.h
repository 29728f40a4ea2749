// attention: softmax(q · K / scale) · V over pages, one query and head at a time.
//
// Method: online softmax (Milakov and Gimelshein, arXiv:1805.02867) over blocks of 128 positions. Blocks lie at fixed
// positions, so the result depends on the sequence alone, not on how its prompt was cut or what else is in the batch.

enum { BLOCK_PAGES = 8, BLOCK_POSITIONS = BLOCK_PAGES * CPU_PAGE };

static void attention(const void *restrict raw, ptrdiff_t begin, ptrdiff_t end) {
    const cpu_attention_args *a = raw;
    const cpu_cache *cache = &a->cache;
    const ptrdiff_t dim = cache->head_dim, group = a->heads / cache->kv_heads;
    const i16 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    for (ptrdiff_t item = begin; item < end; item++) {
        ptrdiff_t t = item / a->heads, h = item % a->heads, kv = h / group;
        ptrdiff_t context = cache->positions[t] + 1;
        const int32_t *table = cache->tables + cache->sequences[t] * cache->table_stride;
        const float *q = a->qkv + t * (a->heads + 2 * cache->kv_heads) * dim + h * dim;
        float *out = a->out + (t * a->heads + h) * dim;
        float weights[BLOCK_POSITIONS];
        float largest = -INFINITY, total = 0;
        for (ptrdiff_t first = 0; first < context; first += BLOCK_POSITIONS) {
            ptrdiff_t count = context - first < BLOCK_POSITIONS ? context - first : BLOCK_POSITIONS;
            ptrdiff_t pages = (count + CPU_PAGE - 1) / CPU_PAGE;
            const int32_t *page = table + first / CPU_PAGE;
            v16 top = splat(-INFINITY);
            for (ptrdiff_t p = 0; p < pages; p++) {
                const float *k = cache->keys + (page[p] * cache->kv_heads + kv) * dim * CPU_PAGE;
                v16 score = {};
                for (ptrdiff_t d = 0; d < dim; d++) score = madd(splat(q[d]), load(k + d * CPU_PAGE), score);
                i16 valid = lane < (int32_t)(count - p * CPU_PAGE);
                score = select(valid, score * a->scale, splat(-INFINITY));
                top = select(score > top, score, top);
                store(weights + p * CPU_PAGE, score);
            }
            float new_largest = maximum(top);
            new_largest = new_largest > largest ? new_largest : largest;
            float keep = first == 0 ? 0 : expf(largest - new_largest);
            largest = new_largest;
            v16 sums = {};
            for (ptrdiff_t p = 0; p < pages; p++) {
                i16 valid = lane < (int32_t)(count - p * CPU_PAGE);
                v16 e = select(valid, exponential(load(weights + p * CPU_PAGE) - largest), (v16){});
                sums += e;
                store(weights + p * CPU_PAGE, e);
            }
            total = total * keep + sum(sums);
            for (ptrdiff_t c = 0; c < dim; c += 2 * CPU_LANES) {
                ptrdiff_t left = dim - c, right = left - CPU_LANES;
                v16 low = {}, high = {};
                if (first > 0) {
                    low = load_part(out + c, left) * keep;
                    if (right > 0) high = load_part(out + c + CPU_LANES, right) * keep;
                }
                for (ptrdiff_t i = 0; i < count; i++) {
                    const float *v = cache->values +
                                     ((page[i / CPU_PAGE] * cache->kv_heads + kv) * CPU_PAGE + i % CPU_PAGE) * dim + c;
                    v16 weight = splat(weights[i]);
                    low = madd(weight, load_part(v, left), low);
                    if (right > 0) high = madd(weight, load_part(v + CPU_LANES, right), high);
                }
                store_part(out + c, low, left);
                if (right > 0) store_part(out + c + CPU_LANES, high, right);
            }
        }
        for (ptrdiff_t c = 0; c < dim; c += CPU_LANES)
            store_part(out + c, load_part(out + c, dim - c) / total, dim - c);
    }
}
