// Dispatch: which replica of a logical expert serves a token. The gate applies it to the ids that it has just chosen.
//
// Goals in order: the same replica whoever computes it (any thread, any rank that sees the same rows), no state, speed.
// Method: static dispatch is a table with one slot per expert; dynamic dispatch takes the replicas in turn by the token's
//         row; weighted dispatch spreads rows evenly over [0, 1) by the golden ratio and looks up whose share that is.

/// A weight that cannot split an expert's tokens.
public enum DispatchError: Error, Equatable, CustomStringConvertible {
    /// One number per slot and layer is needed.
    case shape(count: Int, expected: Int)
    /// A weight is negative or not a number.
    case badWeight(layer: Int, slot: Int, weight: Float)
    /// All replicas of an expert have weight 0.
    case noWeight(layer: Int, expert: Int)
    /// A static map names a slot that does not hold the expert.
    case wrongSlot(layer: Int, expert: Int, slot: Int)

    /// The fact in one line.
    public var description: String {
        switch self {
        case .shape(let count, let expected): "a dispatch table of \(count) entries: expected \(expected)"
        case .badWeight(let layer, let slot, let weight):
            "layer \(layer), slot \(slot): dispatch weight \(weight), expected 0 or more"
        case .noWeight(let layer, let expert):
            "layer \(layer), expert \(expert): no replica has a dispatch weight above 0"
        case .wrongSlot(let layer, let expert, let slot):
            "layer \(layer): static dispatch sends expert \(expert) to slot \(slot), which does not hold it"
        }
    }
}

/// From logical to physical experts, for every layer of a placement.
///
/// Immutable; a rebalance makes a new one together with the new placement.
public struct Dispatch: Sendable {
    /// The placement that the slots belong to.
    public let placement: Placement
    /// Where each (layer, expert)'s entries begin in `slots`; `[L * E + 1]`.
    private let starts: [Int32]
    private let slots: [Int32]
    /// The upper end of each entry's share of the 32-bit line; empty unless weighted.
    private let shares: [UInt32]

    /// Replicas take turns by token row: row r of a pass uses replica `r mod count`.
    public init(dynamic placement: Placement) {
        let keys = Self.keys(placement)
        self.init(placement, rows: keys.map { Array(placement.replicas(layer: $0.layer, expert: $0.expert)) })
    }

    /// Each expert has one slot, usually the nearest to this rank.
    ///
    /// - Parameters:
    ///   - placement: the placement.
    ///   - slots: a slot of each (layer, expert); `[L, E]`.
    /// - Throws: `DispatchError` for a slot that does not hold the expert.
    public init(static placement: Placement, slots: [Int32]) throws(DispatchError) {
        let keys = Self.keys(placement)
        guard slots.count == keys.count else { throw .shape(count: slots.count, expected: keys.count) }
        for (key, slot) in zip(keys, slots)
        where !placement.replicas(layer: key.layer, expert: key.expert).contains(slot) {
            throw .wrongSlot(layer: key.layer, expert: key.expert, slot: Int(slot))
        }
        self.init(placement, rows: slots.map { [$0] })
    }

    /// Replicas share an expert's tokens in proportion to weights.
    ///
    /// - Parameters:
    ///   - placement: the placement.
    ///   - weights: a weight of each slot, 0 or more; only ratios among an expert's replicas matter; `[L, P]`.
    /// - Throws: `DispatchError` for weights that are negative or not finite, and experts without any.
    public init(weighted placement: Placement, weights: [Float]) throws(DispatchError) {
        let width = placement.physicalExperts
        guard weights.count == placement.layers * width else {
            throw .shape(count: weights.count, expected: placement.layers * width)
        }
        var rows: [[Int32]] = []
        var shares: [UInt32] = []
        for key in Self.keys(placement) {
            // Slots of weight 0 come first, where their empty share lies at the start of the line.
            let slots = placement.replicas(layer: key.layer, expert: key.expert)
            var total = 0.0
            for slot in slots {
                let weight = weights[key.layer * width + Int(slot)]
                guard weight >= 0, weight.isFinite else {
                    throw .badWeight(layer: key.layer, slot: Int(slot), weight: weight)
                }
                total += Double(weight)
            }
            guard total > 0 else { throw .noWeight(layer: key.layer, expert: key.expert) }
            let ordered =
                slots.filter { weights[key.layer * width + Int($0)] == 0 }
                + slots.filter { weights[key.layer * width + Int($0)] > 0 }
            rows.append(ordered)
            var sum = 0.0
            for slot in ordered {
                sum += Double(weights[key.layer * width + Int(slot)])
                shares.append(UInt32((sum / total * 4_294_967_295).rounded()))
            }
        }
        self.init(placement, rows: rows, shares: shares)
    }

    private init(_ placement: Placement, rows: [[Int32]], shares: [UInt32] = []) {
        self.placement = placement
        self.shares = shares
        slots = Array(rows.joined())
        var starts: [Int32] = [0]
        for row in rows { starts.append(starts[starts.count - 1] + Int32(truncatingIfNeeded: row.count)) }
        self.starts = starts
    }

    /// The tables as they lie in memory, for a device that keeps its own copy: where each (layer, expert)'s entries begin,
    /// `[L * E + 1]`; the entries' slots; and if weighted, the upper end of each entry's share of the 32-bit line.
    public var tables: (starts: [Int32], slots: [Int32], shares: [UInt32]?) {
        (starts, slots, shares.isEmpty ? nil : shares)
    }

    private static func keys(_ placement: Placement) -> [(layer: Int, expert: Int)] {
        (0..<placement.layers).flatMap { layer in (0..<placement.logicalExperts).map { (layer, $0) } }
    }

    /// Lends the table of one layer, for as long as `body` runs.
    public func withRow<Result, Failure: Error>(
        layer: Int, _ body: (DispatchRow) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        precondition((0..<placement.layers).contains(layer), "layer \(layer) of \(placement.layers)")
        return try starts.withUnsafeBufferPointer { starts throws(Failure) in
            try slots.withUnsafeBufferPointer { slots throws(Failure) in
                try shares.withUnsafeBufferPointer { shares throws(Failure) in
                    try body(
                        DispatchRow(
                            experts: placement.logicalExperts, slots: placement.physicalExperts,
                            starts: UnsafeBufferPointer(rebasing: starts.dropFirst(layer * placement.logicalExperts)),
                            table: slots, shares: shares.isEmpty ? nil : shares))
                }
            }
        }
    }
}

/// One layer of a `Dispatch`, borrowed.
public struct DispatchRow {
    /// E.
    public let experts: Int
    /// P.
    public let slots: Int
    fileprivate let starts: UnsafeBufferPointer<Int32>
    fileprivate let table: UnsafeBufferPointer<Int32>
    fileprivate let shares: UnsafeBufferPointer<UInt32>?

    /// The slot that serves row `token` of a pass for `expert`.
    @inline(__always)
    func slot(expert: Int, token: Int) -> Int32 {
        let start = Int(starts[expert])
        let count = Int(starts[expert &+ 1]) &- start
        if count == 1 { return table[start] }
        guard let shares else {
            return table[start &+ Int(UInt32(truncatingIfNeeded: token) % UInt32(truncatingIfNeeded: count))]
        }
        // Rows times the golden ratio fill the line evenly; each expert starts elsewhere on it.
        let place =
            UInt32(truncatingIfNeeded: token) &* 0x9E37_79B9 &+ UInt32(truncatingIfNeeded: expert) &* 0x85EB_CA6B
        var entry = start
        while entry < start &+ count &- 1, place >= shares[entry] { entry &+= 1 }
        return table[entry]
    }

    /// Replaces logical by physical ids in place; -1 stays.
    ///
    /// - Parameters:
    ///   - ids: `[N, K]`; each id is -1 or below E.
    ///   - topK: K.
    ///   - firstToken: the number of the first row.
    public func replace(_ ids: UnsafeMutableBufferPointer<Int32>, topK: Int, firstToken: Int = 0) {
        precondition(topK > 0 && ids.count % topK == 0, "\(ids.count) ids are not rows of \(topK)")
        guard let base = ids.baseAddress else { return }
        for id in ids { precondition(id >= -1 && id < experts, "expert \(id) of \(experts)") }
        for token in 0..<ids.count / topK {
            replace(base + token * topK, count: topK, token: firstToken &+ token)
        }
    }

    @inline(__always)
    func replace(_ row: UnsafeMutablePointer<Int32>, count: Int, token: Int) {
        for column in 0..<count where row[column] >= 0 { row[column] = slot(expert: Int(row[column]), token: token) }
    }
}
