// Keys and values in the cache, as floats or in bfloat16.
//
// A page of keys lies like a panel of weights, [dim][16 positions], in bfloat16 [dim / 2][16 positions][2]: scores are computed
// for 16 positions at once, and two numbers of a key are one load. A page of values is [16 positions][dim].

// Bytes of a head's keys in a page, and of its values.
INLINE ptrdiff_t key_bytes(ptrdiff_t dim, cpu_type type) {
    return (type == CPU_F32 ? dim : (dim + 1) / 2) * CPU_PAGE * 4;
}
INLINE ptrdiff_t value_bytes(ptrdiff_t dim, cpu_type type) { return dim * CPU_PAGE * weight_size(type); }

// Number d of the keys at 16 positions.
INLINE v16 load_keys(const char *page, ptrdiff_t d, cpu_type type) {
    return load_weight(page, d / 2, d % 2, CPU_PAGE, type);
}

// Numbers `first` and on, `count` of them, of the key at `slot`.
INLINE void store_key(char *page, ptrdiff_t slot, ptrdiff_t first, const float *x, ptrdiff_t count, cpu_type type) {
    if (type == CPU_F32) {
        for (ptrdiff_t i = 0; i < count; i++) ((float *)page)[(first + i) * CPU_PAGE + slot] = x[i];
        return;
    }
    ptrdiff_t i = 0;
    if (first % 2 == 0)
        for (; i + CPU_LANES <= count; i += CPU_LANES) {
            const h16 numbers = narrow_all(load(x + i));
            uint32_t words[CPU_LANES / 2];
            memcpy(words, &numbers, sizeof words);
            for (int pair = 0; pair < CPU_LANES / 2; pair++)
                ((uint32_t *)page)[((first + i) / 2 + pair) * CPU_PAGE + slot] = words[pair];
        }
    for (; i < count; i++)
        ((uint16_t *)page)[((first + i) / 2 * CPU_PAGE + slot) * 2 + (first + i) % 2] = narrow_bf16(x[i]);
}

// `count` numbers of a value, 16 at most, from number c on.
INLINE v16 load_value(const char *value, ptrdiff_t c, ptrdiff_t count, cpu_type type) {
    if (type == CPU_F32) return load_part((const float *)value + c, count);
    if (count >= CPU_LANES) return load_bf16(value + 2 * c);
    v16 v = {};
    for (ptrdiff_t i = 0; i < count; i++) v[i] = widen(((const uint16_t *)value)[c + i]);
    return v;
}

// A whole value of `dim` numbers.
INLINE void store_value(char *value, const float *x, ptrdiff_t dim, cpu_type type) {
    if (type == CPU_F32) {
        memcpy(value, x, (size_t)dim * sizeof *x);
        return;
    }
    ptrdiff_t i = 0;
    for (; i + CPU_LANES <= dim; i += CPU_LANES) *(h16_unaligned *)(value + 2 * i) = narrow_all(load(x + i));
    for (; i < dim; i++) ((uint16_t *)value)[i] = narrow_bf16(x[i]);
}
