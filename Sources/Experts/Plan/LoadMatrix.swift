// LoadMatrix: how many tokens each logical expert received, layer by layer; what every plan is made from.
//
// An immutable value, checked once in `init`: a load that exists is rectangular, finite and not negative, so that
// planners need no checks of their own. Held in float32, as DeepSeek's EPLB converts counts before it plans.

/// Tokens per logical expert: L layers of E experts.
public struct LoadMatrix: Sendable, Equatable {
    /// L.
    public let layers: Int
    /// E: logical experts.
    public let experts: Int
    /// Tokens, `[L, E]`, row-major; finite, not negative, never -0.
    public let values: [Float]

    /// A load from real numbers, in any scale.
    ///
    /// - Parameters:
    ///   - values: `[L, E]`, row-major.
    ///   - layers: L.
    ///   - experts: E.
    /// - Throws: `PlanError` for an empty load, a wrong number of values, or the first value that is negative or not
    ///   finite.
    public init(_ values: [Float], layers: Int, experts: Int) throws(PlanError) {
        guard layers > 0, experts > 0 else { throw .emptyLoad(layers: layers, experts: experts) }
        let size = layers.multipliedReportingOverflow(by: experts)
        guard !size.overflow, size.partialValue == values.count else {
            throw .loadShape(count: values.count, layers: layers, experts: experts)
        }
        for (index, value) in values.enumerated() {
            guard value.isFinite else {
                throw .loadNotFinite(layer: index / experts, expert: index % experts)
            }
            guard value >= 0 else { throw .negativeLoad(layer: index / experts, expert: index % experts) }
        }
        self.layers = layers
        self.experts = experts
        self.values = values.map { $0 + 0 }  // -0 + 0 is 0: planners order loads by their bits
    }

    /// A load from counts.
    ///
    /// - Parameters:
    ///   - counts: `[L, E]`, row-major.
    ///   - layers: L.
    ///   - experts: E.
    /// - Throws: `PlanError`, as for real numbers.
    public init(_ counts: [some BinaryInteger], layers: Int, experts: Int) throws(PlanError) {
        try self.init(counts.map { Float($0) }, layers: layers, experts: experts)
    }

    /// A load from nested counts, one row per layer.
    ///
    /// - Throws: `PlanError`, also for rows of differing lengths.
    public init(rows: [[some BinaryInteger]]) throws(PlanError) {
        try Self.check(lengths: rows.map(\.count))
        try self.init(rows.flatMap { $0.map { Float($0) } }, layers: rows.count, experts: rows.first?.count ?? 0)
    }

    /// A load from nested real numbers, one row per layer; NaN, infinity and what float32 cannot hold are refused.
    ///
    /// - Throws: `PlanError`, also for rows of differing lengths.
    public init(rows: [[Double]]) throws(PlanError) {
        try Self.check(lengths: rows.map(\.count))
        try self.init(rows.flatMap { $0.map { Float($0) } }, layers: rows.count, experts: rows.first?.count ?? 0)
    }

    private static func check(lengths: [Int]) throws(PlanError) {
        for (layer, length) in lengths.enumerated() where length != lengths[0] {
            throw .raggedLoad(layer: layer, experts: length, expected: lengths[0])
        }
    }

    /// The tokens of one layer; `[E]`.
    public func row(_ layer: Int) -> ArraySlice<Float> {
        precondition((0..<layers).contains(layer), "layer \(layer) of \(layers)")
        return values[layer * experts..<(layer + 1) * experts]
    }

    /// The tokens that fall on each rank in one layer when an expert's replicas share its tokens evenly; `[G]`.
    public func rankLoads(layer: Int, in placement: Placement) -> [Double] {
        precondition(placement.layers == layers, "\(placement.layers) layers placed, \(layers) loaded")
        precondition(
            placement.logicalExperts == experts, "\(placement.logicalExperts) experts placed, \(experts) loaded")
        var loads = [Double](repeating: 0, count: placement.ranks)
        for expert in 0..<experts {
            let slots = placement.replicas(layer: layer, expert: expert)
            let share = Double(values[layer * experts + expert]) / Double(slots.count)
            for slot in slots { loads[Int(slot) / placement.slotsPerRank] += share }
        }
        return loads
    }

    /// Mean over largest rank load of one layer, evenly split: 1 is even, 1/G is one rank doing all, no load is 1.
    public func balancedness(layer: Int, in placement: Placement) -> Double {
        let loads = rankLoads(layer: layer, in: placement)
        let busiest = loads.reduce(0, max)
        return busiest > 0 ? loads.reduce(0, +) / Double(loads.count) / busiest : 1
    }

    /// The mean balancedness over all layers.
    public func balancedness(in placement: Placement) -> Double {
        (0..<layers).reduce(0) { $0 + balancedness(layer: $1, in: placement) } / Double(layers)
    }
}
