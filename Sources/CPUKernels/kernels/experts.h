// expert_gate_up, expert_down, combine: the routed experts over the blocks of block alignment.

// Up to ROW_BLOCK pairs of a block from entry *i on, padding skipped; *i moves past them. Returns how many.
INLINE int gather(const cpu_expert_args *a, ptrdiff_t block, ptrdiff_t *i, ptrdiff_t divisor, int32_t *pairs,
                  const float **x) {
    int count = 0;
    for (; *i < a->block_size && count < ROW_BLOCK; ++*i) {
        int32_t pair = a->sorted[block * a->block_size + *i];
        if (pair >= a->pairs) continue;
        pairs[count] = pair;
        x[count++] = a->x + pair / divisor * a->x_stride;
    }
    return count;
}

// Both products: the panels of a block that are in the range share the gathered rows.
INLINE void expert_panels(const cpu_expert_args *a, ptrdiff_t begin, ptrdiff_t end, bool gated) {
    const ptrdiff_t width = gated ? CPU_LANES : CPU_PANEL, panels = (a->outputs + width - 1) / width;
    const ptrdiff_t stride = panel_bytes(a->inputs, a->type);
    v16 out[2 * ROW_BLOCK];
    int32_t pairs[ROW_BLOCK];
    const float *x[ROW_BLOCK];
    for (ptrdiff_t item = begin, next; item < end; item = next) {
        ptrdiff_t block = item / panels, first = item % panels, entry = 0;
        ptrdiff_t last = panels - first < end - item ? panels : first + (end - item);
        next = item + (last - first);
        if (a->experts[block] < 0) continue;
        const char *weight = (const char *)a->weight + a->experts[block] * a->expert_stride;
        for (int count; (count = gather(a, block, &entry, gated ? a->top_k : 1, pairs, x)) > 0;)
            for (ptrdiff_t panel = first; panel < last; panel++) {
                const ptrdiff_t column = panel * width, left = a->outputs - column;
                product(count, x, weight + panel * stride, a->inputs, a->type, out);
                for (int r = 0; r < count; r++) {
                    if (gated) {
                        store_gated(a->y, a->narrows, pairs[r], a->outputs, column, gated_row(out, r));
                    } else {
                        float *y = a->y + pairs[r] * a->outputs + column;
                        const float scale = a->scale[pairs[r]];
                        store_part(y, out[2 * r] * scale, left);
                        store_part(y + CPU_LANES, out[2 * r + 1] * scale, left - CPU_LANES);
                    }
                }
            }
    }
}

static void expert_gate_up(const void *restrict raw, ptrdiff_t begin, ptrdiff_t end) {
    expert_panels(raw, begin, end, true);
}

static void expert_down(const void *restrict raw, ptrdiff_t begin, ptrdiff_t end) {
    expert_panels(raw, begin, end, false);
}

// Its lanes are chains of their own, which are added as `sum` does.
INLINE float dot(const float *x, const float *y, ptrdiff_t width) {
    v16 total = {};
    for (ptrdiff_t c = 0; c < width; c += CPU_LANES)
        total = madd(load_part(x + c, width - c), load_part(y + c, width - c), total);
    return sum(total);
}

static void combine(const void *restrict raw, ptrdiff_t begin, ptrdiff_t end) {
    const cpu_combine_args *a = raw;
    for (ptrdiff_t t = begin; t < end; t++) {
        const float gate = a->gate ? 1.0f / (1.0f + expf(-dot(a->x + t * a->width, a->gate, a->width))) : 1.0f;
        const float *routed = a->routed + t * a->top_k * a->width;
        for (ptrdiff_t c = 0; c < a->width; c += CPU_LANES) {
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
