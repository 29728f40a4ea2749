// Backend: what a device can do to an array. The op vocabulary of the models, coarse on purpose: no shape algebra, no
// graph. The CPU's implementation is the reference for all others.
//
// Shapes: N tokens of a pass, K experts per token, P physical experts. Sums are float32; products are of float32 over widened weights, or of
// bfloat16 where a matrix says so.
// Promise: row n of a result depends on row n of the inputs only, to the last bit; never on N or on the thread count.

internal import Experts

/// Where weights get the layout that a device computes with.
public protocol WeightLayout: AnyObject {
    /// Lays out `matrices`: one stack of row blocks per expert or head (one stack for an ordinary matrix). The blocks of a
    /// stack lie above one another, all of the same inputs; with `gated` a stack is the pair gate, up of equal shape. A
    /// transposed block is a stack by itself. What cannot be quantized keeps its precision: inputs that are no multiple of 32,
    /// and transposed blocks. `laidOut` is called with every stack that is done.
    func makeMatrix(
        _ matrices: [[TensorRows]], gated: Bool, precision: WeightPrecision, laidOut: ([TensorRows]) -> Void
    ) -> Matrix

    /// Widens vectors and puts them end to end; or the only row of a matrix, transposed.
    func makeVector(_ parts: [TensorRows]) -> Buffer
}

/// Where a model computes.
public protocol Backend: WeightLayout, Sendable {
    /// The device's name and instruction set, and how many threads or units compute.
    var device: DeviceDescription { get }

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

    /// One product for each head: `out[n, h] = x[n, h] · weight[h]ᵀ`. Rows of `x` and `out` are heads side by side, as many as
    /// `weight` has matrices; the first inputs of each are read, the first outputs written.
    func headLinear(_ x: Buffer, count: Int, weight: Matrix, out: Buffer)

    /// `out = silu(x · gateᵀ) ⊙ (x · upᵀ)`. `[count, outputs]`
    func gatedLinear(_ x: Buffer, count: Int, weight: Matrix, out: Buffer)

    /// Rotates the queries and keys of `qkv` in place, and puts keys and values into the cache.
    /// `qkv: [N, (heads + 2 kvHeads) * headDimension]`
    func rotate(_ qkv: Buffer, tokens: TokenLayout, cache: KVCache, layer: Int, heads: Int, angles: RotaryTable)

    /// Causal attention of every token over its sequence's positions up to its own. `out: [N, heads * headDimension]`
    func attend(_ qkv: Buffer, tokens: TokenLayout, cache: KVCache, layer: Int, heads: Int, scale: Float, out: Buffer)

    /// Latent attention: rotates `keyRotary` and the last `rotary` of each head of `query` in place, puts the latent and the
    /// rotated key of every token into the cache, and puts those of generated tokens behind their absorbed queries. `latent: [N, rank]`,
    /// `keyRotary: [N, rotary]`, `query: [N, heads * (nope + rotary)]`, `absorbed: [N, heads * (rank + rotary)]`
    func storeLatent(
        _ latent: Buffer, keyRotary: Buffer, query: Buffer, absorbed: Buffer, tokens: TokenLayout, cache: KVCache,
        layer: Int, angles: RotaryTable)

    /// Causal attention of every generated token over its sequence's latents up to its own, with absorbed queries.
    /// `out: [N, heads * rank]`
    func attendLatent(
        _ query: Buffer, tokens: TokenLayout, cache: KVCache, layer: Int, heads: Int, scale: Float, out: Buffer)

    /// Causal attention of every prompt token over keys and values that are expanded from its sequence's latents, block by
    /// block, in `block`: of each head, key = `keysᵀ` · latent and the rotated key, value = `values` · latent.
    /// `query: [N, heads * (nope + rotary)]`, `out: [N, heads * value]`
    func attendExpanded(
        _ query: Buffer, tokens: TokenLayout, cache: KVCache, layer: Int, keys: Matrix, values: Matrix, scale: Float,
        block: LatentBlock, out: Buffer)

    /// Chooses experts for every token by its router logits `[N, E]`, and groups the (token, expert) pairs into blocks.
    /// Ids and counts are written to `row`, which is part of the call, so that no model can forget to record.
    /// `bias` (`[1, E]`) is added to the scores for choosing, but is no part of a weight; nil without.
    func route(_ logits: Buffer, bias: Buffer?, count: Int, keeping row: RoutingRow, into: Routing)

    /// The routed experts: `out[pair] = routing weight * down(silu(gate(x)) ⊙ up(x))`, `[N * K, width]`; `activations`
    /// are scratch, `[N * K, inner width]`. And `shared.out = down(silu(gate(x)) ⊙ up(x))` for the shared experts.
    func experts(
        _ x: Buffer, routing: Routing, gateUp: Matrix, down: Matrix, activations: Buffer, out: Buffer,
        shared: SharedMLP?)

    /// `out[n] += factor * Σ_k routed[n * K + k] + sigmoid(gate · x[n]) * shared[n]`; without a gate the last factor is one.
    func combine(
        _ routed: Buffer, count: Int, topK: Int, factor: Float, shared: Buffer?, gate: SharedGate?, out: Buffer)

    /// For each row the lowest index of its largest logit, that logit, and log Σ exp where it is wanted.
    func statistics(
        _ logits: Buffer, count: Int, best: UnsafeMutablePointer<Int32>, maximum: UnsafeMutablePointer<Float>,
        logSumExp: UnsafeMutablePointer<Float>?)

    /// `probabilities[i] = exp((logits[i] - maximum) / temperature)` for `count` elements; not normalised.
    func exponentials(
        _ logits: UnsafePointer<Float>, count: Int, maximum: Float, temperature: Float,
        probabilities: UnsafeMutablePointer<Float>)

    /// Gives threads and handles back.
    func stop()
}

extension WeightLayout {
    /// Lays out rows without telling how far it has come.
    public func makeMatrix(_ matrices: [[TensorRows]], gated: Bool, precision: WeightPrecision) -> Matrix {
        makeMatrix(matrices, gated: gated, precision: precision) { _ in }
    }

    /// Lays out rows in the precision that they have.
    public func makeMatrix(_ matrices: [[TensorRows]], gated: Bool) -> Matrix {
        makeMatrix(matrices, gated: gated, precision: .stored)
    }

    /// Lays out whole tensors.
    public func makeMatrix(_ matrices: [[Tensor]], gated: Bool) -> Matrix {
        makeMatrix(matrices.map { $0.map { TensorRows($0) } }, gated: gated)
    }

    /// Widens whole vectors and puts them end to end.
    public func makeVector(_ tensors: [Tensor]) -> Buffer { makeVector(tensors.map { TensorRows($0) }) }
}

/// What computes.
public struct DeviceDescription: Sendable, Equatable {
    /// `cpu`, or an accelerator's name.
    public var name: String
    /// `avx512bf16`, `avx512`, `avx2`, `baseline`.
    public var instructionSet: String
    /// Threads that compute.
    public var threads: Int
}

/// The experts of a layer that every token passes, as one gated MLP.
public struct SharedMLP {
    /// Gate and up projection, `[2 inner width, width]`.
    public var gateUp: Matrix
    /// Down projection, `[width, inner width]`.
    public var down: Matrix
    /// Scratch, `[N, inner width]`.
    public var activations: Buffer
    /// Where the result goes, `[N, width]`.
    public var out: Buffer

    public init(gateUp: Matrix, down: Matrix, activations: Buffer, out: Buffer) {
        self.gateUp = gateUp
        self.down = down
        self.activations = activations
        self.out = out
    }
}

/// What the experts that every token passes are multiplied by: `sigmoid(weight · x)`.
public struct SharedGate {
    /// What it looks at, `[N, width]`.
    public var x: Buffer
    /// Its one row, `[1, width]`.
    public var weight: Buffer

    public init(x: Buffer, weight: Buffer) {
        self.x = x
        self.weight = weight
    }
}
