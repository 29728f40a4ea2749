// Routing: one pass's expert choice in one layer, and the blocks in which the experts run. Reused by every layer.
//
// Owner: the pass that runs; not thread-safe.

public import Experts

/// Where the routing of one layer of a pass is kept.
public struct RoutingRow {
    /// Pairs per physical expert, `[P]`, overwritten.
    public var counts: UnsafeMutablePointer<Int32>
    /// The expert of each pair, `[N, K]`, overwritten.
    public var ids: UnsafeMutablePointer<Int32>

    /// A row from its parts.
    public init(counts: UnsafeMutablePointer<Int32>, ids: UnsafeMutablePointer<Int32>) {
        self.counts = counts
        self.ids = ids
    }
}

/// Where the tokens of a pass go in one layer.
public final class Routing {
    /// Rows in a block: enough to reuse an expert's weights from the cache, few enough to share among threads.
    static let blockSize = 48

    private let router: Router

    /// Room for `tokens` tokens of layers with `experts` experts, of which `gate` gives each token `topK`.
    public init(tokens: Int, topK: Int, experts: Int, gate: GateRule) {
        let blocks: BlockRule
        do {
            blocks = try BlockRule(experts: experts, blockSize: Self.blockSize)
        } catch {
            preconditionFailure("a model of \(experts) experts: \(error)")
        }
        router = Router(gate: gate, topK: topK, experts: experts, blocks: blocks, tokens: tokens)
    }

    /// Experts per token, K.
    public var topK: Int { router.topK }
    /// Tokens routed last, N.
    public var count: Int { router.tokens }

    /// Routing weight of each pair, `[N, K]`.
    public var weights: UnsafeBufferPointer<Float> { router.weights }

    /// Expert of each pair, `[N, K]`, by descending weight.
    public var ids: UnsafeBufferPointer<Int32> { router.ids }

    var sortedPairs: UnsafePointer<Int32>? { router.alignment.sortedPairs.baseAddress }
    var blockExperts: UnsafePointer<Int32>? { router.alignment.blockExperts.baseAddress }
    var blockCount: Int { router.alignment.blockExperts.count }

    /// The CPU's routing: gate, then align; what the gate chooses and counts goes straight to where it is kept.
    func route(
        _ logits: UnsafeBufferPointer<Float>, bias: UnsafeBufferPointer<Float>?, keeping row: RoutingRow,
        lanes: any Lanes
    ) {
        do {
            try router.route(logits, bias: bias, countsInto: row.counts, idsInto: row.ids, lanes: lanes)
        } catch {
            preconditionFailure("a pass of \(logits.count / router.experts) tokens cannot be routed: \(error)")
        }
    }
}
