// DispatchWeights: which part of an expert's tokens each of its replicas should get.
//
// An even split wastes what replicas could do: where the ranks of a replica differ in load, the idler should take more.

/// The part of its expert's tokens that each slot gets: L layers of P slots.
public struct DispatchWeights: Sendable, Equatable {
    /// L.
    public let layers: Int
    /// P.
    public let physicalExperts: Int
    /// Parts in 0...1 that add up to 1 over the replicas of an expert; `[L, P]`, row-major.
    public let values: [Float]

    /// The weights that minimise the largest rank load of every layer, to 0.1 % of the optimum.
    ///
    /// Experts without tokens are split evenly.
    ///
    /// - Parameters:
    ///   - load: tokens per logical expert, `[L, E]`.
    ///   - placement: where the experts lie.
    /// - Throws: `PlanError` where load and placement do not fit each other.
    /// - Complexity: O(P) per layer and O(P) per augmenting path, of which there are about as many as ranks.
    public init(load: LoadMatrix, placement: Placement) throws(PlanError) {
        guard load.layers == placement.layers else {
            throw .placementMismatch(fact: "layers", placement: placement.layers, request: load.layers)
        }
        guard load.experts == placement.logicalExperts else {
            throw .placementMismatch(fact: "experts", placement: placement.logicalExperts, request: load.experts)
        }
        let slots = placement.physicalExperts
        let flow = RankFlow(experts: load.experts, slots: slots, ranks: placement.ranks)
        var values = [Float](repeating: 0, count: load.layers * slots)
        values.withUnsafeMutableBufferPointer { values in
            load.values.withUnsafeBufferPointer { tokens in
                guard let values = values.baseAddress, let tokens = tokens.baseAddress else { return }
                for layer in 0..<load.layers {
                    flow.share(
                        layer: layer, of: placement, tokens: tokens + layer * load.experts,
                        weights: values + layer * slots)
                }
            }
        }
        layers = load.layers
        physicalExperts = slots
        self.values = values
    }

    /// The weights of one layer's slots; `[P]`.
    public func row(_ layer: Int) -> ArraySlice<Float> {
        precondition((0..<layers).contains(layer), "layer \(layer) of \(layers)")
        return values[layer * physicalExperts..<(layer + 1) * physicalExperts]
    }
}

extension LoadMatrix {
    /// The tokens that fall on each rank in one layer when replicas share them by weight; `[G]`.
    public func rankLoads(layer: Int, in placement: Placement, weights: DispatchWeights) -> [Double] {
        precondition(weights.physicalExperts == placement.physicalExperts, "weights of another placement")
        var loads = [Double](repeating: 0, count: placement.ranks)
        for (slot, weight) in weights.row(layer).enumerated() {
            let expert = placement.logical(layer: layer, slot: slot)
            loads[slot / placement.slotsPerRank] += Double(values[layer * experts + expert]) * Double(weight)
        }
        return loads
    }

    /// Mean over largest rank load of one layer, shared by weight.
    public func balancedness(layer: Int, in placement: Placement, weights: DispatchWeights) -> Double {
        let loads = rankLoads(layer: layer, in: placement, weights: weights)
        let busiest = loads.reduce(0, max)
        return busiest > 0 ? loads.reduce(0, +) / Double(loads.count) / busiest : 1
    }
}
