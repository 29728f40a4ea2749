// RankDispatch: the one replica of each expert that each rank sends its tokens to.
//
// Goals in order: the same table on every rank and in other engines, nearness, fairness.
// Method: an expert's only replica; else the first on the sender's own rank; else the first on its node, where the
//         node holds some but not all replicas; and the ranks that are left share the replicas fairly, dealt by a
//         seeded generator in the order layer, expert.
// Source: SGLang's static expert dispatch (github.com/sgl-project/sglang), from its documented behaviour; generator
//         after M. Matsumoto and T. Nishimura, "Mersenne Twister" (1998), drawing as CPython's `random` does.

/// Static dispatch: a physical slot for every rank, layer and expert.
public struct RankDispatch: Sendable, Equatable {
    /// L.
    public let layers: Int
    /// E: logical experts.
    public let logicalExperts: Int
    /// G.
    public let ranks: Int
    /// The slot that a rank's tokens for an expert go to; `[G, L, E]`, row-major.
    public let slots: [Int32]

    /// The table of a placement.
    ///
    /// - Parameters:
    ///   - placement: where the experts lie.
    ///   - nodes: server nodes that the ranks lie on in equal contiguous chunks.
    /// - Throws: `PlanError` when ranks do not divide among nodes.
    /// - Complexity: O(L · E · G).
    public init(_ placement: Placement, nodes: Int = 1) throws(PlanError) {
        guard nodes > 0 else { throw .notPositive(size: "nodes", value: nodes) }
        guard placement.ranks % nodes == 0 else { throw .ranksNotDivisible(ranks: placement.ranks, nodes: nodes) }
        let (layers, experts, ranks) = (placement.layers, placement.logicalExperts, placement.ranks)
        var generator = MersenneTwister(seed: 42)
        var slots = [Int32](repeating: -1, count: ranks * layers * experts)
        for layer in 0..<layers {
            for expert in 0..<experts {
                let replicas = placement.replicas(layer: layer, expert: expert)
                var undecided: [Int] = []
                for rank in 0..<ranks {
                    let near = Self.nearest(
                        replicas, to: rank, slotsPerRank: placement.slotsPerRank, ranksPerNode: ranks / nodes)
                    if let near {
                        slots[(rank * layers + layer) * experts + expert] = near
                    } else {
                        undecided.append(rank)
                    }
                }
                for (rank, slot) in zip(undecided, generator.fairChoices(of: replicas, count: undecided.count)) {
                    slots[(rank * layers + layer) * experts + expert] = slot
                }
            }
        }
        self.layers = layers
        self.logicalExperts = experts
        self.ranks = ranks
        self.slots = slots
    }

    /// The slots that a rank's tokens go to in one layer, by expert; `[E]`.
    public func row(rank: Int, layer: Int) -> ArraySlice<Int32> {
        precondition((0..<ranks).contains(rank) && (0..<layers).contains(layer), "rank \(rank), layer \(layer)")
        let start = (rank * layers + layer) * logicalExperts
        return slots[start..<start + logicalExperts]
    }

    /// The replica that needs no lot: the only one, one on the rank, or one on the node where others are elsewhere.
    static func nearest(
        _ replicas: ArraySlice<Int32>, to rank: Int, slotsPerRank: Int, ranksPerNode: Int
    ) -> Int32? {
        guard replicas.count > 1 else { return replicas.first }
        if let own = replicas.first(where: { Int($0) / slotsPerRank == rank }) { return own }
        let slotsPerNode = slotsPerRank * ranksPerNode
        let onNode = replicas.filter { Int($0) / slotsPerNode == rank / ranksPerNode }
        return onNode.count < replicas.count ? onNode.first : nil
    }
}

/// The 32-bit Mersenne Twister, seeded with one word.
struct MersenneTwister {
    private static let size = 624
    private static let shift = 397
    private var state: [UInt32]
    private var next = size

    /// A generator seeded by array initialisation with the one word `seed`.
    init(seed: UInt32) {
        state = [UInt32](repeating: 0, count: Self.size)
        state[0] = 19_650_218
        for index in 1..<Self.size { state[index] = mixed(after: index) &* 1_812_433_253 &+ UInt32(index) }
        var index = 1
        for _ in 0..<Self.size {
            state[index] = (state[index] ^ (mixed(after: index) &* 1_664_525)) &+ seed
            advance(&index)
        }
        for _ in 0..<Self.size - 1 {
            state[index] = (state[index] ^ (mixed(after: index) &* 1_566_083_941)) &- UInt32(index)
            advance(&index)
        }
        state[0] = 0x8000_0000
    }

    private func mixed(after index: Int) -> UInt32 { state[index - 1] ^ (state[index - 1] >> 30) }

    private mutating func advance(_ index: inout Int) {
        index += 1
        guard index == Self.size else { return }
        state[0] = state[Self.size - 1]
        index = 1
    }

    /// The next 32 bits.
    mutating func draw() -> UInt32 {
        if next == Self.size { regenerate() }
        var word = state[next]
        next += 1
        word ^= word >> 11
        word ^= (word << 7) & 0x9D2C_5680
        word ^= (word << 15) & 0xEFC6_0000
        return word ^ (word >> 18)
    }

    private mutating func regenerate() {
        for index in 0..<Self.size {
            let joined = (state[index] & 0x8000_0000) | (state[(index + 1) % Self.size] & 0x7FFF_FFFF)
            let twist: UInt32 = joined & 1 == 0 ? 0 : 0x9908_B0DF
            state[index] = state[(index + Self.shift) % Self.size] ^ (joined >> 1) ^ twist
        }
        next = 0
    }

    /// A number below `bound`, which is at least 1.
    mutating func draw(below bound: Int) -> Int {
        let bits = Int.bitWidth - bound.leadingZeroBitCount
        while true {
            let value = Int(draw() >> UInt32(32 - bits))
            if value < bound { return value }
        }
    }

    /// `count` items in random order in which each candidate occurs equally often, or once more.
    mutating func fairChoices(of candidates: ArraySlice<Int32>, count: Int) -> [Int32] {
        let whole = count / candidates.count
        var chosen = (0..<whole).flatMap { _ in candidates }
        var pool = Array(candidates)
        for drawn in 0..<count - whole * candidates.count {
            let left = candidates.count - drawn
            let index = draw(below: left)
            chosen.append(pool[index])
            pool[index] = pool[left - 1]
        }
        for index in stride(from: chosen.count - 1, to: 0, by: -1) {
            chosen.swapAt(index, draw(below: index + 1))
        }
        return chosen
    }
}
