// WeightedShares: shares a layer's replicated experts among their ranks about as dispatch weights will.
//
// Goals in order: speed, loads near those of the weights to come (RankFlow finds those exactly).
// Method: experts pour their tokens one after the other over their ranks to an equal level, for a few rounds that begin
//         with the shares that are there. The level is a rank's load plus a part, the risk, of the expert's share on it:
//         so the squares of rank loads plus that part of the squares of shares become least, and of many ways to even
//         ranks the one with even shares is taken. Experts come in the order of their first slots, and those that get a
//         second replica later after them, so that names do not matter.

/// Sharing by weight on layers of one shape.
struct WeightedShares: ~Copyable {
    /// How much the squares of shares count beside those of rank loads: what the next window adds to a rank grows with
    /// them. About the square of 5 % noise, times what makes the busiest of some dozen ranks stand out.
    static let risk: Float = 0.05
    private static let firstRounds = 2
    private static let unlinked: Int32 = -2

    /// The first and the last slot of each expert, -1 before it is met, and the next of the same on another rank or -1;
    /// `[E]` twice and `[G, stride]`. A second replica on a rank is of no use and not linked.
    private let first: UnsafeMutablePointer<Int32>
    private let last: UnsafeMutablePointer<Int32>
    private let next: UnsafeMutablePointer<Int32>
    /// The rank of each slot, as dividing takes long; `[G, stride]`.
    private let rankOf: UnsafeMutablePointer<Int32>
    /// Experts that have or had replicas on several ranks; `[P]`.
    private let replicated: UnsafeMutablePointer<Int32>

    /// Space for layers of `experts` experts in `slots` slots, `stride` apart from rank to rank.
    init(experts: Int, slots: Int, ranks: Int, stride: Int) {
        first = .allocate(capacity: experts)
        last = .allocate(capacity: experts)
        next = .allocate(capacity: ranks * stride)
        rankOf = .allocate(capacity: ranks * stride)
        for rank in 0..<ranks {
            (rankOf + rank * stride).initialize(repeating: Int32(truncatingIfNeeded: rank), count: stride)
        }
        replicated = .allocate(capacity: slots)
    }

    deinit {
        first.deallocate()
        last.deallocate()
        next.deallocate()
        rankOf.deallocate()
        replicated.deallocate()
    }

    /// Makes the weights of slots what they will be given of their expert's load, and rank loads their sums; the
    /// layer's `sortRanks` must follow.
    ///
    /// - Returns: how many experts are on several ranks, and whether any is twice on one.
    @discardableResult func share(_ layer: borrowing LayerArrangement) -> (count: Int, hasTwins: Bool) {
        let listed = list(layer)
        for _ in 0..<Self.firstRounds { pour(listed.count, layer) }
        layer.addUpAll()
        return listed
    }

    /// The expert at a place of the list that `share` made.
    @inline(__always) func expert(at place: Int) -> Int { Int(replicated[place]) }

    /// The slots of an expert, one per rank.
    @inline(__always) func slot(after slot: Int?, of expert: Int) -> Int? {
        let found = slot.map { next[$0] } ?? first[expert]
        return found < 0 ? nil : Int(found)
    }

    /// The rank of a slot.
    @inline(__always) func rank(of slot: Int) -> Int { Int(rankOf[slot]) }

    /// Whether an expert is on several ranks.
    @inline(__always) func isSpread(_ expert: Int) -> Bool { next[Int(first[expert])] >= 0 }

    /// Whether a slot holds a second replica on its rank.
    @inline(__always) func isTwin(_ slot: Int) -> Bool { next[slot] == Self.unlinked }

    /// Lets every listed expert pour once.
    func pour(_ count: Int, _ layer: borrowing LayerArrangement) {
        for place in 0..<count { pour(expert: Int(replicated[place]), layer) }
    }

    /// Gives a slot to another expert, whose tokens are poured anew like those of the one that lay there.
    func replace(_ slot: Int, by expert: Int, _ count: inout Int, _ layer: borrowing LayerArrangement) {
        let old = Int(layer.expertOf[slot])
        unlink(slot, layer)
        layer.expertOf[slot] = Int32(truncatingIfNeeded: expert)
        layer.rankLoad[rank(of: slot)] -= layer.weight[slot]
        layer.weight[slot] = 0
        layer.counts[old] &-= 1
        layer.counts[expert] &+= 1
        if next[Int(first[expert])] < 0, !isListed(expert, count) {
            replicated[count] = Int32(truncatingIfNeeded: expert)
            count &+= 1
        }
        link(slot, expert)
        pour(expert: old, layer)
        pour(expert: expert, layer)
    }

    /// Exchanges what lies in two slots, with the shares.
    func swap(_ slot: Int, _ other: Int, _ layer: borrowing LayerArrangement) {
        let (expert, second) = (Int(layer.expertOf[slot]), Int(layer.expertOf[other]))
        let moved = layer.weight[slot] - layer.weight[other]
        unlink(slot, layer)
        unlink(other, layer)
        (layer.weight[slot], layer.weight[other]) = (layer.weight[other], layer.weight[slot])
        (layer.expertOf[slot], layer.expertOf[other]) = (layer.expertOf[other], layer.expertOf[slot])
        layer.rankLoad[rank(of: slot)] -= moved
        layer.rankLoad[rank(of: other)] += moved
        link(slot, second)
        link(other, expert)
        pour(expert: expert, layer)
        pour(expert: second, layer)
    }

    private func isListed(_ expert: Int, _ count: Int) -> Bool {
        for place in 0..<count where Int(replicated[place]) == expert { return true }
        return false
    }

    /// Puts a slot among those of its expert, in the order of slots.
    private func link(_ slot: Int, _ expert: Int) {
        var (before, after) = (-1, Int(first[expert]))
        while after >= 0, after < slot { (before, after) = (after, Int(next[after])) }
        next[slot] = Int32(truncatingIfNeeded: after)
        if before < 0 {
            first[expert] = Int32(truncatingIfNeeded: slot)
        } else {
            next[before] = Int32(truncatingIfNeeded: slot)
        }
    }

    /// Takes a slot from those of its expert; a second replica on the rank takes its place.
    private func unlink(_ slot: Int, _ layer: borrowing LayerArrangement) {
        guard !isTwin(slot) else { return }
        let expert = Int(layer.expertOf[slot])
        if Int(first[expert]) == slot {
            first[expert] = next[slot]
        } else {
            var before = Int(first[expert])
            while Int(next[before]) != slot { before = Int(next[before]) }
            next[before] = next[slot]
        }
        let rank = rank(of: slot)
        for twin in layer.slots(of: rank) where Int(layer.expertOf[twin]) == expert && isTwin(twin) {
            return link(twin, expert)
        }
    }

    /// Lists the slots of each expert, and the experts on several ranks; returns how many, and whether there are twins.
    private func list(_ layer: borrowing LayerArrangement) -> (count: Int, hasTwins: Bool) {
        first.update(repeating: -1, count: layer.experts)
        var (several, hasTwins) = (0, false)
        for rank in 0..<layer.ranks {
            for slot in layer.slots(of: rank) {
                let expert = Int(layer.expertOf[slot])
                next[slot] = -1
                if first[expert] < 0 {
                    first[expert] = Int32(truncatingIfNeeded: slot)
                    last[expert] = first[expert]
                    guard layer.counts[expert] > 1 else { continue }
                    replicated[several] = layer.expertOf[slot]
                    several &+= 1
                } else if rankOf[Int(last[expert])] < rankOf[slot] {
                    next[Int(last[expert])] = Int32(truncatingIfNeeded: slot)
                    last[expert] = Int32(truncatingIfNeeded: slot)
                } else {
                    next[slot] = Self.unlinked
                    layer.weight[Int(last[expert])] += layer.weight[slot]
                    layer.weight[slot] = 0
                    hasTwins = true
                }
            }
        }
        var count = 0
        for place in 0..<several where isSpread(expert(at: place)) {
            replicated[count] = replicated[place]
            count &+= 1
        }
        return (count, hasTwins)
    }

    /// Fills the ranks of an expert to an equal level, given what the others put there.
    private func pour(expert: Int, _ layer: borrowing LayerArrangement) {
        let start = Int(first[expert])
        let load = layer.load[expert]
        let other = Int(next[start])
        if other >= 0, next[other] < 0 { return pour(load, start, other, layer) }
        var (sum, count, highest) = (load * (1 + Self.risk), Float(0), -Float.infinity)
        var slot = start
        while slot >= 0 {
            let rank = rank(of: slot)
            let rest = layer.rankLoad[rank] - layer.weight[slot]
            layer.rankLoad[rank] = rest
            (sum, count, highest) = (sum + rest, count + 1, max(highest, rest))
            slot = Int(next[slot])
        }
        var level = sum / count
        // Ranks above the level drop out, which lowers it, until all that are left lie below.
        while highest >= level {
            (sum, count, highest) = (load * (1 + Self.risk), 0, -.infinity)
            slot = start
            while slot >= 0 {
                let rest = layer.rankLoad[rank(of: slot)]
                if rest < level { (sum, count, highest) = (sum + rest, count + 1, max(highest, rest)) }
                slot = Int(next[slot])
            }
            guard count > 0 else { break }
            level = sum / count
        }
        slot = start
        while slot >= 0 {
            let rank = rank(of: slot)
            layer.weight[slot] = max(0, level - layer.rankLoad[rank]) * (1 / (1 + Self.risk))
            layer.rankLoad[rank] += layer.weight[slot]
            slot = Int(next[slot])
        }
    }

    /// The same for two ranks.
    private func pour(_ load: Float, _ slot: Int, _ other: Int, _ layer: borrowing LayerArrangement) {
        let (rank, second) = (rank(of: slot), rank(of: other))
        let rest = layer.rankLoad[rank] - layer.weight[slot]
        let otherRest = layer.rankLoad[second] - layer.weight[other]
        let part = min(load, max(0, (load + (otherRest - rest) * (1 / (1 + Self.risk))) / 2))
        layer.weight[slot] = part
        layer.weight[other] = load - part
        layer.rankLoad[rank] = rest + part
        layer.rankLoad[second] = otherRest + load - part
    }
}
