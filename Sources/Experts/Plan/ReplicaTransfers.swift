// ReplicaTransfers: moves redundant replicas from experts that need them least to those with the heaviest shares.
//
// Goals in order: shares light enough to be packed, few transfers, speed.
// Method: first only counts: one by one, the replica that is missed least goes to the heaviest share, if that is clearly
//         heavier. Then the replicas to come are placed, heavy before light, each on the rank with the least load
//         by the shares that will be, in place of one that goes.

/// The first transfers of a layer; for layers of one size.
struct ReplicaTransfers: ~Copyable {
    /// A replica moves only to an expert whose share is this many times what the loser's share becomes.
    private static let clearly: Float = 1.25
    /// Shares below this part of the mean rank load can be packed well enough as they are.
    private static let heavy: Float = 0.3

    /// How many replicas each expert is to lose, or if negative gain; `[E]`.
    private let surplus: UnsafeMutablePointer<Int32>
    /// Experts that may gain or lose; `[E]`.
    private let candidates: UnsafeMutablePointer<Int32>
    /// Slots of those that lose, and their ranks; `[P]` each.
    private let slotOf: UnsafeMutablePointer<Int32>
    private let rankOf: UnsafeMutablePointer<Int32>

    /// Space for layers of `experts` experts in `slots` slots.
    init(experts: Int, slots: Int) {
        surplus = .allocate(capacity: experts)
        surplus.initialize(repeating: 0, count: experts)
        candidates = .allocate(capacity: experts)
        slotOf = .allocate(capacity: slots)
        rankOf = .allocate(capacity: slots)
    }

    deinit {
        surplus.deallocate()
        candidates.deallocate()
        slotOf.deallocate()
        rankOf.deallocate()
    }

    /// Moves replicas, at most a part of `most`.
    func move(in layer: borrowing LayerArrangement, most: Int) {
        let count = listCandidates(layer)
        var moves = 0
        while moves < most, let (losing, gaining) = next(layer, count) {
            surplus[losing] += 1
            surplus[gaining] -= 1
            layer.recount(losing, by: -1)
            layer.recount(gaining, by: 1)
            moves += 1
        }
        guard moves > 0 else { return }
        layer.weighAll()
        var slots = listSlots(layer)
        while let gaining = heaviest(layer, count) {
            for _ in surplus[gaining]..<0 { place(gaining, in: layer, &slots) }
            surplus[gaining] = 0
        }
        layer.countReplicas()
    }

    /// Lists the experts with a heavy share or several replicas; returns how many.
    private func listCandidates(_ layer: borrowing LayerArrangement) -> Int {
        surplus.update(repeating: 0, count: layer.experts)
        var count = 0
        for expert in 0..<layer.experts where layer.counts[expert] > 1 || layer.share[expert] > Self.heavy {
            candidates[count] = Int32(truncatingIfNeeded: expert)
            count &+= 1
        }
        return count
    }

    /// The expert to lose a replica and the one to gain it; nil where none clearly needs it more.
    private func next(_ layer: borrowing LayerArrangement, _ count: Int) -> (losing: Int, gaining: Int)? {
        var (gaining, losing) = (-1, -1)
        var heaviest = Self.heavy
        var lightest = Float.infinity
        for index in 0..<count {
            let expert = Int(candidates[index])
            let replicas = layer.counts[expert]
            if layer.share[expert] > heaviest, Int(replicas) < layer.ranks, surplus[expert] <= 0 {
                heaviest = layer.share[expert]
                gaining = expert
            }
            guard replicas > 1, surplus[expert] >= 0 else { continue }
            if layer.largerShare[expert] < lightest {
                lightest = layer.largerShare[expert]
                losing = expert
            }
        }
        guard gaining >= 0, losing >= 0, gaining != losing, lightest * Self.clearly < heaviest else { return nil }
        return (losing, gaining)
    }

    /// Lists the slots of experts that lose replicas; returns how many.
    private func listSlots(_ layer: borrowing LayerArrangement) -> Int {
        var count = 0
        for rank in 0..<layer.ranks {
            for slot in layer.slots(of: rank) {
                let expert = Int(layer.expertOf[slot])
                guard surplus[expert] > 0 else { continue }
                slotOf[count] = Int32(truncatingIfNeeded: slot)
                rankOf[count] = Int32(truncatingIfNeeded: rank)
                count &+= 1
            }
        }
        return count
    }

    /// The expert with the heaviest share that still has replicas to gain.
    private func heaviest(_ layer: borrowing LayerArrangement, _ count: Int) -> Int? {
        var best: Int?
        for index in 0..<count {
            let expert = Int(candidates[index])
            guard surplus[expert] < 0, layer.share[expert] > best.map({ layer.share[$0] }) ?? -1 else { continue }
            best = expert
        }
        return best
    }

    /// Puts an expert in the place of one with too many replicas, where the load is least; strikes slots of those that
    /// no longer have too many.
    private func place(_ gaining: Int, in layer: borrowing LayerArrangement, _ slots: inout Int) {
        let listed = slots
        slots = 0
        var best = -1
        var least = Float.infinity
        for index in 0..<listed {
            let (slot, rank) = (Int(slotOf[index]), Int(rankOf[index]))
            guard surplus[Int(layer.expertOf[slot])] > 0 else { continue }
            (slotOf[slots], rankOf[slots]) = (slotOf[index], rankOf[index])
            slots &+= 1
            let left = layer.rankLoad[rank] - layer.weight[slot]
            guard left < least, layer.mayHold(rank, gaining),
                !layer.holds(rank: rank, expert: gaining)
            else { continue }
            least = left
            best = slot
        }
        guard best >= 0 else { return }
        surplus[Int(layer.expertOf[best])] -= 1
        layer.put(gaining, into: best)
    }
}
