// TransferSearch: balances one layer by moving few experts from where they lie now.
//
// Goals in order: no more transfers than allowed, balance of the windows to come, few transfers, speed.
// Method: first the replica counts are brought to what the load wants, with some of the transfers (ReplicaTransfers).
//         Then the overload is brought down step by step (TransferStep). When no step helps, what was done on a few
//         ranks is undone, and the transfers that this frees are spent anew; the best layer is kept. After G. Schrimpf
//         et al., "Record breaking optimization results using the ruin and recreate principle" (2000).

/// Balancing under a limit of transfers, on the layers of one shape.
struct TransferSearch: ~Copyable {
    /// At most so many ranks are undone at a time.
    private static let mostRuined: UInt64 = 4

    /// The layer under change.
    let layer: LayerArrangement
    private let step: TransferStep
    private let replicas: ReplicaTransfers
    /// The expert that lay in each slot at the start; `[G, stride]`.
    private let origin: UnsafeMutablePointer<Int32>
    /// The best slots so far; `[P]`.
    private let best: UnsafeMutablePointer<Int32>

    /// Space for layers of `experts` experts.
    init(experts: Int, shape: PlanShape) {
        layer = LayerArrangement(experts: experts, shape: shape, spill: shape.nodes == 1)
        step = TransferStep(experts: experts, slots: shape.slots, stride: layer.stride)
        replicas = ReplicaTransfers(experts: experts, slots: shape.slots)
        origin = .allocate(capacity: layer.ranks * layer.stride)
        best = .allocate(capacity: shape.slots)
    }

    deinit {
        origin.deallocate()
        best.deallocate()
    }

    /// Balances `layer` from the slots that it has now.
    ///
    /// - Parameters:
    ///   - limit: largest rank load that is good enough, in units of the mean.
    ///   - most: transfers allowed.
    ///   - effort: what may be spent, in units of about a nanosecond.
    func improve(limit: Float, most: Int, effort: Int) {
        origin.update(from: layer.expertOf, count: layer.ranks * layer.stride)
        layer.settleHomes()
        replicas.move(in: layer, most: most)
        var work = effort
        descend(limit: limit, most: most, isThorough: false, work: &work)
        var least = overload
        layer.writeSlots(best)
        var state: UInt64 = 0x9E37_79B9_7F4A_7C15
        while layer.peak > limit, work > 0 {
            ruin(&state)
            descend(limit: limit, most: most, isThorough: true, work: &work)
            if overload < least, transfers <= most {
                least = overload
                layer.writeSlots(best)
            } else {
                layer.setSlots(best)
            }
        }
    }

    /// The sum of what ranks carry too much, squared.
    private var overload: Float {
        var sum: Float = 0
        for rank in 0..<layer.ranks { sum += TransferStep.overload(layer.rankLoad[rank]) }
        return sum
    }

    /// How many slots differ from the start.
    private var transfers: Int {
        var count = 0
        for slot in 0..<layer.ranks * layer.stride where layer.expertOf[slot] != origin[slot] { count &+= 1 }
        return count
    }

    /// Takes the best step until none helps.
    private func descend(limit: Float, most: Int, isThorough: Bool, work: inout Int) {
        var spare = most - transfers
        while layer.peak > limit, work > 0, spare >= 0 {
            let choice = step.best(
                for: layer, origin: origin, spare: spare, isThorough: isThorough, work: &work)
            guard choice.slot >= 0 else { return }
            if choice.other >= 0 {
                layer.swap(
                    choice.slot, of: choice.slot / layer.stride, with: choice.other, of: choice.other / layer.stride)
            } else {
                layer.replace(choice.slot, by: choice.expert)
            }
            spare = most - transfers
        }
    }

    /// Undoes the transfers of some ranks, mostly of the busiest too, as far as that leaves no expert without a slot.
    private func ruin(_ state: inout UInt64) {
        func random(_ count: UInt64) -> Int {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return Int(((state >> 32) * count) >> 32)
        }
        let count = 1 + random(Self.mostRuined)
        for turn in 0..<count {
            let rank = turn == 0 && random(3) > 0 ? layer.busiest : random(UInt64(layer.ranks))
            for slot in layer.slots(of: rank) where layer.expertOf[slot] != origin[slot] { undo(slot, of: rank) }
        }
    }

    /// Brings back what lay in a slot.
    private func undo(_ slot: Int, of rank: Int) {
        let expert = Int(layer.expertOf[slot])
        if layer.counts[expert] > 1 {
            guard !layer.holds(rank: rank, expert: Int(origin[slot])) else { return }
            layer.replace(slot, by: Int(origin[slot]))
        } else {
            for home in 0..<layer.ranks where home != rank {
                for other in layer.slots(of: home)
                where Int(origin[other]) == expert && !layer.clashes(slot, of: rank, other, of: home) {
                    return layer.swap(slot, of: rank, with: other, of: home)
                }
            }
        }
    }
}
