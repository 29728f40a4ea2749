// Sixteen floats at once, on any machine, through the compiler's vector types.

#include <math.h>
#include <string.h>

// Vectors are passed between inlined functions of one file only, so no calling convention is involved.
#pragma clang diagnostic ignored "-Wpsabi"

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")

typedef float v16 __attribute__((vector_size(64)));
typedef int32_t i16 __attribute__((vector_size(64)));
typedef v16 v16_unaligned __attribute__((aligned(4)));
typedef i16 i16_unaligned __attribute__((aligned(4)));

INLINE v16 load(const float *p) { return *(const v16_unaligned *)p; }
INLINE void store(float *p, v16 v) { *(v16_unaligned *)p = v; }
// Written out: zero plus x would be an addition, which keeps the broadcast out of the load.
INLINE v16 splat(float x) { return (v16){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }

// a * b + c, rounded once where the machine can.
INLINE v16 madd(v16 a, v16 b, v16 c) {
#ifdef FUSED
    return __builtin_elementwise_fma(a, b, c);
#else
    return a * b + c;
#endif
}

INLINE i16 splat_int(int32_t x) { return (i16){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }
INLINE i16 splat_word(const int32_t *p) { return splat_int(*p); }

// Rounds to the nearest, to even; NaN stays NaN.
INLINE uint16_t narrow_bf16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint32_t nearest = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
    return (uint16_t)(x == x ? nearest : bits >> 16 | 0x40);
}

INLINE float widen(uint16_t bf16) {
    uint32_t bits = (uint32_t)bf16 << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

// IEEE half to single, subnormals and infinities included.
INLINE float widen_half(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31, fraction = half & 1023;
    uint32_t bits;
    float x;
    if (exponent == 0) {
        x = (float)fraction * 0x1p-24f;
        memcpy(&bits, &x, sizeof bits);
        bits |= sign;
    } else {
        bits = sign | (exponent == 31 ? 255u << 23 : (exponent + 112) << 23) | fraction << 13;
    }
    memcpy(&x, &bits, sizeof x);
    return x;
}

// 8-bit float of the form 1.4.3 (Micikevicius et al., arXiv:2209.05433): no infinity, one NaN for each sign.
INLINE float widen_e4m3(uint8_t byte) {
    if ((byte & 0x7F) == 0x7F) return NAN;
    // Exponent and fraction lie where single precision has them, 120 too low.
    uint32_t bits = (uint32_t)(byte & 0x80) << 24 | (uint32_t)(byte & 0x7F) << 20;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x * 0x1p120f;
}

// The first or second (`half`) bf16 of each word.
INLINE v16 widen_half_of(i16 words, int half) { return (v16)(half ? words & (int32_t)0xFFFF0000 : words << 16); }

// 16 weights of one input, the first or second (`half`) of a pair, of `width` that lie side by side.
INLINE v16 load_weight(const char *weights, ptrdiff_t pair, int half, ptrdiff_t width, cpu_type type) {
    if (type == CPU_F32) return load((const float *)weights + (2 * pair + half) * width);
    return widen_half_of(*(const i16_unaligned *)(weights + pair * width * 4), half);
}

INLINE ptrdiff_t weight_size(cpu_type type) { return type == CPU_F32 ? 4 : 2; }

// Bytes of a group of inputs in a panel: scales, then codes.
INLINE ptrdiff_t scale_bytes(cpu_type type) { return CPU_PANEL * (type == CPU_INT8 ? 2 : 1); }
INLINE ptrdiff_t group_bytes(cpu_type type) {
    return scale_bytes(type) + CPU_PANEL * (type == CPU_INT8 ? CPU_GROUP : 4 * CPU_INT5_WORDS);
}

// Bytes before the first group: what the scales of CPU_INT5 are in.
INLINE ptrdiff_t head_bytes(cpu_type type) { return type == CPU_INT5 ? 4 * CPU_PANEL : 0; }

typedef int8_t b16 __attribute__((vector_size(16)));
typedef uint16_t h16 __attribute__((vector_size(32)));
typedef b16 b16_unaligned __attribute__((aligned(1)));
typedef h16 h16_unaligned __attribute__((aligned(2)));

// Sixteen of narrow_bf16.
INLINE h16 narrow_all(v16 x) {
    typedef uint32_t u16 __attribute__((vector_size(64)));
    u16 bits = (u16)x, nearest = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
    u16 is_number = (u16)(x == x);
    return __builtin_convertvector((nearest & is_number) | ((bits >> 16 | 0x40) & ~is_number), h16);
}

INLINE v16 load_bf16(const char *p) { return (v16)(__builtin_convertvector(*(const h16_unaligned *)p, i16) << 16); }

INLINE v16 load_int8(const char *p) { return __builtin_convertvector(*(const b16_unaligned *)p, v16); }

// What codes of five bits stand for, in two's complement: t (t^2 + 330) without the bits that bf16 has no room for. Such
// numbers lie as weights do, close to one another near zero.
// Method: the cubic that is nearest to the best 32 numbers (Lloyd, IEEE Trans. Inf. Theory 28, 1982) for groups of 32 normal
//         weights, of which the farthest from zero has code -16.
#define INT5_NUMBERS                                                                                                    \
    {0,     330,   668,   1016,  1384,  1768,  2192,  2640,  3152,  3696,  4288,  4960,  5664,  6464,  7360,  8320,     \
     -9344, -8320, -7360, -6464, -5664, -4960, -4288, -3696, -3152, -2640, -2192, -1768, -1384, -1016, -668,  -330}

// The number of each code.
INLINE v16 number_int5(v16 code) { return (v16)((i16)(code * (code * code + 330.0f)) & (int32_t)0xFFFF0000); }

// The number that input i of a word of six, the even ones in its lower half, has.
INLINE v16 code_int5(i16 words, int i) {
    const int place = 16 * (i % 2) + 5 * (i / 2);
#ifdef PERMUTES
    typedef float v32 __attribute__((vector_size(128)));
    const v32 numbers = INT5_NUMBERS;
    const v16 low = __builtin_shufflevector(numbers, numbers, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const v16 high = __builtin_shufflevector(numbers, numbers, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31);
    // The instruction looks at the lowest five bits.
    return (v16)__builtin_ia32_vpermi2varps512(low, words >> place, high);
#else
    return number_int5(__builtin_convertvector(words << (27 - place) >> 27, v16));
#endif
}

// The codes of a group's last two inputs, a bit of each in every word, the highest in the first.
INLINE i16 last_int5(i16 last, i16 words) { return last << 1 | (words >> 15 & 0x00010001); }

#ifdef MADD_PAIRS
// Pairs of bf16 in each word, the first in its lower half.
typedef __bf16 bf32 __attribute__((vector_size(64)));
typedef uint16_t h32 __attribute__((vector_size(64)));
typedef h32 h32_unaligned __attribute__((aligned(4)));
typedef char b64 __attribute__((vector_size(64)));
typedef b64 b64_unaligned __attribute__((aligned(4)));

// c plus the products of two pairs.
INLINE v16 madd_pairs(i16 a, i16 b, v16 c) { return __builtin_ia32_dpbf16ps_512(c, (bf32)a, (bf32)b); }

// Codes of 8 bits are a sign and a magnitude, whose number in bf16 has two bytes: each is looked up. 64 codes are those of 16
// outputs and four inputs, four outputs to a quarter: the first two inputs of each, then the last two.
INLINE ptrdiff_t place_int8(ptrdiff_t k, ptrdiff_t r) {
    return k / 4 * 4 * CPU_PANEL + r / 16 * 64 + r % 16 / 4 * 16 + k % 4 / 2 * 8 + r % 4 * 2 + k % 2;
}
INLINE uint8_t byte_int8(int32_t code) { return (uint8_t)(code < 0 ? 0x80 - code : code); }

#define MAGNITUDES_8(X, m) X(m), X(m + 1), X(m + 2), X(m + 3), X(m + 4), X(m + 5), X(m + 6), X(m + 7)
#define MAGNITUDES_64(X, m)                                                                                       \
    {MAGNITUDES_8(X, m),      MAGNITUDES_8(X, m + 8),  MAGNITUDES_8(X, m + 16), MAGNITUDES_8(X, m + 24),          \
     MAGNITUDES_8(X, m + 32), MAGNITUDES_8(X, m + 40), MAGNITUDES_8(X, m + 48), MAGNITUDES_8(X, m + 56)}
// The exponent of m in bf16, and its fraction.
#define LOG2(m) ((m) > 63 ? 6 : (m) > 31 ? 5 : (m) > 15 ? 4 : (m) > 7 ? 3 : (m) > 3 ? 2 : (m) > 1 ? 1 : 0)
#define BITS(m) ((m) == 0 ? 0 : (127 + LOG2(m)) << 7 | ((m) << (7 - LOG2(m)) & 0x7F))
#define LOW_BYTE(m) (char)(BITS(m) & 0xFF)
#define HIGH_BYTE(m) (char)(BITS(m) >> 8)

// The pair of inputs i and i + 1 of four.
INLINE i16 pair_int8(i16 quad, int i) {
    const b64 low[2] = {MAGNITUDES_64(LOW_BYTE, 0), MAGNITUDES_64(LOW_BYTE, 64)};
    const b64 high[2] = {MAGNITUDES_64(HIGH_BYTE, 0), MAGNITUDES_64(HIGH_BYTE, 64)};
    // The instruction looks at the lowest seven bits.
    b64 first = (b64)__builtin_ia32_vpermi2varqi512(low[0], (b64)quad, low[1]);
    b64 second = (b64)__builtin_ia32_vpermi2varqi512(high[0], (b64)quad, high[1]);
    second |= (b64)(quad & (int32_t)0x80808080);
    __asm__("" : "+v"(second));  // once, not for each half that is used: a tenth of the time
#define QUARTER(b, n) b + n, b + n + 64, b + n + 1, b + n + 65, b + n + 2, b + n + 66, b + n + 3, b + n + 67, \
                      b + n + 4, b + n + 68, b + n + 5, b + n + 69, b + n + 6, b + n + 70, b + n + 7, b + n + 71
    return i == 0 ? (i16)__builtin_shufflevector(first, second, QUARTER(0, 0), QUARTER(16, 0), QUARTER(32, 0), QUARTER(48, 0))
                  : (i16)__builtin_shufflevector(first, second, QUARTER(0, 8), QUARTER(16, 8), QUARTER(32, 8), QUARTER(48, 8));
#undef QUARTER
}

// The pair at `place` of the three in a word.
INLINE i16 pair_int5(i16 words, int place) {
    const bf32 numbers = INT5_NUMBERS;
    typedef short s32 __attribute__((vector_size(64)));
    // The instruction looks at the lowest five bits.
    return (i16)__builtin_ia32_permvarhi512((s32)numbers, (s32)((h32)words >> 5 * place));
}
#else
INLINE ptrdiff_t place_int8(ptrdiff_t k, ptrdiff_t r) { return k * CPU_PANEL + r; }
INLINE uint8_t byte_int8(int32_t code) { return (uint8_t)code; }
#endif

// Always the same tree, so that a sum's bits depend on the values only.
INLINE float sum(v16 v) {
    float a[16];
    store(a, v);
    for (int width = 8; width; width /= 2)
        for (int i = 0; i < width; i++) a[i] += a[i + width];
    return a[0];
}

// Lane i is the sum of v[i]; each sum is the same tree. Pairs of vectors fold into halves of one, then quarters, and so on.
INLINE v16 sums(const v16 *v) {
    v16 a[8], b[4], c[2];
#define FOLD(x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
    for (int i = 0; i < 8; i++)
        a[i] = FOLD(v[i], v[i + 8], 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
               FOLD(v[i], v[i + 8], 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
    for (int i = 0; i < 4; i++)
        b[i] = FOLD(a[i], a[i + 4], 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27) +
               FOLD(a[i], a[i + 4], 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31);
    for (int i = 0; i < 2; i++)
        c[i] = FOLD(b[i], b[i + 2], 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29) +
               FOLD(b[i], b[i + 2], 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
    return FOLD(c[0], c[1], 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30) +
           FOLD(c[0], c[1], 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31);
#undef FOLD
}

INLINE float maximum(v16 v) {
    float a[16];
    store(a, v);
    for (int width = 8; width; width /= 2)
        for (int i = 0; i < width; i++) a[i] = a[i] > a[i + width] ? a[i] : a[i + width];
    return a[0];
}

// Whether a comparison holds for one of its lanes.
INLINE bool any(i16 mask) { return __builtin_reduce_or(mask) != 0; }

INLINE v16 select(i16 mask, v16 yes, v16 no) { return (v16)((mask & (i16)yes) | (~mask & (i16)no)); }

// e^x within 2 ulp on [-87, 88], held at the ends outside. Method: Cephes expf (Moshier), x = n ln 2 + r.
INLINE v16 exponential(v16 x) {
    x = select(x < -87.0f, splat(-87.0f), x);
    x = select(x > 88.0f, splat(88.0f), x);
    const float round = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
    v16 n = madd(x, splat(1.44269504088896341f), splat(round)) - round;
    v16 r = madd(n, splat(-0.693359375f), x);
    r = madd(n, splat(2.12194440e-4f), r);
    v16 p = splat(1.9875691500e-4f);
    p = madd(p, r, splat(1.3981999507e-3f));
    p = madd(p, r, splat(8.3334519073e-3f));
    p = madd(p, r, splat(4.1665795894e-2f));
    p = madd(p, r, splat(1.6666665459e-1f));
    p = madd(p, r, splat(5.0000001201e-1f));
    p = madd(p, r * r, r + 1.0f);
    i16 power = (__builtin_convertvector(n, i16) + 127) << 23;
    return p * (v16)power;
}

INLINE v16 silu(v16 x) { return x / (exponential(-x) + 1.0f); }
