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

#define DEFINE_PROBE(name, step)                                                                                  \
    static void name(const void *args, ptrdiff_t begin, ptrdiff_t end) {                                          \
        const cpu_probe_args *a = args;                                                                           \
        v16 x = splat(1.0001f), y = splat(0.5f), sums[PROBE_CHAINS];                                              \
        for (int i = 0; i < PROBE_CHAINS; i++) sums[i] = splat((float)i);                                         \
        for (ptrdiff_t item = begin; item < end; item++)                                                          \
            UNROLL for (int i = 0; i < PROBE_CHAINS; i++) sums[i] = step;                                         \
        v16 sum = splat(0);                                                                                       \
        for (int i = 0; i < PROBE_CHAINS; i++) sum += sums[i];                                                    \
        store(a->sink, sum);                                                                                      \
    }
DEFINE_PROBE(probe_multiply_add, madd(sums[i], x, y))
#ifdef MADD_PAIRS
DEFINE_PROBE(probe_pairs, madd_pairs((i16)x, (i16)y, sums[i]))
#endif
