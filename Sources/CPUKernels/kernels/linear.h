// narrow, linear, head_linear, gated: matrix products over weights in panels.

enum { ROW_BLOCK = 48 };  // rows whose inputs stay in the cache while the panels of a range pass by

// Computes `rows` rows (ROW_BLOCK at most) times a panel; row r goes to out[2 * r] and out[2 * r + 1].
INLINE void product(int rows, const float *const *x, const char *panel, ptrdiff_t inputs, cpu_type type, v16 *out) {
#ifdef MADD_PAIRS
    if (type == CPU_BF12 || type == CPU_PAIRS12) return bf12_product(rows, x, panel, inputs, type, out);
    if (type == CPU_PAIRS) return pairs_product(rows, x, panel, inputs, out);
#endif
    if (type == CPU_INT8 || type == CPU_INT5) return grouped_product(rows, x, panel, inputs, type, out);
    for (int row = 0, height; row < rows; row += height) {
        height = tile_height(rows - row);
        tile(height, x + row, panel, inputs, type, out + 2 * row);
    }
}

INLINE void store_part(float *y, v16 v, ptrdiff_t count) {
    if (count >= CPU_LANES)
        store(y, v);
    else
        for (ptrdiff_t i = 0; i < count; i++) y[i] = v[i];
}

INLINE v16 load_part(const float *p, ptrdiff_t count) {
    if (count >= CPU_LANES) return load(p);
    v16 v = {};
    for (ptrdiff_t i = 0; i < count; i++) v[i] = p[i];
    return v;
}

// Words in a row of `width` numbers that are rounded for products in bf16.
INLINE ptrdiff_t narrow_words(ptrdiff_t width) { return (width + STEP_INPUTS - 1) / STEP_INPUTS; }

// Rounds numbers `column`, a multiple of CPU_LANES, and up to CPU_LANES more of the `width` of a row of words.
INLINE void store_narrow(uint32_t *row, ptrdiff_t column, ptrdiff_t width, v16 v) {
    const ptrdiff_t count = width - column;
#ifdef MADD_PAIRS
    uint16_t *out = (uint16_t *)row + column;
    const h16 numbers = narrow_all(v);
    if (count >= CPU_LANES) {
        *(h16_unaligned *)out = numbers;
    } else {
        for (ptrdiff_t i = 0; i < count; i++) out[i] = numbers[i];
        if (count % 2) out[count] = 0;
    }
#else
    store_part((float *)row + column, (v16)(__builtin_convertvector(narrow_all(v), i16) << 16), count);
#endif
}

static void narrow(const void *restrict raw, ptrdiff_t begin, ptrdiff_t end) {
    const cpu_narrow_args *a = raw;
    for (ptrdiff_t row = begin; row < end; row++)
        for (ptrdiff_t i = 0; i < a->width; i += CPU_LANES)
            store_narrow(a->out + row * narrow_words(a->width), i, a->width,
                         load_part(a->x + row * a->x_stride + i, a->width - i));
}

// The next rows of a product from row `block` on, ROW_BLOCK at most, to x; how many.
INLINE int next_rows(const float *first, ptrdiff_t stride, ptrdiff_t block, ptrdiff_t rows, const float **x) {
    const int count = (int)(ROW_BLOCK < rows - block ? ROW_BLOCK : rows - block);
    for (int r = 0; r < count; r++) x[r] = first + (block + r) * stride;
    return count;
}

// The panels begin ..< end of a product.
static void linear_panels(const cpu_linear_args *a, ptrdiff_t begin, ptrdiff_t end) {
    const ptrdiff_t stride = panel_bytes(a->inputs, a->type);
    v16 out[2 * ROW_BLOCK];
    const float *x[ROW_BLOCK];
    for (ptrdiff_t block = 0; block < a->rows; block += ROW_BLOCK) {
        const int rows = next_rows(a->x, a->x_stride, block, a->rows, x);
        for (ptrdiff_t panel = begin; panel < end; panel++) {
            product(rows, x, (const char *)a->weight + panel * stride, a->inputs, a->type, out);
            for (int i = 0; i < 2 * rows; i++) {
                ptrdiff_t column = panel * CPU_PANEL + i % 2 * CPU_LANES, count = a->outputs - column;
                float *y = a->y + (block + i / 2) * a->y_stride + column;
                v16 v = out[i];
                if (a->bias) v += load_part(a->bias + column, count);
                if (a->accumulate) v += load_part(y, count);
                store_part(y, v, count);
            }
        }
    }
}

static void linear(const void *restrict raw, ptrdiff_t begin, ptrdiff_t end) {
    const cpu_linear_args *a = raw;
    const ptrdiff_t panels = (a->outputs + CPU_PANEL - 1) / CPU_PANEL;
    cpu_linear_args part = *a;
    for (ptrdiff_t item = begin, next; item < end; item = next) {
        const ptrdiff_t row = item / panels * a->part_rows, first = item % panels;
        next = item + panels - first < end ? item + panels - first : end;
        part.rows = a->rows - row < a->part_rows ? a->rows - row : a->part_rows;
        part.x = a->x + row * a->x_stride;
        part.y = a->y + row * a->y_stride;
        linear_panels(&part, first, first + next - item);
    }
}

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

// silu(gate) * up of row r of a gated panel's product.
INLINE v16 gated_row(const v16 *out, int r) { return silu(out[2 * r]) * out[2 * r + 1]; }

// Row `row` of silu(gate) * up, column `column` of `width` and those that follow.
INLINE void store_gated(float *y, bool narrows, ptrdiff_t row, ptrdiff_t width, ptrdiff_t column, v16 v) {
    if (narrows)
        store_narrow((uint32_t *)y + row * narrow_words(width), column, width, v);
    else
        store_part(y + row * width + column, v, width - column);
}

static void gated(const void *restrict raw, ptrdiff_t begin, ptrdiff_t end) {
    const cpu_gated_args *a = raw;
    const ptrdiff_t stride = panel_bytes(a->inputs, a->type);
    v16 out[2 * ROW_BLOCK];
    const float *x[ROW_BLOCK];
    for (ptrdiff_t block = 0; block < a->rows; block += ROW_BLOCK) {
        const int rows = next_rows(a->x, a->x_stride, block, a->rows, x);
        for (ptrdiff_t panel = begin; panel < end; panel++) {
            const ptrdiff_t column = panel * CPU_LANES;
            product(rows, x, (const char *)a->weight + panel * stride, a->inputs, a->type, out);
            for (int r = 0; r < rows; r++)
                store_gated(a->y, a->narrows, block + r, a->outputs, column, gated_row(out, r));
        }
    }
}
