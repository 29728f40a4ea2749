// BlockAlignment: groups routed pairs by expert in blocks of fixed size, so that a grouped GEMM walks row blocks that
// each touch one expert. Known elsewhere as moe_align_block_size.
//
// Goals in order: the stable order is a guarantee, counts come for free, no allocation in steady state, speed.
// Owner: one per thread that routes. Not thread-safe; it may borrow threads for a call.
// Method: counting sort. One read of the ids counts them, one read places them; between the two, every expert gets its
//         range of rows, and each lane its part of that range, so that any number of lanes writes the same bytes. Only
//         pad rows are filled, every other row is written once. Dropped pairs go where they do no harm: behind the rows
//         in use, where the capacity has room for them; so placing has no branch.
// Example: ids 2 0 2 2 0, three experts, blocks of two ->
//          sorted pairs 1 4 | 0 2 | 3 5, block experts 0 2 2, padded count 6, counts 2 0 3.

/// Reusable workspace and result of block alignment.
///
/// A pair is one (token, slot) of the router's choice; its index is its place in the flattened ids, so pair i belongs to
/// token `i / K`. Results stay valid until the next `align`. Memory grows and never shrinks.
public final class BlockAlignment {
    /// Memory of the caller's that receives a result.
    public struct Output {
        /// At least `rule.capacity(pairs:)` rows, or fewer if the ids are known to need fewer.
        public var sortedPairs: UnsafeMutableBufferPointer<Int32>
        /// One entry per block of `sortedPairs`.
        public var blockExperts: UnsafeMutableBufferPointer<Int32>

        /// Memory from its parts.
        public init(
            sortedPairs: UnsafeMutableBufferPointer<Int32>, blockExperts: UnsafeMutableBufferPointer<Int32>
        ) {
            self.sortedPairs = sortedPairs
            self.blockExperts = blockExperts
        }
    }

    /// n: the number of ids in the last `align`, and the value of every pad row.
    public private(set) var pairCount = 0
    /// Rows per block.
    public private(set) var blockSize = 1
    /// Rows in use: each expert's count rounded up to whole blocks, summed.
    public private(set) var paddedCount = 0
    /// Room for `sortedPairs`; `rule.capacity(pairs:)` unless the caller lent memory.
    public private(set) var capacity = 0

    private var sorted: UnsafeMutablePointer<Int32>?
    private var blocks: UnsafeMutablePointer<Int32>?
    private var blockCapacity = 0
    private var lastCounts = UnsafeBufferPointer<Int32>(start: nil, count: 0)

    private var ownSorted = GrowingBuffer<Int32>()
    private var ownBlocks = GrowingBuffer<Int32>()
    private var ownCounts = GrowingBuffer<Int32>()
    private var tables = GrowingBuffer<Int32>()
    private var pads = GrowingBuffer<PadRows>()
    private var verdicts = GrowingBuffer<Bool>()

    /// From this many pairs on, lanes that are lent are used: below, waking a thread costs more than it saves.
    public static let threadedFrom = 16384

    /// An empty workspace; the first `align` allocates.
    public init() {}

    deinit {
        ownSorted.free()
        ownBlocks.free()
        ownCounts.free()
        tables.free()
        pads.free()
        verdicts.free()
    }

    /// Pair indices by ascending expert, ascending inside an expert, padded to the block with n; `[paddedCount]`.
    public var sortedPairs: UnsafeBufferPointer<Int32> { UnsafeBufferPointer(start: sorted, count: paddedCount) }

    /// The expert of each block, -1 for pairs of other ranks; `[paddedCount / blockSize]`. With an expert map: local ids.
    public var blockExperts: UnsafeBufferPointer<Int32> {
        UnsafeBufferPointer(start: blocks, count: paddedCount / blockSize)
    }

    /// Pairs per expert, `[E]`, by the ids as they were given, whatever a map makes of them.
    ///
    /// This is the caller's own row if the last `align` was given one.
    public var counts: UnsafeBufferPointer<Int32> { lastCounts }

    /// Groups `ids` by expert.
    ///
    /// - Parameters:
    ///   - rule: experts, block size, and what becomes of pairs of other ranks.
    ///   - ids: expert of each pair, or -1 (a padded row, or an expert of another rank); `[n]`, or `[N, K]` flattened.
    ///   - row: `[E]`, overwritten with the counts, for instance a layer's row of `PassCounts`.
    ///   - output: where the result goes; nil for memory of the workspace.
    ///   - lanes: threads for large inputs; the result does not depend on them.
    /// - Throws: `RoutingError`; the result is then empty and `row` untouched.
    /// - Complexity: O(n + E), two reads of `ids`.
    public func align(
        _ rule: BlockRule, ids: UnsafeBufferPointer<Int32>, countsInto row: UnsafeMutablePointer<Int32>? = nil,
        into output: Output? = nil, lanes: (any Lanes)? = nil
    ) throws(RoutingError) {
        try begin(rule, pairs: ids.count)
        let lanes = ids.count >= Self.threadedFrom ? lanes : nil
        let laneCount = lanes?.laneCount ?? 1
        let stride = CountingSort.tableCount(ids.count) * (rule.experts + 1)
        let cursors = Cursors(
            tables: tables.reserve(laneCount * stride), stride: stride, lanes: laneCount, pairs: ids.count, grain: 1)
        let job = CountingJob(
            ids: ids, cursors: cursors, experts: rule.experts, verdicts: verdicts.reserve(laneCount))
        if let lanes {
            withUnsafePointer(to: job) { job in
                lanes.forEachLane(job) { $0.assumingMemoryBound(to: CountingJob.self).pointee.run(lane: $1) }
            }
        } else {
            job.run(lane: 0)
        }
        for lane in 0..<laneCount where !job.verdicts[lane] { throw firstOffender(ids, rule.experts) }
        try finish(rule, ids: ids, cursors: cursors, lanes: lanes, row: row, output: output)
    }

    /// Tables into which the lanes of a gate count the ids that they choose: `[lanes, experts + 1]`, the -1 first, zeroed.
    func countTables(lanes: Int, experts: Int) -> UnsafeMutablePointer<Int32> {
        let tables = tables.reserve(lanes * (experts + 1))
        tables.update(repeating: 0, count: lanes * (experts + 1))
        return tables
    }

    /// Groups ids that have been counted into `countTables`, lane l those of its `laneRange` with this grain.
    func alignCounted(
        _ rule: BlockRule, ids: UnsafeBufferPointer<Int32>, laneCount: Int, grain: Int, lanes: (any Lanes)?,
        row: UnsafeMutablePointer<Int32>?
    ) throws(RoutingError) {
        try begin(rule, pairs: ids.count)
        let stride = rule.experts + 1
        let cursors = Cursors(
            tables: tables.reserve(laneCount * stride), stride: stride, lanes: laneCount, pairs: ids.count,
            grain: grain)
        try finish(rule, ids: ids, cursors: cursors, lanes: lanes, row: row, output: nil)
    }

    private func begin(_ rule: BlockRule, pairs: Int) throws(RoutingError) {
        pairCount = pairs
        blockSize = rule.blockSize
        paddedCount = 0
        capacity = 0
        blockCapacity = 0
        lastCounts = UnsafeBufferPointer(start: nil, count: 0)
        guard rule.capacity(pairs: pairs) <= Int(Int32.max) else {
            throw .tooLarge(pairs: pairs, experts: rule.experts, blockSize: rule.blockSize)
        }
    }

    /// Lays out the counted pairs and places them.
    private func finish(
        _ rule: BlockRule, ids: UnsafeBufferPointer<Int32>, cursors: Cursors, lanes: (any Lanes)?,
        row: UnsafeMutablePointer<Int32>?, output: Output?
    ) throws(RoutingError) {
        if let output {
            let room = min(output.sortedPairs.count, output.blockExperts.count * blockSize)
            let needed = cursors.rowsNeeded(rule)
            guard needed <= room else { throw .outputTooSmall(rows: room, needed: needed) }
            capacity = output.sortedPairs.count
            blockCapacity = output.blockExperts.count
            sorted = output.sortedPairs.baseAddress
            blocks = output.blockExperts.baseAddress
        } else {
            capacity = rule.capacity(pairs: ids.count)
            blockCapacity = (capacity + blockSize - 1) / blockSize
            sorted = ownSorted.reserve(capacity)
            blocks = ownBlocks.reserve(blockCapacity)
        }
        let counts = row ?? ownCounts.reserve(rule.experts)
        cursors.sumCounts(into: counts, experts: rule.experts)
        lastCounts = UnsafeBufferPointer(start: counts, count: rule.experts)
        guard let sorted, let blocks else { return }  // lent, and empty

        var layout = BlockLayout(
            sorted: sorted, blocks: blocks, cursors: cursors, blockSize: blockSize,
            pad: Int32(truncatingIfNeeded: ids.count),
            pads: cursors.lanes > 1 ? pads.reserve(rule.experts + 1) : nil)
        layout.lay(rule)
        let job = PlacingJob(
            ids: ids, cursors: cursors, buckets: rule.experts + 1, rows: layout.rows + ids.count, sorted: sorted,
            pads: UnsafeBufferPointer(start: layout.pads, count: layout.padCount))
        if let lanes, ids.count >= Self.threadedFrom {
            withUnsafePointer(to: job) { job in
                lanes.forEachLane(job) { $0.assumingMemoryBound(to: PlacingJob.self).pointee.run(lane: $1) }
            }
        } else {
            for lane in 0..<cursors.lanes { job.run(lane: lane) }
        }
        paddedCount = layout.rows
    }

    /// Fills what lies beyond the rows in use, for consumers that are launched over the whole capacity.
    ///
    /// - Returns: sorted pairs up to `capacity`, n beyond `paddedCount`; block experts up to the capacity in blocks, -1
    ///   beyond the blocks in use.
    @discardableResult
    public func fillTail() -> (sortedPairs: UnsafeBufferPointer<Int32>, blockExperts: UnsafeBufferPointer<Int32>) {
        if let sorted, let blocks {
            let used = paddedCount / blockSize
            (sorted + paddedCount).update(
                repeating: Int32(truncatingIfNeeded: pairCount), count: max(0, capacity - paddedCount))
            (blocks + used).update(repeating: -1, count: max(0, blockCapacity - used))
        }
        return (
            UnsafeBufferPointer(start: sorted, count: capacity),
            UnsafeBufferPointer(start: blocks, count: blockCapacity)
        )
    }

    private func firstOffender(_ ids: UnsafeBufferPointer<Int32>, _ experts: Int) -> RoutingError {
        let position = ids.firstIndex { $0 < -1 || Int($0) >= experts } ?? 0
        return .expertOutOfRange(position: position, id: ids[position], experts: experts)
    }
}

/// Each lane counts its pairs into its table.
private struct CountingJob {
    let ids: UnsafeBufferPointer<Int32>
    let cursors: Cursors
    let experts: Int
    /// Whether all ids of a lane were valid.
    let verdicts: UnsafeMutablePointer<Bool>

    func run(lane: Int) {
        verdicts[lane] = CountingSort.count(
            UnsafeBufferPointer(rebasing: ids[cursors.range(lane)]), into: cursors.table(lane), experts: experts)
    }
}

/// Each lane writes its pairs to the rows that its cursors give them, and its share of the pad rows.
private struct PlacingJob {
    let ids: UnsafeBufferPointer<Int32>
    let cursors: Cursors
    let buckets: Int
    let rows: Int
    let sorted: UnsafeMutablePointer<Int32>
    let pads: UnsafeBufferPointer<PadRows>

    @inline(never)  // the loop of `place` needs all registers; inlined, it took 3 % longer
    func run(lane: Int) {
        CountingSort.place(
            ids, cursors.range(lane), cursors: cursors.table(lane), buckets: buckets, rows: rows, into: sorted)
        let pad = Int32(truncatingIfNeeded: ids.count)
        for rows in pads[laneRange(lane, of: pads.count, lanes: cursors.lanes)] { rows.fill(sorted, with: pad) }
    }
}
