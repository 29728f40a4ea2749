// cpu_kernels: how one range of one op is computed on a CPU.
//
// Every kernel has the same shape, `void kernel(const void *args, ptrdiff_t begin, ptrdiff_t end)`: it computes the
// items begin ..< end of the op that `args` describes, single-threaded. It allocates nothing, keeps no state and
// cannot fail; shapes are checked by the Swift caller. Any split of the items among threads gives the same bytes.
//
// One reduction order: an output is summed over its inputs in ascending order, one fused multiply-add at a time,
// whether one row or six hundred are computed. So a token's result does not depend on what else is in the batch.
//
// Weights are in *panels*: 32 outputs side by side, zero where an output is missing, so that whoever computes a panel reads
// one stream of memory. F32: [ceil(outputs / 32)][inputs][32]. BF16: two inputs to a word,
// [ceil(outputs / 32)][ceil(inputs / 2)][32][2], so that a shift or a mask widens sixteen of them. INT8 and INT5 are
// quantized, symmetrically, in groups of 32 inputs (their number must be a multiple). INT8: for each group 32 bf16 scales, then
// [32 inputs][32] bytes, in the order that the instruction set reads best. INT5: 32 floats, the units of scales; for each
// group 32 scales of a byte, then [5][32] words of three inputs in each half, even ones in the lower, odd ones in the upper,
// five bits for each, the first lowest; the top bits of the halves of the five words, the first highest, are the group's
// last two inputs. Codes of five bits stand for numbers that are closer to one another near zero (kernels/vector.h). BF12: what
// BF16 holds, bit for bit, in three quarters of the bytes, for a multiple of four inputs (kernels/bf12.h).
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// Floats in a vector, outputs in a panel, and positions in a page of the KV cache.
enum { CPU_LANES = 16, CPU_PANEL = 2 * CPU_LANES, CPU_PAGE = CPU_LANES };

/// Positions in a block of attention, whose sums are folded at its end.
enum { CPU_BLOCK = 8 * CPU_PAGE };

/// Bytes from the weights that a tile reads to those that it asks memory for, and the same for a tile of one row.
enum { CPU_AHEAD = 4096 };
extern ptrdiff_t cpu_ahead_of_row;

/// Inputs that share a scale, and words that hold their codes of five bits.
enum { CPU_GROUP = 32, CPU_INT5_WORDS = 5 };

/// The most tokens, and heads of each, that an item of latent attention computes.
enum { CPU_LATENT_TOKENS = 8, CPU_LATENT_HEADS = 16 };

/// The most inputs that panels of CPU_BF12 have room for.
enum { CPU_BF12_INPUTS = 1 << 18 };

/// All from CPU_INT8 on are of panels only. But for CPU_BF12 they meet inputs that are rounded to bf16 (cpu_narrow_args). The panels of CPU_PAIRS are those of CPU_BF16, the
/// panels of CPU_PAIRS12 those of CPU_BF12.
typedef enum {
    CPU_F32 = 0, CPU_BF16 = 1, CPU_F16 = 2, CPU_E4M3 = 3, CPU_INT8 = 4, CPU_INT5 = 5, CPU_PAIRS = 6, CPU_BF12 = 7,
    CPU_PAIRS12 = 8
} cpu_type;

typedef void (*cpu_kernel)(const void *args, ptrdiff_t begin, ptrdiff_t end);

/// A row of a checkpoint's matrix.
typedef struct {
    const void *elements;  // NULL for zeros
    const float *scales;   // one for each scale_columns elements, which it multiplies; NULL for none
    ptrdiff_t scale_columns;
    cpu_type type;
} cpu_row;

/// Copies rows into panels: widened to F32, quantized, or in BF16, rounded where they are wider. Items: panels.
typedef struct {
    const cpu_row *rows;  // [panels * 32], one for each output; transposed: [inputs], one for each input
    void *panels;
    ptrdiff_t inputs, outputs;
    cpu_type type;    // of the panels: CPU_F32, CPU_BF16 (transposed: of rows of BF16), or, unless transposed, CPU_INT8, CPU_INT5,
                      // CPU_BF12
    bool transposed;  // whether a row holds the weights of one input
    bool *misfits;    // CPU_BF12: becomes true if a panel does not hold its rows, whose exponents differ too much
} cpu_pack_args;

/// Gathers embedding rows. Items: tokens.
typedef struct {
    const void *table;  // [vocabulary, width]
    const int32_t *ids;  // [tokens]
    float *out;  // [tokens, width]
    ptrdiff_t width;
    cpu_type type;  // of the table
} cpu_embed_args;

/// out = x / rms(x) * weight for each segment of a row, such as a head; `out` may be `x`.
/// Items: output rows * segments, segments of one row side by side.
typedef struct {
    const float *x;       // [rows, x_stride]; segments lie side by side from the start of a row
    const int32_t *rows;  // input row of each output row; NULL for the identity
    const float *weight;  // [width], the same for every segment
    float *out;           // [rows, out_stride]
    ptrdiff_t width, segments, x_stride, out_stride;
    float epsilon;
} cpu_norm_args;

/// x = min(max(x, -limit), limit) in place; NaN stays. Items: elements.
typedef struct {
    float *x;
    float limit;
} cpu_clamp_args;

/// Rounds to bf16, to the nearest and to even: `narrow_inputs` numbers to a word, in bf16 if two (half a word that is left over
/// is zero), as a float if one. Products over CPU_PAIRS, CPU_PAIRS12, CPU_INT8 and CPU_INT5 read words where others read floats: their x and
/// x_stride are in words. Items: rows.
typedef struct {
    const float *x;  // [rows, x_stride]
    uint32_t *out;   // [rows, ceil(width / narrow_inputs)]
    ptrdiff_t width, x_stride;
} cpu_narrow_args;

/// y = x · weightᵀ (+ bias) (+ y). Items: parts of the rows * panels of outputs, the panels of a part side by side.
typedef struct {
    const float *x;       // [rows, inputs]
    const void *weight;   // panels
    const float *bias;    // [outputs] or NULL
    float *y;             // [rows, outputs]
    ptrdiff_t rows, inputs, outputs;
    ptrdiff_t part_rows;  // rows of a part; the last one has what is left
    ptrdiff_t x_stride, y_stride;  // floats from row to row
    cpu_type type;        // of the weight
    bool accumulate;      // whether y's old value is added
} cpu_linear_args;

/// y = silu(gate(x)) * up(x), as floats or, if it `narrows`, as the words that a product in bf16 reads (cpu_narrow_args).
/// A panel of the weight holds 16 outputs of the gate, then the same of up. Items: panels.
typedef struct {
    const float *x;      // [rows, inputs]
    const void *weight;  // panels
    float *y;            // [rows, outputs]
    ptrdiff_t rows, inputs, outputs;
    ptrdiff_t x_stride;  // floats from row to row
    cpu_type type;
    bool narrows;
} cpu_gated_args;

/// One product for each head: y[row, h] = x[row, h] · weight[h]ᵀ. Items: heads * panels of outputs.
typedef struct {
    const float *x;      // [rows, heads, x_head]; the first `inputs` of each head are read
    const void *weight;  // [heads] matrices, head_stride bytes apart
    float *y;            // [rows, heads, y_head]; the first `outputs` of each head are written
    ptrdiff_t rows, heads, inputs, outputs, x_head, y_head, head_stride;
    cpu_type type;
} cpu_head_linear_args;

/// The two products of the routed experts, over the blocks of block alignment. A pair is a (token, slot); its token is
/// pair / top_k. Entries of `sorted` at or above `pairs` are padding and are skipped.
/// Items: blocks * panels of the weight, which for gate-up is gated; panels of one block side by side.
typedef struct {
    const int32_t *sorted;   // [blocks * block_size] pair indexes
    const int32_t *experts;  // [blocks] physical experts; negative: the block is skipped
    const float *x;          // gate-up: hidden states [tokens, inputs]; down: activations [pairs, inputs]
    const void *weight;      // [experts] matrices, expert_stride bytes apart
    const float *scale;      // down: routing weight per pair, multiplies the result
    float *y;                // [pairs, outputs]
    ptrdiff_t pairs, top_k, block_size, inputs, outputs, expert_stride;
    ptrdiff_t x_stride;      // floats from row to row of x
    cpu_type type;
    bool narrows;            // gate-up: as cpu_gated_args
} cpu_expert_args;

/// out += factor * Σ_k routed[token * top_k + k] + sigmoid(gate · x) * shared. Items: tokens.
typedef struct {
    const float *routed;  // [tokens * top_k, width], already scaled by the routing weights
    const float *shared;  // [tokens, width] or NULL
    const float *x;       // [tokens, width], what the gate looks at
    const float *gate;    // [width], or NULL for a factor of one
    float *out;           // [tokens, width]
    ptrdiff_t top_k, width;
    float factor;
} cpu_combine_args;

/// Where keys and values lie: pages of 16 positions, so that scores are computed for 16 positions at once.
typedef struct {
    void *keys;     // [pages, kv_heads, head_dim, 16]; in bf16 [pages, kv_heads, head_dim / 2, 16, 2]
    void *values;   // [pages, kv_heads, 16, head_dim]
    const int32_t *tables;  // [sequences, table_stride] page of positions 16 i ..< 16 (i + 1)
    const int32_t *sequences;  // [tokens] row of `tables`
    const int32_t *positions;  // [tokens]
    ptrdiff_t table_stride, kv_heads, head_dim;
    cpu_type type;  // CPU_F32 or CPU_BF16
} cpu_cache;

/// Rotates queries and keys in place, copies keys and values into the cache. Items: tokens.
typedef struct {
    cpu_cache cache;
    float *qkv;            // [tokens, (heads + 2 * kv_heads) * head_dim]: queries, keys, values
    const float *cosines;  // [positions, head_dim / 2]
    const float *sines;    // [positions, head_dim / 2]
    ptrdiff_t heads;
} cpu_rope_args;

/// Causal attention of each token over positions 0 ... its own. Items: kv_heads * ceil(heads / kv_heads / item_heads) *
/// tokens, tokens side by side; heads of an item, and neighbours in a sequence, pass through their keys together.
typedef struct {
    cpu_cache cache;
    const float *qkv;  // as cpu_rope_args; only the queries are read
    float *out;        // [tokens, heads * head_dim]
    ptrdiff_t tokens, heads, item_heads;
    float scale;
} cpu_attention_args;

/// Latent attention: what a token's heads share goes into the cache, whose one key is [latent | rotated key]; queries turn
/// in place, and the turned parts go behind the absorbed parts of those that have them. Items: tokens.
typedef struct {
    cpu_cache cache;          // one kv head, head_dim = rank + rotary, no values
    const float *latent;      // [tokens, rank]
    float *key_rotary;        // [tokens, rotary], which turn in place
    float *query;             // [tokens, heads, nope + rotary]; the last `rotary` of each head turn
    float *absorbed;          // [absorbed_tokens, heads, rank + rotary]; the last `rotary` of each head are written
    const float *cosines;     // [positions, rotary / 2]
    const float *sines;       // [positions, rotary / 2]
    ptrdiff_t heads, rank, nope, rotary, absorbed_tokens;
} cpu_latent_store_args;

/// Causal attention of each token over the latents of positions 0 ... its own.
/// Items: ceil(tokens / item_tokens) * ceil(heads / item_heads), groups of heads of the same tokens side by side. Larger
/// items read the cache less often, smaller ones keep more threads busy; the result is the same.
typedef struct {
    cpu_cache cache;     // as cpu_latent_store_args
    const float *query;  // [tokens, heads, rank + rotary]
    float *out;          // [tokens, heads, rank]
    ptrdiff_t tokens, heads, rank;
    ptrdiff_t item_tokens, item_heads;  // at most CPU_LATENT_TOKENS and CPU_LATENT_HEADS
    float scale;
} cpu_latent_args;

/// A block of a sequence's latents as rows. Items: pages.
typedef struct {
    const void *latents;   // keys of a cpu_cache, of which the first `rank` of `width` numbers are read
    const int32_t *pages;  // the block's, from the sequence's table
    float *rows;           // [CPU_BLOCK, rank]
    ptrdiff_t rank, width;
    cpu_type type;         // of the latents
} cpu_latent_rows_args;

/// A block of latents to keys and values of all heads: key = [K · latent | rotated key], value = V · latent.
/// Items: heads * (panels of nope + panels of value), those of one head side by side.
typedef struct {
    const void *latents;   // as cpu_latent_rows_args; behind the rank lie the rotated keys
    const int32_t *pages;
    const float *rows;     // [count, rank], the same latents as rows
    const void *key_weight;    // [heads] matrices of `nope` inputs and `rank` outputs: K, transposed
    const void *value_weight;  // [heads] matrices of `rank` inputs and `value` outputs
    float *keys;    // [heads, CPU_BLOCK / 16, nope + rotary, 16]
    float *values;  // [heads, CPU_BLOCK, value]
    ptrdiff_t count;  // positions in the block, CPU_BLOCK at most
    ptrdiff_t rank, nope, rotary, value, key_head_stride, value_head_stride;  // strides in bytes
    cpu_type key_type, value_type, type;  // of the weights, and of the latents
} cpu_latent_expand_args;

/// One block of causal attention of tokens that follow one another in a sequence, over expanded keys and values. Blocks come
/// in ascending order. Items: heads * tokens, tokens side by side.
typedef struct {
    const float *keys, *values;  // as cpu_latent_expand_args
    const float *query;          // [tokens, heads, nope + rotary]
    float *out;                  // [tokens, heads, value]
    float *softmax;              // [tokens, heads, 2]: largest score and sum of weights so far
    ptrdiff_t tokens, heads, key, value;
    ptrdiff_t position, first;   // of the first token, and of the block; no token lies before it
    float scale;
} cpu_expanded_args;

/// Logits to one row's statistics. Items: rows.
typedef struct {
    const float *logits;  // [rows, width]
    int32_t *best;        // [rows] lowest index of the largest logit; NaN never wins
    float *maximum;       // [rows]
    float *log_sum_exp;   // [rows] log Σ exp(logits), for log-probabilities; NaN adds nothing; NULL where nobody asks
    ptrdiff_t width;
} cpu_rows_args;

/// probabilities = exp((logits - maximum) / temperature), not normalised. Items: elements.
typedef struct {
    const float *logits;
    float *probabilities;
    float maximum, temperature;
} cpu_exp_args;

/// Measures the machine. Items of `probe_read`: 64 floats; of `probe_multiply_add`: `probe_operations` operations; of
/// `probe_pairs`, which is NULL where no instruction multiplies pairs of bf16: twice as many.
typedef struct {
    const float *floats;
    float *sink;  // [16], one per thread
} cpu_probe_args;

/// One instruction set's kernels.
typedef struct {
    const char *name;
    cpu_kernel pack, embed, norm, clamp, narrow, linear, gated, head_linear, expert_gate_up, expert_down, combine, rope, attention, latent_store, latent_attention,
        latent_rows, latent_expand, expanded_attention, rows, exponentials,
        probe_read, probe_multiply_add, probe_pairs;
    bool has_bf12;               // whether panels of CPU_BF12 are packed and multiplied
    ptrdiff_t narrow_inputs;     // numbers in a word that `narrow` writes
    ptrdiff_t probe_operations;  // floating-point operations in one item of probe_multiply_add
} cpu_kernels;

/// The kernels for the instruction set `name` ("avx512bf16", "avx512", "avx2", "baseline"), or the best for NULL; NULL when
/// this machine lacks it. The baseline is what every machine of the architecture has.
const cpu_kernels *cpu_kernels_named(const char *name);

/// Tells the core that this thread is spinning.
static inline void cpu_relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/// Two ops that need nothing of one another. Items: those of both, dealt into shares, which have both ops' in proportion.
typedef struct {
    cpu_kernel first, second;
    const void *first_args, *second_args;
    ptrdiff_t first_items, second_items;
    ptrdiff_t shares;
} cpu_both_args;

/// Runs two ops as one, so that threads compute what waits for memory beside what does not, and meet once.
void cpu_both(const void *args, ptrdiff_t begin, ptrdiff_t end);

enum { CPU_MOST_PROCESSORS = 8192 };

/// The CPUs that the calling thread may run on, in ascending order, and how many; 0 where the system does not say.
ptrdiff_t cpu_allowed(int32_t *numbers, ptrdiff_t capacity);

/// Keeps the calling thread on one CPU; where the system refuses it stays free.
void cpu_pin(int32_t number);
