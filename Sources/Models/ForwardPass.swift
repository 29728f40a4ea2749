// ForwardPass: everything that a layer needs beside its weights, as an explicit argument.

public import Compute
internal import Experts

/// Where the routing of a pass is kept, layer by layer. With strides of 0 nobody keeps it: every layer overwrites the last,
/// so that recording costs the layers no branch and no copy.
public struct RoutingRecord {
    private let first: RoutingRow
    private let countStride: Int
    private let idStride: Int

    /// A record.
    ///
    /// - Parameters:
    ///   - counts: pairs per physical expert, `[L, P]`, or `[P]` with a stride of 0.
    ///   - countStride: from layer to layer, P or 0.
    ///   - ids: expert of each pair, `[L, N, K]`, or `[N, K]` with a stride of 0.
    ///   - idStride: from layer to layer, N · K or 0.
    public init(
        counts: UnsafeMutablePointer<Int32>, countStride: Int, ids: UnsafeMutablePointer<Int32>, idStride: Int
    ) {
        first = RoutingRow(counts: counts, ids: ids)
        self.countStride = countStride
        self.idStride = idStride
    }

    /// Where one layer's routing goes.
    func row(layer: Int) -> RoutingRow {
        RoutingRow(counts: first.counts + layer * countStride, ids: first.ids + layer * idStride)
    }
}

/// One pass of tokens through a model.
public struct ForwardPass {
    /// Where to compute.
    public let backend: any Backend
    /// The tokens.
    public let tokens: TokenLayout
    /// Keys and values of earlier positions; this pass adds its own.
    public let cache: KVCache
    /// Activations.
    public let workspace: Workspace
    /// Where the sparse layers' routing is kept.
    public let record: RoutingRecord

    /// One pass.
    ///
    /// - Parameters:
    ///   - backend: where to compute.
    ///   - tokens: the tokens.
    ///   - cache: keys and values.
    ///   - workspace: activations.
    ///   - counts: receives the pairs per physical expert, `[L, P]`; nil when nobody counts.
    ///   - ids: receives the experts of each token, `[L, N, K]`; nil when nobody wants them.
    public init(
        backend: any Backend, tokens: TokenLayout, cache: KVCache, workspace: Workspace,
        counts: UnsafeMutablePointer<Int32>? = nil, ids: UnsafeMutablePointer<Int32>? = nil
    ) {
        self.backend = backend
        self.tokens = tokens
        self.cache = cache
        self.workspace = workspace
        record = RoutingRecord(
            counts: counts ?? workspace.unkeptCounts, countStride: counts == nil ? 0 : workspace.experts,
            ids: ids ?? workspace.unkeptIDs, idStride: ids == nil ? 0 : tokens.count * workspace.routing.topK)
    }
}

/// Activations of one pass, reused by every layer and every pass; never cleared.
public struct Workspace {
    /// Tokens that fit in a pass.
    public let tokens: Int
    /// Rows of logits that fit.
    public let logitRows: Int
    /// P: physical experts of a layer.
    let experts: Int
    /// Counts and ids that nobody keeps, `[P]` and `[N, K]`.
    private let unkept: Unkept
    var unkeptCounts: UnsafeMutablePointer<Int32> { unkept.counts }
    var unkeptIDs: UnsafeMutablePointer<Int32> { unkept.ids }
    /// The residual stream, `[N, hidden]`.
    public let hidden: Buffer
    /// Normalised input of a block, `[N, hidden]`.
    let normed: Buffer
    /// Queries, keys and values, `[N, (heads + 2 kvHeads) * headDimension]`.
    let qkv: Buffer
    /// Attention's output before its projection, `[N, heads * headDimension]`.
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
    /// The shared expert's gate, `[N, 1]`.
    let sharedGate: Buffer
    /// Final hidden states of the rows that want logits, `[logitRows, hidden]`.
    let final: Buffer
    /// `[logitRows, vocabulary]`.
    public let logits: Buffer

    /// Floats that a workspace takes for each token of a pass; the logits, which do not grow with it, are left out.
    public static func floatsPerToken(_ model: ModelConfiguration) -> Int {
        4 * model.hiddenSize + (2 * model.heads + 2 * model.kvHeads) * model.headDimension + model.experts
            + model.topK * (model.expertSize + model.hiddenSize + 2) + model.intermediateSize + model.sharedExpertSize
    }

    /// Room for passes of `tokens` tokens that want up to `logitRows` rows of logits at once.
    public init(_ model: ModelConfiguration, tokens: Int, logitRows: Int) {
        self.tokens = tokens
        self.logitRows = logitRows
        experts = model.experts
        unkept = Unkept(experts: model.experts, pairs: tokens * model.topK)
        func buffer(_ width: Int, rows: Int = tokens) -> Buffer { Buffer(rows: rows, width: width) }
        hidden = buffer(model.hiddenSize)
        normed = buffer(model.hiddenSize)
        qkv = buffer((model.heads + 2 * model.kvHeads) * model.headDimension)
        attended = buffer(model.heads * model.headDimension)
        routerLogits = buffer(model.experts)
        routing = Routing(tokens: tokens, topK: model.topK, experts: max(1, model.experts), gate: model.gate)
        activations = buffer(model.expertSize, rows: tokens * model.topK)
        routed = buffer(model.hiddenSize, rows: tokens * model.topK)
        denseActivations = buffer(model.intermediateSize)
        sharedActivations = buffer(model.sharedExpertSize)
        shared = buffer(model.hiddenSize)
        sharedGate = buffer(1)
        final = buffer(model.hiddenSize, rows: logitRows)
        logits = buffer(model.vocabularySize, rows: logitRows)
    }
}

/// Memory for routing that nobody keeps.
private final class Unkept: @unchecked Sendable {  // written by one pass at a time
    let counts: UnsafeMutablePointer<Int32>
    let ids: UnsafeMutablePointer<Int32>

    init(experts: Int, pairs: Int) {
        counts = .allocate(capacity: max(1, experts))
        ids = .allocate(capacity: max(1, pairs))
    }

    deinit {
        counts.deallocate()
        ids.deallocate()
    }
}
