// CompatiblePlan: the placement that DeepSeek's EPLB would choose, slot for slot.
//
// Goals in order: identity with the reference in every slot and replica rank, speed.
// Method: per layer, groups of experts are packed onto nodes; inside each node redundant slots go to the experts with
//         the largest load per replica, and slots are packed onto the node's ranks. All sums and quotients are float32
//         in the reference's order; equal weights are visited by ascending index, which the reference leaves open.
// Source: DeepSeek EPLB (github.com/deepseek-ai/EPLB), hierarchical and global; described in "DeepSeek-V3 Technical
//         Report" (arXiv:2412.19437), section 3.4.

extension PlacementPlan {
    /// The plan of DeepSeek's EPLB, slot for slot.
    ///
    /// Hierarchical where groups divide among nodes, else global, as the reference does.
    ///
    /// - Parameters:
    ///   - load: tokens per logical expert, `[L, E]`.
    ///   - shape: slots, ranks, nodes and groups.
    ///   - epoch: which placement of this run.
    /// - Throws: `PlanError` with what would be possible.
    /// - Returns: the placement and its replica ranks.
    /// - Complexity: O(L · P log P), in practice near O(L · P log G).
    /// - Note: Ties go to the lower index. A rank may hold two replicas of one expert. A layer without load gives all
    ///   redundant slots of a node to its first expert.
    public static func compatible(
        load: LoadMatrix, shape: PlanShape, epoch: Int = 0
    ) throws(PlanError) -> PlacementPlan {
        let shape = try shape.resolved(for: load)
        let planner = CompatiblePlanner(experts: load.experts, shape: shape)
        let size = load.layers * shape.slots
        var ranks = [Int32](repeating: 0, count: size)
        let map = [Int32](unsafeUninitializedCapacity: size) { map, count in
            ranks.withUnsafeMutableBufferPointer { ranks in
                load.values.withUnsafeBufferPointer { values in
                    guard let map = map.baseAddress, let ranks = ranks.baseAddress, let values = values.baseAddress
                    else { return }
                    for layer in 0..<load.layers {
                        planner.plan(
                            values + layer * load.experts, map: map + layer * shape.slots,
                            ranks: ranks + layer * shape.slots)
                    }
                }
            }
            count = size
        }
        return PlacementPlan(
            placement: Placement(planned: map, load: load, shape: shape, epoch: epoch), replicaRanks: ranks)
    }
}

/// Space for planning one layer after the other.
struct CompatiblePlanner: ~Copyable {
    private let shape: PlanShape
    private let experts: Int
    private let groupPacking: Packing
    private let slotPacking: Packing
    private let replication: Replication
    /// Group loads as sort keys, then in order; `[groups]` each.
    private let groupKeys: UnsafeMutablePointer<UInt64>
    private let sortedGroups: UnsafeMutablePointer<UInt64>
    /// Node and rank in it of each group, as `node * groups per node + rank`; `[groups]`.
    private let groupPlaces: UnsafeMutablePointer<Int32>
    /// Experts by node, group rank, and id, and their loads; `[E]` each.
    private let listed: UnsafeMutablePointer<Int32>
    private let listedLoad: UnsafeMutablePointer<Float>
    /// Slot of each replica inside its node; `[P / nodes]`.
    private let places: UnsafeMutablePointer<Int32>
    private let scratch: UnsafeMutablePointer<UInt32>

    /// Space for a shape that was checked.
    init(experts: Int, shape: PlanShape) {
        self.shape = shape
        self.experts = experts
        groupPacking = Packing(packs: shape.nodes, room: shape.groups / shape.nodes)
        slotPacking = Packing(packs: shape.ranks / shape.nodes, room: shape.slots / shape.ranks)
        replication = Replication(experts: experts / shape.nodes, slots: shape.slots / shape.nodes)
        groupKeys = .allocate(capacity: shape.groups)
        sortedGroups = .allocate(capacity: shape.groups)
        groupPlaces = .allocate(capacity: shape.groups)
        listed = .allocate(capacity: experts)
        listedLoad = .allocate(capacity: experts)
        places = .allocate(capacity: shape.slots / shape.nodes)
        scratch = .allocate(capacity: descendingSortScratch)
        for expert in 0..<experts { listed[expert] = Int32(truncatingIfNeeded: expert) }
    }

    deinit {
        groupKeys.deallocate()
        sortedGroups.deallocate()
        groupPlaces.deallocate()
        listed.deallocate()
        listedLoad.deallocate()
        places.deallocate()
        scratch.deallocate()
    }

    /// Plans one layer.
    ///
    /// - Parameters:
    ///   - load: `[E]`.
    ///   - map: receives the expert of each slot; `[P]`.
    ///   - ranks: receives the replica rank of each slot; `[P]`.
    func plan(
        _ load: UnsafePointer<Float>, map: UnsafeMutablePointer<Int32>, ranks: UnsafeMutablePointer<Int32>
    ) {
        if shape.groups > 1 { listByNode(load) }
        let nodeExperts = replication.experts
        let nodeSlots = replication.slots
        for node in 0..<shape.nodes {
            let names = listed + node * nodeExperts
            let nodeLoad = shape.groups > 1 ? UnsafePointer(listedLoad + node * nodeExperts) : load
            replication.replicate(nodeLoad)
            slotPacking.pack(replication.sorted, places: places)
            for replica in 0..<nodeSlots {
                let slot = node &* nodeSlots &+ Int(places[replica])
                map[slot] = names[Int(replication.expertOf[replica])]
                ranks[slot] = replication.rankOf[replica]
            }
        }
    }

    /// Packs groups onto nodes and lists each node's experts.
    private func listByNode(_ load: UnsafePointer<Float>) {
        let size = experts / shape.groups
        for group in 0..<shape.groups {
            var sum: Float = 0
            for expert in group * size..<(group + 1) * size { sum += load[expert] }
            groupKeys[group] = descendingKey(sum, group)
        }
        sortDescending(groupKeys, into: sortedGroups, count: shape.groups, scratch: scratch)
        groupPacking.pack(sortedGroups, places: groupPlaces)
        for group in 0..<shape.groups {
            let start = Int(groupPlaces[group]) * size
            for member in 0..<size {
                listed[start + member] = Int32(truncatingIfNeeded: group * size + member)
                listedLoad[start + member] = load[group * size + member]
            }
        }
    }
}
