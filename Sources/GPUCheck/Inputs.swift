// Inputs: random routing problems, the same for the same seed.

import Experts

/// SplitMix64.
struct Generator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = (state ^ (state &>> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed &>> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed &>> 31)
    }

    /// Roughly normal.
    mutating func normal() -> Float {
        (0..<4).reduce(Float(0)) { sum, _ in sum + Float.random(in: -1...1, using: &self) } * 0.866
    }

    /// Expert ids of `tokens` tokens, K distinct ones each while E allows it.
    mutating func ids(tokens: Int, topK: Int, experts: Int) -> [Int32] {
        var ids: [Int32] = []
        ids.reserveCapacity(tokens * topK)
        for _ in 0..<tokens {
            let start = ids.count
            while ids.count < start + topK {
                let id = Int32.random(in: 0..<Int32(experts), using: &self)
                if topK > experts / 2 || !ids[start...].contains(id) { ids.append(id) }
            }
        }
        return ids
    }

    /// Ids as no router makes them: uniform, few experts, one expert; with -1 and ids out of range among them.
    mutating func oddIDs(pairs: Int, experts: Int) -> [Int32] {
        let width = [experts, max(1, experts / 16), 1].randomElement(using: &self) ?? experts
        let stray = Bool.random(using: &self)
        return (0..<pairs).map { _ in
            let id = Int32.random(in: 0..<Int32(width), using: &self)
            guard stray, Int.random(in: 0..<8, using: &self) == 0 else { return id }
            return [-1, -1, -2, Int32(experts), Int32.max, Int32.min].randomElement(using: &self) ?? -1
        }
    }

    /// Logits, some rows with ties, infinities, NaN, zeros of both signs, almost equal ones, or nothing preferred.
    mutating func logits(tokens: Int, experts: Int) -> [Float] {
        var logits: [Float] = []
        logits.reserveCapacity(tokens * experts)
        for _ in 0..<tokens {
            let kind = Int.random(in: 0..<12, using: &self)
            for _ in 0..<experts {
                let plain = normal() * 3
                let odd = Int.random(in: 0..<6, using: &self) == 0
                let logit: Float =
                    switch kind {
                    case 0: plain.rounded()
                    case 1: odd ? .nan : plain
                    case 2: odd ? .infinity : plain
                    case 3: odd ? -.infinity : plain
                    case 4: -.infinity
                    case 5: odd ? -0.0 : 0
                    case 6: plain * 60
                    case 7: odd ? .nan : -.infinity
                    case 8: 1 + plain * 1e-6
                    default: plain
                    }
                logits.append(logit)
            }
        }
        return logits
    }

    /// A placement of `experts` experts with `redundant` further slots on one rank.
    mutating func placement(layers: Int, experts: Int, redundant: Int) throws -> Placement {
        var slots: [Int32] = []
        for _ in 0..<layers {
            var layer =
                (0..<Int32(experts)) + (0..<redundant).map { _ in Int32.random(in: 0..<Int32(experts), using: &self) }
            layer.shuffle(using: &self)
            slots += layer
        }
        return try Placement(
            physicalToLogical: slots, layers: layers, logicalExperts: experts)
    }
}
