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
    /// Their shares, less than any where they may not gain, and what those become if they lose, infinite where they
    /// may not; `[E]` each.
    private let need: UnsafeMutablePointer<Float>
    private let spared: UnsafeMutablePointer<Float>
    /// Experts that lose, slot by slot, the slots, their ranks, and what those carry without them, infinite where no
    /// more goes; `[P]` each.
    private let loserOf: UnsafeMutablePointer<Int32>
    private let slotOf: UnsafeMutablePointer<Int32>
    private let rankOf: UnsafeMutablePointer<Int32>
    private let rest: UnsafeMutablePointer<Float>

    /// Space for layers of `experts` experts in `slots` slots.
    init(experts: Int, slots: Int) {
        surplus = .allocate(capacity: experts)
        surplus.initialize(repeating: 0, count: experts)
        candidates = .allocate(capacity: experts)
        need = .allocate(capacity: experts)
        spared = .allocate(capacity: experts)
        loserOf = .allocate(capacity: slots)
        slotOf = .allocate(capacity: slots)
        rankOf = .allocate(capacity: slots)
        rest = .allocate(capacity: slots)
    }

    deinit {
        surplus.deallocate()
        candidates.deallocate()
        need.deallocate()
        spared.deallocate()
        loserOf.deallocate()
        slotOf.deallocate()
        rankOf.deallocate()
        rest.deallocate()
    }

    /// Moves replicas, at most a part of `most`.
    func move(in layer: borrowing LayerArrangement, most: Int) {
        let count = listCandidates(layer)
        var moves = 0
        while moves < most, let (losing, gaining) = next(count) {
            recount(losing, by: -1, layer)
            recount(gaining, by: 1, layer)
            moves += 1
        }
        guard moves > 0 else { return }
        layer.weighAll()
        let slots = listSlots(layer)
        for place in 0..<count {
            let expert = Int(candidates[place])
            need[place] = surplus[expert] < 0 ? layer.share[expert] : -1
        }
        var arePlaced = true
        while let place = neediest(count) {
            let gaining = Int(candidates[place])
            for _ in surplus[gaining]..<0 where !put(gaining, in: layer, slots) { arePlaced = false }
            need[place] = -1
        }
        guard arePlaced else { return layer.countReplicas() }
        layer.addUpAll()
        layer.sortRanks()
    }

    /// Lists the experts with a heavy share or several replicas; returns how many.
    private func listCandidates(_ layer: borrowing LayerArrangement) -> Int {
        surplus.update(repeating: 0, count: layer.experts)
        var count = 0
        for expert in 0..<layer.experts where layer.counts[expert] > 1 || layer.share[expert] > Self.heavy {
            candidates[count] = Int32(truncatingIfNeeded: expert)
            judge(count, layer)
            count &+= 1
        }
        return count
    }

    /// Notes what speaks for the candidate at a place to gain and to lose; who did one does not do the other.
    private func judge(_ place: Int, _ layer: borrowing LayerArrangement) {
        let expert = Int(candidates[place])
        let replicas = layer.counts[expert]
        need[place] = Int(replicas) < layer.ranks && surplus[expert] <= 0 ? layer.share[expert] : -1
        spared[place] = replicas > 1 && surplus[expert] >= 0 ? layer.largerShare[expert] : .infinity
    }

    /// Announces that the candidate at a place will have more or fewer replicas.
    private func recount(_ place: Int, by change: Int32, _ layer: borrowing LayerArrangement) {
        let expert = Int(candidates[place])
        surplus[expert] -= change
        layer.recount(expert, by: change)
        judge(place, layer)
    }

    /// The candidate to lose a replica and the one to gain it; nil where none clearly needs it more.
    private func next(_ count: Int) -> (losing: Int, gaining: Int)? {
        var (gaining, losing) = (-1, -1)
        var heaviest = Self.heavy
        var lightest = Float.infinity
        for place in 0..<count {
            if need[place] > heaviest { (heaviest, gaining) = (need[place], place) }
            if spared[place] < lightest { (lightest, losing) = (spared[place], place) }
        }
        guard gaining >= 0, losing >= 0, gaining != losing, lightest * Self.clearly < heaviest else { return nil }
        return (losing, gaining)
    }

    /// The candidate with the heaviest share that still has replicas to gain.
    private func neediest(_ count: Int) -> Int? {
        var (best, heaviest): (Int?, Float) = (nil, -1)
        for place in 0..<count where need[place] > heaviest { (heaviest, best) = (need[place], place) }
        return best
    }

    /// Lists the slots of experts that lose replicas; returns how many.
    private func listSlots(_ layer: borrowing LayerArrangement) -> Int {
        var count = 0
        for rank in 0..<layer.ranks {
            for slot in layer.slots(of: rank) where surplus[Int(layer.expertOf[slot])] > 0 {
                loserOf[count] = layer.expertOf[slot]
                slotOf[count] = Int32(truncatingIfNeeded: slot)
                rankOf[count] = Int32(truncatingIfNeeded: rank)
                rest[count] = layer.rankLoad[rank] - layer.weight[slot]
                count &+= 1
            }
        }
        return count
    }

    /// Where the load is least of the listed slots that an expert may get.
    private func idlest(for gaining: Int, in layer: borrowing LayerArrangement, _ slots: Int) -> Int? {
        func mayTake(_ index: Int) -> Bool {
            let rank = Int(rankOf[index])
            return layer.mayHold(rank, gaining) && !layer.holds(rank: rank, expert: gaining)
        }
        // Mostly it is the idlest of all, which is found without a branch.
        var (best, least) = (-1, Float.infinity)
        for index in 0..<slots { (best, least) = rest[index] < least ? (index, rest[index]) : (best, least) }
        guard best >= 0, !mayTake(best) else { return best < 0 ? nil : best }
        (best, least) = (-1, .infinity)
        for index in 0..<slots where rest[index] < least && mayTake(index) { (best, least) = (index, rest[index]) }
        return best < 0 ? nil : best
    }

    /// Puts an expert in the place of one with too many replicas; false where it may lie in none of those.
    private func put(_ gaining: Int, in layer: borrowing LayerArrangement, _ slots: Int) -> Bool {
        guard let best = idlest(for: gaining, in: layer, slots) else { return false }
        let (slot, rank) = (Int(slotOf[best]), rankOf[best])
        let losing = loserOf[best]
        let before = layer.rankLoad[Int(rank)]
        layer.put(gaining, into: slot)
        let added = layer.rankLoad[Int(rank)] - before
        for index in 0..<slots { rest[index] += rankOf[index] == rank ? added : 0 }
        rest[best] = .infinity
        surplus[Int(losing)] -= 1
        guard surplus[Int(losing)] == 0 else { return true }
        for index in 0..<slots where loserOf[index] == losing { rest[index] = .infinity }
        return true
    }
}
