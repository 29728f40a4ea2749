// A tile: a few rows times a panel of weights.
//
// It is R rows by P vectors of accumulators held in registers; each output is one chain of multiply-adds over the inputs in
// ascending order, whatever R and P. Low tiles take a whole panel at once, so that its weights are one stream of memory, and
// are asked for ahead.

enum { AHEAD = 4096 };  // bytes from what a tile reads to what it asks memory for

// Accumulates rows x[0 ..< R] with P vectors of the `width` weights that lie side by side; `ahead` bytes of each pair of
// inputs are asked for.
#define DEFINE_TILE(R, P)                                                                                         \
    INLINE void tile_##R##x##P(const float *const *x, const char *weights, ptrdiff_t width, int ahead,            \
                               ptrdiff_t inputs, cpu_type type, v16 out[R][P]) {                                  \
        v16 acc[R][P];                                                                                            \
        UNROLL for (int r = 0; r < R; r++) UNROLL for (int p = 0; p < P; p++) acc[r][p] = (v16){};                \
        const ptrdiff_t bytes = 2 * width * weight_size(type);                                                    \
        _Pragma("clang loop unroll(disable)") for (ptrdiff_t pair = 0; pair < inputs / 2; pair++) {               \
            UNROLL for (int line = 0; line < ahead; line += 64)                                                   \
                __builtin_prefetch(weights + pair * bytes + AHEAD + line);                                        \
            UNROLL for (int half = 0; half < 2; half++) TILE_STEP(R, P, pair, half)                               \
        }                                                                                                         \
        if (inputs % 2) TILE_STEP(R, P, inputs / 2, 0)                                                            \
        UNROLL for (int r = 0; r < R; r++) UNROLL for (int p = 0; p < P; p++) out[r][p] = acc[r][p];              \
    }

// One input, the first or second of a pair, of all rows.
#define TILE_STEP(R, P, pair, half)                                                                               \
    {                                                                                                             \
        v16 w[P];                                                                                                 \
        UNROLL for (int p = 0; p < P; p++)                                                                        \
            w[p] = load_weight(weights + p * 64, pair, half, width, type);                                        \
        UNROLL for (int r = 0; r < R; r++) {                                                                      \
            v16 value = splat(x[r][2 * (pair) + half]);                                                           \
            UNROLL for (int p = 0; p < P; p++) acc[r][p] = madd(value, w[p], acc[r][p]);                          \
        }                                                                                                         \
    }

// A step of a product with narrow inputs: a pair of bf16 where the machine multiplies pairs, else one float.
#ifdef MADD_PAIRS
enum { STEP_INPUTS = 2 };
typedef i16 step_weights;
INLINE i16 step_input(const float *x, ptrdiff_t i) { return splat_word((const int32_t *)x + i / 2); }
INLINE i16 step_int8(const char *quad, int column, int i) {
    return pair_int8(*(const i16_unaligned *)(quad + 64 * column), i);
}
INLINE i16 step_int5(i16 words, int i) { return pair_int5(words, i / 2); }
INLINE v16 step_madd(i16 a, i16 b, v16 c) { return madd_pairs(a, b, c); }
#else
enum { STEP_INPUTS = 1 };
typedef v16 step_weights;
INLINE v16 step_input(const float *x, ptrdiff_t i) { return splat(x[i]); }
INLINE v16 step_int8(const char *quad, int column, int i) { return load_int8(quad + i * CPU_PANEL + 16 * column); }
INLINE v16 step_int5(i16 words, int i) { return code_int5(words, i); }
INLINE v16 step_madd(v16 a, v16 b, v16 c) { return madd(a, b, c); }
#endif

// The inputs of a step, from the k-th of a group on, of all rows.
#define GROUP_STEP(R, P, k, weight)                                                                               \
    {                                                                                                             \
        step_weights w[P];                                                                                        \
        UNROLL for (int p = 0; p < P; p++) w[p] = weight;                                                         \
        UNROLL for (int r = 0; r < R; r++) {                                                                      \
            step_weights value = step_input(x[r], first + (k));                                                   \
            UNROLL for (int p = 0; p < P; p++) part[r][p] = step_madd(value, w[p], part[r][p]);                   \
        }                                                                                                         \
    }

#define GROUP_INT8(R, P)                                                                                          \
    _Pragma("clang loop unroll(disable)") for (int k = 0; k < CPU_GROUP; k += 8, codes += 8 * CPU_PANEL) {        \
        UNROLL for (int line = 0; line < ahead * 8 * CPU_PANEL; line += 64) __builtin_prefetch(codes + AHEAD + line);\
        UNROLL for (int i = 0; i < 8; i += STEP_INPUTS)                                                           \
            GROUP_STEP(R, P, k + i, step_int8(codes + i / 4 * 4 * CPU_PANEL, half + p, i % 4))                    \
    }

#define GROUP_INT5(R, P)                                                                                          \
    i16 last[P];                                                                                                  \
    UNROLL for (int p = 0; p < P; p++) last[p] = (i16){};                                                         \
    _Pragma("clang loop unroll(disable)") for (int k = 0; k < 6 * CPU_INT5_WORDS; k += 6, codes += 4 * CPU_PANEL) {\
        i16 words[P];                                                                                             \
        UNROLL for (int p = 0; p < P; p++) words[p] = *(const i16_unaligned *)(codes + 64 * (half + p));          \
        UNROLL for (int line = 0; line < ahead * 4 * CPU_PANEL; line += 64) __builtin_prefetch(codes + AHEAD + line);\
        UNROLL for (int i = 0; i < 6; i += STEP_INPUTS) GROUP_STEP(R, P, k + i, step_int5(words[p], i))           \
        UNROLL for (int p = 0; p < P; p++) last[p] = last_int5(last[p], words[p]);                                \
    }                                                                                                             \
    UNROLL for (int i = 0; i < 2; i += STEP_INPUTS)                                                               \
        GROUP_STEP(R, P, 6 * CPU_INT5_WORDS + i, step_int5(last[p], i))

// As DEFINE_TILE, over quantized panels from vector `half` of a panel on. Each group has a chain of its own, which its
// scale adds to the output's.
#define DEFINE_GROUPED(R, P)                                                                                      \
    INLINE void grouped_##R##x##P(const float *const *x, const char *panel, int half, int ahead,                  \
                                  ptrdiff_t inputs, cpu_type type, v16 out[R][P]) {                               \
        const char *group = panel + head_bytes(type);                                                             \
        v16 acc[R][P];                                                                                            \
        UNROLL for (int r = 0; r < R; r++) UNROLL for (int p = 0; p < P; p++) acc[r][p] = (v16){};                \
        _Pragma("clang loop unroll(disable)") for (ptrdiff_t first = 0; first < inputs; first += CPU_GROUP) {     \
            const char *codes = group + scale_bytes(type);                                                        \
            v16 part[R][P];                                                                                       \
            UNROLL for (int r = 0; r < R; r++) UNROLL for (int p = 0; p < P; p++) part[r][p] = (v16){};           \
            if (ahead) __builtin_prefetch(group + AHEAD);                                                         \
            if (type == CPU_INT8) { GROUP_INT8(R, P) } else { GROUP_INT5(R, P) }                                  \
            UNROLL for (int p = 0; p < P; p++) {                                                                  \
                v16 scale = type == CPU_INT8 ? load_bf16(group + 2 * CPU_LANES * (half + p))                      \
                                             : load_int8(group + CPU_LANES * (half + p));                         \
                UNROLL for (int r = 0; r < R; r++) acc[r][p] = madd(part[r][p], scale, acc[r][p]);                \
            }                                                                                                     \
            group += group_bytes(type);                                                                           \
        }                                                                                                         \
        UNROLL for (int p = 0; p < P; p++) {                                                                      \
            v16 unit = type == CPU_INT8 ? splat(1) : load((const float *)panel + CPU_LANES * (half + p));         \
            UNROLL for (int r = 0; r < R; r++) out[r][p] = type == CPU_INT8 ? acc[r][p] : acc[r][p] * unit;       \
        }                                                                                                         \
    }

// Heights of tiles, TILE_ROWS at most.
#if TILE_ROWS == 8
#define HEIGHTS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8)
#elif TILE_ROWS == 5
#define HEIGHTS(X) X(1) X(2) X(3) X(4) X(5)
#elif TILE_ROWS == 4
#define HEIGHTS(X) X(1) X(2) X(3) X(4)
#else
#define HEIGHTS(X) X(1) X(2)
#endif

#define DEFINE_TILES(R)                                                                                           \
    DEFINE_TILE(R, 1) DEFINE_TILE(R, 2) DEFINE_GROUPED(R, 1) DEFINE_GROUPED(R, 2)
HEIGHTS(DEFINE_TILES)

// Rows of the next tile when `left` rows remain: tiles of about the same height.
INLINE int tile_height(ptrdiff_t left) {
    ptrdiff_t tiles = (left + TILE_ROWS - 1) / TILE_ROWS;
    return (int)((left + tiles - 1) / tiles);
}

// Both vectors of a panel: at once if the registers hold them, else one after the other. `first` and `second` are a tile's
// arguments from the panel on, in parentheses.
#define ARGUMENTS(...) __VA_ARGS__
#define RUN_HALVES(R, name, first, second)                                                                        \
    if (R <= TILE_WHOLE) {                                                                                        \
        name##_##R##x2(x, ARGUMENTS first, (v16(*)[2])out);                                                       \
    } else {                                                                                                      \
        v16 t[2][R][1];                                                                                           \
        name##_##R##x1(x, ARGUMENTS first, t[0]);                                                                 \
        name##_##R##x1(x, ARGUMENTS second, t[1]);                                                                \
        for (int r = 0; r < R; r++) out[2 * r] = t[0][r][0], out[2 * r + 1] = t[1][r][0];                         \
    }
#define RUN_PANEL(R, type)                                                                                        \
    RUN_HALVES(R, tile, (panel, CPU_PANEL, 2 * CPU_PANEL * weight_size(type), inputs, type),                      \
               (panel + 64, CPU_PANEL, 0, inputs, type))
#define RUN_GROUPED(R, type) RUN_HALVES(R, grouped, (panel, 0, 1, inputs, type), (panel, 1, 0, inputs, type))
#define PANEL_CASE(R)                                                                                             \
    case R:                                                                                                       \
        switch (type) {                                                                                           \
        case CPU_BF16: case CPU_PAIRS: RUN_PANEL(R, CPU_BF16) break;                                              \
        case CPU_INT8: RUN_GROUPED(R, CPU_INT8) break;                                                            \
        case CPU_INT5: RUN_GROUPED(R, CPU_INT5) break;                                                            \
        default: RUN_PANEL(R, CPU_F32)                                                                            \
        }                                                                                                         \
        break;

// Computes `rows` rows (a tile_height) times a panel; row r goes to out[2 * r] and out[2 * r + 1].
static void tile(int rows, const float *const *x, const char *panel, ptrdiff_t inputs, cpu_type type, v16 *out) {
    switch (rows) { HEIGHTS(PANEL_CASE) }
}
