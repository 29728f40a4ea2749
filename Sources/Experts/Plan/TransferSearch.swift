// TransferSearch: balances one layer by moving few experts from where they lie now.
//
// Goals in order: no more transfers than allowed, balance, few transfers, speed.
// Method: first replicas go, one by one, from the expert that needs its extra replica least to the one with the
//         heaviest share, if that is clearly heavier and heavy enough to matter; each goes where the load is least.
//         Then slots of the busiest rank are exchanged. Slots that differ from the present placement are exchanged
//         among themselves for free; with a slot in its place, or between two of those, gains weigh less, as they
//         cost transfers.

/// Balancing under a limit of transfers, on the layers of one shape.
struct TransferSearch: ~Copyable {
    /// A replica moves only to an expert whose share is this many times what the loser's share becomes.
    private static let clearly: Float = 1.25
    /// Shares below this part of the mean rank load can be packed well enough as they are.
    private static let heavy: Float = 0.45
    /// How much a gain counts that costs no, one or two transfers.
    private static let value: [Float] = [1, 0.9, 0.8]

    /// The layer under change.
    let layer: LayerArrangement
    private let exchange: SlotExchange
    /// The expert that lay in each slot at the start; `[G, stride]`.
    private let origin: UnsafeMutablePointer<Int32>
    /// Weights of the slots that differ from the start, others infinite; `[G, stride]`.
    private let movedWeight: UnsafeMutablePointer<Float>
    /// How many such slots each rank has; `[G]`.
    private let moved: UnsafeMutablePointer<Int32>
    /// How many such slots there are.
    private(set) var transfers = 0

    /// Space for layers of `experts` experts.
    init(experts: Int, shape: PlanShape) {
        layer = LayerArrangement(experts: experts, shape: shape, spill: shape.nodes == 1)
        exchange = SlotExchange(ranks: shape.ranks, room: shape.slots / shape.ranks)
        origin = .allocate(capacity: layer.ranks * layer.stride)
        movedWeight = .allocate(capacity: layer.ranks * layer.stride)
        moved = .allocate(capacity: layer.ranks)
    }

    deinit {
        origin.deallocate()
        movedWeight.deallocate()
        moved.deallocate()
    }

    /// Balances `layer` from the slots that it has now.
    ///
    /// - Parameters:
    ///   - limit: largest rank load that is good enough, in units of the mean.
    ///   - most: transfers allowed.
    ///   - effort: what may be spent, in units of about a nanosecond.
    mutating func improve(limit: Float, most: Int, effort: Int) {
        let size = layer.ranks * layer.stride
        transfers = 0
        origin.update(from: layer.expertOf, count: size)
        layer.settleHomes()
        while layer.peak > limit, transfers < most, moveReplica() { transfers += 1 }
        moved.update(repeating: 0, count: layer.ranks)
        for slot in 0..<size {
            let isMoved = layer.expertOf[slot] != origin[slot]
            movedWeight[slot] = isMoved ? layer.weight[slot] : .infinity
            if isMoved { countMoved(1, at: slot) }
        }
        var work = effort
        while layer.peak > limit, work > 0, exchangeOnce(limit: limit, most: most, work: &work) {}
    }

    /// Moves one replica to an expert that needs it more; false where none clearly does.
    private func moveReplica() -> Bool {
        var gaining = -1
        var losing = -1
        var heaviest = Self.heavy
        var lightest = Float.infinity
        for expert in 0..<layer.experts {
            let count = Int(layer.counts[expert])
            if layer.share[expert] > heaviest, count < layer.ranks {
                heaviest = layer.share[expert]
                gaining = expert
            }
            guard count > 1 else { continue }
            let rest = layer.load[expert] / Float(count - 1)
            if rest < lightest {
                lightest = rest
                losing = expert
            }
        }
        guard gaining >= 0, losing >= 0, gaining != losing, lightest * Self.clearly < heaviest else { return false }
        for place in 0..<layer.ranks {
            let rank = layer.rank(at: place)
            guard layer.mayHold(rank, gaining), !layer.holds(rank: rank, expert: gaining) else { continue }
            for slot in layer.slots(of: rank) where Int(layer.expertOf[slot]) == losing {
                layer.replace(slot, by: gaining)
                return true
            }
        }
        return false
    }

    /// Makes the exchange with the best gain for its transfers; false where none helps.
    private mutating func exchangeOnce(limit: Float, most: Int, work: inout Int) -> Bool {
        var best: SlotExchange.Choice?
        var bestValue: Float = 0
        for (giveMoved, takeMoved) in [(true, true), (true, false), (false, true), (false, false)] {
            let cost = (giveMoved ? 0 : 1) + (takeMoved ? 0 : 1)
            guard transfers + cost <= most else { continue }
            guard !giveMoved || moved[layer.busiest] > 0, !takeMoved || transfers > 0 else { continue }
            let found = exchange.single(
                layer, limit: limit, own: giveMoved ? UnsafePointer(movedWeight) : nil,
                others: takeMoved ? UnsafePointer(movedWeight) : nil, offers: takeMoved ? UnsafePointer(moved) : nil,
                work: &work)
            guard found.partner >= 0 else { continue }
            let value = (layer.peak - max(limit, found.peak)) * Self.value[cost]
            if value > bestValue {
                bestValue = value
                best = found
            }
            if found.peak <= limit { break }
        }
        guard let best else { return false }
        layer.swap(best.slots.0, of: layer.busiest, with: best.others.0, of: best.partner)
        note(best.slots.0)
        note(best.others.0)
        return true
    }

    /// Brings what is known about a slot's move up to date.
    private mutating func note(_ slot: Int) {
        let change: Int32 = (layer.expertOf[slot] != origin[slot] ? 1 : 0) - (movedWeight[slot] < .infinity ? 1 : 0)
        movedWeight[slot] = layer.expertOf[slot] != origin[slot] ? layer.weight[slot] : .infinity
        countMoved(change, at: slot)
        transfers += Int(change)
    }

    /// Counts a slot of a rank as moved or not. Not with `+=`: Swift 6.3 makes bad code of it for the thread sanitizer.
    private func countMoved(_ change: Int32, at slot: Int) {
        let rank = slot / layer.stride
        moved[rank] = moved[rank] + change
    }
}
