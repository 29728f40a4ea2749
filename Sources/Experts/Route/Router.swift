// Router: one pass's routing in one layer, from logits to blocks: gate, dispatch, count, align.
//
// Goals in order: one workspace that every layer reuses, counts as a by-product of choosing, the same bytes on any number
// of lanes.
// Owner: the pass that runs. Not thread-safe; it may borrow threads for a call.
// Method: each lane gates a range of rows and counts what it chose; the counts become rows; each lane places its pairs.
//         So the ids are read once after they are written.

/// Where the tokens of a pass go in one layer. Reusable; memory is allocated once, for the largest pass.
public final class Router {
    /// The gate's rule.
    public let gate: GateRule
    /// K: routed experts per token, without a shared column.
    public let topK: Int
    /// E: logits in a row.
    public let experts: Int
    /// How pairs become blocks; its experts are the physical ones and the shared copies.
    public let blocks: BlockRule
    /// N: tokens routed last.
    public private(set) var tokens = 0
    /// The blocks of the last pass.
    public let alignment = BlockAlignment()

    private let capacity: Int
    private let weightStorage: UnsafeMutablePointer<Float>
    private let idStorage: UnsafeMutablePointer<Int32>
    /// Where the ids of the last pass are: `idStorage`, or memory that the caller lent.
    private var lastIDs: UnsafeMutablePointer<Int32>
    private var scratch = GrowingBuffer<Float>()
    /// Lanes that counted the last pass.
    private var lanesUsed = 1

    /// From this many logits on, lanes that are lent are used: below, waking a thread costs more than it saves.
    public static let threadedFrom = 1 << 15

    /// Room for passes of up to `tokens` tokens.
    ///
    /// - Parameters:
    ///   - gate: the gate's rule.
    ///   - topK: K.
    ///   - experts: E.
    ///   - blocks: how pairs become blocks.
    ///   - tokens: the largest N.
    public init(gate: GateRule, topK: Int, experts: Int, blocks: BlockRule, tokens: Int) {
        self.gate = gate
        self.topK = topK
        self.experts = experts
        self.blocks = blocks
        capacity = tokens
        let pairs = max(1, tokens * gate.columns(topK: topK))
        weightStorage = .allocate(capacity: pairs)
        idStorage = .allocate(capacity: pairs)
        lastIDs = idStorage
    }

    deinit {
        weightStorage.deallocate()
        idStorage.deallocate()
        scratch.free()
    }

    /// Routing weight of each pair, `[N, columns]`.
    public var weights: UnsafeBufferPointer<Float> { UnsafeBufferPointer(start: weightStorage, count: pairs) }

    /// Expert of each pair, -1 in padding rows, `[N, columns]`.
    public var ids: UnsafeBufferPointer<Int32> { UnsafeBufferPointer(start: lastIDs, count: pairs) }

    private var pairs: Int { tokens * gate.columns(topK: topK) }

    /// Routes a pass: gate, dispatch, count, align.
    ///
    /// - Parameters:
    ///   - logits: `[N, E]`.
    ///   - bias: correction bias, `[E]`; nil without.
    ///   - realTokens: rows from here on are padding; nil when all are real.
    ///   - dispatch: from logical to physical experts; nil when each expert is its own slot.
    ///   - firstToken: the number of the pass's first row, for dispatch and shared copies: with the number of tokens
    ///     routed before, replicas get their shares over small passes too. The same on all ranks that see the rows.
    ///   - row: `[blocks.experts]`, overwritten with the pairs per physical expert.
    ///   - rows: `[N, columns]`, receives the ids, for instance a layer's row of `PassDetail`; nil for own memory.
    ///   - lanes: threads for large passes; the result does not depend on them.
    /// - Throws: `RoutingError` if the blocks exceed 32-bit indices.
    public func route(
        _ logits: UnsafeBufferPointer<Float>, bias: UnsafeBufferPointer<Float>? = nil, realTokens: Int? = nil,
        dispatch: DispatchRow? = nil, firstToken: Int = 0, countsInto row: UnsafeMutablePointer<Int32>? = nil,
        idsInto rows: UnsafeMutablePointer<Int32>? = nil, lanes: (any Lanes)? = nil
    ) throws(RoutingError) {
        choose(
            logits, bias: bias, realTokens: realTokens, dispatch: dispatch, firstToken: firstToken, idsInto: rows,
            lanes: lanes)
        // The lanes that counted are those that place.
        try alignment.alignCounted(
            blocks, ids: ids, laneCount: lanesUsed, grain: gate.columns(topK: topK),
            lanes: lanesUsed > 1 ? lanes : nil, row: row)
    }

    /// The first half of `route`: ids and weights, no blocks.
    public func choose(
        _ logits: UnsafeBufferPointer<Float>, bias: UnsafeBufferPointer<Float>? = nil, realTokens: Int? = nil,
        dispatch: DispatchRow? = nil, firstToken: Int = 0, idsInto rows: UnsafeMutablePointer<Int32>? = nil,
        lanes: (any Lanes)? = nil
    ) {
        lastIDs = rows ?? idStorage
        tokens = logits.count / experts
        precondition(tokens <= capacity, "\(tokens) tokens in a routing workspace for \(capacity)")
        let targets = (dispatch?.slots ?? experts) + (gate.shared?.copies ?? 0)
        precondition(targets == blocks.experts, "blocks of \(blocks.experts) experts for \(targets) slots")
        let lanes = logits.count >= Self.threadedFrom ? lanes : nil
        lanesUsed = lanes?.laneCount ?? 1
        let job = GatingJob(
            gate: gate, topK: topK, experts: experts, targets: targets, tokens: tokens, lanes: lanesUsed,
            logits: logits, bias: bias, realTokens: realTokens, dispatch: dispatch, firstToken: firstToken,
            weights: weightStorage, ids: lastIDs,
            counts: alignment.countTables(lanes: lanesUsed, experts: targets),
            scratch: scratch.reserve(lanesUsed * gate.scratchCount(experts: experts)))
        if let lanes {
            withUnsafePointer(to: job) { job in
                lanes.forEachLane(job) { $0.assumingMemoryBound(to: GatingJob.self).pointee.run(lane: $1) }
            }
        } else {
            job.run(lane: 0)
        }
    }
}

/// Each lane gates a range of rows and counts what it chose.
private struct GatingJob {
    let gate: GateRule
    let topK: Int
    let experts: Int
    let targets: Int
    let tokens: Int
    let lanes: Int
    let logits: UnsafeBufferPointer<Float>
    let bias: UnsafeBufferPointer<Float>?
    let realTokens: Int?
    let dispatch: DispatchRow?
    let firstToken: Int
    let weights: UnsafeMutablePointer<Float>
    let ids: UnsafeMutablePointer<Int32>
    let counts: UnsafeMutablePointer<Int32>  // [lanes, 1 + targets]
    let scratch: UnsafeMutablePointer<Float>

    func run(lane: Int) {
        let rows = laneRange(lane, of: tokens, lanes: lanes)
        let columns = gate.columns(topK: topK)
        let scratchCount = gate.scratchCount(experts: experts)
        selectExperts(
            gate, topK: topK,
            logits: UnsafeBufferPointer(rebasing: logits[rows.lowerBound * experts..<rows.upperBound * experts]),
            experts: experts, bias: bias,
            realTokens: realTokens.map { min(max($0, rows.lowerBound), rows.upperBound) - rows.lowerBound },
            dispatch: dispatch, firstToken: firstToken &+ rows.lowerBound,
            weights: UnsafeMutableBufferPointer(
                start: weights + rows.lowerBound * columns, count: rows.count * columns),
            ids: UnsafeMutableBufferPointer(start: ids + rows.lowerBound * columns, count: rows.count * columns),
            counts: UnsafeMutableBufferPointer(start: counts + lane * (targets + 1), count: targets + 1),
            scratch: UnsafeMutableBufferPointer(start: scratch + lane * scratchCount, count: scratchCount))
    }
}
