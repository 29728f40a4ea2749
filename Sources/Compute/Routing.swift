// Routing: one pass's expert choice in one layer, and the blocks in which the experts run. Reused by every layer.
//
// Owner: the pass that runs; not thread-safe.

public import Experts

/// Where the tokens of a pass go in one layer.
public final class Routing {
    /// Rows in a block: enough to reuse an expert's weights from the cache, few enough to share among threads.
    static let blockSize = 48

    /// Experts per token, K.
    public let topK: Int
    /// Tokens routed last, N.
    public private(set) var count = 0
    private let capacity: Int
    private let weightStorage: UnsafeMutablePointer<Float>
    private let idStorage: UnsafeMutablePointer<Int32>
    private let scratch: UnsafeMutableBufferPointer<Float>
    private let alignment = BlockAlignment()

    /// Room for `tokens` tokens of a layer with `experts` experts.
    public init(tokens: Int, topK: Int, experts: Int, gate: GateRule) {
        self.topK = topK
        capacity = tokens
        weightStorage = .allocate(capacity: max(1, tokens * topK))
        idStorage = .allocate(capacity: max(1, tokens * topK))
        scratch = .allocate(capacity: gate.scratchCount(experts: experts, biased: true))
    }

    deinit {
        weightStorage.deallocate()
        idStorage.deallocate()
        scratch.deallocate()
    }

    /// Routing weight of each pair, `[N, K]`.
    public var weights: UnsafePointer<Float> { UnsafePointer(weightStorage) }

    /// Expert of each pair, `[N, K]`, by descending weight.
    public var ids: UnsafePointer<Int32> { UnsafePointer(idStorage) }

    var sortedPairs: UnsafePointer<Int32>? { alignment.sortedPairs.baseAddress }
    var blockExperts: UnsafePointer<Int32>? { alignment.blockExperts.baseAddress }
    var blockCount: Int { alignment.blockExperts.count }

    /// The CPU's routing: gate, then align; the counts that aligning makes go straight to `counts`, `[E]`.
    func route(
        _ logits: UnsafeBufferPointer<Float>, experts: Int, count: Int, gate: GateRule,
        counts: UnsafeMutablePointer<Int32>?
    ) {
        precondition(count <= capacity, "\(count) tokens in a routing workspace for \(capacity)")
        self.count = count
        let pairs = count * topK
        selectExperts(
            gate, topK: topK, logits: logits, experts: experts,
            weights: UnsafeMutableBufferPointer(start: weightStorage, count: pairs),
            ids: UnsafeMutableBufferPointer(start: idStorage, count: pairs), scratch: scratch)
        do {
            try alignment.align(
                ids: UnsafeBufferPointer(start: idStorage, count: pairs), expertCount: experts,
                blockSize: Self.blockSize, countsInto: counts)
        } catch {
            preconditionFailure("the gate chose an impossible expert: \(error)")
        }
    }
}
