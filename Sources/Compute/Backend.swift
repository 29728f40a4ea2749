// Backend: what a device can do to an array. The op vocabulary of the models, coarse on purpose: no shape algebra, no
// graph. The CPU's implementation is the reference for all others.
//
// Shapes: N tokens of a pass, K experts per token, P physical experts. All arithmetic is float32 over widened weights.
// Promise: row n of a result depends on row n of the inputs only, to the last bit; never on N or on the thread count.

internal import Experts

/// Where a model computes.
public protocol Backend: AnyObject, Sendable {
    /// The device's name and instruction set, and how many threads or units compute.
    var device: DeviceDescription { get }

    /// Lays out `matrices`: one stack of row blocks per expert (one expert for an ordinary matrix). The blocks of a
    /// stack lie above one another, all `[rows, inputs]`; with `gated` a stack is the pair gate, up of equal shape.
    func makeMatrix(_ matrices: [[Tensor]], gated: Bool) -> Matrix

    /// Widens a vector.
    func makeVector(_ tensors: [Tensor]) -> Buffer

    /// `out[n] = table[ids[n]]`. Ids are below the table's rows.
    func embed(_ tokens: TokenLayout, table: Tensor, out: Buffer)

    /// `out[r] = x[rows[r]] / rms(x[rows[r]]) * weight`; without `rows`, row r itself. `[count, width]`
    func norm(_ x: Buffer, rows: UnsafePointer<Int32>?, count: Int, weight: Buffer, epsilon: Float, out: Buffer)

    /// Normalises segments of rows in place: `x[n, first + s * width ..< first + (s + 1) * width]` for `segments` s, each of
    /// the weight's width, such as heads.
    func normSegments(_ x: Buffer, count: Int, first: Int, segments: Int, weight: Buffer, epsilon: Float)

    /// Holds the elements of the first `count` rows within `-limit ... limit`.
    func clamp(_ x: Buffer, count: Int, limit: Float)

    /// `out = x · weightᵀ + bias`, added to what `out` holds if `accumulate`. `[count, outputs]`
    func linear(_ x: Buffer, count: Int, weight: Matrix, bias: Buffer?, out: Buffer, accumulate: Bool)

    /// `out = silu(x · gateᵀ) ⊙ (x · upᵀ)`. `[count, outputs]`
    func gatedLinear(_ x: Buffer, count: Int, weight: Matrix, out: Buffer)

    /// Rotates the queries of `qkv` in place and puts rotated keys and the values into the cache.
    /// `qkv: [N, (heads + 2 kvHeads) * headDimension]`
    func rotate(_ qkv: Buffer, tokens: TokenLayout, cache: KVCache, layer: Int, heads: Int, angles: RotaryTable)

    /// Causal attention of every token over its sequence's positions up to its own. `out: [N, heads * headDimension]`
    func attend(_ qkv: Buffer, tokens: TokenLayout, cache: KVCache, layer: Int, heads: Int, scale: Float, out: Buffer)

    /// Chooses experts for every token by its router logits `[N, E]`, and groups the (token, expert) pairs into blocks.
    /// Ids and counts are written to `row`, which is part of the call, so that no model can forget to record.
    /// `bias` (`[1, E]`) is added to the scores for choosing, but is no part of a weight; nil without.
    func route(_ logits: Buffer, bias: Buffer?, count: Int, keeping row: RoutingRow, into: Routing)

    /// The routed experts: `out[pair] = routing weight * down(silu(gate(x)) ⊙ up(x))`, `[N * K, width]`; `activations`
    /// are scratch, `[N * K, inner width]`.
    func experts(
        _ x: Buffer, routing: Routing, gateUp: Matrix, down: Matrix, activations: Buffer, out: Buffer)

    /// `out[n] += factor * Σ_k routed[n * K + k] + sigmoid(gate[n]) * shared[n]`.
    func combine(
        _ routed: Buffer, count: Int, topK: Int, factor: Float, shared: Buffer?, sharedGate: Buffer?, out: Buffer)

    /// For each row the lowest index of its largest logit, that logit, and log Σ exp.
    func statistics(
        _ logits: Buffer, count: Int, best: UnsafeMutablePointer<Int32>, maximum: UnsafeMutablePointer<Float>,
        logSumExp: UnsafeMutablePointer<Float>)

    /// `probabilities[i] = exp((logits[i] - maximum) / temperature)` for `count` elements; not normalised.
    func exponentials(
        _ logits: UnsafePointer<Float>, count: Int, maximum: Float, temperature: Float,
        probabilities: UnsafeMutablePointer<Float>)

    /// Gives threads and handles back.
    func stop()
}

/// What computes.
public struct DeviceDescription: Sendable, Equatable {
    /// `cpu`, or an accelerator's name.
    public var name: String
    /// `avx512`, `avx2`, `baseline`.
    public var instructionSet: String
    /// Threads that compute.
    public var threads: Int
}
