// A tile: a few rows times a panel of weights that are floats or bf16.
//
// It is R rows by P vectors of accumulators held in registers; each output is one chain of multiply-adds over the inputs in
// ascending order, whatever R and P. Low tiles take a whole panel at once, so that its weights are one stream of memory, and
// are asked for ahead.

// A tile of one row computes faster than memory delivers: how far ahead it asks depends on the processor.
INLINE ptrdiff_t ahead_of(int rows) { return rows == 1 ? cpu_ahead_of_row : CPU_AHEAD; }

// Accumulates rows x[0 ..< R] with P vectors of the `width` weights that lie side by side; `ahead` bytes of each pair of
// inputs are asked for.
#define DEFINE_TILE(R, P)                                                                                         \
    INLINE void tile_##R##x##P(const float *const *x, const char *weights, ptrdiff_t width, int ahead,            \
                               ptrdiff_t inputs, cpu_type type, v16 out[R][P]) {                                  \
        v16 acc[R][P];                                                                                            \
        UNROLL for (int r = 0; r < R; r++) UNROLL for (int p = 0; p < P; p++) acc[r][p] = (v16){};                \
        const ptrdiff_t bytes = 2 * width * weight_size(type), distance = ahead_of(R);                            \
        _Pragma("clang loop unroll(disable)") for (ptrdiff_t pair = 0; pair < inputs / 2; pair++) {               \
            UNROLL for (int line = 0; line < ahead; line += 64)                                                   \
                __builtin_prefetch(weights + pair * bytes + distance + line);                                     \
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

#define DEFINE_TILES(R) DEFINE_TILE(R, 1) DEFINE_TILE(R, 2)
HEIGHTS(DEFINE_TILES)

// Rows of the next tile when `left` rows remain: tiles of about the same height.
INLINE int tile_height(ptrdiff_t left) {
    ptrdiff_t tiles = (left + TILE_ROWS - 1) / TILE_ROWS;
    return (int)((left + tiles - 1) / tiles);
}

// Both vectors of a panel: at once if the registers hold them, else one after the other.
#define RUN_PANEL(R, type)                                                                                        \
    if (R <= TILE_WHOLE) {                                                                                        \
        tile_##R##x2(x, panel, CPU_PANEL, 2 * CPU_PANEL * weight_size(type), inputs, type, (v16(*)[2])out);       \
    } else {                                                                                                      \
        v16 t[2][R][1];                                                                                           \
        tile_##R##x1(x, panel, CPU_PANEL, 2 * CPU_PANEL * weight_size(type), inputs, type, t[0]);                 \
        tile_##R##x1(x, panel + 64, CPU_PANEL, 0, inputs, type, t[1]);                                            \
        for (int r = 0; r < R; r++) out[2 * r] = t[0][r][0], out[2 * r + 1] = t[1][r][0];                         \
    }
#define PANEL_CASE(R)                                                                                             \
    case R:                                                                                                       \
        if (type == CPU_F32) {                                                                                    \
            RUN_PANEL(R, CPU_F32)                                                                                 \
        } else {                                                                                                  \
            RUN_PANEL(R, CPU_BF16)                                                                                \
        }                                                                                                         \
        break;

// Where the first tile of `rows` rows keeps what it has unpacked, the next ones ask memory for what it will read then: how many
// of the `bytes` that it reads at a step each of them asks for, a line at most.
INLINE ptrdiff_t ahead_share(ptrdiff_t bytes, int rows) {
    const ptrdiff_t share = bytes / ((rows - 1) / TILE_ROWS);
    return share < 64 ? share : 64;
}

// Computes `rows` rows (a tile_height) times a panel; row r goes to out[2 * r] and out[2 * r + 1].
static void tile(int rows, const float *const *x, const char *panel, ptrdiff_t inputs, cpu_type type, v16 *out) {
    switch (rows) { HEIGHTS(PANEL_CASE) }
}
