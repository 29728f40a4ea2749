// TransferSearch: balances one layer by moving few experts from where they lie now.
//
// Goals in order: no more transfers than allowed, balance of the windows to come, few transfers, speed.
// Method: first the replica counts are brought to what the load wants, with some of the transfers (ReplicaTransfers).
//         Then the overload is brought down step by step (TransferStep). When no step helps, what was done on a few
//         ranks is undone, and the transfers that this frees are spent anew; the best layer is kept. After G. Schrimpf
//         et al., "Record breaking optimization results using the ruin and recreate principle" (2000).
//         Where dispatch weights will share, replica counts and exchanges are a start with a part of the transfers, whose
//         even shares tremble least; WeightedTransfers spends the others, on replicas too, which it can judge.

/// Balancing under a limit of transfers, on the layers of one shape.
struct TransferSearch: ~Copyable {
    /// At most so many ranks are undone at a time.
    private static let mostRuined: UInt64 = 4

    /// The part of all transfers that replicas may take; the others balance.
    private static let replicaPart = 0.8

    /// The layer under change.
    let layer: LayerArrangement
    private let step: TransferStep
    private let replicas: ReplicaTransfers
    private let weighted: WeightedTransfers
    /// The expert that lay in each slot at the start; `[G, stride]`.
    private let origin: UnsafeMutablePointer<Int32>
    /// The best slots so far; `[P]`.
    private let best: UnsafeMutablePointer<Int32>

    /// Space for layers of `experts` experts.
    init(experts: Int, shape: PlanShape) {
        layer = LayerArrangement(experts: experts, shape: shape, spill: shape.nodes == 1)
        step = TransferStep(experts: experts, slots: shape.slots, stride: layer.stride)
        replicas = ReplicaTransfers(experts: experts, slots: shape.slots)
        weighted = WeightedTransfers(
            experts: experts, slots: shape.slots, ranks: layer.ranks, stride: layer.stride)
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
    ///   - isWeighted: whether the peak under dispatch weights counts; loads are then those afterwards.
    func improve(limit: Float, most: Int, effort: Int, isWeighted: Bool) {
        origin.update(from: layer.expertOf, count: layer.ranks * layer.stride)
        layer.settleHomes()
        let part = Int(Double(most) * Self.replicaPart)
        replicas.move(in: layer, most: part)
        guard isWeighted else { return search(limit: limit, most: most, effort: effort) }
        var work = effort / 2
        descend(limit: limit, most: part, by: .exchanges, work: &work)
        weighted.lower(layer, origin: origin, limit: limit, most: most, effort: effort / 2)
    }

    /// Descends, undoes and descends anew; leaves the best.
    private func search(limit: Float, most: Int, effort: Int) {
        var work = effort
        descend(limit: limit, most: most, by: .exchangesFirst, work: &work)
        var least = TransferStep.overload(layer)
        layer.writeSlots(best)
        var state: UInt64 = 0x9E37_79B9_7F4A_7C15
        while layer.peak > limit, work > 0 {
            ruin(&state)
            descend(limit: limit, most: most, by: .all, work: &work)
            if TransferStep.overload(layer) < least, layer.transfers(from: origin) <= most {
                least = TransferStep.overload(layer)
                layer.writeSlots(best)
            } else {
                layer.setSlots(best)
            }
        }
    }

    /// Makes the loads of `layer` those under dispatch weights.
    func share() { weighted.share(layer) }

    /// Takes the best step until none helps.
    private func descend(limit: Float, most: Int, by kinds: TransferStep.Kinds, work: inout Int) {
        var spare = most - layer.transfers(from: origin)
        while layer.peak > limit, work > 0, spare >= 0 {
            let choice = step.best(for: layer, origin: origin, spare: spare, of: kinds, work: &work)
            guard choice.slot >= 0 else { return }
            choice.apply(to: layer)
            spare = most - layer.transfers(from: origin)
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
