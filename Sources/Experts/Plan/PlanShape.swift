// PlanShape: the machine that a plan is for. Checked against a load before planning starts.

/// How many slots a layer has, and on what they lie.
public struct PlanShape: Sendable, Equatable {
    /// P: physical slots of a layer.
    public var slots: Int
    /// G: ranks; slots lie on them in equal contiguous chunks.
    public var ranks: Int
    /// Server nodes; ranks lie on them in equal contiguous chunks.
    public var nodes: Int
    /// Groups of experts that a token's choice is limited to; contiguous ids in equal chunks.
    public var groups: Int

    /// A shape; whether it is possible is for the plan to say.
    public init(slots: Int, ranks: Int, nodes: Int = 1, groups: Int = 1) {
        self.slots = slots
        self.ranks = ranks
        self.nodes = nodes
        self.groups = groups
    }

    /// The fewest slots that hold every expert and divide evenly among ranks.
    ///
    /// - Parameters:
    ///   - experts: E.
    ///   - ranks: G, at least 1.
    /// - Returns: E rounded up to a multiple of G; E itself where that leaves the range of `Int`.
    public static func fewestSlots(experts: Int, ranks: Int) -> Int {
        let up = experts.addingReportingOverflow(ranks - 1)
        return up.overflow ? experts : up.partialValue / ranks * ranks
    }

    /// This shape, or the same with one group and one node where groups do not divide among nodes.
    ///
    /// - Parameters:
    ///   - load: what is to be placed.
    ///   - grouped: whether groups matter.
    /// - Throws: `PlanError` with what would be possible.
    /// - Returns: a shape to plan for.
    func resolved(for load: LoadMatrix, grouped: Bool = true) throws(PlanError) -> PlanShape {
        for (name, value) in [("slots", slots), ("ranks", ranks), ("nodes", nodes), ("groups", groups)] {
            guard value > 0 else { throw .notPositive(size: name, value: value) }
        }
        guard slots <= Int(Int32.max) / load.layers else { throw .tooManySlots(slots: slots, layers: load.layers) }
        guard slots % ranks == 0 else {
            throw .slotsNotDivisible(slots: slots, ranks: ranks, experts: load.experts)
        }
        guard slots >= load.experts else {
            throw .tooFewSlots(slots: slots, experts: load.experts, ranks: ranks)
        }
        guard groups % nodes == 0 else { return PlanShape(slots: slots, ranks: ranks) }
        guard ranks % nodes == 0 else { throw .ranksNotDivisible(ranks: ranks, nodes: nodes) }
        guard !grouped || load.experts % groups == 0 else {
            throw .expertsNotDivisible(experts: load.experts, groups: groups)
        }
        return self
    }
}
