// pack, embed: checkpoint rows to the layouts that the kernels read.

static void pack(const void *restrict raw, ptrdiff_t begin, ptrdiff_t end) {
    const cpu_pack_args *a = raw;
    for (ptrdiff_t panel = begin; panel < end; panel++) {
        const void *const *rows = a->rows + panel * CPU_PANEL;
        for (int r = 0; r < CPU_PANEL; r++) {
            if (a->type == CPU_BF16) {
                uint16_t *out = (uint16_t *)a->panels + panel * a->inputs * CPU_PANEL + r;
                const uint16_t *in = rows[r];
                for (ptrdiff_t k = 0; k < a->inputs; k++) out[k * CPU_PANEL] = in ? in[k] : 0;
            } else {
                float *out = (float *)a->panels + panel * a->inputs * CPU_PANEL + r;
                const float *in = rows[r];
                const uint16_t *half = rows[r];
                for (ptrdiff_t k = 0; k < a->inputs; k++)
                    out[k * CPU_PANEL] = !in ? 0 : a->type == CPU_F32 ? in[k] : widen_half(half[k]);
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
