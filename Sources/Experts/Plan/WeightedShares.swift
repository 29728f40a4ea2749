// WeightedShares: shares a layer's replicated experts among their ranks about as dispatch weights will.
//
// Goals in order: speed, loads near those of the weights to come (RankFlow finds those exactly).
// Method: experts pour their tokens one after the other over their ranks to an equal level, for a few rounds that begin
//         with the shares that are there. Their order is that of their first slots, so that names do not matter.

/// Sharing by weight on layers of one shape.
struct WeightedShares: ~Copyable {
    private static let rounds = 4

    /// What sharing costs, in units of about a nanosecond.
    let cost: Int
    /// The first slot of each expert, -1 before it is met, and the next of the same on another rank or -1; `[E]` and
    /// `[G, stride]`.
    private let first: UnsafeMutablePointer<Int32>
    private let next: UnsafeMutablePointer<Int32>
    /// Experts on several ranks; `[P]`.
    private let replicated: UnsafeMutablePointer<Int32>

    /// Space for layers of `experts` experts in `slots` slots, padded to `padded`.
    init(experts: Int, slots: Int, padded: Int) {
        cost = 500 + 5 * slots
        first = .allocate(capacity: experts)
        next = .allocate(capacity: padded)
        replicated = .allocate(capacity: slots)
    }

    deinit {
        first.deallocate()
        next.deallocate()
        replicated.deallocate()
    }

    /// Makes the weights of slots what they will be given of their expert's load, and rank loads their sums.
    func share(_ layer: borrowing LayerArrangement) {
        let count = list(layer)
        for _ in 0..<Self.rounds {
            for index in 0..<count { pour(Int(replicated[index]), layer) }
        }
        layer.addUpAll()
    }

    /// The slots of an expert after `share`, one per rank, as long as none changes.
    @inline(__always) func slot(after slot: Int?, of expert: Int) -> Int? {
        let found = slot.map { next[$0] } ?? first[expert]
        return found < 0 ? nil : Int(found)
    }

    /// Lists the slots of each expert, and the experts on several ranks; returns how many.
    private func list(_ layer: borrowing LayerArrangement) -> Int {
        first.update(repeating: -1, count: layer.experts)
        for rank in (0..<layer.ranks).reversed() {
            for slot in layer.slots(of: rank).reversed() {
                let expert = Int(layer.expertOf[slot])
                let later = Int(first[expert])
                next[slot] = first[expert]
                first[expert] = Int32(truncatingIfNeeded: slot)
                guard layer.counts[expert] > 1, later >= 0, later / layer.stride == rank else { continue }
                // A second replica on the rank is of no use.
                next[slot] = next[later]
                layer.weight[slot] += layer.weight[later]
                layer.weight[later] = 0
            }
        }
        var count = 0
        for rank in 0..<layer.ranks {
            for slot in layer.slots(of: rank) {
                let expert = Int(layer.expertOf[slot])
                guard layer.counts[expert] > 1, Int(first[expert]) == slot, next[slot] >= 0 else { continue }
                replicated[count] = layer.expertOf[slot]
                count &+= 1
            }
        }
        return count
    }

    /// Fills the ranks of an expert to an equal level, given what the others put there.
    private func pour(_ expert: Int, _ layer: borrowing LayerArrangement) {
        let start = Int(first[expert])
        if next[Int(next[start])] < 0 { return pour(layer.load[expert], start, Int(next[start]), layer) }
        var slot = start
        while slot >= 0 {
            layer.rankLoad[slot / layer.stride] -= layer.weight[slot]
            slot = Int(next[slot])
        }
        // Ranks above the level drop out, which lowers it, until all that are left lie below.
        var level = Float.infinity
        while true {
            var (sum, count) = (layer.load[expert], Float(0))
            slot = start
            while slot >= 0 {
                let load = layer.rankLoad[slot / layer.stride]
                if load < level { (sum, count) = (sum + load, count + 1) }
                slot = Int(next[slot])
            }
            guard count > 0, sum / count < level else { break }
            level = sum / count
        }
        slot = start
        while slot >= 0 {
            let rank = slot / layer.stride
            layer.weight[slot] = max(0, level - layer.rankLoad[rank])
            layer.rankLoad[rank] += layer.weight[slot]
            slot = Int(next[slot])
        }
    }

    /// The same for two ranks.
    private func pour(_ load: Float, _ slot: Int, _ other: Int, _ layer: borrowing LayerArrangement) {
        let (rank, second) = (slot / layer.stride, other / layer.stride)
        let rest = layer.rankLoad[rank] - layer.weight[slot]
        let otherRest = layer.rankLoad[second] - layer.weight[other]
        let part = min(load, max(0, (load + otherRest - rest) / 2))
        layer.weight[slot] = part
        layer.weight[other] = load - part
        layer.rankLoad[rank] = rest + part
        layer.rankLoad[second] = otherRest + load - part
    }
}
