// count: ids per expert, each id checked before it is used as an index.
//
// Ids are checked 64 at a time, a moment before they are counted: so the next ones are fetched while the last are counted.
// Four tables, so that a run of one expert does not wait for its own last store. One store per id is what limits it.

INLINE bool in_range(const int32_t *ids, i16 last) {
    // An id out of range makes one of the two differences negative, also where it wraps.
    i16 signs = {};
    for (int vector = 0; vector < 4; vector++) {
        i16 chunk = *(const i16_unaligned *)(ids + 16 * vector);
        signs |= (chunk + 1) | (last - chunk);
    }
#if defined(ROUTE_AVX512)
    return _mm512_movepi32_mask((__m512i)signs) == 0;
#else
    int32_t sign = 0;
    for (int lane = 0; lane < 16; lane++) sign |= signs[lane];
    return sign >= 0;
#endif
}

static bool count(const int32_t *ids, ptrdiff_t n, int32_t experts, int32_t *table, int tables) {
    ptrdiff_t width = (ptrdiff_t)experts + 1;
    memset(table, 0, sizeof(int32_t) * width * tables);
    ptrdiff_t apart = tables == 1 ? 0 : width;
    int32_t *first = table + 1, *second = first + apart, *third = second + apart, *fourth = third + apart;
    i16 last = splat_int(experts - 1);
    ptrdiff_t id = 0;
    for (; id + 64 <= n; id += 64) {
        if (!in_range(ids + id, last)) return false;
        for (const int32_t *four = ids + id; four < ids + id + 64; four += 4) {
            int64_t low, high;  // two loads for four ids
            memcpy(&low, four, 8);
            memcpy(&high, four + 2, 8);
            first[(int32_t)low]++;
            second[low >> 32]++;
            third[(int32_t)high]++;
            fourth[high >> 32]++;
        }
    }
    for (; id < n; id++) {
        if (ids[id] < -1 || ids[id] >= experts) return false;
        first[ids[id]]++;
    }
    if (tables > 1) {
        for (ptrdiff_t bucket = 0; bucket < width; bucket++)
            table[bucket] += table[width + bucket] + table[2 * width + bucket] + table[3 * width + bucket];
    }
    return true;
}
