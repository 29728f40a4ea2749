// Routing: one pass's expert choice in one layer, and the blocks in which the experts run. Reused by every layer.
//
// Owner: the pass that runs; not thread-safe.

public import Experts

/// Where the routing of one layer of a pass is kept.
public struct RoutingRow {
    /// Pairs per physical expert, `[P]`, overwritten.
    public var counts: UnsafeMutablePointer<Int32>
    /// The physical expert of each pair, `[N, K]`, overwritten.
    public var ids: UnsafeMutablePointer<Int32>
    /// Which slot serves a token's expert; nil when every expert is its own slot.
    public var dispatch: Dispatch?
    /// The layer, for `dispatch`.
    public var layer: Int

    /// A row from its parts.
    public init(
        counts: UnsafeMutablePointer<Int32>, ids: UnsafeMutablePointer<Int32>, dispatch: Dispatch? = nil, layer: Int = 0
    ) {
        self.counts = counts
        self.ids = ids
        self.dispatch = dispatch
        self.layer = layer
    }
}

/// Where the tokens of a pass go in one layer.
public final class Routing {
    /// Rows in a block: enough to reuse an expert's weights from the cache, few enough to share among threads.
    static let blockSize = 48

    private let router: Router
    /// The logical expert of each block: replicas share the weights of one process.
    private let blockWeights: UnsafeMutableBufferPointer<Int32>
    private var isDispatched = false

    /// Room for `tokens` tokens of layers with `experts` experts in `slots` slots, of which `gate` gives each token `topK`.
    public init(tokens: Int, topK: Int, experts: Int, slots: Int? = nil, gate: GateRule) {
        let blocks: BlockRule
        do {
            blocks = try BlockRule(experts: slots ?? experts, blockSize: Self.blockSize)
        } catch {
            preconditionFailure("a model of \(slots ?? experts) experts: \(error)")
        }
        blockWeights = .allocate(capacity: blocks.capacity(pairs: tokens * topK) / Self.blockSize + 1)
        router = Router(gate: gate, topK: topK, experts: experts, blocks: blocks, tokens: tokens)
    }

    deinit { blockWeights.deallocate() }

    /// Experts per token, K.
    public var topK: Int { router.topK }
    /// Tokens routed last, N.
    public var count: Int { router.tokens }

    /// Routing weight of each pair, `[N, K]`.
    public var weights: UnsafeBufferPointer<Float> { router.weights }

    /// Physical expert of each pair, `[N, K]`, by descending weight.
    public var ids: UnsafeBufferPointer<Int32> { router.ids }

    var sortedPairs: UnsafePointer<Int32>? { router.alignment.sortedPairs.baseAddress }
    /// Whose weights each block needs: logical experts.
    var blockExperts: UnsafePointer<Int32>? {
        isDispatched ? UnsafePointer(blockWeights.baseAddress) : router.alignment.blockExperts.baseAddress
    }
    var blockCount: Int { router.alignment.blockExperts.count }

    /// The CPU's routing: gate, dispatch, align; what the gate chooses and counts goes straight to where it is kept.
    func route(
        _ logits: UnsafeBufferPointer<Float>, bias: UnsafeBufferPointer<Float>?, keeping row: RoutingRow,
        lanes: any Lanes
    ) {
        func route(_ dispatch: DispatchRow?) throws(RoutingError) {
            try router.route(
                logits, bias: bias, dispatch: dispatch, countsInto: row.counts, idsInto: row.ids, lanes: lanes)
        }
        do {
            isDispatched = row.dispatch != nil
            guard let dispatch = row.dispatch else { return try route(nil) }
            try dispatch.withRow(layer: row.layer, route)
            for (block, slot) in router.alignment.blockExperts.enumerated() {
                let expert = dispatch.placement.logical(layer: row.layer, slot: Int(slot))
                blockWeights[block] = Int32(truncatingIfNeeded: expert)
            }
        } catch {
            preconditionFailure("a pass of \(logits.count / router.experts) tokens cannot be routed: \(error)")
        }
    }
}
