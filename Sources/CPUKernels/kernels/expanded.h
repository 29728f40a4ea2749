// latent_rows, latent_expand, expanded_attention: multi-head latent attention (DeepSeek-AI, arXiv:2405.04434) in its
// expanded form, one block of positions at a time.
//
// A block's keys and values are computed from its latents for all heads, then every token passes through them as it does in
// `attention`. Latents of a page lie like a panel of 16 outputs, so keys are rows of weights times that panel, and come out
// as a page of keys; values are an ordinary product. Both are sums over the latent in ascending order.

static void latent_rows(const void *restrict raw, ptrdiff_t begin, ptrdiff_t end) {
    const cpu_latent_rows_args *a = raw;
    for (ptrdiff_t page = begin; page < end; page++) {
        const char *latent = (const char *)a->latents + a->pages[page] * key_bytes(a->width, a->type);
        float *rows = a->rows + page * CPU_PAGE * a->rank;
        for (ptrdiff_t c = 0; c < a->rank; c += CPU_LANES) {
            ptrdiff_t width = a->rank - c < CPU_LANES ? a->rank - c : CPU_LANES;
            v16 columns[CPU_LANES];
            for (ptrdiff_t k = 0; k < width; k++) columns[k] = load_keys(latent, c + k, a->type);
            for (ptrdiff_t i = 0; i < CPU_PAGE; i++)
                for (ptrdiff_t k = 0; k < width; k++) rows[i * a->rank + c + k] = columns[k][i];
        }
    }
}

// Numbers d and d + 1 (an even d) of a head's key at the positions of TILE_WHOLE pages. Weights lie as if they made latents
// from keys: d is an input, the latent's numbers are outputs.
INLINE void key_pair(const char *const *latent, cpu_type latent_type, const char *weight, ptrdiff_t d, ptrdiff_t nope,
                     ptrdiff_t rank, cpu_type type, v16 acc[2][TILE_WHOLE]) {
    const ptrdiff_t bytes = panel_bytes(nope, type), second = d + 1 < nope ? CPU_PANEL : 0;
    UNROLL for (int p = 0; p < TILE_WHOLE; p++) acc[0][p] = acc[1][p] = (v16){};
    for (ptrdiff_t first = 0; first < rank; first += CPU_PANEL, weight += bytes) {
        const ptrdiff_t count = rank - first < CPU_PANEL ? rank - first : CPU_PANEL;
        const int32_t *words = (const int32_t *)weight + d / 2 * CPU_PANEL;
        const float *floats = (const float *)weight + d * CPU_PANEL;
        for (ptrdiff_t r = 0; r < count; r++) {
            v16 w[2];
            if (type == CPU_BF16) {
                int32_t word = words[r];
                i16 both = {word, word, word, word, word, word, word, word, word, word, word, word, word, word, word, word};
                w[0] = (v16)(both << 16);
                w[1] = (v16)(both & (int32_t)0xFFFF0000);
            } else {
                w[0] = splat(floats[r]);
                w[1] = splat(floats[r + second]);
            }
            UNROLL for (int p = 0; p < TILE_WHOLE; p++) {
                v16 x = load_keys(latent[p], first + r, latent_type);
                acc[0][p] = madd(w[0], x, acc[0][p]);
                acc[1][p] = madd(w[1], x, acc[1][p]);
            }
        }
    }
}

#define KEY_PAIR(latent_type)                                                                                     \
    {                                                                                                             \
        if (a->key_type == CPU_BF16)                                                                              \
            key_pair(latent, latent_type, weight, d, a->nope, a->rank, CPU_BF16, out);                            \
        else                                                                                                      \
            key_pair(latent, latent_type, weight, d, a->nope, a->rank, CPU_F32, out);                             \
    }

// A panel of a head's keys.
static void expand_keys(const cpu_latent_expand_args *a, ptrdiff_t head, ptrdiff_t panel) {
    const ptrdiff_t pages = (a->count + CPU_PAGE - 1) / CPU_PAGE, dim = a->nope + a->rotary;
    const ptrdiff_t end = (panel + 1) * CPU_PANEL < a->nope ? (panel + 1) * CPU_PANEL : a->nope;
    const char *weight = (const char *)a->key_weight + head * a->key_head_stride;
    float *keys = a->keys + head * BLOCK_PAGES * dim * CPU_PAGE;
    for (ptrdiff_t page = 0; page < pages; page += TILE_WHOLE) {
        const char *latent[TILE_WHOLE];
        // Behind the last page, that one again.
        for (ptrdiff_t p = 0; p < TILE_WHOLE; p++)
            latent[p] = (const char *)a->latents +
                        a->pages[page + p < pages ? page + p : pages - 1] * key_bytes(a->rank + a->rotary, a->type);
        for (ptrdiff_t d = panel * CPU_PANEL; d < end; d += 2) {
            v16 out[2][TILE_WHOLE];
            if (a->type == CPU_BF16)
                KEY_PAIR(CPU_BF16)
            else
                KEY_PAIR(CPU_F32)
            for (ptrdiff_t p = 0; p < TILE_WHOLE && page + p < pages; p++)
                for (ptrdiff_t i = 0; i < 2 && d + i < end; i++)
                    store(keys + ((page + p) * dim + d + i) * CPU_PAGE, out[i][p]);
        }
    }
}

// The part of all keys that heads share, for one head.
static void copy_rotary(const cpu_latent_expand_args *a, ptrdiff_t head) {
    const ptrdiff_t pages = (a->count + CPU_PAGE - 1) / CPU_PAGE, dim = a->nope + a->rotary;
    for (ptrdiff_t page = 0; page < pages; page++) {
        float *keys = a->keys + ((head * BLOCK_PAGES + page) * dim + a->nope) * CPU_PAGE;
        const char *latent = (const char *)a->latents + a->pages[page] * key_bytes(a->rank + a->rotary, a->type);
        for (ptrdiff_t d = 0; d < a->rotary; d++) store(keys + d * CPU_PAGE, load_keys(latent, a->rank + d, a->type));
    }
}

static void latent_expand(const void *restrict raw, ptrdiff_t begin, ptrdiff_t end) {
    const cpu_latent_expand_args *a = raw;
    const ptrdiff_t key_panels = (a->nope + CPU_PANEL - 1) / CPU_PANEL;
    const ptrdiff_t panels = key_panels + (a->value + CPU_PANEL - 1) / CPU_PANEL;
    for (ptrdiff_t item = begin; item < end; item++) {
        ptrdiff_t head = item / panels, panel = item % panels;
        if (panel == 0) copy_rotary(a, head);
        if (panel < key_panels) {
            expand_keys(a, head, panel);
            continue;
        }
        const cpu_linear_args values = {
            .x = a->rows, .weight = (const char *)a->value_weight + head * a->value_head_stride,
            .y = a->values + head * CPU_BLOCK * a->value, .rows = a->count, .inputs = a->rank, .outputs = a->value,
            .x_stride = a->rank, .y_stride = a->value, .type = a->value_type};
        linear_panels(&values, panel - key_panels, panel - key_panels + 1);
    }
}

static void expanded_attention(const void *restrict raw, ptrdiff_t begin, ptrdiff_t end) {
    const cpu_expanded_args *a = raw;
    static const int32_t pages[] = {0, 1, 2, 3, 4, 5, 6, 7};
    _Static_assert(sizeof pages == BLOCK_PAGES * sizeof *pages, "a number for each page of a block");
    for (ptrdiff_t item = begin, next; item < end; item = next) {
        const ptrdiff_t head = item / a->tokens, t = item % a->tokens;
        ptrdiff_t left = end - item < a->tokens - t ? end - item : a->tokens - t;
        const int count = tile_height(left);
        next = item + count;
        attention_rows rows = {
            .keys = (const char *)(a->keys + head * CPU_BLOCK * a->key),
            .values = (const char *)(a->values + head * CPU_BLOCK * a->value),
            .key_stride = key_bytes(a->key, CPU_F32), .value_stride = value_bytes(a->value, CPU_F32), .type = CPU_F32,
            .dim = a->key, .value_dim = a->value, .scale = a->scale};
        float *softmax = a->softmax + (t * a->heads + head) * 2;
        for (int r = 0; r < count; r++) {
            rows.q[r] = a->query + ((t + r) * a->heads + head) * a->key;
            rows.out[r] = a->out + ((t + r) * a->heads + head) * a->value;
            rows.context[r] = a->position + t + r + 1;
            rows.largest[r] = softmax[r * a->heads * 2];
            rows.total[r] = softmax[r * a->heads * 2 + 1];
        }
        attention_step(&rows, 0, count, a->first, pages);
        for (int r = 0; r < count; r++) {
            softmax[r * a->heads * 2] = rows.largest[r];
            softmax[r * a->heads * 2 + 1] = rows.total[r];
            if (rows.context[r] <= a->first + CPU_BLOCK) attention_end(&rows, r);
        }
    }
}
