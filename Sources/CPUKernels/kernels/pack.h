// pack, embed: checkpoint rows to the layouts that the kernels read.

// Of a whole panel.
INLINE ptrdiff_t panel_bytes(ptrdiff_t inputs, cpu_type type) {
    if (type == CPU_BF12 || type == CPU_PAIRS12) return bf12_bytes(inputs);
    if (type == CPU_INT8 || type == CPU_INT5) return head_bytes(type) + inputs / CPU_GROUP * group_bytes(type);
    return (type == CPU_F32 ? inputs : (inputs + 1) / 2 * 2) * CPU_PANEL * weight_size(type);
}

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

// A group of a row's weights, widened.
typedef struct {
    v16 part[CPU_GROUP / CPU_LANES];
} weight_group;

INLINE weight_group load_group(const cpu_row *row, ptrdiff_t first) {
    weight_group x;
    for (int p = 0; p < CPU_GROUP / CPU_LANES; p++) {
        ptrdiff_t k = first + p * CPU_LANES;
        if (row->elements && row->type == CPU_BF16) {
            x.part[p] = load_bf16((const char *)row->elements + 2 * k);
        } else {
            float wide[CPU_LANES];
            for (int i = 0; i < CPU_LANES; i++) wide[i] = element(row, k + i);
            x.part[p] = load(wide);
        }
    }
    return x;
}

// Word i of v[k] becomes word k of v[i]: four times, the first half of the vectors is interleaved with the second.
INLINE void transpose(i16 v[16]) {
    for (int round = 0; round < 4; round++) {
        i16 t[16];
        for (int i = 0; i < 8; i++) {
            t[2 * i] = __builtin_shufflevector(v[i], v[i + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            t[2 * i + 1] =
                __builtin_shufflevector(v[i], v[i + 8], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
        }
        for (int i = 0; i < 16; i++) v[i] = t[i];
    }
}

// x rounded to even, and held within lowest ... most.
INLINE v16 rounded(v16 x, float lowest, float most) {
    const float round = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
    v16 q = x + round;
    q = q - round;
    q = select(q > most, splat(most), q);
    return select(q >= lowest, q, splat(lowest));  // NaN too
}

// Quantizes a group as that of output r of a panel.
INLINE void quantize_int8(weight_group x, char *group, ptrdiff_t r) {
    float wide[CPU_GROUP], most = 0;
    for (int p = 0; p < CPU_GROUP / CPU_LANES; p++) store(wide + p * CPU_LANES, x.part[p]);
    for (int i = 0; i < CPU_GROUP; i++)
        if (fabsf(wide[i]) > most) most = fabsf(wide[i]);
    const uint16_t scale = narrow_bf16(most / 127);
    const float inverse = widen(scale) == 0 ? 0 : 1 / widen(scale);
    int32_t codes[CPU_GROUP];
    for (int p = 0; p < CPU_GROUP / CPU_LANES; p++)
        *(i16_unaligned *)(codes + p * CPU_LANES) =
            __builtin_convertvector(rounded(x.part[p] * inverse, -127, 127), i16);
    ((uint16_t *)group)[r] = scale;
    uint8_t *bytes = (uint8_t *)group + scale_bytes(CPU_INT8);
    for (int i = 0; i < CPU_GROUP; i++) bytes[place_int8(i, r)] = byte_int8(codes[i]);
}

// A group of 16 rows, a row to a lane.
typedef struct {
    v16 input[CPU_GROUP];
} row_group;

INLINE row_group load_rows(const cpu_row *rows, ptrdiff_t first) {
    i16 parts[CPU_GROUP / CPU_LANES][CPU_LANES];
    for (int r = 0; r < CPU_LANES; r++) {
        weight_group row = load_group(rows + r, first);
        for (int p = 0; p < CPU_GROUP / CPU_LANES; p++) parts[p][r] = (i16)row.part[p];
    }
    row_group x;
    for (int p = 0; p < CPU_GROUP / CPU_LANES; p++) {
        transpose(parts[p]);
        for (int i = 0; i < CPU_LANES; i++) x.input[p * CPU_LANES + i] = (v16)parts[p][i];
    }
    return x;
}

INLINE v16 magnitude(v16 x) { return (v16)((i16)x & 0x7FFFFFFF); }

// The weight of a row that is farthest from zero, with its sign.
INLINE v16 farthest(const row_group *x, v16 found) {
    for (int i = 0; i < CPU_GROUP; i++)
        found = select(magnitude(x->input[i]) > magnitude(found), x->input[i], found);
    return found;
}

// The number farthest from zero, and how many scales are tried on either side of the one that gives it to the weight
// farthest from zero.
enum { INT5_FARTHEST = 9344, INT5_TRIED = 4 };
INLINE float int5_factor(int k) { return 1 + 0.03f * (float)k; }

// The code whose number is nearest to x * INT5_FARTHEST, within 0.02 of a code.
// Method: the polynomial of least greatest error (Remez) for the inverse of the cubic.
INLINE v16 nearest_int5(v16 x) {
    x = select(x > 1, splat(1), x);
    x = select(x < -1, splat(-1), x);
    v16 square = x * x, t = splat(70.39829f);
    const float factors[] = {-273.8526f, 429.3907f, -351.7294f, 166.9912f, -53.36017f, 28.14961f};
    for (int i = 0; i < 6; i++) t = madd(t, square, splat(factors[i]));
    return rounded(t * x, -16, 15);
}

// Quantizes a group of 16 rows, half of a panel, whose scales are multiples of `unit`: of those that put the weight farthest
// from zero, whatever its sign, at or near the lowest code, each row takes that of the least squared error.
INLINE void quantize_int5(const row_group *x, v16 unit, char *group, int half) {
    const v16 steps = farthest(x, (v16){}) / (unit * -INT5_FARTHEST);
    v16 least = splat(INFINITY), scale = {};
    for (int k = -INT5_TRIED; k <= INT5_TRIED; k++) {
        v16 tried = rounded(steps * int5_factor(k), -127, 127);
        tried = select(tried == 0, splat(1), tried);
        const v16 number = tried * unit, inverse = 1 / (number * INT5_FARTHEST);
        v16 error = {};
        for (int i = 0; i < CPU_GROUP; i++) {
            v16 d = number_int5(nearest_int5(x->input[i] * inverse)) * number;
            d = d - x->input[i];
            error = madd(d, d, error);
        }
        i16 isBetter = error < least;
        least = select(isBetter, error, least);
        scale = select(isBetter, tried, scale);
    }
    ((b16_unaligned *)group)[half] = __builtin_convertvector(__builtin_convertvector(scale, i16), b16);
    const v16 inverse = 1 / (scale * unit * INT5_FARTHEST);
    i16 codes[CPU_GROUP];
    for (int i = 0; i < CPU_GROUP; i++)
        codes[i] = __builtin_convertvector(nearest_int5(x->input[i] * inverse), i16) & 31;
    for (int w = 0; w < CPU_INT5_WORDS; w++) {
        i16 word = {};
        for (int i = 0; i < 6; i++) word |= codes[6 * w + i] << (i % 2 * 16 + i / 2 * 5);
        for (int i = 0; i < 2; i++)
            word |= (codes[6 * CPU_INT5_WORDS + i] >> (CPU_INT5_WORDS - 1 - w) & 1) << (i * 16 + 15);
        *(i16_unaligned *)(group + scale_bytes(CPU_INT5) + w * 4 * CPU_PANEL + 64 * half) = word;
    }
}

// A panel of any rows in codes of eight bits, and of five.
static void pack_int8(const cpu_row *rows, ptrdiff_t inputs, char *panel) {
    for (ptrdiff_t k = 0; k < inputs; k += CPU_GROUP, panel += group_bytes(CPU_INT8))
        for (ptrdiff_t r = 0; r < CPU_PANEL; r++) quantize_int8(load_group(rows + r, k), panel, r);
}

static void pack_int5(const cpu_row *rows, ptrdiff_t inputs, char *panel) {
    for (int half = 0; half < 2; half++, rows += CPU_LANES) {
        v16 most = {};
        for (ptrdiff_t k = 0; k < inputs; k += CPU_GROUP) {
            row_group x = load_rows(rows, k);
            most = farthest(&x, most);
        }
        v16 unit = magnitude(most) * (int5_factor(INT5_TRIED) / (127.0f * INT5_FARTHEST));
        unit = select(unit > 0, unit, splat(1));
        store((float *)panel + CPU_LANES * half, unit);
        char *group = panel + head_bytes(CPU_INT5);
        for (ptrdiff_t k = 0; k < inputs; k += CPU_GROUP, group += group_bytes(CPU_INT5)) {
            row_group x = load_rows(rows, k);
            quantize_int5(&x, unit, group, half);
        }
    }
}

// Words of a checkpoint, which may begin at any byte of it.
typedef i16 i16_anywhere __attribute__((aligned(1)));

// The inputs first ..< first + inputs, of which `first` is even, of a panel of bf16 rows as they are, two to a word: sixteen
// words of sixteen rows at a time, because rows often lie a power of two apart, which a cache keeps few of.
static void interleave(const cpu_row *rows, ptrdiff_t first, ptrdiff_t inputs, uint32_t *panel) {
    ptrdiff_t pair = 0;
    for (; pair + CPU_LANES <= inputs / 2; pair += CPU_LANES) {
        for (int half = 0; half < CPU_PANEL; half += CPU_LANES) {
            i16 v[CPU_LANES];
            for (int r = 0; r < CPU_LANES; r++) {
                const char *row = rows[half + r].elements;
                v[r] = row ? *(const i16_anywhere *)(row + 2 * first + 4 * pair) : (i16){};
            }
            transpose(v);
            for (int k = 0; k < CPU_LANES; k++) *(i16_unaligned *)(panel + (pair + k) * CPU_PANEL + half) = v[k];
        }
    }
    for (ptrdiff_t k = 2 * pair; k < inputs + inputs % 2; k++)
        for (ptrdiff_t r = 0; r < CPU_PANEL; r++)
            ((uint16_t *)panel)[narrow_place(k, r)] = k < inputs ? bits(&rows[r], first + k) : 0;
}

// As `interleave`, of any rows, rounded where they are wider.
static void round_rows(const cpu_row *rows, ptrdiff_t first, ptrdiff_t inputs, uint32_t *panel) {
    uint16_t *narrow = (uint16_t *)panel;
    for (ptrdiff_t r = 0; r < CPU_PANEL; r++) {
        for (ptrdiff_t k = 0; k < inputs; k++) narrow[narrow_place(k, r)] = narrow_bf16(element(rows + r, first + k));
        if (inputs % 2) narrow[narrow_place(inputs, r)] = 0;
    }
}

static void narrow_rows(const cpu_row *rows, ptrdiff_t first, ptrdiff_t inputs, uint32_t *panel) {
    bool is_narrow = true;
    for (ptrdiff_t r = 0; r < CPU_PANEL; r++) is_narrow &= !rows[r].elements || rows[r].type == CPU_BF16;
    (is_narrow ? interleave : round_rows)(rows, first, inputs, panel);
}

#ifdef MADD_PAIRS
enum { BF12_PART = 128 };  // inputs that are interleaved at once

// A panel of any rows in bf16 of twelve bits; whether that holds them.
static bool pack_bf12(const cpu_row *rows, ptrdiff_t inputs, char *panel) {
    uint32_t part[BF12_PART / 2 * CPU_PANEL] __attribute__((aligned(64)));
    // Four tables, so that one weight need not wait for the count of the one before.
    uint32_t counts[4][256] = {};
    for (ptrdiff_t k = 0, count; k < inputs; k += count) {
        count = BF12_PART < inputs - k ? BF12_PART : inputs - k;
        narrow_rows(rows, k, count, part);
        const uint8_t *bytes = (const uint8_t *)part;
        for (ptrdiff_t i = 0; i < 2 * CPU_PANEL * count; i += 8)
            for (int w = 0; w < 4; w++) counts[w][bytes[i + 2 * w + 1]]++;
    }
    for (int byte = 0; byte < 256; byte++)
        for (int w = 1; w < 4; w++) counts[0][byte] += counts[w][byte];
    uint8_t highs[16];
    bf12_choose(counts[0], highs);
    bf12_writer writer = bf12_create(panel, inputs, highs);
    for (ptrdiff_t k = 0, count; k < inputs; k += count) {
        count = BF12_PART < inputs - k ? BF12_PART : inputs - k;
        narrow_rows(rows, k, count, part);
        for (ptrdiff_t i = 0; i < count; i += BF12_INPUTS)
            bf12_put(&writer, (const bf12_unit *)((const char *)part + i / BF12_INPUTS * BF12_RAW));
    }
    return bf12_close(&writer);
}
#else
static bool pack_bf12(const cpu_row *rows, ptrdiff_t inputs, char *panel) { return false; }
#endif

// A panel of any rows, widened.
static void widen_rows(const cpu_row *rows, ptrdiff_t inputs, float *panel) {
    for (ptrdiff_t r = 0; r < CPU_PANEL; r++) {
        const cpu_row *row = rows + r;
        for (ptrdiff_t k = 0, end; k < inputs; k = end) {
            // A division for each block of a scale, not for each element.
            end = row->scales && k + row->scale_columns < inputs ? k + row->scale_columns : inputs;
            widen_part(row, k, end, row->scales ? row->scales[k / row->scale_columns] : 1, panel + r);
        }
    }
}

// A panel of rows that hold the weights of one input each.
static void turn(const cpu_pack_args *a, ptrdiff_t panel, char *start) {
    const cpu_row none = {};
    uint16_t *narrow = (uint16_t *)start;
    for (ptrdiff_t r = 0; r < CPU_PANEL; r++) {
        ptrdiff_t output = panel * CPU_PANEL + r;
        if (a->type == CPU_BF16 && a->inputs % 2) narrow[narrow_place(a->inputs, r)] = 0;
        for (ptrdiff_t k = 0; k < a->inputs; k++) {
            const cpu_row *row = output < a->outputs ? a->rows + k : &none;
            if (a->type == CPU_BF16)
                narrow[narrow_place(k, r)] = bits(row, output);
            else
                ((float *)start)[k * CPU_PANEL + r] = element(row, output);
        }
    }
}

static void pack(const void *restrict raw, ptrdiff_t begin, ptrdiff_t end) {
    const cpu_pack_args *a = raw;
    for (ptrdiff_t panel = begin; panel < end; panel++) {
        char *start = (char *)a->panels + panel * panel_bytes(a->inputs, a->type);
        const cpu_row *rows = a->transposed ? a->rows : a->rows + panel * CPU_PANEL;
        if (a->transposed) {
            turn(a, panel, start);
        } else if (a->type == CPU_INT8) {
            pack_int8(rows, a->inputs, start);
        } else if (a->type == CPU_INT5) {
            pack_int5(rows, a->inputs, start);
        } else if (a->type == CPU_BF12) {
            if (!pack_bf12(rows, a->inputs, start)) __atomic_store_n(a->misfits, true, __ATOMIC_RELAXED);
        } else if (a->type == CPU_BF16) {
            narrow_rows(rows, 0, a->inputs, (uint32_t *)start);
        } else {
            widen_rows(rows, a->inputs, (float *)start);
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
