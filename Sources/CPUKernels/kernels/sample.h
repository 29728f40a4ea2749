// rows_statistics, exponentials: what sampling needs of a row of logits.

static void rows_statistics(const void *restrict raw, ptrdiff_t begin, ptrdiff_t end) {
    const cpu_rows_args *a = raw;
    for (ptrdiff_t row = begin; row < end; row++) {
        const float *logits = a->logits + row * a->width;
        ptrdiff_t whole = a->width / CPU_LANES * CPU_LANES;
        v16 top = splat(-INFINITY);
        for (ptrdiff_t i = 0; i < whole; i += CPU_LANES) {
            v16 v = load(logits + i);
            top = select(v > top, v, top);
        }
        float best = maximum(top);
        for (ptrdiff_t i = whole; i < a->width; i++) best = logits[i] > best ? logits[i] : best;
        ptrdiff_t index = 0;
        while (index < whole && !any(load(logits + index) == best)) index += CPU_LANES;
        while (index < a->width && logits[index] != best) index++;
        a->best[row] = index < a->width ? (int32_t)index : 0;
        a->maximum[row] = best;
        if (!a->log_sum_exp) continue;
        v16 sums = {};
        for (ptrdiff_t i = 0; i < whole; i += CPU_LANES) {
            v16 v = load(logits + i);
            sums += select(v == v, exponential(v - best), (v16){});
        }
        float total = sum(sums);
        for (ptrdiff_t i = whole; i < a->width; i++)
            if (logits[i] == logits[i]) total += expf(logits[i] - best);
        // An infinite maximum is the answer itself; differences from it would be NaN.
        a->log_sum_exp[row] = isinf(best) ? best : best + logf(total);
    }
}

static void exponentials(const void *restrict raw, ptrdiff_t begin, ptrdiff_t end) {
    const cpu_exp_args *a = raw;
    for (ptrdiff_t i = begin; i < end; i += CPU_LANES) {
        ptrdiff_t count = end - i;
        v16 v = (load_part(a->logits + i, count) - a->maximum) / a->temperature;
        // Far below the maximum the probability is zero, not the smallest that `exponential` gives.
        store_part(a->probabilities + i, select(v > -87.0f, exponential(v), (v16){}), count);
    }
}
