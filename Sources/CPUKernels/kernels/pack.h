// pack, embed: checkpoint rows to the layouts that the kernels read.

INLINE float element(const cpu_row *row, ptrdiff_t i) {
    if (!row->elements) return 0;
    float x = 0;
    switch (row->type) {
    case CPU_F32: x = ((const float *)row->elements)[i]; break;
    case CPU_BF16: x = widen(((const uint16_t *)row->elements)[i]); break;
    case CPU_F16: x = widen_half(((const uint16_t *)row->elements)[i]); break;
    case CPU_E4M3: x = widen_e4m3(((const uint8_t *)row->elements)[i]); break;
    default: break;  // of panels only
    }
    return row->scales ? x * row->scales[i / row->scale_columns] : x;
}

// A row's elements first ..< end, which share a scale, to every 32nd float.
INLINE void widen_part(const cpu_row *row, ptrdiff_t first, ptrdiff_t end, float scale, float *out) {
    switch (row->type) {
    case CPU_E4M3:
        for (ptrdiff_t k = first; k < end; k++)
            out[k * CPU_PANEL] = widen_e4m3(((const uint8_t *)row->elements)[k]) * scale;
        break;
    default:
        for (ptrdiff_t k = first; k < end; k++) out[k * CPU_PANEL] = element(row, k);
    }
}

INLINE uint16_t bits(const cpu_row *row, ptrdiff_t i) {
    return row->elements ? ((const uint16_t *)row->elements)[i] : 0;
}

// Where a panel keeps the bf16 weight of output r and input k: two inputs side by side.
INLINE ptrdiff_t narrow_place(ptrdiff_t k, ptrdiff_t r) { return (k / 2 * CPU_PANEL + r) * 2 + k % 2; }

// x over the scale, rounded and held within the codes -most - 1 ... most.
INLINE int quantize(float x, float inverse, float most) {
    float q = rintf(x * inverse);
    return (int)(q > most ? most : q >= -most - 1 ? q : -most - 1);
}

// Quantizes a row as output r of a panel. Of the scales that put the weight farthest from zero, whatever its sign, at or
// near the lowest code, each group takes that of the least squared error.
static void quantize_row(const cpu_row *row, ptrdiff_t inputs, cpu_type type, char *panel, ptrdiff_t r) {
    const float most = type == CPU_INT8 ? 127 : 7;
    const int candidates = type == CPU_INT8 ? 1 : 17;
    for (ptrdiff_t first = 0; first < inputs; first += CPU_GROUP, panel += group_bytes(type)) {
        float x[CPU_GROUP], extreme = 0, least = INFINITY, scale = 0;
        for (int i = 0; i < CPU_GROUP; i++) {
            x[i] = element(row, first + i);
            if (fabsf(x[i]) > fabsf(extreme)) extreme = x[i];
        }
        for (int candidate = 0; candidate < candidates; candidate++) {
            float tried = widen(narrow_bf16(extreme / -(most + 1 + 0.125f * (float)(candidate - candidates / 2))));
            float inverse = tried == 0 ? 0 : 1 / tried, error = 0;
            for (int i = 0; i < CPU_GROUP; i++) {
                float d = (float)quantize(x[i], inverse, most) * tried - x[i];
                error += d * d;
            }
            if (candidate > 0 && !(error < least)) continue;
            least = error;
            scale = tried;
        }
        ((uint16_t *)panel)[r] = narrow_bf16(scale);
        char *weights = panel + 2 * CPU_PANEL;
        for (int i = 0; i < CPU_GROUP; i++) {
            int code = quantize(x[i], scale == 0 ? 0 : 1 / scale, most);
            if (type == CPU_INT8) {
                ((int8_t *)weights)[i * CPU_PANEL + r] = (int8_t)code;
            } else {
                uint32_t *word = (uint32_t *)weights + i / 8 * CPU_PANEL + r;
                *word = (i % 8 ? *word : 0) | (uint32_t)(code + 8) << i % 8 * 4;
            }
        }
    }
}

static void pack(const void *restrict raw, ptrdiff_t begin, ptrdiff_t end) {
    const cpu_pack_args *a = raw;
    const cpu_row none = {};
    for (ptrdiff_t panel = begin; panel < end; panel++) {
        char *start = (char *)a->panels + panel * panel_bytes(a->inputs, a->type);
        uint16_t *narrow = (uint16_t *)start;
        float *wide = (float *)start;
        for (ptrdiff_t r = 0; r < CPU_PANEL; r++) {
            ptrdiff_t output = panel * CPU_PANEL + r;
            if (a->type == CPU_BF16 && a->inputs % 2) narrow[narrow_place(a->inputs, r)] = 0;
            if (a->transposed) {
                for (ptrdiff_t k = 0; k < a->inputs; k++) {
                    const cpu_row *row = output < a->outputs ? a->rows + k : &none;
                    if (a->type == CPU_BF16)
                        narrow[narrow_place(k, r)] = bits(row, output);
                    else
                        wide[k * CPU_PANEL + r] = element(row, output);
                }
                continue;
            }
            const cpu_row row = a->rows[output];
            if (a->type == CPU_INT8 || a->type == CPU_INT4)
                quantize_row(&row, a->inputs, a->type, start, r);
            else if (a->type == CPU_BF16)
                for (ptrdiff_t k = 0; k < a->inputs; k++) narrow[narrow_place(k, r)] = bits(&row, k);
            else
                for (ptrdiff_t k = 0, end; k < a->inputs; k = end) {
                    // A division for each block of a scale, not for each element.
                    end = row.scales && k + row.scale_columns < a->inputs ? k + row.scale_columns : a->inputs;
                    widen_part(&row, k, end, row.scales ? row.scales[k / row.scale_columns] : 1, wide + r);
                }
        }
    }
}

static void embed(const void *restrict raw, ptrdiff_t begin, ptrdiff_t end) {
    const cpu_embed_args *a = raw;
    for (ptrdiff_t t = begin; t < end; t++) {
        float *out = a->out + t * a->width;
        ptrdiff_t first = a->ids[t] * a->width;
        if (a->type == CPU_F32) {
            memcpy(out, (const float *)a->table + first, (size_t)a->width * sizeof *out);
        } else {
            const uint16_t *in = (const uint16_t *)a->table + first;
            for (ptrdiff_t i = 0; i < a->width; i++) out[i] = a->type == CPU_BF16 ? widen(in[i]) : widen_half(in[i]);
        }
    }
}
