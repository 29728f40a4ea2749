// norm, clamp, rope: per-token vector work.

static void norm(const void *restrict raw, ptrdiff_t begin, ptrdiff_t end) {
    const cpu_norm_args *a = raw;
    for (ptrdiff_t item = begin; item < end; item++) {
        ptrdiff_t row = item / a->segments, first = item % a->segments * a->width;
        const float *x = a->x + (a->rows ? a->rows[row] : row) * a->x_stride + first;
        float *out = a->out + row * a->out_stride + first;
        v16 squares = {};
        for (ptrdiff_t c = 0; c < a->width; c += CPU_LANES) {
            v16 v = load_part(x + c, a->width - c);
            squares = madd(v, v, squares);
        }
        float scale = 1.0f / sqrtf(sum(squares) / (float)a->width + a->epsilon);
        for (ptrdiff_t c = 0; c < a->width; c += CPU_LANES) {
            ptrdiff_t count = a->width - c;
            store_part(out + c, load_part(x + c, count) * scale * load_part(a->weight + c, count), count);
        }
    }
}

static void clamp(const void *restrict raw, ptrdiff_t begin, ptrdiff_t end) {
    const cpu_clamp_args *a = raw;
    for (ptrdiff_t i = begin; i < end; i++) {
        float x = a->x[i];
        a->x[i] = x > a->limit ? a->limit : x < -a->limit ? -a->limit : x;
    }
}

// Rotates halves in place: (x[i], x[i + d/2]) by the angle of pair i.
INLINE void rotate(float *x, const float *cosines, const float *sines, ptrdiff_t half) {
    for (ptrdiff_t i = 0; i < half; i++) {
        float low = x[i], high = x[i + half];
        x[i] = low * cosines[i] - high * sines[i];
        x[i + half] = high * cosines[i] + low * sines[i];
    }
}

static void rope(const void *restrict raw, ptrdiff_t begin, ptrdiff_t end) {
    const cpu_rope_args *a = raw;
    const cpu_cache *cache = &a->cache;
    const ptrdiff_t dim = cache->head_dim, half = dim / 2, kv_heads = cache->kv_heads;
    const cpu_type type = cache->type;
    for (ptrdiff_t t = begin; t < end; t++) {
        ptrdiff_t position = cache->positions[t];
        const float *cosines = a->cosines + position * half, *sines = a->sines + position * half;
        float *q = a->qkv + t * (a->heads + 2 * kv_heads) * dim;
        for (ptrdiff_t h = 0; h < a->heads + kv_heads; h++) rotate(q + h * dim, cosines, sines, half);
        const float *k = q + a->heads * dim, *v = k + kv_heads * dim;
        ptrdiff_t page = cache->tables[cache->sequences[t] * cache->table_stride + position / CPU_PAGE];
        ptrdiff_t slot = position % CPU_PAGE;
        for (ptrdiff_t h = 0; h < kv_heads; h++) {
            char *keys = (char *)cache->keys + (page * kv_heads + h) * key_bytes(dim, type);
            char *values = (char *)cache->values + (page * kv_heads + h) * value_bytes(dim, type);
            store_key(keys, slot, 0, k + h * dim, dim, type);
            store_value(values + slot * dim * weight_size(type), v + h * dim, dim, type);
        }
    }
}
