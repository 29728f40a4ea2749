// linear, head_linear, gated: matrix products over weights in panels.
//
// A tile is R rows by P panels of accumulators held in registers; each output is one chain of multiply-adds over the
// inputs in ascending order, whatever R and P. Few rows take more panels at once, so that enough chains are in flight
// to hide the latency of a multiply-add.

enum {
    ROW_BLOCK = 48,  // rows whose inputs stay in the cache while the panels of a range pass by
    GROUP = 4        // panels that stay in the cache while a block of rows passes by
};

// Accumulates rows x[0 ..< R] with P panels, `panel_stride` bytes apart.
#define DEFINE_TILE(R, P)                                                                                         \
    INLINE void tile_##R##x##P(const float *const *x, const char *panels, ptrdiff_t panel_stride,                 \
                               ptrdiff_t inputs, cpu_type type, v16 out[R][P]) {                                  \
        v16 acc[R][P];                                                                                            \
        _Pragma("clang loop unroll(full)") for (int r = 0; r < R; r++)                                            \
            _Pragma("clang loop unroll(full)") for (int p = 0; p < P; p++) acc[r][p] = (v16){};                   \
        for (ptrdiff_t k = 0; k < inputs; k++) {                                                                  \
            v16 w[P];                                                                                             \
            _Pragma("clang loop unroll(full)") for (int p = 0; p < P; p++)                                        \
                w[p] = load_weight(panels + p * panel_stride, k, type);                                           \
            _Pragma("clang loop unroll(full)") for (int r = 0; r < R; r++) {                                      \
                v16 value = splat(x[r][k]);                                                                       \
                _Pragma("clang loop unroll(full)") for (int p = 0; p < P; p++)                                    \
                    acc[r][p] = madd(value, w[p], acc[r][p]);                                                     \
            }                                                                                                     \
        }                                                                                                         \
        _Pragma("clang loop unroll(full)") for (int r = 0; r < R; r++)                                            \
            _Pragma("clang loop unroll(full)") for (int p = 0; p < P; p++) out[r][p] = acc[r][p];                 \
    }

DEFINE_TILE(1, 1)
DEFINE_TILE(1, 2)
DEFINE_TILE(1, 4)
DEFINE_TILE(2, 1)
#if TILE_ROWS >= 4
DEFINE_TILE(2, 2)
DEFINE_TILE(4, 1)
#endif
#if TILE_ROWS >= 6
DEFINE_TILE(6, 1)
#endif
#if TILE_PANELS >= 2
DEFINE_TILE(4, 2)
DEFINE_TILE(6, 2)
#endif

// Rows of the next tile when `left` rows remain.
INLINE int tile_height(ptrdiff_t left) {
    return left >= TILE_ROWS ? TILE_ROWS : left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

#define RUN_TILE(R, P)                                                                                            \
    do {                                                                                                          \
        v16 t[R][P];                                                                                              \
        if (type == CPU_BF16)                                                                                     \
            tile_##R##x##P(x, panels, panel_stride, inputs, CPU_BF16, t);                                         \
        else                                                                                                      \
            tile_##R##x##P(x, panels, panel_stride, inputs, CPU_F32, t);                                          \
        for (int r = 0; r < R; r++)                                                                               \
            for (int p = 0; p < P; p++) out[r * GROUP + p] = t[r][p];                                             \
        return P;                                                                                                 \
    } while (0)

// Computes `rows` rows (a tile_height) times as many of `count` panels as fit the registers; row r, panel p goes to
// out[r * GROUP + p]. Returns the panels computed.
static int tile(int rows, ptrdiff_t count, const float *const *x, const char *panels, ptrdiff_t panel_stride,
                ptrdiff_t inputs, cpu_type type, v16 *out) {
#if TILE_ROWS >= 6
#if TILE_PANELS >= 2
    if (rows == 6 && count >= 2) RUN_TILE(6, 2);
#endif
    if (rows == 6) RUN_TILE(6, 1);
#endif
#if TILE_ROWS >= 4
#if TILE_PANELS >= 2
    if (rows == 4 && count >= 2) RUN_TILE(4, 2);
#endif
    if (rows == 4) RUN_TILE(4, 1);
    if (rows == 2 && count >= 2) RUN_TILE(2, 2);
#endif
    if (rows == 2) RUN_TILE(2, 1);
    if (count >= 4) RUN_TILE(1, 4);
    if (count >= 2) RUN_TILE(1, 2);
    RUN_TILE(1, 1);
}

INLINE void store_part(float *y, v16 v, ptrdiff_t count) {
    if (count >= CPU_PANEL)
        store(y, v);
    else
        for (ptrdiff_t i = 0; i < count; i++) y[i] = v[i];
}

INLINE v16 load_part(const float *p, ptrdiff_t count) {
    if (count >= CPU_PANEL) return load(p);
    v16 v = {};
    for (ptrdiff_t i = 0; i < count; i++) v[i] = p[i];
    return v;
}

// The panels begin ..< end of a product.
static void linear_panels(const cpu_linear_args *a, ptrdiff_t begin, ptrdiff_t end) {
    const ptrdiff_t stride = a->inputs * CPU_PANEL * weight_size(a->type);
    v16 out[TILE_ROWS * GROUP];
    const float *x[TILE_ROWS];
    for (ptrdiff_t block = 0; block < a->rows; block += ROW_BLOCK) {
        ptrdiff_t block_end = block + ROW_BLOCK < a->rows ? block + ROW_BLOCK : a->rows;
        for (ptrdiff_t first = begin; first < end; first += GROUP) {
            ptrdiff_t last = first + GROUP < end ? first + GROUP : end;
            for (ptrdiff_t row = block; row < block_end;) {
                int rows = tile_height(block_end - row), done;
                for (int r = 0; r < rows; r++) x[r] = a->x + (row + r) * a->x_stride;
                for (ptrdiff_t panel = first; panel < last; panel += done) {
                    done = tile(rows, last - panel, x, (const char *)a->weight + panel * stride, stride, a->inputs,
                                a->type, out);
                    for (int r = 0; r < rows; r++)
                        for (int p = 0; p < done; p++) {
                            ptrdiff_t column = (panel + p) * CPU_PANEL, count = a->outputs - column;
                            float *y = a->y + (row + r) * a->y_stride + column;
                            v16 v = out[r * GROUP + p];
                            if (a->bias) v += load_part(a->bias + column, count);
                            if (a->accumulate) v += load_part(y, count);
                            store_part(y, v, count);
                        }
                }
                row += rows;
            }
        }
    }
}

static void linear(const void *restrict raw, ptrdiff_t begin, ptrdiff_t end) { linear_panels(raw, begin, end); }

static void head_linear(const void *restrict raw, ptrdiff_t begin, ptrdiff_t end) {
    const cpu_head_linear_args *a = raw;
    const ptrdiff_t panels = (a->outputs + CPU_PANEL - 1) / CPU_PANEL;
    cpu_linear_args head = {.rows = a->rows, .inputs = a->inputs, .outputs = a->outputs, .type = a->type,
                            .x_stride = a->heads * a->x_head, .y_stride = a->heads * a->y_head};
    for (ptrdiff_t item = begin, next; item < end; item = next) {
        ptrdiff_t h = item / panels, first = item % panels;
        next = (h + 1) * panels < end ? (h + 1) * panels : end;
        head.x = a->x + h * a->x_head;
        head.weight = (const char *)a->weight + h * a->head_stride;
        head.y = a->y + h * a->y_head;
        linear_panels(&head, first, first + next - item);
    }
}

// A gate panel and the up panel behind it, for `rows` rows (a tile_height); results in out[0 ..< rows].
INLINE void gated_tile(int rows, const float *const *x, const char *panels, ptrdiff_t stride, ptrdiff_t inputs,
                       cpu_type type, v16 *out) {
    v16 t[TILE_ROWS * GROUP];
    if (tile(rows, 2, x, panels, stride, inputs, type, t) < 2)
        tile(rows, 1, x, panels + stride, stride, inputs, type, t + 1);
    for (int r = 0; r < rows; r++) out[r] = silu(t[r * GROUP]) * t[r * GROUP + 1];
}

static void gated(const void *restrict raw, ptrdiff_t begin, ptrdiff_t end) {
    const cpu_gated_args *a = raw;
    const ptrdiff_t stride = a->inputs * CPU_PANEL * weight_size(a->type);
    v16 out[TILE_ROWS];
    const float *x[TILE_ROWS];
    for (ptrdiff_t block = 0; block < a->rows; block += ROW_BLOCK) {
        ptrdiff_t block_end = block + ROW_BLOCK < a->rows ? block + ROW_BLOCK : a->rows;
        for (ptrdiff_t panel = begin; panel < end; panel++) {
            const char *weight = (const char *)a->weight + 2 * panel * stride;
            ptrdiff_t column = panel * CPU_PANEL;
            for (ptrdiff_t row = block; row < block_end;) {
                int rows = tile_height(block_end - row);
                for (int r = 0; r < rows; r++) x[r] = a->x + (row + r) * a->inputs;
                gated_tile(rows, x, weight, stride, a->inputs, a->type, out);
                for (int r = 0; r < rows; r++)
                    store_part(a->y + (row + r) * a->outputs + column, out[r], a->outputs - column);
                row += rows;
            }
        }
    }
}
