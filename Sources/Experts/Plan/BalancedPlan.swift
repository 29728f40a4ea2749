// BalancedPlan: the placement whose busiest rank carries least; the default.
//
// Goals in order: on no layer below the compatible plan, balancedness, a plan in milliseconds, the same plan always.
// Method: the compatible plan of each layer is the start of a local search (LayerSearch). With nodes and groups,
//         experts stay on the node of their group; with `spill` redundant replicas may leave it, one replica of every
//         expert remaining at home, so that a node with more load than its share can be relieved.

extension PlacementPlan {
    /// The plan whose busiest rank carries least, as far as the goal asks.
    ///
    /// Deterministic; depends on the clock only if the goal has a time limit. On no layer less balanced than
    /// `compatible`. Multiplying a load by a whole number does not change the plan, permuting experts permutes it where
    /// no two are equal.
    ///
    /// - Parameters:
    ///   - load: tokens per logical expert, `[L, E]`.
    ///   - shape: slots, ranks, nodes and groups.
    ///   - goal: when to stop.
    ///   - spill: whether redundant replicas may leave the node of their group; without effect on one node.
    ///   - epoch: which placement of this run.
    /// - Throws: `PlanError` with what would be possible.
    /// - Returns: the placement; replicas are ranked by slot.
    /// - Complexity: about `goal.effort` nanoseconds per layer at most.
    public static func balanced(
        load: LoadMatrix, shape: PlanShape, goal: PlanGoal = PlanGoal(), spill: Bool = false, epoch: Int = 0
    ) throws(PlanError) -> PlacementPlan {
        let start = ContinuousClock.now
        let shape = try shape.resolved(for: load)
        let search = LayerSearch(experts: load.experts, shape: shape, spill: spill || shape.nodes == 1)
        let size = load.layers * shape.slots
        let map = [Int32](unsafeUninitializedCapacity: size) { map, count in
            load.values.withUnsafeBufferPointer { values in
                guard let map = map.baseAddress, let values = values.baseAddress else { return }
                for layer in 0..<load.layers {
                    let isLate = goal.timeLimit.map { ContinuousClock.now - start >= $0 } ?? false
                    search.plan(
                        values + layer * load.experts, map: map + layer * shape.slots, goal: isLate ? nil : goal)
                }
            }
            count = size
        }
        return PlacementPlan(Placement(planned: map, load: load, shape: shape, epoch: epoch))
    }
}
