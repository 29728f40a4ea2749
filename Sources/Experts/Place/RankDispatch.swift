// RankDispatch: the one replica of each expert that each rank sends its tokens to.
//
// Goals in order: the same table on every rank and in other engines, nearness, fairness.
// Method: an expert's only replica; else the first on the sender's own rank; else the first on its node, where the
//         node holds some but not all replicas; and the ranks that are left share the replicas fairly, dealt by a
//         seeded generator in the order layer, expert.
// Source: SGLang's static expert dispatch (github.com/sgl-project/sglang), from its documented behaviour.

/// Static dispatch: a physical slot for every rank, layer and expert.
public struct RankDispatch: Sendable, Equatable {
    /// L.
    public let layers: Int
    /// E: logical experts.
    public let logicalExperts: Int
    /// G.
    public let ranks: Int
    /// The slot that a rank's tokens for an expert go to; `[G, L, E]`, row-major.
    public let slots: [Int32]

    /// The table of a placement.
    ///
    /// - Parameters:
    ///   - placement: where the experts lie.
    ///   - nodes: server nodes that the ranks lie on in equal contiguous chunks.
    /// - Throws: `PlanError` when ranks do not divide among nodes.
    /// - Complexity: O(L · E · G).
    public init(_ placement: Placement, nodes: Int = 1) throws(PlanError) {
        guard nodes > 0 else { throw .notPositive(size: "nodes", value: nodes) }
        guard placement.ranks % nodes == 0 else { throw .ranksNotDivisible(ranks: placement.ranks, nodes: nodes) }
        let (layers, experts, ranks) = (placement.layers, placement.logicalExperts, placement.ranks)
        var generator = MersenneTwister(seed: 42)
        var slots = [Int32](repeating: -1, count: ranks * layers * experts)
        for layer in 0..<layers {
            for expert in 0..<experts {
                let replicas = placement.replicas(layer: layer, expert: expert)
                var undecided: [Int] = []
                for rank in 0..<ranks {
                    let near = Self.nearest(
                        replicas, to: rank, slotsPerRank: placement.slotsPerRank, ranksPerNode: ranks / nodes)
                    if let near {
                        slots[(rank * layers + layer) * experts + expert] = near
                    } else {
                        undecided.append(rank)
                    }
                }
                for (rank, slot) in zip(undecided, generator.fairChoices(of: replicas, count: undecided.count)) {
                    slots[(rank * layers + layer) * experts + expert] = slot
                }
            }
        }
        self.layers = layers
        self.logicalExperts = experts
        self.ranks = ranks
        self.slots = slots
    }

    /// The slots that a rank's tokens go to in one layer, by expert; `[E]`.
    public func row(rank: Int, layer: Int) -> ArraySlice<Int32> {
        precondition((0..<ranks).contains(rank) && (0..<layers).contains(layer), "rank \(rank), layer \(layer)")
        let start = (rank * layers + layer) * logicalExperts
        return slots[start..<start + logicalExperts]
    }

    /// The replica that needs no lot: the only one, one on the rank, or one on the node where others are elsewhere.
    static func nearest(
        _ replicas: ArraySlice<Int32>, to rank: Int, slotsPerRank: Int, ranksPerNode: Int
    ) -> Int32? {
        guard replicas.count > 1 else { return replicas.first }
        if let own = replicas.first(where: { Int($0) / slotsPerRank == rank }) { return own }
        let slotsPerNode = slotsPerRank * ranksPerNode
        let onNode = replicas.filter { Int($0) / slotsPerNode == rank / ranksPerNode }
        return onNode.count < replicas.count ? onNode.first : nil
    }
}
