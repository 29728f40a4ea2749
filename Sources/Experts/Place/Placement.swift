// Placement: which expert's weights lie in which physical slot, layer by layer.
//
// An immutable value. The inverse maps are derived in `init`, which also checks the invariants, so that an existing
// placement is a valid one: every slot holds an expert of the model, every expert lies somewhere in every layer, and
// the slots divide evenly among the ranks.

/// A mapping that cannot be served.
public enum PlacementError: Error, Equatable, CustomStringConvertible {
    /// A size is not positive, or the map is not `[layers, physical]`.
    case shape(slots: Int, layers: Int, logicalExperts: Int, ranks: Int)
    /// A row of a nested map has another length than the first.
    case raggedRow(layer: Int, slots: Int, expected: Int)
    /// A slot names an expert that the model does not have.
    case expertOutOfRange(layer: Int, slot: Int, expert: Int, logicalExperts: Int)
    /// No slot of the layer holds this expert.
    case expertMissing(layer: Int, expert: Int)
    /// Physical slots must divide evenly among ranks.
    case slotsNotDivisible(slots: Int, ranks: Int)

    /// The fact in one line.
    public var description: String {
        switch self {
        case .shape(let slots, let layers, let logicalExperts, let ranks):
            "a map of \(slots) slots in all does not fit \(layers) layers of \(logicalExperts) experts on \(ranks) ranks"
        case .raggedRow(let layer, let slots, let expected):
            "layer \(layer) has \(slots) physical slots, layer 0 has \(expected)"
        case .expertOutOfRange(let layer, let slot, let expert, let logicalExperts):
            "layer \(layer), slot \(slot) names expert \(expert): expected 0 ..< \(logicalExperts)"
        case .expertMissing(let layer, let expert):
            "layer \(layer): no slot holds expert \(expert)"
        case .slotsNotDivisible(let slots, let ranks):
            "\(slots) physical slots do not divide among \(ranks) ranks"
        }
    }
}

/// The home of every expert: L layers of P physical slots that hold E logical experts, on G ranks.
///
/// Slot s lives on rank `s / (P / G)`.
public struct Placement: Sendable, Equatable {
    /// L: all decoder layers, dense ones included.
    public let layers: Int
    /// E: the model's routed experts.
    public let logicalExperts: Int
    /// P: E plus the redundant slots.
    public let physicalExperts: Int
    /// G: ranks that share the slots in contiguous chunks.
    public let ranks: Int
    /// Which placement of this run; a rebalance makes one with the next epoch.
    public let epoch: Int
    /// The expert in each slot; `[L, P]`, row-major.
    public let physicalToLogical: [Int32]

    /// Where the replicas of (layer, expert) begin in `replicaSlots`; `[L * E + 1]`.
    private let replicaStarts: [Int32]
    /// Slots by layer, expert, then ascending slot; `[L * P]`.
    private let replicaSlots: [Int32]

    /// The placement that `physicalToLogical` describes.
    ///
    /// - Parameters:
    ///   - physicalToLogical: `[L, P]`, row-major.
    ///   - layers: L.
    ///   - logicalExperts: E.
    ///   - ranks: G; divides P.
    ///   - epoch: which placement of this run.
    /// - Throws: `PlacementError` with the first offending layer and expert.
    /// - Complexity: O(L · P).
    public init(
        physicalToLogical: [Int32], layers: Int, logicalExperts: Int, ranks: Int = 1, epoch: Int = 0
    ) throws(PlacementError) {
        let slots = physicalToLogical.count
        guard layers > 0, logicalExperts > 0, ranks > 0, slots > 0, slots % layers == 0 else {
            throw .shape(slots: slots, layers: layers, logicalExperts: logicalExperts, ranks: ranks)
        }
        let physicalExperts = slots / layers
        guard physicalExperts % ranks == 0 else { throw .slotsNotDivisible(slots: physicalExperts, ranks: ranks) }

        var starts = [Int32](repeating: 0, count: layers * logicalExperts + 1)
        for layer in 0..<layers {
            let row = layer * physicalExperts
            let keys = layer * logicalExperts
            for (slot, expert) in physicalToLogical[row..<row + physicalExperts].enumerated() {
                guard (0..<logicalExperts).contains(Int(expert)) else {
                    throw .expertOutOfRange(
                        layer: layer, slot: slot, expert: Int(expert), logicalExperts: logicalExperts)
                }
                starts[keys + Int(expert) + 1] &+= 1
            }
            var sum = starts[keys]
            for expert in 0..<logicalExperts {
                let count = starts[keys + expert + 1]
                guard count > 0 else { throw .expertMissing(layer: layer, expert: expert) }
                sum += count
                starts[keys + expert + 1] = sum
            }
        }
        var next = starts
        let replicas = [Int32](unsafeUninitializedCapacity: slots) { replicas, count in
            for layer in 0..<layers {
                let row = layer * physicalExperts
                let keys = layer * logicalExperts
                for slot in 0..<physicalExperts {
                    let key = keys + Int(physicalToLogical[row + slot])
                    replicas[Int(next[key])] = Int32(truncatingIfNeeded: slot)
                    next[key] &+= 1
                }
            }
            count = slots
        }
        self.layers = layers
        self.logicalExperts = logicalExperts
        self.physicalExperts = physicalExperts
        self.ranks = ranks
        self.epoch = epoch
        self.physicalToLogical = physicalToLogical
        replicaStarts = starts
        replicaSlots = replicas
    }

    /// The placement that a nested map describes, one row of slots per layer.
    ///
    /// - Throws: `PlacementError`, also for rows of differing lengths.
    public init(
        rows: [[Int]], logicalExperts: Int, ranks: Int = 1, epoch: Int = 0
    ) throws(PlacementError) {
        let width = rows.first?.count ?? 0
        var flat: [Int32] = []
        for (layer, row) in rows.enumerated() {
            guard row.count == width else { throw .raggedRow(layer: layer, slots: row.count, expected: width) }
            for (slot, expert) in row.enumerated() {
                guard let narrow = Int32(exactly: expert) else {
                    throw .expertOutOfRange(layer: layer, slot: slot, expert: expert, logicalExperts: logicalExperts)
                }
                flat.append(narrow)
            }
        }
        try self.init(
            physicalToLogical: flat, layers: rows.count, logicalExperts: logicalExperts, ranks: ranks, epoch: epoch)
    }

    /// Slot i holds expert `i mod E` in every layer: redundant slots repeat the first experts.
    ///
    /// - Parameters:
    ///   - layers: L.
    ///   - logicalExperts: E.
    ///   - redundant: R; P is E + R.
    ///   - ranks: G; divides P.
    /// - Throws: `PlacementError` for sizes that are not positive or do not divide.
    /// - Returns: a placement with epoch 0.
    public static func trivial(
        layers: Int, logicalExperts: Int, redundant: Int = 0, ranks: Int = 1
    ) throws(PlacementError) -> Placement {
        guard layers > 0, logicalExperts > 0, redundant >= 0 else {
            throw .shape(
                slots: max(0, layers) * (logicalExperts + redundant), layers: layers, logicalExperts: logicalExperts,
                ranks: ranks)
        }
        let row = (0..<logicalExperts + redundant).map { Int32($0 % logicalExperts) }
        return try Placement(
            physicalToLogical: Array(repeatElement(row, count: layers).joined()), layers: layers,
            logicalExperts: logicalExperts, ranks: ranks)
    }

    /// p: slots per rank.
    public var slotsPerRank: Int { physicalExperts / ranks }

    /// Whether every expert is its own slot, so that logical and physical ids are the same.
    public var isIdentity: Bool {
        physicalExperts == logicalExperts
            && physicalToLogical.enumerated().allSatisfy { Int($1) == $0 % physicalExperts }
    }

    /// The logical expert in a physical slot.
    public func logical(layer: Int, slot: Int) -> Int {
        precondition((0..<physicalExperts).contains(slot), "slot \(slot) of \(physicalExperts)")
        return Int(physicalToLogical[layer * physicalExperts + slot])
    }

    /// The slots that hold an expert, ascending; never empty.
    public func replicas(layer: Int, expert: Int) -> ArraySlice<Int32> {
        precondition((0..<logicalExperts).contains(expert), "expert \(expert) of \(logicalExperts)")
        let key = layer * logicalExperts + expert
        return replicaSlots[Int(replicaStarts[key])..<Int(replicaStarts[key + 1])]
    }

    /// How many slots hold each expert; `[L, E]`.
    public var replicaCounts: [Int32] { zip(replicaStarts.dropFirst(), replicaStarts).map { $0 - $1 } }

    /// The slots of each expert, ascending, padded with -1 to `width`.
    ///
    /// - Parameter width: columns, at least the largest replica count; P in files.
    /// - Returns: `[L, E, width]`, row-major.
    public func logicalToAllPhysical(width: Int) -> [Int32] {
        (0..<layers * logicalExperts).flatMap { key in
            let slots = replicas(layer: key / logicalExperts, expert: key % logicalExperts)
            precondition(slots.count <= width, "\(slots.count) replicas in \(width) columns")
            return slots + repeatElement(-1, count: width - slots.count)
        }
    }

    /// Adds the counts of physical slots to the counts of the experts in them.
    ///
    /// - Parameters:
    ///   - physical: `[L, P]`.
    ///   - logical: `[L, E]`, added to.
    func fold(_ physical: UnsafeBufferPointer<Int32>, into logical: UnsafeMutableBufferPointer<Int32>) {
        precondition(physical.count == layers * physicalExperts, "\(physical.count) counts for \(layers) layers")
        precondition(logical.count == layers * logicalExperts, "\(logical.count) sums for \(layers) layers")
        physicalToLogical.withUnsafeBufferPointer { map in
            for layer in 0..<layers {
                let row = layer * physicalExperts
                for slot in row..<row + physicalExperts {
                    logical[layer * logicalExperts + Int(map[slot])] &+= physical[slot]
                }
            }
        }
    }

    /// The counts of each expert, summed over its replicas.
    ///
    /// - Parameter physical: `[L, P]`, row-major.
    /// - Returns: `[L, E]`, row-major.
    public func logicalCounts(_ physical: [Int32]) -> [Int32] {
        var logical = [Int32](repeating: 0, count: layers * logicalExperts)
        physical.withUnsafeBufferPointer { physical in
            logical.withUnsafeMutableBufferPointer { fold(physical, into: $0) }
        }
        return logical
    }
}
