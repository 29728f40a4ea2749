// WeightedTransfers: the last transfers of a layer whose replicas will share tokens by weight.
//
// Goals in order: a low peak under dispatch weights, shares that stay near even ones (they tremble least), speed.
// Method: shares are poured (WeightedShares), then slots exchanged where that relieves the busiest rank; exchanges between
//         slots that have moved cost no transfer. Where none helps, an expert of the busiest rank gets one more replica
//         in place of one that is missed little. What does not lower the overload is undone.

/// Steps under dispatch weights, on layers of one shape.
struct WeightedTransfers: ~Copyable {
    /// Smaller gains are rounding.
    private static let leastGain: Float = 1e-6

    private let shares: WeightedShares
    private let replicaCost: Int
    /// The best slots so far; `[P]`.
    private let best: UnsafeMutablePointer<Int32>

    /// Space for layers of `experts` experts in `slots` slots, padded to `padded`.
    init(experts: Int, slots: Int, padded: Int) {
        shares = WeightedShares(experts: experts, slots: slots, padded: padded)
        replicaCost = 200 + 4 * slots
        best = .allocate(capacity: slots)
    }

    deinit { best.deallocate() }

    /// Makes the loads of `layer` those under dispatch weights.
    func share(_ layer: borrowing LayerArrangement) { shares.share(layer) }

    /// Lowers the overload.
    ///
    /// - Parameters:
    ///   - layer: changed; its loads are those under dispatch weights afterwards.
    ///   - step: looks for exchanges.
    ///   - origin: the expert in each slot before any transfer; `[G, stride]`.
    ///   - limit: largest rank load that is good enough, in units of the mean.
    ///   - most: transfers allowed.
    ///   - effort: what may be spent, in units of about a nanosecond.
    func lower(
        _ layer: borrowing LayerArrangement, _ step: borrowing TransferStep, origin: UnsafePointer<Int32>,
        limit: Float, most: Int, effort: Int
    ) {
        var work = effort
        shares.share(layer)
        layer.writeSlots(best)
        var least = TransferStep.overload(layer)
        var exchanges = true
        while layer.peak > limit, work > 0 {
            let spare = most - layer.transfers(from: origin)
            var choice = TransferStep.Choice(gain: Self.leastGain)
            if exchanges {
                choice = step.bestExchange(for: layer, origin: origin, spare: spare, work: &work)
                exchanges = choice.slot >= 0
            }
            if choice.slot < 0 {
                work &-= replicaCost
                replicate(layer, origin, spare, &choice)
                guard choice.slot >= 0 else { return }
            }
            choice.apply(to: layer)
            shares.share(layer)
            work &-= shares.cost
            let overload = TransferStep.overload(layer)
            if overload < least - Self.leastGain {
                least = overload
                layer.writeSlots(best)
                exchanges = true
            } else {
                layer.setSlots(best)
                shares.share(layer)
                guard exchanges else { return }
                exchanges = false
            }
        }
    }

    /// Looks for a replica to give way to one of an expert on the busiest rank.
    private func replicate(
        _ layer: borrowing LayerArrangement, _ origin: UnsafePointer<Int32>, _ spare: Int,
        _ best: inout TransferStep.Choice
    ) {
        let heavy = layer.busiest
        for place in 0..<layer.ranks - 1 {
            let rank = layer.rank(at: place)
            for slot in layer.slots(of: rank) where layer.counts[Int(layer.expertOf[slot])] > 1 {
                let left = layer.rankLoad[rank] - layer.weight[slot]
                let loss = loss(layer, slot, of: rank)
                for own in layer.slots(of: heavy) {
                    let new = Int(layer.expertOf[own])
                    let ranks = ranks(of: new, layer)
                    let moved = min(layer.load[new], (layer.peak - left) * ranks / (ranks + 1))
                    guard moved > 0 else { continue }
                    let gain =
                        ranks * (TransferStep.overload(layer.peak) - TransferStep.overload(layer.peak - moved / ranks))
                        + TransferStep.overload(layer.rankLoad[rank]) - TransferStep.overload(left + moved) - loss
                    guard gain > best.gain, layer.expertOf[slot] != layer.expertOf[own], layer.mayHold(rank, new),
                        layer.cost(slot, of: new, origin) <= spare, !layer.holds(rank: rank, expert: new)
                    else { continue }
                    best = TransferStep.Choice(gain: gain, slot: slot, expert: new)
                }
            }
        }
    }

    /// On how many ranks an expert has tokens.
    private func ranks(of expert: Int, _ layer: borrowing LayerArrangement) -> Float {
        guard layer.counts[expert] > 1 else { return 1 }
        var count: Float = 0
        var slot = shares.slot(after: nil, of: expert)
        while let its = slot {
            count += layer.weight[its] > 0 ? 1 : 0
            slot = shares.slot(after: its, of: expert)
        }
        return max(1, count)
    }

    /// By how much the overload rises elsewhere if a replica goes and another of its expert takes its tokens.
    private func loss(_ layer: borrowing LayerArrangement, _ slot: Int, of rank: Int) -> Float {
        let expert = Int(layer.expertOf[slot])
        var least = Float.infinity
        var other = shares.slot(after: nil, of: expert)
        while let its = other {
            if its != slot { least = min(least, layer.rankLoad[its / layer.stride]) }
            other = shares.slot(after: its, of: expert)
        }
        guard least < .infinity else { return 0 }
        return TransferStep.overload(least + layer.weight[slot]) - TransferStep.overload(least)
    }
}
