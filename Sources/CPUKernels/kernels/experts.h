// expert_gate_up, expert_down, combine: the routed experts over the blocks of block alignment.

// Up to TILE_ROWS pairs of a block from entry *i on, padding skipped; *i moves past them. Returns how many.
INLINE int gather(const cpu_expert_args *a, ptrdiff_t block, ptrdiff_t *i, ptrdiff_t divisor, int32_t *pairs,
                  const float **x) {
    int count = 0;
    for (; *i < a->block_size && count < TILE_ROWS; ++*i) {
        int32_t pair = a->sorted[block * a->block_size + *i];
        if (pair >= a->pairs) continue;
        pairs[count] = pair;
        x[count++] = a->x + pair / divisor * a->inputs;
    }
    return count;
}

static void expert_gate_up(const void *restrict raw, ptrdiff_t begin, ptrdiff_t end) {
    const cpu_expert_args *a = raw;
    const ptrdiff_t panels = (a->outputs + CPU_PANEL - 1) / CPU_PANEL;
    const ptrdiff_t stride = a->inputs * CPU_PANEL * weight_size(a->type);
    v16 out[TILE_ROWS];
    int32_t pairs[TILE_ROWS];
    const float *x[TILE_ROWS];
    for (ptrdiff_t item = begin; item < end; item++) {
        ptrdiff_t block = item / panels, panel = item % panels, column = panel * CPU_PANEL, entry = 0;
        if (a->experts[block] < 0) continue;
        const char *weight = (const char *)a->weight + a->experts[block] * a->expert_stride + 2 * panel * stride;
        for (int count; (count = gather(a, block, &entry, a->top_k, pairs, x)) > 0;)
            for (int row = 0, rows; row < count; row += rows) {
                rows = tile_height(count - row);
                gated_tile(rows, x + row, weight, stride, a->inputs, a->type, out);
                for (int r = 0; r < rows; r++)
                    store_part(a->y + pairs[row + r] * a->outputs + column, out[r], a->outputs - column);
            }
    }
}

static void expert_down(const void *restrict raw, ptrdiff_t begin, ptrdiff_t end) {
    const cpu_expert_args *a = raw;
    const ptrdiff_t panels = (a->outputs + CPU_PANEL - 1) / CPU_PANEL;
    const ptrdiff_t stride = a->inputs * CPU_PANEL * weight_size(a->type);
    v16 out[TILE_ROWS * GROUP];
    int32_t pairs[TILE_ROWS];
    const float *x[TILE_ROWS];
    for (ptrdiff_t item = begin, next; item < end; item = next) {
        // The panels of one block that are in the range: they share the gathered rows.
        ptrdiff_t block = item / panels, first = item % panels, entry = 0;
        ptrdiff_t last = panels - first < end - item ? panels : first + (end - item);
        next = item + (last - first);
        if (a->experts[block] < 0) continue;
        const char *weight = (const char *)a->weight + a->experts[block] * a->expert_stride;
        for (int count; (count = gather(a, block, &entry, 1, pairs, x)) > 0;)
            for (int row = 0, rows; row < count; row += rows) {
                rows = tile_height(count - row);
                for (ptrdiff_t panel = first, done; panel < last; panel += done) {
                    done = tile(rows, last - panel, x + row, weight + panel * stride, stride, a->inputs, a->type, out);
                    for (int r = 0; r < rows; r++)
                        for (int p = 0; p < done; p++) {
                            ptrdiff_t column = (panel + p) * CPU_PANEL;
                            store_part(a->y + pairs[row + r] * a->outputs + column,
                                       out[r * GROUP + p] * a->scale[pairs[row + r]], a->outputs - column);
                        }
                }
            }
    }
}

static void combine(const void *restrict raw, ptrdiff_t begin, ptrdiff_t end) {
    const cpu_combine_args *a = raw;
    for (ptrdiff_t t = begin; t < end; t++) {
        float gate = a->gate ? 1.0f / (1.0f + expf(-a->gate[t])) : 1.0f;
        const float *routed = a->routed + t * a->top_k * a->width;
        for (ptrdiff_t c = 0; c < a->width; c += CPU_PANEL) {
            ptrdiff_t count = a->width - c;
            v16 total = {};
            for (ptrdiff_t k = 0; k < a->top_k; k++) total += load_part(routed + k * a->width + c, count);
            float *out = a->out + t * a->width + c;
            v16 result = total * a->factor;
            if (a->shared) result = madd(splat(gate), load_part(a->shared + t * a->width + c, count), result);
            store_part(out, load_part(out, count) + result, count);
        }
    }
}
