// LayerArrangement: one layer's experts in their slots while a planner moves them about.
//
// Goals in order: loads that always match the slots, speed of the two moves (swap two slots, replace a replica).
// Owner: one planner on one thread.
// Method: loads are scaled so that the mean rank carries 1. Scaling is one rounded quotient per expert, so that counts
//         multiplied by a whole number lead to the same plan. Each rank's slots are padded to whole vectors of four;
//         padding weighs infinity, which no search for a fitting weight ever finds. Ranks are kept in order of load.
// Invariant: every expert lies in `counts[expert] >= 1` slots; `order` is ascending in `rankLoad`.

/// The slots of one layer with their weights, and what they add up to on each rank.
struct LayerArrangement: ~Copyable {
    /// E.
    let experts: Int
    /// G.
    let ranks: Int
    /// p: slots per rank.
    let room: Int
    /// From one rank's first slot to the next rank's first: `room` rounded up to whole vectors.
    let stride: Int
    /// The expert in each slot, padding -1; `[G, stride]`.
    let expertOf: UnsafeMutablePointer<Int32>
    /// Load of each slot: its expert's, divided by the replicas; padding infinity; `[G, stride]`.
    let weight: UnsafeMutablePointer<Float>
    /// Sum of each rank's weights; `[G]`.
    let rankLoad: UnsafeMutablePointer<Float>
    /// Load of each expert in units of the mean rank load; `[E]`.
    let load: UnsafeMutablePointer<Float>
    /// Replicas of each expert; `[E]`.
    let counts: UnsafeMutablePointer<Int32>
    /// Load of each of an expert's replicas; `[E]`.
    let share: UnsafeMutablePointer<Float>
    /// What `share` would be with one replica more; `[E]`.
    let smallerShare: UnsafeMutablePointer<Float>
    /// What `share` would be with one replica less; infinite where there is only one.
    let largerShare: UnsafeMutablePointer<Float>

    /// Ranks by ascending load, and where each stands in that order; `[G]` each.
    private let order: UnsafeMutablePointer<Int32>
    private let standing: UnsafeMutablePointer<Int32>

    /// Ranks of a node; G where nodes do not matter.
    let ranksPerNode: Int
    /// Whether redundant replicas may lie outside their expert's node.
    let spills: Bool
    /// The node where each expert must lie at least once; `[E]`.
    private let home: UnsafeMutablePointer<Int32>

    /// Space for a layer.
    ///
    /// - Parameters:
    ///   - experts: E.
    ///   - shape: slots, ranks and nodes; checked.
    ///   - spill: whether redundant replicas may lie outside the node of their expert.
    init(experts: Int, shape: PlanShape, spill: Bool) {
        self.experts = experts
        ranks = shape.ranks
        ranksPerNode = shape.ranks / shape.nodes
        spills = spill
        room = shape.slots / shape.ranks
        stride = (room + 3) / 4 * 4
        expertOf = .allocate(capacity: ranks * stride)
        weight = .allocate(capacity: ranks * stride)
        rankLoad = .allocate(capacity: ranks)
        load = .allocate(capacity: experts)
        counts = .allocate(capacity: experts)
        share = .allocate(capacity: experts)
        smallerShare = .allocate(capacity: experts)
        largerShare = .allocate(capacity: experts)
        home = .allocate(capacity: experts)
        order = .allocate(capacity: ranks)
        standing = .allocate(capacity: ranks)
        expertOf.initialize(repeating: -1, count: ranks * stride)
        weight.initialize(repeating: .infinity, count: ranks * stride)
        home.initialize(repeating: 0, count: experts)
    }

    deinit {
        expertOf.deallocate()
        weight.deallocate()
        rankLoad.deallocate()
        load.deallocate()
        counts.deallocate()
        share.deallocate()
        smallerShare.deallocate()
        largerShare.deallocate()
        home.deallocate()
        order.deallocate()
        standing.deallocate()
    }

    /// Takes over a layer's load; the slots must follow.
    ///
    /// - Parameter tokens: `[E]`.
    /// - Returns: whether there is any load.
    func setLoad(_ tokens: UnsafePointer<Float>) -> Bool {
        var total = 0.0
        for expert in 0..<experts { total += Double(tokens[expert]) }
        guard total > 0 else { return false }
        for expert in 0..<experts { load[expert] = Float(Double(tokens[expert]) * Double(ranks) / total) }
        return true
    }

    /// Takes over which expert lies where; `map`: `[P]`.
    func setSlots(_ map: UnsafePointer<Int32>) {
        for rank in 0..<ranks { (expertOf + rank * stride).update(from: map + rank * room, count: room) }
        countReplicas()
    }

    /// Makes counts, shares and loads those of the slots.
    func countReplicas() {
        counts.update(repeating: 0, count: experts)
        for rank in 0..<ranks { for slot in slots(of: rank) { counts[Int(expertOf[slot])] &+= 1 } }
        for expert in 0..<experts { divide(expert) }
        weighAll()
        sortRanks()
    }

    /// Makes loads those of the shares; `sortRanks` or `countReplicas` must follow.
    func weighAll() {
        for rank in 0..<ranks { weigh(rank) }
    }

    /// Announces that an expert will have more or fewer replicas; slots and `countReplicas` must follow.
    func recount(_ expert: Int, by change: Int32) {
        counts[expert] &+= change
        divide(expert)
    }

    /// Puts an expert whose replicas were announced into a slot.
    func put(_ expert: Int, into slot: Int) {
        let rank = slot / stride
        rankLoad[rank] += share[expert] - weight[slot]
        expertOf[slot] = Int32(truncatingIfNeeded: expert)
        weight[slot] = share[expert]
    }

    /// Writes which expert lies where; `map`: `[P]`.
    func writeSlots(_ map: UnsafeMutablePointer<Int32>) {
        for rank in 0..<ranks { (map + rank * room).update(from: expertOf + rank * stride, count: room) }
    }

    /// The slots of a rank, in the padded numbering.
    @inline(__always) func slots(of rank: Int) -> Range<Int> { rank &* stride..<rank &* stride &+ room }

    /// The rank at a place in ascending order of load.
    @inline(__always) func rank(at place: Int) -> Int { Int(order[place]) }

    /// The rank with the largest load.
    var busiest: Int { Int(order[ranks - 1]) }

    /// The largest rank load, in units of the mean.
    var peak: Float { rankLoad[busiest] }

    /// Whether a rank holds a replica of an expert.
    @inline(__always) func holds(rank: Int, expert: Int) -> Bool {
        let wanted = Int32(truncatingIfNeeded: expert)
        var found = false
        for slot in slots(of: rank) { found = found || expertOf[slot] == wanted }
        return found
    }

    /// Whether an exchange of slots would put a second replica of an expert on a rank.
    func clashes(_ slot: Int, of first: Int, _ other: Int, of second: Int) -> Bool {
        let leaving = Int(expertOf[slot])
        let coming = Int(expertOf[other])
        return counts[leaving] > 1 && holds(rank: second, expert: leaving)
            || counts[coming] > 1 && holds(rank: first, expert: coming)
    }

    /// The sum of the squares of the slots' weights.
    var squaredWeights: Float {
        var sum = SIMD4<Float>.zero
        for chunk in 0..<ranks * stride / 4 {
            let its = UnsafeRawPointer(weight + 4 * chunk).loadUnaligned(as: SIMD4<Float>.self)
            sum += (its * its).replacing(with: 0, where: its .== .infinity)
        }
        return sum.sum()
    }

    /// How many slots hold another expert than in `origin`; `[G, stride]`.
    func transfers(from origin: UnsafePointer<Int32>) -> Int {
        var count: Int32 = 0  // as wide as what is compared, so that vectors count
        for slot in 0..<ranks * stride where expertOf[slot] != origin[slot] { count &+= 1 }
        return Int(count)
    }

    /// How many transfers more it takes if a slot gets an expert.
    @inline(__always) func cost(_ slot: Int, of expert: Int, _ origin: UnsafePointer<Int32>) -> Int {
        (Int(origin[slot]) != expert ? 1 : 0) - (origin[slot] != expertOf[slot] ? 1 : 0)
    }

    /// The node of a rank.
    @inline(__always) func node(of rank: Int) -> Int { rank / ranksPerNode }

    /// Makes the node where each expert lies now its home; for slots of a hierarchical plan.
    func settleHomes() {
        guard ranksPerNode < ranks else { return }
        for rank in 0..<ranks {
            for slot in slots(of: rank) { home[Int(expertOf[slot])] = Int32(truncatingIfNeeded: node(of: rank)) }
        }
    }

    /// Whether a redundant replica of an expert may lie on a rank.
    @inline(__always) func mayHold(_ rank: Int, _ expert: Int) -> Bool {
        spills || node(of: rank) == Int(home[expert])
    }

    /// Whether a replica of an expert with several may go: not the last one at home.
    func maySpare(_ slot: Int, of rank: Int) -> Bool {
        let expert = Int(expertOf[slot])
        let first = Int(home[expert]) * ranksPerNode
        guard spills, ranksPerNode < ranks, node(of: rank) == Int(home[expert]) else { return true }
        var atHome = 0
        for neighbour in first..<first + ranksPerNode {
            for other in slots(of: neighbour) where expertOf[other] == expertOf[slot] { atHome += 1 }
        }
        return atHome > 1
    }

    /// The largest mean rank load of a node: no exchange inside nodes leads below it.
    var peakOfNodes: Float {
        guard ranksPerNode < ranks else { return 1 }
        var peak: Float = 1
        for first in Swift.stride(from: 0, to: ranks, by: ranksPerNode) {
            var sum: Float = 0
            for rank in first..<first + ranksPerNode { sum += rankLoad[rank] }
            peak = max(peak, sum / Float(ranksPerNode))
        }
        return peak
    }

    /// Whether no expert has more replicas than there are ranks where it may lie.
    var isSpreadable: Bool {
        var most: Int32 = 0
        for expert in 0..<experts { most = max(most, counts[expert]) }
        return Int(most) <= (spills ? ranks : ranksPerNode)
    }

    /// Exchanges the contents of a slot of rank `first` with one of rank `second`.
    func swap(_ slot: Int, of first: Int, with other: Int, of second: Int) {
        let moved = weight[slot] - weight[other]
        (weight[slot], weight[other]) = (weight[other], weight[slot])
        (expertOf[slot], expertOf[other]) = (expertOf[other], expertOf[slot])
        rankLoad[first] -= moved
        rankLoad[second] += moved
        restoreOrder(of: first)
        restoreOrder(of: second)
    }

    /// Puts another expert into a slot; the one that lay there keeps its other replicas, at least one.
    func replace(_ slot: Int, by expert: Int) {
        let old = Int(expertOf[slot])
        expertOf[slot] = Int32(truncatingIfNeeded: expert)
        counts[old] &-= 1
        counts[expert] &+= 1
        divide(old)
        divide(expert)
        for rank in 0..<ranks {
            var hasChanged = false
            for slot in slots(of: rank) {
                let its = Int(expertOf[slot])
                guard its == old || its == expert else { continue }
                weight[slot] = share[its]
                hasChanged = true
            }
            guard hasChanged else { continue }
            addUp(rank)
            restoreOrder(of: rank)
        }
    }

    private func divide(_ expert: Int) {
        share[expert] = load[expert] / Float(counts[expert])
        smallerShare[expert] = load[expert] / Float(counts[expert] &+ 1)
        largerShare[expert] = load[expert] / Float(counts[expert] &- 1)
    }

    private func weigh(_ rank: Int) {
        for slot in slots(of: rank) { weight[slot] = share[Int(expertOf[slot])] }
        addUp(rank)
    }

    private func addUp(_ rank: Int) {
        var sum: Float = 0
        for slot in slots(of: rank) { sum += weight[slot] }
        rankLoad[rank] = sum
    }

    /// Makes rank loads those of the weights; `sortRanks` must follow.
    func addUpAll() {
        for rank in 0..<ranks { addUp(rank) }
    }

    /// Orders all ranks; equal loads by rank. Counts who stands before each, which vectors do faster than a sort.
    func sortRanks() {
        for rank in 0..<ranks {
            let its = rankLoad[rank]
            var place: Int32 = 0
            for other in 0..<rank where rankLoad[other] <= its { place &+= 1 }
            for other in rank &+ 1..<ranks where rankLoad[other] < its { place &+= 1 }
            standing[rank] = place
            order[Int(place)] = Int32(truncatingIfNeeded: rank)
        }
    }

    /// Moves a rank to its place in the order.
    private func restoreOrder(of rank: Int) {
        let its = rankLoad[rank]
        var place = Int(standing[rank])
        while place > 0, rankLoad[Int(order[place - 1])] > its {
            order[place] = order[place - 1]
            standing[Int(order[place])] = Int32(truncatingIfNeeded: place)
            place -= 1
        }
        while place + 1 < ranks, rankLoad[Int(order[place + 1])] < its {
            order[place] = order[place + 1]
            standing[Int(order[place])] = Int32(truncatingIfNeeded: place)
            place += 1
        }
        order[place] = Int32(truncatingIfNeeded: rank)
        standing[rank] = Int32(truncatingIfNeeded: place)
    }
}
