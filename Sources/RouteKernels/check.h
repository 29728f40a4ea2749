// check: ids before they are used as an index.

static bool in_range(const int32_t *ids, ptrdiff_t count, int32_t experts) {
    // An id out of range makes one of the two differences negative, also where it wraps.
    i16 signs = {};
    i16 last = splat_int(experts - 1);
    ptrdiff_t id = 0;
    for (; id + 16 <= count; id += 16) {
        i16 chunk = *(const i16_unaligned *)(ids + id);
        signs |= (chunk + 1) | (last - chunk);
    }
    int32_t sign = 0;
    for (int lane = 0; lane < 16; lane++) sign |= signs[lane];
    for (; id < count; id++) sign |= -(int32_t)((ids[id] < -1) | (ids[id] >= experts));
    return sign >= 0;
}
