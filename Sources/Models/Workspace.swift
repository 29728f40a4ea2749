// Workspace: activations of one pass, reused by every layer and every pass; never cleared.

public import Compute

/// Activations of one pass.
public struct Workspace {
    /// Tokens that fit in a pass.
    public let tokens: Int
    /// Rows of logits that fit.
    public let logitRows: Int
    /// P: physical experts of a layer.
    let slots: Int
    /// Counts and ids that nobody keeps, `[P]` and `[N, K]`.
    private let unkept: Unkept
    var unkeptCounts: UnsafeMutablePointer<Int32> { unkept.counts }
    var unkeptIDs: UnsafeMutablePointer<Int32> { unkept.ids }
    /// The residual stream, `[N, hidden]`.
    public let hidden: Buffer
    /// Normalised input of a block, `[N, hidden]`.
    let normed: Buffer
    /// Queries, keys and values, `[N, (heads + 2 kvHeads) * headDimension]`; nothing if attention is latent.
    let qkv: Buffer
    /// What latent attention needs beside.
    let latent: LatentBuffers
    /// Attention's output before its projection, `[N, heads * width of a value]`.
    let attended: Buffer
    /// Router logits, `[N, E]`.
    let routerLogits: Buffer
    /// The layer's expert choice.
    let routing: Routing
    /// Inner activations of the routed experts, `[N * K, expertSize]`.
    let activations: Buffer
    /// The routed experts' outputs, `[N * K, hidden]`.
    let routed: Buffer
    /// Inner activations of a dense MLP, `[N, intermediateSize]`.
    let denseActivations: Buffer
    /// Inner activations of the shared expert, `[N, sharedExpertSize]`.
    let sharedActivations: Buffer
    /// The shared expert's output, `[N, hidden]`.
    let shared: Buffer
    /// Final hidden states of the rows that want logits, `[logitRows, hidden]`.
    let final: Buffer
    /// `[logitRows, vocabulary]`.
    public let logits: Buffer

    /// Floats that a workspace takes for each token of a pass; the logits, which do not grow with it, are left out.
    public static func floatsPerToken(_ model: ModelConfiguration) -> Int {
        2 * model.hiddenSize + qkvWidth(model) + LatentBuffers.widths(model).sum + attendedWidth(model) + model.experts
            + model.topK * (model.expertSize + model.hiddenSize + 2) + model.intermediateSize + model.sharedExpertSize
            + (model.sharedExpertSize > 0 ? model.hiddenSize : 0)
    }

    /// Floats of each token of a pass that a product reads, at most.
    public static func widestInput(_ model: ModelConfiguration) -> Int {
        max(
            model.hiddenSize, attendedWidth(model), LatentBuffers.widths(model).queryLatent, model.intermediateSize,
            model.sharedExpertSize, model.topK * model.expertSize)
    }

    /// Floats that a workspace takes whatever the size of a pass; again without logits.
    public static func fixedFloats(_ model: ModelConfiguration) -> Int { LatentBuffers.blockFloats(model) }

    private static func qkvWidth(_ model: ModelConfiguration) -> Int {
        model.latent == nil ? (model.heads + 2 * model.kvHeads) * model.headDimension : 0
    }

    private static func attendedWidth(_ model: ModelConfiguration) -> Int {
        model.heads * (model.latent?.value ?? model.headDimension)
    }

    /// Room for passes of `tokens` tokens that want up to `logitRows` rows of logits at once; the experts lie in `slots`
    /// slots, one each if that is nil.
    public init(_ model: ModelConfiguration, tokens: Int, logitRows: Int, slots: Int? = nil) {
        self.tokens = tokens
        self.logitRows = logitRows
        self.slots = slots ?? model.experts
        unkept = Unkept(slots: self.slots, pairs: tokens * model.topK)
        func buffer(_ width: Int, rows: Int = tokens) -> Buffer { Buffer(rows: rows, width: width) }
        hidden = buffer(model.hiddenSize)
        normed = buffer(model.hiddenSize)
        qkv = buffer(Self.qkvWidth(model))
        latent = LatentBuffers(model, tokens: tokens)
        attended = buffer(Self.attendedWidth(model))
        routerLogits = buffer(model.experts)
        routing = Routing(
            tokens: tokens, topK: model.topK, experts: max(1, model.experts), slots: max(1, self.slots),
            gate: model.gate)
        activations = buffer(model.expertSize, rows: tokens * model.topK)
        routed = buffer(model.hiddenSize, rows: tokens * model.topK)
        denseActivations = buffer(model.intermediateSize)
        sharedActivations = buffer(model.sharedExpertSize)
        shared = buffer(model.sharedExpertSize > 0 ? model.hiddenSize : 0)
        final = buffer(model.hiddenSize, rows: logitRows)
        logits = buffer(model.vocabularySize, rows: logitRows)
    }
}

/// Activations of latent attention; without any when a model has none.
struct LatentBuffers {
    /// The latent that queries come from, `[N, queryRank]`.
    let queryLatent: Buffer
    /// The queries, `[N, heads * (nope + rotary)]`.
    let query: Buffer
    /// Those of generated tokens as the cache's keys are: absorbed, then rotated, `[N, heads * (rank + rotary)]`.
    let absorbed: Buffer
    /// The latent that keys and values come from, `[N, rank]`, and the key that turns, `[N, rotary]`.
    let latent, keyRotary: Buffer
    /// Attention's output in latents, `[N, heads * rank]`.
    let attended: Buffer
    /// Expanded keys and values.
    let block: LatentBlock

    /// How wide the buffers are.
    struct Widths {
        var queryLatent = 0, query = 0, absorbed = 0, latent = 0, keyRotary = 0, attended = 0, softmax = 0
        var sum: Int { queryLatent + query + absorbed + latent + keyRotary + attended + softmax }
    }

    static func widths(_ model: ModelConfiguration) -> Widths {
        guard let shape = model.latent else { return Widths() }
        return Widths(
            queryLatent: shape.queryRank ?? 0, query: model.heads * model.headDimension,
            absorbed: model.heads * (shape.rank + shape.rotary), latent: shape.rank, keyRotary: shape.rotary,
            attended: model.heads * shape.rank, softmax: 2 * model.heads)
    }

    /// Floats that are needed whatever the size of a pass.
    static func blockFloats(_ model: ModelConfiguration) -> Int {
        guard let shape = model.latent else { return 0 }
        return LatentBlock.floats(
            heads: model.heads, rank: shape.rank, key: model.headDimension, value: shape.value)
    }

    init(_ model: ModelConfiguration, tokens: Int) {
        let widths = Self.widths(model)
        queryLatent = Buffer(rows: tokens, width: widths.queryLatent)
        query = Buffer(rows: tokens, width: widths.query)
        absorbed = Buffer(rows: tokens, width: widths.absorbed)
        latent = Buffer(rows: tokens, width: widths.latent)
        keyRotary = Buffer(rows: tokens, width: widths.keyRotary)
        attended = Buffer(rows: tokens, width: widths.attended)
        block = LatentBlock(
            tokens: tokens, heads: model.latent == nil ? 0 : model.heads, rank: widths.latent,
            key: model.headDimension, value: model.latent?.value ?? 0)
    }
}

/// Memory for routing that nobody keeps.
private final class Unkept: @unchecked Sendable {  // written by one pass at a time
    let counts: UnsafeMutablePointer<Int32>
    let ids: UnsafeMutablePointer<Int32>

    init(slots: Int, pairs: Int) {
        counts = .allocate(capacity: max(1, slots))
        ids = .allocate(capacity: max(1, pairs))
    }

    deinit {
        counts.deallocate()
        ids.deallocate()
    }
}
