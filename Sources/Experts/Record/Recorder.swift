// Recorder: keeps what passes counted, between start and dump.
//
// Owner: the Engine actor. Not thread-safe; control calls land between passes.
// Counts are folded from physical to logical experts on arrival, with the placement of their own pass, so a dump that
// spans a rebalance is exact. The order of pairs is not kept; each routed (token, slot) counts once.
// Bounded form: memory for all passes is taken at once, an append allocates nothing, and a write position runs round.
// As existing readers expect, a dump then has every row in storage order, unused rows zero, and a reset leaves the
// write position where it is; `Snapshot.rowOrder` says which rows are used, oldest first.

/// Keeps the logical counts `[L, E]` of every recorded pass (recording mode `stat`).
public struct Recorder: Sendable {
    /// How many passes are kept.
    public enum Capacity: Sendable, Equatable {
        /// The last `count` passes, in memory taken up front.
        case passes(Int)
        /// All passes; room for 128 at first, then doubling.
        case unbounded

        /// The capacity that a buffer-size setting names: -1 is unbounded.
        ///
        /// - Returns: nil for zero and for other negative numbers.
        public init?(setting: Int) {
            guard setting > 0 || setting == -1 else { return nil }
            self = setting > 0 ? .passes(setting) : .unbounded
        }
    }

    /// L.
    public let layers: Int
    /// E.
    public let logicalExperts: Int
    /// How many passes are kept.
    public let capacity: Capacity
    /// Whether `append` keeps what it is given.
    public private(set) var isRecording = false
    /// Passes recorded since the last reset, also those that left the buffer.
    public private(set) var passes = 0
    /// Tokens in those passes.
    public private(set) var tokens = 0
    /// Counts summed over those passes; `[L, E]`, row-major.
    public private(set) var totals: [Int64]
    /// The balancedness of the recorded passes.
    public private(set) var balancedness = BalancednessWindow()

    /// Logical counts; bounded: `[capacity, L, E]`, unbounded: room for whole rows, the first `passes` in use.
    private var rows: [Int32]
    /// The row that the next pass goes to.
    private var next = 0

    /// A recorder at rest.
    ///
    /// - Parameters:
    ///   - layers: L.
    ///   - logicalExperts: E.
    ///   - capacity: passes to keep; memory is 4 · L · E bytes for each.
    public init(layers: Int, logicalExperts: Int, capacity: Capacity) {
        precondition(layers > 0 && logicalExperts > 0, "\(layers) layers of \(logicalExperts) experts")
        if case .passes(let count) = capacity { precondition(count > 0, "a buffer of \(count) passes") }
        self.layers = layers
        self.logicalExperts = logicalExperts
        self.capacity = capacity
        totals = [Int64](repeating: 0, count: layers * logicalExperts)
        let size = if case .passes(let count) = capacity { count } else { 128 }
        rows = [Int32](repeating: 0, count: size * layers * logicalExperts)
    }

    /// Forgets everything, then records.
    ///
    /// - Returns: whether it was recording already.
    @discardableResult
    public mutating func start() -> Bool {
        reset()
        defer { isRecording = true }
        return isRecording
    }

    /// Stops recording and keeps the data.
    ///
    /// - Returns: whether it was recording.
    @discardableResult
    public mutating func stop() -> Bool {
        defer { isRecording = false }
        return isRecording
    }

    /// Hands out the data and forgets it; recording goes on or stays off as it was.
    public mutating func dump() -> Snapshot {
        let snapshot = snapshot()
        // The snapshot keeps the bounded buffer's memory; zeroing it here would copy it first.
        if case .passes = capacity, passes > 0 { rows = [Int32](repeating: 0, count: rows.count) }
        reset(rowsAreZero: true)
        return snapshot
    }

    /// Puts back what `dump` handed out, before what has been recorded since: for a dump that could not be written.
    public mutating func restore(_ snapshot: Snapshot) {
        precondition(
            snapshot.layers == layers && snapshot.logicalExperts == logicalExperts, "a snapshot of another recorder")
        let size = layers * logicalExperts
        switch capacity {
        case .passes(let count):
            // Slots that were written since keep their newer passes.
            let newer = Set((0..<min(passes, count)).map { (next - 1 - $0 + count) % count })
            for slot in 0..<count where !newer.contains(slot) {
                let range = slot * size..<(slot + 1) * size
                rows.replaceSubrange(range, with: snapshot.logicalCounts[range])
            }
        case .unbounded:
            rows.insert(contentsOf: snapshot.logicalCounts, at: 0)
            next += snapshot.rows
        }
        totals = zip(snapshot.totals, totals).map(+)
        passes += snapshot.passes
        tokens += snapshot.tokens
        var window = snapshot.balancedness
        window.append(contentsOf: balancedness)
        balancedness = window
    }

    /// The data so far, kept.
    ///
    /// A bounded recorder shares its buffer with the snapshot: the first append while the snapshot lives copies it.
    public func snapshot() -> Snapshot {
        let size = layers * logicalExperts
        var order: [Int]
        let kept: [Int32]
        switch capacity {
        case .passes(let count):
            order = (0..<min(passes, count)).map { (next - 1 - $0 + count) % count }
            order.reverse()
            kept = rows
        case .unbounded:
            order = Array(0..<passes)
            kept = Array(rows.prefix(passes * size))
        }
        return Snapshot(
            layers: layers, logicalExperts: logicalExperts, logicalCounts: kept, rowOrder: order, totals: totals,
            passes: passes, tokens: tokens, balancedness: balancedness)
    }

    /// Keeps the counts of one pass, if recording.
    ///
    /// - Complexity: O(L · P); allocates only when an unbounded buffer doubles.
    public mutating func append(_ pass: PassCounts) {
        guard isRecording else { return }
        let placement = pass.placement
        precondition(
            placement.layers == layers && placement.logicalExperts == logicalExperts,
            "counts of \(placement.layers) × \(placement.logicalExperts) in a recorder of \(layers) × \(logicalExperts)"
        )
        let size = layers * logicalExperts
        if capacity == .unbounded, (next + 1) * size > rows.count {
            rows.append(contentsOf: repeatElement(0, count: rows.count))
        }
        rows.withUnsafeMutableBufferPointer { rows in
            let row = UnsafeMutableBufferPointer(rebasing: rows[next * size..<(next + 1) * size])
            row.update(repeating: 0)
            pass.counts.withUnsafeBufferPointer { placement.fold($0, into: row) }
            totals.withUnsafeMutableBufferPointer { totals in
                for index in 0..<size { totals[index] &+= Int64(row[index]) }
            }
        }
        balancedness.append(pass.balancedness)
        passes += 1
        tokens += pass.tokens
        next += 1
        if case .passes(let count) = capacity, next == count { next = 0 }
    }

    /// Forgets the data. Not the write position of a bounded buffer: readers of the round form know it that way.
    private mutating func reset(rowsAreZero: Bool = false) {
        if capacity == .unbounded {
            next = 0
        } else if passes > 0, !rowsAreZero {
            rows.withUnsafeMutableBufferPointer { $0.update(repeating: 0) }
        }
        totals.withUnsafeMutableBufferPointer { $0.update(repeating: 0) }
        balancedness.removeAll()
        passes = 0
        tokens = 0
    }
}
