// BalancedPlan: the placement whose busiest rank carries least; the default.
//
// Goals in order: on no layer below the compatible plan, balancedness, a plan in milliseconds, the same plan always.
// Method: the compatible plan of each layer is the start of a local search (LayerSearch). With nodes and groups,
//         experts stay on the node of their group; with `spill` redundant replicas may leave it, one replica of every
//         expert remaining at home, so that a node with more load than its share can be relieved. Layers take different
//         times, so that each lane takes the next one that nobody has.

internal import Synchronization

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
    ///   - lanes: threads to plan layers at the same time; without a time limit the plan does not depend on them. To
    ///     wake those that sleep may take longer than a small plan.
    /// - Throws: `PlanError` with what would be possible.
    /// - Returns: the placement; replicas are ranked by slot.
    /// - Complexity: about `goal.effort` nanoseconds per layer at most.
    public static func balanced(
        load: LoadMatrix, shape: PlanShape, goal: PlanGoal = PlanGoal(), spill: Bool = false, epoch: Int = 0,
        lanes: (any Lanes)? = nil
    ) throws(PlanError) -> PlacementPlan {
        let start = ContinuousClock.now
        let shape = try shape.resolved(for: load)
        let size = load.layers * shape.slots
        let map = [Int32](unsafeUninitializedCapacity: size) { map, count in
            load.values.withUnsafeBufferPointer { values in
                guard let map = map.baseAddress, let values = values.baseAddress else { return }
                let job = PlanningJob(
                    load: values, map: map, layers: load.layers, experts: load.experts, shape: shape,
                    spill: spill || shape.nodes == 1, goal: goal, start: start)
                if let lanes {
                    withUnsafePointer(to: job) { job in
                        lanes.forEachLane(job) { job, _ in job.assumingMemoryBound(to: PlanningJob.self).pointee.run() }
                    }
                } else {
                    job.run()
                }
            }
            count = size
        }
        return PlacementPlan(Placement(planned: map, load: load, shape: shape, epoch: epoch))
    }
}

/// The layers of a plan, and how many of them were begun.
private struct PlanningJob: ~Copyable {
    /// Tokens, `[L, E]`.
    let load: UnsafePointer<Float>
    /// Receives the expert in each slot; `[L, P]`.
    let map: UnsafeMutablePointer<Int32>
    let layers: Int
    let experts: Int
    let shape: PlanShape
    let spill: Bool
    let goal: PlanGoal
    let start: ContinuousClock.Instant
    private let begun = Atomic<Int>(0)

    /// Plans layers until all are begun; on any number of threads at the same time.
    func run() {
        var layer = next()
        guard layer < layers else { return }
        let search = LayerSearch(experts: experts, shape: shape, spill: spill)
        while layer < layers {
            let isLate = goal.timeLimit.map { ContinuousClock.now - start >= $0 } ?? false
            search.plan(load + layer * experts, map: map + layer * shape.slots, goal: isLate ? nil : goal)
            layer = next()
        }
    }

    private func next() -> Int { begun.wrappingAdd(1, ordering: .relaxed).oldValue }
}
