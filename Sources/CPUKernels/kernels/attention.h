// attention: softmax(q · K / scale) · V over pages.
//
// Method: online softmax (Milakov and Gimelshein, arXiv:1805.02867) over blocks of 128 positions. Blocks lie at fixed
// positions, so the result depends on the sequence alone, not on how its prompt was cut or what else is in the batch.
// Rows that read the same keys pass through them together: heads that share a key-value head, of tokens that follow one
// another. Each row's chains are its own, in ascending order of dimension and position.
// Pages lie scattered, so no processor guesses which one follows: while a block's keys are multiplied, memory is asked for its
// values, and while its values are, for the keys behind them.

enum { BLOCK_POSITIONS = CPU_BLOCK, BLOCK_PAGES = BLOCK_POSITIONS / CPU_PAGE };

// Keys of one head in some pages.
typedef struct {
    const char *keys;  // of the head in page 0
    const int32_t *page;
    ptrdiff_t pages;
} key_pages;

// Some rows of one sequence and key-value head, by ascending context.
typedef struct {
    const char *keys, *values;            // of the key-value head in page 0
    ptrdiff_t key_stride, value_stride;   // bytes from page to page
    cpu_type type;                        // of keys and values
    ptrdiff_t dim, value_dim;
    float scale;
    const float *q[TILE_ROWS];
    float *out[TILE_ROWS];
    ptrdiff_t context[TILE_ROWS];
    float largest[TILE_ROWS], total[TILE_ROWS];
    const char *ahead[2 * BLOCK_PAGES];  // pages that are read behind a block, asked for while its values are read
    ptrdiff_t ahead_count;
} attention_rows;

// Asks memory for `bytes` bytes.
INLINE void ask(const char *start, ptrdiff_t bytes) {
    for (ptrdiff_t line = 0; line < bytes; line += 64) __builtin_prefetch(start + line, 0, 2);
}

typedef float attention_weights[TILE_ROWS][BLOCK_POSITIONS];

// Number d + half, of which d is even, of the keys of P pages.
#define SCORE_STEP(R, P, d, half)                                                                                 \
    {                                                                                                             \
        v16 key[P];                                                                                               \
        UNROLL for (int p = 0; p < P; p++) key[p] = load_weight(keys[p], (d) / 2, half, CPU_PAGE, type);          \
        UNROLL for (int r = 0; r < R; r++) {                                                                      \
            v16 value = splat(a->q[row + r][(d) + half]);                                                         \
            UNROLL for (int p = 0; p < P; p++) acc[r][p] = madd(value, key[p], acc[r][p]);                        \
        }                                                                                                         \
    }

// Scores of R rows from `row` on in one block, count[r] positions of each; -INFINITY behind them. Enough pages at once
// to hide the latency of a multiply-add.
INLINE void block_scores(const int R, const cpu_type type, const attention_rows *a, int row, const int32_t *page,
                         const ptrdiff_t *count, attention_weights weights) {
    const int P = TILE_ROWS / R;
    const i16 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const ptrdiff_t pages = (count[R - 1] + CPU_PAGE - 1) / CPU_PAGE;
    for (ptrdiff_t first = 0; first < pages; first += P) {
        const char *keys[TILE_ROWS], *values[TILE_ROWS];
        v16 acc[R][P];
        UNROLL for (int p = 0; p < P; p++) {
            // Behind the last page, that one again.
            const ptrdiff_t number = page[first + p < pages ? first + p : pages - 1];
            keys[p] = a->keys + number * a->key_stride;
            values[p] = a->values + number * a->value_stride;
            UNROLL for (int r = 0; r < R; r++) acc[r][p] = (v16){};
        }
        ptrdiff_t d = 0;
        for (; d + 1 < a->dim; d += 2) {
            // A page of values takes as much memory as one of keys: with each pair of numbers its part is asked for.
            const ptrdiff_t size = CPU_PAGE * weight_size(type);
            UNROLL for (int p = 0; p < P; p++) ask(values[p] + d * size, 2 * size);
            UNROLL for (int half = 0; half < 2; half++) SCORE_STEP(R, P, d, half)
        }
        if (d < a->dim) SCORE_STEP(R, P, d, 0)
        for (int p = 0; p < P && first + p < pages; p++)
            for (int r = 0; r < R; r++) {
                i16 valid = lane < (int32_t)(count[r] - (first + p) * CPU_PAGE);
                store(weights[r] + (first + p) * CPU_PAGE, select(valid, acc[r][p] * a->scale, splat(-INFINITY)));
            }
    }
}

// Scores to weights, and each row's state to that behind the block; keep[r] is what becomes of the sums before.
INLINE void block_softmax(int rows, attention_rows *a, int row, bool is_first, const ptrdiff_t *count,
                          attention_weights weights, float *keep) {
    const i16 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    for (int r = 0; r < rows; r++) {
        float *largest = a->largest + row + r, *total = a->total + row + r;
        v16 top = splat(-INFINITY), block = {};
        for (ptrdiff_t i = 0; i < count[r]; i += CPU_PAGE) {
            v16 score = load(weights[r] + i);
            top = select(score > top, score, top);
        }
        float new_largest = maximum(top);
        if (!is_first && *largest > new_largest) new_largest = *largest;
        keep[r] = is_first ? 0 : expf(*largest - new_largest);
        *largest = new_largest;
        for (ptrdiff_t i = 0; i < count[r]; i += CPU_PAGE) {
            i16 valid = lane < (int32_t)(count[r] - i);
            v16 e = select(valid, exponential(load(weights[r] + i) - new_largest), (v16){});
            block += e;
            store(weights[r] + i, e);
        }
        *total = (is_first ? 0 : *total * keep[r]) + sum(block);
    }
}

// out = out * keep + Σ weights[i] * values[i] for R rows and C vectors of the head from column c on, `width` floats at
// most.
INLINE void block_values(const int R, const int C, const cpu_type type, const attention_rows *a, int row,
                         bool is_first, const int32_t *page, const ptrdiff_t *count, attention_weights weights,
                         const float *keep, ptrdiff_t c, ptrdiff_t width) {
    const ptrdiff_t size = a->value_dim * weight_size(type);
    v16 acc[R][C];
    UNROLL for (int r = 0; r < R; r++) UNROLL for (int v = 0; v < C; v++)
        acc[r][v] = is_first ? (v16){} : load_part(a->out[row + r] + c + v * CPU_LANES, width) * keep[r];
    const ptrdiff_t pages = (count[0] + CPU_PAGE - 1) / CPU_PAGE, lines = (key_bytes(a->dim, type) + 63) / 64;
    const ptrdiff_t asks = c == 0 ? a->ahead_count : 0;  // in even parts with each position
    for (ptrdiff_t first = 0; first < count[0]; first += CPU_PAGE) {
        const char *values = a->values + page[first / CPU_PAGE] * a->value_stride;
        ptrdiff_t last = count[0] - first < CPU_PAGE ? count[0] - first : CPU_PAGE;
        const ptrdiff_t asked = first / CPU_PAGE * asks / pages, asked_end = (first / CPU_PAGE + 1) * asks / pages;
        const ptrdiff_t part = (lines + last - 1) / last * 64;
        for (ptrdiff_t i = 0; i < last; i++) {
            for (ptrdiff_t p = asked; p < asked_end; p++) ask(a->ahead[p] + i * part, part);
            v16 value[C];
            UNROLL for (int v = 0; v < C; v++) value[v] = load_value(values + i * size, c + v * CPU_LANES, width, type);
            UNROLL for (int r = 0; r < R; r++) {
                v16 weight = splat(weights[r][first + i]);
                UNROLL for (int v = 0; v < C; v++) acc[r][v] = madd(weight, value[v], acc[r][v]);
            }
        }
    }
    UNROLL for (int r = 0; r < R; r++) {
        // Later tokens see a few positions more.
        for (ptrdiff_t i = count[0]; i < count[r]; i++) {
            const char *value = a->values + page[i / CPU_PAGE] * a->value_stride + i % CPU_PAGE * size;
            UNROLL for (int v = 0; v < C; v++)
                acc[r][v] =
                    madd(splat(weights[r][i]), load_value(value, c + v * CPU_LANES, width, type), acc[r][v]);
        }
        UNROLL for (int v = 0; v < C; v++) store_part(a->out[row + r] + c + v * CPU_LANES, acc[r][v], width);
    }
}

// The block of positions from `first` on, which lies in `page` and what follows, for the R rows from `row` on, all of
// which see some of it.
INLINE void attention_block(const int R, const cpu_type type, attention_rows *a, int row, ptrdiff_t first,
                            const int32_t *page) {
    attention_weights weights;
    float keep[R];
    ptrdiff_t count[R], c = 0;
    for (int r = 0; r < R; r++) {
        ptrdiff_t left = a->context[row + r] - first;
        count[r] = left < BLOCK_POSITIONS ? left : BLOCK_POSITIONS;
    }
    block_scores(R, type, a, row, page, count, weights);
    block_softmax(R, a, row, first == 0, count, weights, keep);
    // As many accumulators as the registers hold.
    const int C = 2 * TILE_WHOLE / R >= 4 ? 4 : 2 * TILE_WHOLE / R >= 2 ? 2 : 1;
    for (; a->value_dim - c >= C * CPU_LANES; c += C * CPU_LANES)
        block_values(R, C, type, a, row, first == 0, page, count, weights, keep, c, CPU_LANES);
    if (C > 2)
        for (; a->value_dim - c >= 2 * CPU_LANES; c += 2 * CPU_LANES)
            block_values(R, 2, type, a, row, first == 0, page, count, weights, keep, c, CPU_LANES);
    for (; c < a->value_dim; c += CPU_LANES)
        block_values(R, 1, type, a, row, first == 0, page, count, weights, keep, c, a->value_dim - c);
}

#define ATTENTION_CASE(R)                                                                                         \
    case R:                                                                                                       \
        if (a->type == CPU_F32)                                                                                   \
            attention_block(R, CPU_F32, a, row, first, page);                                                     \
        else                                                                                                      \
            attention_block(R, CPU_BF16, a, row, first, page);                                                    \
        break;

// attention_block for those of `rows` rows that see some of it; row is the first of them.
static void attention_step(attention_rows *a, int row, int rows, ptrdiff_t first, const int32_t *page) {
    switch (rows - row) { HEIGHTS(ATTENTION_CASE) }
}

// Divides a row's sums by their weights'.
INLINE void attention_end(attention_rows *a, int r) {
    for (ptrdiff_t c = 0; c < a->value_dim; c += CPU_LANES)
        store_part(a->out[r] + c, load_part(a->out[r] + c, a->value_dim - c) / a->total[r], a->value_dim - c);
}

// What memory is asked for during the block that begins with page `begin` of `pages`: the keys of as many pages as a block has,
// of what follows it in this sequence and then in `then`, as far as blocks before have not asked for them; and the values of a
// block that follows and is too short to ask for them in time.
INLINE void plan_ahead(attention_rows *a, const int32_t *page, ptrdiff_t begin, ptrdiff_t pages, const key_pages *then) {
    const ptrdiff_t end = pages - begin < BLOCK_PAGES ? pages : begin + BLOCK_PAGES;
    const ptrdiff_t next = pages - end < BLOCK_PAGES ? pages - end : BLOCK_PAGES;
    const ptrdiff_t asked = end == pages && begin > 0 ? BLOCK_PAGES - (end - begin) : 0;
    ptrdiff_t count = 0;
    for (ptrdiff_t p = end; p < end + next; p++) a->ahead[count++] = a->keys + page[p] * a->key_stride;
    for (ptrdiff_t p = asked; p < BLOCK_PAGES - next && p < then->pages; p++)
        a->ahead[count++] = then->keys + then->page[p] * a->key_stride;
    if (next < BLOCK_PAGES)
        for (ptrdiff_t p = end; p < end + next; p++) a->ahead[count++] = a->values + page[p] * a->value_stride;
    a->ahead_count = count;
}

// All blocks, whose pages are in the sequence's table; the keys of `then` are read behind them.
static void attention_run(attention_rows *a, int rows, const int32_t *pages, key_pages then) {
    int row = 0;
    const ptrdiff_t context = a->context[rows - 1];
    for (ptrdiff_t first = 0; first < context; first += BLOCK_POSITIONS) {
        plan_ahead(a, pages, first / CPU_PAGE, (context + CPU_PAGE - 1) / CPU_PAGE, &then);
        while (a->context[row] <= first) row++;
        attention_step(a, row, rows, first, pages + first / CPU_PAGE);
    }
    for (int r = 0; r < rows; r++) attention_end(a, r);
}

static void attention(const void *restrict raw, ptrdiff_t begin, ptrdiff_t end) {
    const cpu_attention_args *a = raw;
    const cpu_cache *cache = &a->cache;
    const ptrdiff_t dim = cache->head_dim, group = a->heads / cache->kv_heads;
    const ptrdiff_t parts = (group + a->item_heads - 1) / a->item_heads;
    for (ptrdiff_t item = begin, next; item < end; item = next) {
        const ptrdiff_t part = item / a->tokens, t = item % a->tokens, kv = part / parts;
        const ptrdiff_t head = kv * group + part % parts * a->item_heads, last = (kv + 1) * group;
        const ptrdiff_t heads = last - head < a->item_heads ? last - head : a->item_heads;
        const ptrdiff_t most = heads < TILE_ROWS ? TILE_ROWS / heads : 1;
        ptrdiff_t tokens = 1;
        while (tokens < most && item + tokens < end && t + tokens < a->tokens &&
               cache->sequences[t + tokens] == cache->sequences[t] &&
               cache->positions[t + tokens] == cache->positions[t] + tokens)
            tokens++;
        next = item + tokens;
        const ptrdiff_t key_size = key_bytes(dim, cache->type), value_size = value_bytes(dim, cache->type);
        attention_rows rows = {
            .keys = (const char *)cache->keys + kv * key_size, .values = (const char *)cache->values + kv * value_size,
            .key_stride = cache->kv_heads * key_size, .value_stride = cache->kv_heads * value_size,
            .type = cache->type, .dim = dim, .value_dim = dim, .scale = a->scale};
        key_pages then = {};
        const ptrdiff_t next_kv = next / a->tokens / parts, next_t = next % a->tokens;
        if (next_kv < cache->kv_heads && (next_kv != kv || cache->sequences[next_t] != cache->sequences[t]))
            then = (key_pages){(const char *)cache->keys + next_kv * key_size,
                               cache->tables + cache->sequences[next_t] * cache->table_stride,
                               cache->positions[next_t] / CPU_PAGE + 1};
        for (ptrdiff_t h = 0; h < heads;) {
            int count = 0, height = tile_height(heads - h);
            for (ptrdiff_t token = t; token < t + tokens; token++)
                for (ptrdiff_t i = head + h; i < head + h + height; i++, count++) {
                    rows.q[count] = a->qkv + token * (a->heads + 2 * cache->kv_heads) * dim + i * dim;
                    rows.out[count] = a->out + (token * a->heads + i) * dim;
                    rows.context[count] = cache->positions[token] + 1;
                }
            attention_run(&rows, count, cache->tables + cache->sequences[t] * cache->table_stride, then);
            h += height;
        }
    }
}
