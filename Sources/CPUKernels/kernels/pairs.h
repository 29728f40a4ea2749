// Products over pairs of bf16 where one instruction multiplies pairs: panels of CPU_PAIRS, and of twelve bits, whose inputs are
// pairs too (CPU_PAIRS12) or floats (CPU_BF12).

#ifdef MADD_PAIRS
_Static_assert(TILE_WHOLE == TILE_ROWS, "registers for a whole panel");

enum { KEPT = KEPT_STEPS * STEP_INPUTS };  // inputs of a panel of twelve bits whose weights one tile keeps for the next ones

// Adds the `pairs` pairs of inputs from x[r] + `first` on, of a whole panel of bf16 pairs, to `out`; memory is asked
// for the weights that follow, or (`is_kept`) to bring what is at `ahead`, `step` bytes further for each pair, near.
#define DEFINE_PAIRED(R)                                                                                          \
    INLINE void paired_##R(const float *const *x, ptrdiff_t first, ptrdiff_t pairs, const char *weights,          \
                           const char *ahead, ptrdiff_t step, bool is_kept, cpu_type type, v16 out[R][2]) {       \
        v16 acc[R][2];                                                                                            \
        const ptrdiff_t distance = ahead_of(R);                                                                   \
        UNROLL for (int r = 0; r < R; r++) UNROLL for (int p = 0; p < 2; p++) acc[r][p] = out[r][p];              \
        _Pragma("clang loop unroll_count(2)") for (ptrdiff_t pair = 0; pair < pairs; pair++) {                    \
            const char *words = weights + pair * 4 * CPU_PANEL;                                                   \
            UNROLL for (int line = 0; line < 4 * CPU_PANEL && !is_kept; line += 64)                               \
                __builtin_prefetch(words + distance + line);                                                      \
            if (is_kept) __builtin_prefetch(ahead + pair * step, 0, 2);                                           \
            PAIRED_STEP(R, first + pair, *(const i16_unaligned *)(words + p * 64))                                \
        }                                                                                                         \
        UNROLL for (int r = 0; r < R; r++) UNROLL for (int p = 0; p < 2; p++) out[r][p] = acc[r][p];              \
    }
#define PAIRED_STEP(R, pair, weight)                                                                              \
    {                                                                                                             \
        i16 w[2];                                                                                                 \
        UNROLL for (int p = 0; p < 2; p++) w[p] = (i16)(weight);                                                  \
        UNROLL for (int i = 0; i < 2 && type == CPU_BF12; i++)                                                    \
            UNROLL for (int r = 0; r < R; r++) {                                                                  \
                v16 value = splat(x[r][2 * (pair) + i]);                                                          \
                UNROLL for (int p = 0; p < 2; p++) acc[r][p] = madd(value, widen_half_of(w[p], i), acc[r][p]);    \
            }                                                                                                     \
        UNROLL for (int r = 0; r < R && type != CPU_BF12; r++) {                                                  \
            i16 value = splat_word((const int32_t *)x[r] + (pair));                                               \
            UNROLL for (int p = 0; p < 2; p++) acc[r][p] = madd_pairs(value, w[p], acc[r][p]);                    \
        }                                                                                                         \
    }

// As DEFINE_PAIRED, over the next units of a panel of twelve bits, whose pairs go to `kept` unless that is NULL.
#define DEFINE_BF12(R)                                                                                            \
    INLINE void bf12_##R(const float *const *x, ptrdiff_t first, ptrdiff_t pairs, bf12_reader *panel, char *kept, \
                         cpu_type type, v16 out[R][2]) {                                                          \
        bf12_reader reader = *panel;                                                                              \
        v16 acc[R][2];                                                                                            \
        const ptrdiff_t distance = ahead_of(R);                                                                   \
        UNROLL for (int r = 0; r < R; r++) UNROLL for (int p = 0; p < 2; p++) acc[r][p] = out[r][p];              \
        _Pragma("clang loop unroll(disable)") for (ptrdiff_t pair = first; pair < first + pairs; pair += 2) {     \
            UNROLL for (int line = 0; line < BF12_UNIT; line += 64)                                               \
                __builtin_prefetch(reader.units + distance + line);                                               \
            const bf12_unit unit = bf12_next(&reader);                                                            \
            if (kept) memcpy(kept, &unit, sizeof unit), kept += sizeof unit;                                      \
            UNROLL for (int half = 0; half < 2; half++) PAIRED_STEP(R, pair + half, unit.pairs[2 * half + p])     \
        }                                                                                                         \
        *panel = reader;                                                                                          \
        UNROLL for (int r = 0; r < R; r++) UNROLL for (int p = 0; p < 2; p++) out[r][p] = acc[r][p];              \
    }

HEIGHTS(DEFINE_PAIRED)
HEIGHTS(DEFINE_BF12)

#define PAIRED_CASE(R) case R: paired_##R(x, 0, pairs, weights, NULL, 0, false, CPU_PAIRS, (v16(*)[2])out); break;
#define KEPT_CASE(R)                                                                                              \
    case R:                                                                                                       \
        if (type == CPU_BF12)                                                                                     \
            paired_##R(x, first, pairs, weights, ahead, step, true, CPU_BF12, (v16(*)[2])out);                    \
        else                                                                                                      \
            paired_##R(x, first, pairs, weights, ahead, step, true, CPU_PAIRS12, (v16(*)[2])out);                 \
        break;
#define BF12_CASE(R)                                                                                              \
    case R:                                                                                                       \
        if (type == CPU_BF12)                                                                                     \
            bf12_##R(x, first, pairs, panel, kept, CPU_BF12, (v16(*)[2])out);                                     \
        else                                                                                                      \
            bf12_##R(x, first, pairs, panel, kept, CPU_PAIRS12, (v16(*)[2])out);                                  \
        break;

// `rows` is a tile_height. From memory, from what a tile has kept, and from a panel of twelve bits.
static void paired(int rows, const float *const *x, ptrdiff_t pairs, const char *weights, v16 *out) {
    switch (rows) { HEIGHTS(PAIRED_CASE) }
}

static void paired_kept(int rows, const float *const *x, ptrdiff_t first, ptrdiff_t pairs, const char *weights,
                        const char *ahead, ptrdiff_t step, cpu_type type, v16 *out) {
    switch (rows) { HEIGHTS(KEPT_CASE) }
}

static void bf12(int rows, const float *const *x, ptrdiff_t first, ptrdiff_t pairs, bf12_reader *panel, char *kept,
                 cpu_type type, v16 *out) {
    switch (rows) { HEIGHTS(BF12_CASE) }
}

// Rows times a panel of bf16 pairs.
static void pairs_product(int rows, const float *const *x, const char *panel, ptrdiff_t inputs, v16 *out) {
    for (int i = 0; i < 2 * rows; i++) out[i] = (v16){};
    for (int row = 0, height; row < rows; row += height) {
        height = tile_height(rows - row);
        paired(height, x + row, (inputs + 1) / 2, panel, out + 2 * row);
    }
}

// Rows times a panel of twelve bits. The first tile reads it from memory while it computes, the next ones what that has kept.
static void bf12_product(int rows, const float *const *x, const char *panel, ptrdiff_t inputs, cpu_type type, v16 *out) {
    char kept[KEPT / BF12_INPUTS * BF12_RAW] __attribute__((aligned(64)));
    bf12_reader reader = bf12_open(panel, inputs);
    for (int i = 0; i < 2 * rows; i++) out[i] = (v16){};
    const int height = tile_height(rows);
    if (height == rows) return bf12(rows, x, 0, inputs / 2, &reader, NULL, type, out);
    // The tiles that follow ask for what the first one of the next inputs will read.
    const ptrdiff_t step = ahead_share(BF12_UNIT / 2, rows);
    for (ptrdiff_t first = 0, count; first < inputs; first += count) {
        count = KEPT < inputs - first ? KEPT : inputs - first;
        bf12(height, x, first / 2, count / 2, &reader, kept, type, out);
        const char *ahead = reader.units + CPU_AHEAD;
        for (int row = height, next; row < rows; row += next, ahead += count / 2 * step) {
            next = tile_height(rows - row);
            paired_kept(next, x + row, first / 2, count / 2, kept, ahead, step, type, out + 2 * row);
        }
    }
}
#endif
