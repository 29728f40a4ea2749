// What the machine can do at most: reading memory, and multiply-adds. For benchmarks, which report their distance from it.

static void probe_read(const void *args, ptrdiff_t begin, ptrdiff_t end) {
    const cpu_probe_args *a = args;
    v16 sums[4] = {};
    for (ptrdiff_t item = begin; item < end; item++)
        for (int part = 0; part < 4; part++) sums[part] += load(a->floats + 64 * item + 16 * part);
    store(a->sink, sums[0] + sums[1] + sums[2] + sums[3]);
}

// Enough chains to hide a multiply-add's latency, few enough for the registers.
enum { PROBE_CHAINS = TILE_ROWS >= 8 ? 12 : 6 };

static void probe_multiply_add(const void *args, ptrdiff_t begin, ptrdiff_t end) {
    const cpu_probe_args *a = args;
    v16 x = splat(1.0001f), y = splat(0.5f), sums[PROBE_CHAINS];
    for (int i = 0; i < PROBE_CHAINS; i++) sums[i] = splat((float)i);
    for (ptrdiff_t item = begin; item < end; item++)
        _Pragma("clang loop unroll(full)") for (int i = 0; i < PROBE_CHAINS; i++)
            sums[i] = madd(sums[i], x, y);
    v16 sum = splat(0);
    for (int i = 0; i < PROBE_CHAINS; i++) sum += sums[i];
    store(a->sink, sum);
}
