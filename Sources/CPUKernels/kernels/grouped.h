// Products over quantized panels, whose inputs are rounded to bf16.
//
// Each group of inputs has a chain of its own, which its scale adds to the output's. Of many rows the first tile keeps what
// codes stand for, so that the next ones need not look it up again; they ask for the codes that the first one reads then.

// A step of a product: a pair of bf16 where the machine multiplies pairs, else one float.
#ifdef MADD_PAIRS
enum { STEP_INPUTS = 2 };
typedef i16 step_weights;
INLINE i16 step_input(const float *x, ptrdiff_t step) { return splat_word((const int32_t *)x + step); }
INLINE i16 step_int8(const char *quad, int column, int i) {
    return pair_int8(*(const i16_unaligned *)(quad + 64 * column), i);
}
INLINE i16 step_int5(i16 words, int i) { return pair_int5(words, i / 2); }
INLINE v16 step_madd(i16 a, i16 b, v16 c) { return madd_pairs(a, b, c); }
#else
enum { STEP_INPUTS = 1 };
typedef v16 step_weights;
INLINE v16 step_input(const float *x, ptrdiff_t step) { return splat(x[step]); }
INLINE v16 step_int8(const char *quad, int column, int i) { return load_int8(quad + i * CPU_PANEL + 16 * column); }
INLINE v16 step_int5(i16 words, int i) { return code_int5(words, i); }
INLINE v16 step_madd(v16 a, v16 b, v16 c) { return madd(a, b, c); }
#endif

enum { GROUP_STEPS = CPU_GROUP / STEP_INPUTS, KEPT_STEPS = 256 };  // of a group; that one tile keeps for the next ones
typedef step_weights kept_weights[KEPT_STEPS][2];

// Groups of a panel, one after the other.
typedef struct {
    const char *groups;
    ptrdiff_t first, steps;  // the first step, and how many
    kept_weights *kept;
    const char *ahead;       // what tiles that read `kept` ask memory for,
    ptrdiff_t ahead_step;    // so many bytes further for each step
} group_run;

// Bytes from the codes that a tile of R rows reads to those that it asks for. Where every input is widened by itself its
// computing is what takes the time, and a third more with a distance that the compiler does not know.
#define GROUP_AHEAD(R) (STEP_INPUTS == 2 ? ahead_of(R) : CPU_AHEAD)

// What a tile does with `kept`.
typedef enum { NO_KEPT, WRITES_KEPT, READS_KEPT } kept_use;

// The step at input k of a group, of all rows.
#define GROUP_STEP(R, P, k, weight)                                                                               \
    {                                                                                                             \
        step_weights w[P];                                                                                        \
        UNROLL for (int p = 0; p < P; p++) w[p] = weight;                                                         \
        if (use == WRITES_KEPT)                                                                                   \
            UNROLL for (int p = 0; p < P; p++)(*run->kept)[step + (k) / STEP_INPUTS][half + p] = w[p];            \
        UNROLL for (int r = 0; r < R; r++) {                                                                      \
            step_weights value = step_input(x[r], first + step + (k) / STEP_INPUTS);                              \
            UNROLL for (int p = 0; p < P; p++) part[r][p] = step_madd(value, w[p], part[r][p]);                   \
        }                                                                                                         \
    }

#define GROUP_INT8(R, P)                                                                                          \
    _Pragma("clang loop unroll(disable)") for (int k = 0; k < CPU_GROUP; k += 8, codes += 8 * CPU_PANEL) {        \
        UNROLL for (int line = 0; line < (half == 0 ? 8 * CPU_PANEL : 0); line += 64)                             \
            __builtin_prefetch(codes + distance + line);                                                          \
        UNROLL for (int i = 0; i < 8; i += STEP_INPUTS)                                                           \
            GROUP_STEP(R, P, k + i, step_int8(codes + i / 4 * 4 * CPU_PANEL, half + p, i % 4))                    \
    }

#define GROUP_INT5(R, P)                                                                                          \
    i16 last[P];                                                                                                  \
    UNROLL for (int p = 0; p < P; p++) last[p] = (i16){};                                                         \
    _Pragma("clang loop unroll(disable)") for (int k = 0; k < 6 * CPU_INT5_WORDS; k += 6, codes += 4 * CPU_PANEL) {\
        i16 words[P];                                                                                             \
        UNROLL for (int p = 0; p < P; p++) words[p] = *(const i16_unaligned *)(codes + 64 * (half + p));          \
        UNROLL for (int line = 0; line < (half == 0 ? 4 * CPU_PANEL : 0); line += 64)                             \
            __builtin_prefetch(codes + distance + line);                                                          \
        UNROLL for (int i = 0; i < 6; i += STEP_INPUTS) GROUP_STEP(R, P, k + i, step_int5(words[p], i))           \
        UNROLL for (int p = 0; p < P; p++) last[p] = last_int5(last[p], words[p]);                                \
    }                                                                                                             \
    UNROLL for (int i = 0; i < 2; i += STEP_INPUTS)                                                               \
        GROUP_STEP(R, P, 6 * CPU_INT5_WORDS + i, step_int5(last[p], i))

#define GROUP_KEPT(R, P)                                                                                          \
    _Pragma("clang loop unroll_count(2)") for (int k = 0; k < GROUP_STEPS; k++) {                                 \
        if (half == 0) __builtin_prefetch(run->ahead + (step + k) * run->ahead_step, 0, 2);                       \
        GROUP_STEP(R, P, k * STEP_INPUTS, (*run->kept)[step + k][half + p])                                       \
    }

// Adds rows x[0 ..< R] times P vectors of the panel, from vector `half` on, to `out`.
#define DEFINE_GROUPED(R, P)                                                                                      \
    INLINE void grouped_##R##x##P(const float *const *x, const group_run *run, int half, cpu_type type,           \
                                  kept_use use, v16 out[][2]) {                                                   \
        const char *group = run->groups;                                                                          \
        v16 acc[R][P];                                                                                            \
        UNROLL for (int r = 0; r < R; r++) UNROLL for (int p = 0; p < P; p++) acc[r][p] = out[r][half + p];       \
        const ptrdiff_t first = run->first, steps = run->steps, distance = GROUP_AHEAD(R);                        \
        _Pragma("clang loop unroll(disable)") for (ptrdiff_t step = 0; step < steps; step += GROUP_STEPS) {       \
            const char *codes = group + scale_bytes(type);                                                        \
            v16 part[R][P];                                                                                       \
            UNROLL for (int r = 0; r < R; r++) UNROLL for (int p = 0; p < P; p++) part[r][p] = (v16){};           \
            if (half == 0 && use != READS_KEPT) __builtin_prefetch(group + distance);                             \
            if (use == READS_KEPT) {                                                                              \
                GROUP_KEPT(R, P)                                                                                  \
            } else if (type == CPU_INT8) {                                                                        \
                GROUP_INT8(R, P)                                                                                  \
            } else {                                                                                              \
                GROUP_INT5(R, P)                                                                                  \
            }                                                                                                     \
            UNROLL for (int p = 0; p < P; p++) {                                                                  \
                v16 scale = type == CPU_INT8 ? load_bf16(group + 2 * CPU_LANES * (half + p))                      \
                                             : load_int8(group + CPU_LANES * (half + p));                         \
                UNROLL for (int r = 0; r < R; r++) acc[r][p] = madd(part[r][p], scale, acc[r][p]);                \
            }                                                                                                     \
            group += group_bytes(type);                                                                           \
        }                                                                                                         \
        UNROLL for (int r = 0; r < R; r++) UNROLL for (int p = 0; p < P; p++) out[r][half + p] = acc[r][p];       \
    }

#define DEFINE_BOTH_GROUPED(R) DEFINE_GROUPED(R, 1) DEFINE_GROUPED(R, 2)
HEIGHTS(DEFINE_BOTH_GROUPED)

#define RUN_GROUPED(R, type, use)                                                                                 \
    if (R <= TILE_WHOLE) {                                                                                        \
        grouped_##R##x2(x, run, 0, type, use, (v16(*)[2])out);                                                    \
    } else {                                                                                                      \
        grouped_##R##x1(x, run, 0, type, use, (v16(*)[2])out);                                                    \
        grouped_##R##x1(x, run, 1, type, use, (v16(*)[2])out);                                                    \
    }
#define GROUPED_CASE(R)                                                                                           \
    case R:                                                                                                       \
        switch (use) {                                                                                            \
        case NO_KEPT: RUN_GROUPED(R, GROUPED_TYPE, NO_KEPT) break;                                                \
        case WRITES_KEPT: RUN_GROUPED(R, GROUPED_TYPE, WRITES_KEPT) break;                                        \
        case READS_KEPT: RUN_GROUPED(R, GROUPED_TYPE, READS_KEPT) break;                                          \
        }                                                                                                         \
        break;

// A tile of `rows` rows (a tile_height).
static void int8_tile(int rows, const float *const *x, const group_run *run, kept_use use, v16 *out) {
#define GROUPED_TYPE CPU_INT8
    switch (rows) { HEIGHTS(GROUPED_CASE) }
#undef GROUPED_TYPE
}

static void int5_tile(int rows, const float *const *x, const group_run *run, kept_use use, v16 *out) {
#define GROUPED_TYPE CPU_INT5
    switch (rows) { HEIGHTS(GROUPED_CASE) }
#undef GROUPED_TYPE
}

// Rows times a panel of CPU_INT8 or CPU_INT5.
static void grouped_product(int rows, const float *const *x, const char *panel, ptrdiff_t inputs, cpu_type type, v16 *out) {
    void (*const tile)(int, const float *const *, const group_run *, kept_use, v16 *) = type == CPU_INT8 ? int8_tile : int5_tile;
    const int height = tile_height(rows);
    for (int i = 0; i < 2 * rows; i++) out[i] = (v16){};
    const ptrdiff_t steps = inputs / STEP_INPUTS;
    group_run run = {.groups = panel + head_bytes(type), .steps = steps};
    if (height == rows) {
        tile(rows, x, &run, NO_KEPT, out);
    } else {
        kept_weights kept;
        run.kept = &kept;
        run.ahead_step = ahead_share(group_bytes(type) / GROUP_STEPS, rows);
        for (; run.first < steps; run.first += run.steps) {
            run.steps = KEPT_STEPS < steps - run.first ? KEPT_STEPS : steps - run.first;
            tile(height, x, &run, WRITES_KEPT, out);
            const char *end = run.groups + run.steps / GROUP_STEPS * group_bytes(type);
            run.ahead = end + CPU_AHEAD;
            for (int row = height, next; row < rows; row += next) {
                next = tile_height(rows - row);
                tile(next, x + row, &run, READS_KEPT, out + 2 * row);
                run.ahead += run.steps * run.ahead_step;
            }
            run.groups = end;
        }
    }
    if (type == CPU_INT5)
        for (int i = 0; i < 2 * rows; i++) out[i] *= load((const float *)panel + i % 2 * CPU_LANES);
}
