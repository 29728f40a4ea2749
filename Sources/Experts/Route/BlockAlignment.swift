// BlockAlignment: groups routed pairs by expert in blocks of fixed size, so that a grouped GEMM walks row blocks that
// each touch one expert. Known elsewhere as moe_align_block_size.
//
// Goals in order: the stable order is a guarantee, counts come for free, no allocation in steady state, speed.
// Owner: one per thread that routes. Not thread-safe.
// Method: counting sort. One read of the ids counts them into four tables (so that runs of one expert do not wait for
//         each other's stores), one read places them; only pad slots are filled, the rest is written once.
// Example: ids 2 0 2 2 0, three experts, blocks of two ->
//          sorted pairs 1 4 | 0 2 | 3 5, block experts 0 2 2, padded count 6, counts 2 0 3.

/// An input that cannot be routed.
public enum RoutingError: Error, Equatable, CustomStringConvertible {
    /// The first id that is neither -1 nor in `0 ..< expertCount`, and its place in the flattened ids.
    case expertOutOfRange(position: Int, id: Int32, expertCount: Int)

    /// The fact in one line.
    public var description: String {
        switch self {
        case .expertOutOfRange(let position, let id, let expertCount):
            "expert id \(id) at position \(position): expected 0 ..< \(expertCount), or -1 for a padded pair"
        }
    }
}

/// Reusable workspace and result of block alignment.
///
/// A pair is one (token, slot) of the router's choice; its index is its place in the flattened ids, so pair i belongs to
/// token `i / K`. Results stay valid until the next `align`. Memory grows and never shrinks.
public final class BlockAlignment {
    /// n: the number of ids in the last `align`, and the value of every pad slot.
    public private(set) var pairCount = 0
    /// Rows per block.
    public private(set) var blockSize = 1
    /// Rows in use: each expert's count rounded up to whole blocks, summed.
    public private(set) var paddedCount = 0
    /// Room for `sortedPairs` whatever the ids are: n + E · (blockSize - 1).
    public private(set) var capacity = 0

    private var sorted = GrowingBuffer<Int32>()
    private var blocks = GrowingBuffer<Int32>()
    private var tables = GrowingBuffer<Int32>()
    private var ownCounts = GrowingBuffer<Int32>()
    private var lastCounts = UnsafeBufferPointer<Int32>(start: nil, count: 0)

    /// An empty workspace; the first `align` allocates.
    public init() {}

    deinit {
        sorted.free()
        blocks.free()
        tables.free()
        ownCounts.free()
    }

    /// Pair indices by ascending expert, ascending inside an expert, padded to the block with n; `[paddedCount]`.
    public var sortedPairs: UnsafeBufferPointer<Int32> {
        UnsafeBufferPointer(start: sorted.base, count: paddedCount)
    }

    /// The expert of each block; `[paddedCount / blockSize]`.
    public var blockExperts: UnsafeBufferPointer<Int32> {
        UnsafeBufferPointer(start: blocks.base, count: paddedCount / blockSize)
    }

    /// Pairs per expert; `[E]`. This is the caller's own row if the last `align` was given one.
    public var counts: UnsafeBufferPointer<Int32> { lastCounts }

    /// Groups `ids` by expert.
    ///
    /// An id of -1 (a padded row, or an expert of another rank) takes no slot and is not counted.
    ///
    /// - Parameters:
    ///   - ids: expert of each pair, `[n]`.
    ///   - expertCount: E.
    ///   - blockSize: rows per block; any positive number.
    ///   - row: `[E]`, overwritten with the counts, for instance a layer's row of `PassCounts`.
    /// - Throws: `RoutingError` for any other id; the result is then empty and `row` untouched.
    /// - Complexity: O(n + E), two reads of `ids`.
    public func align(
        ids: UnsafeBufferPointer<Int32>, expertCount: Int, blockSize: Int,
        countsInto row: UnsafeMutablePointer<Int32>? = nil
    ) throws(RoutingError) {
        precondition(expertCount > 0 && blockSize > 0, "\(expertCount) experts in blocks of \(blockSize)")
        pairCount = ids.count
        self.blockSize = blockSize
        paddedCount = 0
        capacity = ids.count + expertCount * (blockSize - 1)
        precondition(capacity <= Int(Int32.max), "\(ids.count) pairs of \(expertCount) experts exceed 32-bit indices")
        lastCounts = UnsafeBufferPointer(start: nil, count: 0)

        // Bucket 0 takes the dropped ids, bucket E + 1 the wrong ones, so that counting has no branch.
        let width = expertCount + 2
        let table = tables.reserve(4 * width)
        table.update(repeating: 0, count: 4 * width)
        histogram(ids, table: table, expertCount: expertCount)
        for bucket in 0..<width {
            table[bucket] += table[width + bucket] + table[2 * width + bucket] + table[3 * width + bucket]
        }
        if table[expertCount + 1] > 0 { throw firstOffender(ids, expertCount) }

        let counts = row ?? ownCounts.reserve(expertCount)
        counts.update(from: table + 1, count: expertCount)
        lastCounts = UnsafeBufferPointer(start: counts, count: expertCount)

        let sorted = sorted.reserve(capacity)
        let blocks = blocks.reserve((capacity + blockSize - 1) / blockSize)
        // The second table becomes the running write position of each expert.
        let cursors = table + width
        var start = 0
        var block = 0
        for expert in 0..<expertCount {
            cursors[expert] = Int32(truncatingIfNeeded: start)
            let count = Int(counts[expert])
            let blocksUsed = (count + blockSize - 1) / blockSize
            for _ in 0..<blocksUsed {
                blocks[block] = Int32(truncatingIfNeeded: expert)
                block += 1
            }
            let end = start + blocksUsed * blockSize
            for pad in (start + count)..<end { sorted[pad] = Int32(truncatingIfNeeded: ids.count) }
            start = end
        }
        place(ids, into: sorted, cursors: cursors, hasDropped: table[0] > 0)
        paddedCount = start
    }

    /// Fills what lies beyond the rows in use, for consumers that are launched over the whole capacity.
    ///
    /// - Returns: sorted pairs up to `capacity`, n beyond `paddedCount`; block experts up to the capacity in blocks, -1
    ///   beyond the blocks in use.
    public func fillTail() -> (sortedPairs: UnsafeBufferPointer<Int32>, blockExperts: UnsafeBufferPointer<Int32>) {
        let blockCapacity = (capacity + blockSize - 1) / blockSize
        let sorted = sorted.reserve(capacity)
        let blocks = blocks.reserve(blockCapacity)
        for pad in paddedCount..<capacity { sorted[pad] = Int32(truncatingIfNeeded: pairCount) }
        for block in (paddedCount / blockSize)..<blockCapacity { blocks[block] = -1 }
        return (
            UnsafeBufferPointer(start: sorted, count: capacity),
            UnsafeBufferPointer(start: blocks, count: blockCapacity)
        )
    }

    /// Counts `ids` into four tables of E + 2 buckets: dropped, experts, wrong.
    private func histogram(_ ids: UnsafeBufferPointer<Int32>, table: UnsafeMutablePointer<Int32>, expertCount: Int) {
        guard let base = ids.baseAddress else { return }
        let width = expertCount + 2
        let wrong = UInt32(truncatingIfNeeded: expertCount + 1)
        @inline(__always) func bucket(_ id: Int32) -> Int { Int(min(UInt32(bitPattern: id &+ 1), wrong)) }
        let second = table + width
        let third = second + width
        let fourth = third + width
        var index = 0
        while index &+ 4 <= ids.count {
            table[bucket(base[index])] &+= 1
            second[bucket(base[index &+ 1])] &+= 1
            third[bucket(base[index &+ 2])] &+= 1
            fourth[bucket(base[index &+ 3])] &+= 1
            index &+= 4
        }
        while index < ids.count {
            table[bucket(base[index])] &+= 1
            index &+= 1
        }
    }

    /// Writes every pair index to its expert's next free row. All ids are known to be -1 or in range.
    private func place(
        _ ids: UnsafeBufferPointer<Int32>, into sorted: UnsafeMutablePointer<Int32>,
        cursors: UnsafeMutablePointer<Int32>, hasDropped: Bool
    ) {
        guard let base = ids.baseAddress else { return }
        for pair in 0..<ids.count {
            let expert = Int(base[pair])
            if hasDropped && expert < 0 { continue }
            let position = cursors[expert]
            cursors[expert] = position &+ 1
            sorted[Int(position)] = Int32(truncatingIfNeeded: pair)
        }
    }

    private func firstOffender(_ ids: UnsafeBufferPointer<Int32>, _ expertCount: Int) -> RoutingError {
        let position = ids.firstIndex { $0 < -1 || Int($0) >= expertCount } ?? 0
        return .expertOutOfRange(position: position, id: ids[position], expertCount: expertCount)
    }
}

/// Uninitialised memory that grows by at least half and is never copied: contents do not survive growth.
private struct GrowingBuffer<Element: BitwiseCopyable> {
    private(set) var base: UnsafeMutablePointer<Element>?
    private var capacity = 0

    /// Room for `count` elements, at least one.
    mutating func reserve(_ count: Int) -> UnsafeMutablePointer<Element> {
        if let base, count <= capacity { return base }
        base?.deallocate()
        capacity = max(count, capacity + capacity / 2, 16)
        let grown = UnsafeMutablePointer<Element>.allocate(capacity: capacity)
        base = grown
        return grown
    }

    func free() { base?.deallocate() }
}
