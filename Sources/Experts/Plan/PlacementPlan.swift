// PlacementPlan: what planners return; a placement, and the order in which its replicas were made.

/// A placement as a planner made it, with the order in which it made the replicas.
public struct PlacementPlan: Sendable, Equatable {
    /// Which expert lies in which slot.
    public let placement: Placement
    /// The number of each slot's replica among those of its expert, from 0 in order of creation; `[L, P]`.
    public let replicaRanks: [Int32]

    /// A plan with its order of replicas.
    init(placement: Placement, replicaRanks: [Int32]) {
        self.placement = placement
        self.replicaRanks = replicaRanks
    }

    /// A plan whose replicas are ranked by slot.
    init(_ placement: Placement) {
        var ranks = [Int32](repeating: 0, count: placement.physicalToLogical.count)
        var made = [Int32](repeating: 0, count: placement.logicalExperts)
        for layer in 0..<placement.layers {
            for expert in made.indices { made[expert] = 0 }
            for slot in layer * placement.physicalExperts..<(layer + 1) * placement.physicalExperts {
                let expert = Int(placement.physicalToLogical[slot])
                ranks[slot] = made[expert]
                made[expert] += 1
            }
        }
        self.init(placement: placement, replicaRanks: ranks)
    }

    /// The slots of each expert in order of creation, padded with -1 to `width`.
    ///
    /// - Parameter width: columns, at least the largest replica count; P in files.
    /// - Returns: `[L, E, width]`, row-major.
    public func logicalToAllPhysical(width: Int) -> [Int32] {
        let experts = placement.logicalExperts
        let slots = placement.physicalExperts
        var map = [Int32](repeating: -1, count: placement.layers * experts * width)
        for layer in 0..<placement.layers {
            for slot in 0..<slots {
                let rank = Int(replicaRanks[layer * slots + slot])
                precondition(rank < width, "replica \(rank) in \(width) columns")
                let expert = placement.logical(layer: layer, slot: slot)
                map[(layer * experts + expert) * width + rank] = Int32(slot)
            }
        }
        return map
    }
}

extension Placement {
    /// The trivial placement of a shape.
    ///
    /// - Throws: `PlanError` where the load cannot be placed in it.
    static func trivial(for load: LoadMatrix, shape: PlanShape) throws(PlanError) -> Placement {
        _ = try shape.resolved(for: load)
        do {
            return try trivial(
                layers: load.layers, logicalExperts: load.experts, redundant: shape.slots - load.experts,
                ranks: shape.ranks)
        } catch {
            preconditionFailure("a shape that was checked has no trivial placement: \(error)")
        }
    }

    /// A placement from a planner's map, which holds every expert by construction.
    init(planned map: [Int32], load: LoadMatrix, shape: PlanShape, epoch: Int) {
        do {
            try self.init(
                physicalToLogical: map, layers: load.layers, logicalExperts: load.experts, ranks: shape.ranks,
                epoch: epoch)
        } catch {
            preconditionFailure("a plan is not a placement: \(error)")
        }
    }
}
