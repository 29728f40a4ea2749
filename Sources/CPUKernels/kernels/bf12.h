// Pairs of bf16 in twelve bits a weight, losslessly: how they lie, how they are read, how they are made.
//
// The high byte of a bf16, its sign and most of its exponent, is one of sixteen for all but a few weights of a matrix, which
// have as many exponents as a normal distribution within 2^15 of one another. So a panel keeps the low bytes as they are, four
// bits for each high byte, and a list of those that are not among the sixteen.
//
// A panel: 64 bytes, the sixteen high bytes four times over; the list, a word for each entry, place << 8 | high byte,
// ascending, and BF12_END behind the last; then a unit of 192 bytes for every four inputs. A unit has 128 weights, those of
// four vectors of pairs (pair 0 of the first 16 outputs and of the last, then pair 1): 64 bytes of codes, those of the first
// two vectors in their lower halves; then the low bytes, as one instruction interleaves them with the high ones.

enum { BF12_INPUTS = 4, BF12_UNIT = 192, BF12_RAW = 4 * 64, BF12_LIST = 64 };
#define BF12_END 0xFFFFFFFFu

// Entries of a panel's list, its end included.
INLINE ptrdiff_t bf12_room(ptrdiff_t inputs) { return (inputs + 255) / 256 * 16; }
INLINE ptrdiff_t bf12_head(ptrdiff_t inputs) { return BF12_LIST + 4 * bf12_room(inputs); }
INLINE ptrdiff_t bf12_bytes(ptrdiff_t inputs) { return bf12_head(inputs) + inputs / BF12_INPUTS * BF12_UNIT; }

#ifdef MADD_PAIRS
#define EIGHT(X, i) X(i), X(i + 1), X(i + 2), X(i + 3), X(i + 4), X(i + 5), X(i + 6), X(i + 7)
#define QUARTERS(X, i) EIGHT(X, i), EIGHT(X, i + 16), EIGHT(X, i + 32), EIGHT(X, i + 48)

// The vectors of a unit.
typedef struct {
    h32 pairs[4];
} bf12_unit;

INLINE bf12_unit bf12_join(const b64 low[2], const b64 high[2]) {
#define BOTH(i) (i), (i) + 64
    bf12_unit unit;
    UNROLL for (int v = 0; v < 2; v++) {
        unit.pairs[2 * v] = (h32)__builtin_shufflevector(low[v], high[v], QUARTERS(BOTH, 0));
        unit.pairs[2 * v + 1] = (h32)__builtin_shufflevector(low[v], high[v], QUARTERS(BOTH, 8));
    }
    return unit;
#undef BOTH
}

// Reads units of a panel, one after the other.
typedef struct {
    b64 highs;
    const uint32_t *list, *list_end;  // from the next entry on
    const char *units;                // from the next unit on
    uint32_t place;                   // of its first weight
} bf12_reader;

INLINE bf12_reader bf12_open(const char *panel, ptrdiff_t inputs) {
    return (bf12_reader){
        .highs = *(const b64_unaligned *)panel, .list = (const uint32_t *)(panel + BF12_LIST),
        .list_end = (const uint32_t *)(panel + bf12_head(inputs)), .units = panel + bf12_head(inputs)};
}

INLINE bf12_unit bf12_next(bf12_reader *reader) {
    const h32 codes = *(const h32_unaligned *)reader->units;
    const b64 low[2] = {*(const b64_unaligned *)(reader->units + 64), *(const b64_unaligned *)(reader->units + 128)};
    // The instruction looks at the lowest six bits, of which two do not matter: the sixteen are there four times.
    const b64 high[2] = {(b64)__builtin_ia32_permvarqi512(reader->highs, (b64)codes),
                         (b64)__builtin_ia32_permvarqi512(reader->highs, (b64)(codes >> 4))};
    bf12_unit unit = bf12_join(low, high);
    const uint32_t end = reader->place + BF12_RAW / 2;
    if (__builtin_expect(*reader->list >> 8 < end, 0)) {
        char bytes[BF12_RAW] __attribute__((aligned(64)));
        memcpy(bytes, &unit, sizeof unit);
        // A list that a disk has spoilt may give other numbers, and do no other harm.
        for (; reader->list < reader->list_end && *reader->list >> 8 < end; reader->list++)
            bytes[(2 * (*reader->list >> 8) + 1) % BF12_RAW] = (char)*reader->list;
        memcpy(&unit, bytes, sizeof unit);
    }
    reader->place = end;
    reader->units += BF12_UNIT;
    return unit;
}

// The sixteen high bytes that occur most, of `counts`, which are spent.
INLINE void bf12_choose(uint32_t counts[256], uint8_t highs[16]) {
    for (int i = 0; i < 16; i++) {
        int most = 0;
        for (int byte = 1; byte < 256; byte++)
            if (counts[byte] > counts[most]) most = byte;
        highs[i] = (uint8_t)most;
        counts[most] = 0;
    }
}

// Writes a panel: begun with its high bytes, then unit by unit.
typedef struct {
    b64 codes[4];  // of each high byte; ABSENT where it is not one of the sixteen
    uint32_t *list, *list_end;
    char *units;
    uint32_t place;
    bool is_full;  // whether the list had no room
} bf12_writer;
enum { ABSENT = 16 };

INLINE bf12_writer bf12_create(char *panel, ptrdiff_t inputs, const uint8_t highs[16]) {
    bf12_writer writer = {.list = (uint32_t *)(panel + BF12_LIST), .units = panel + bf12_head(inputs)};
    writer.list_end = writer.list + bf12_room(inputs);
    uint8_t codes[256];
    memset(codes, ABSENT, sizeof codes);
    // The first of equals, which are there only if fewer than sixteen occur.
    for (int i = 15; i >= 0; i--) codes[highs[i]] = (uint8_t)i;
    memcpy(writer.codes, codes, sizeof codes);
    for (int i = 0; i < 4; i++) memcpy(panel + 16 * i, highs, 16);
    return writer;
}

// Lists the weights of a unit whose high bytes are not among the sixteen.
static void bf12_list(bf12_writer *writer, const bf12_unit *unit) {
    uint8_t bytes[BF12_RAW], codes[256];
    memcpy(bytes, unit, sizeof bytes);
    memcpy(codes, writer->codes, sizeof codes);
    for (uint32_t i = 0; i < BF12_RAW / 2; i++) {
        const uint8_t high = bytes[2 * i + 1];
        if (codes[high] != ABSENT) continue;
        if (writer->list + 1 == writer->list_end)
            writer->is_full = true;
        else
            *writer->list++ = (writer->place + i) << 8 | high;
    }
}

INLINE void bf12_put(bf12_writer *writer, const bf12_unit *unit) {
#define LOW(i) 2 * (i)
#define HIGH(i) 2 * (i) + 1
    b64 codes[2];
    UNROLL for (int v = 0; v < 2; v++) {
#define BYTES(X) EIGHT(X, 0), EIGHT(X, 32), EIGHT(X, 8), EIGHT(X, 40), EIGHT(X, 16), EIGHT(X, 48), EIGHT(X, 24), EIGHT(X, 56)
        const b64 first = (b64)unit->pairs[2 * v], second = (b64)unit->pairs[2 * v + 1];
        *(b64_unaligned *)(writer->units + 64 + 64 * v) = __builtin_shufflevector(first, second, BYTES(LOW));
        const b64 high = __builtin_shufflevector(first, second, BYTES(HIGH));
        const b64 lower = (b64)__builtin_ia32_vpermi2varqi512(writer->codes[0], high, writer->codes[1]);
        const b64 upper = (b64)__builtin_ia32_vpermi2varqi512(writer->codes[2], high, writer->codes[3]);
        const b64 is_upper = (b64)(high < 0);
        codes[v] = (upper & is_upper) | (lower & ~is_upper);
#undef BYTES
    }
    *(b64_unaligned *)writer->units = (codes[0] & 15) | codes[1] << 4;
    uint64_t words[8], absent = 0;
    const b64 either = (codes[0] | codes[1]) & ABSENT;
    memcpy(words, &either, sizeof words);
    UNROLL for (int i = 0; i < 8; i++) absent |= words[i];
    if (absent) bf12_list(writer, unit);
    writer->units += BF12_UNIT;
    writer->place += BF12_RAW / 2;
#undef LOW
#undef HIGH
}

// Whether all weights are there.
INLINE bool bf12_close(bf12_writer *writer) {
    while (writer->list < writer->list_end) *writer->list++ = BF12_END;
    return !writer->is_full;
}
#endif
