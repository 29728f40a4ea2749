// Dispatch weights: valid, and as good as the linear program allows.

import Experts
import Support
import Testing

@Suite struct PlanDispatchWeightsTests {
    /// The least peak possible: by duality the largest, over sets of ranks, mean of the tokens that cannot leave the set.
    static func leastPeak(_ load: LoadMatrix, _ placement: Placement) -> Double {
        let homes = (0..<load.experts).map { expert in
            placement.replicas(layer: 0, expert: expert).reduce(0) { $0 | 1 << (Int($1) / placement.slotsPerRank) }
        }
        return (1..<1 << placement.ranks).reduce(0.0) { peak, set in
            var tokens = 0.0
            for (expert, home) in homes.enumerated() where home & ~set == 0 { tokens += Double(load.values[expert]) }
            return max(peak, tokens / Double(set.nonzeroBitCount))
        }
    }

    /// Whether the replicas can carry all tokens with no rank above `peak`: maximum flow by depth-first paths.
    static func isFeasible(_ peak: Double, _ load: LoadMatrix, _ placement: Placement) -> Bool {
        let (experts, ranks) = (load.experts, placement.ranks)
        let homes = (0..<experts).map { expert in
            Set(placement.replicas(layer: 0, expert: expert).map { Int($0) / placement.slotsPerRank }).sorted()
        }
        var flow = [[Double]](repeating: [Double](repeating: 0, count: ranks), count: experts)
        var free = [Double](repeating: peak, count: ranks)
        for expert in 0..<experts {
            var left = Double(load.values[expert])
            while left > 1e-7 * peak {
                var isSeen = [Bool](repeating: false, count: ranks)
                func push(_ expert: Int, _ amount: Double) -> Double {
                    for rank in homes[expert] where !isSeen[rank] {
                        isSeen[rank] = true
                        if free[rank] > 1e-9 * peak {
                            let sent = min(amount, free[rank])
                            free[rank] -= sent
                            flow[expert][rank] += sent
                            return sent
                        }
                        for other in 0..<experts where flow[other][rank] > 1e-9 * peak {
                            let sent = push(other, min(amount, flow[other][rank]))
                            guard sent > 0 else { continue }
                            flow[other][rank] -= sent
                            flow[expert][rank] += sent
                            return sent
                        }
                    }
                    return 0
                }
                let sent = push(expert, left)
                guard sent > 0 else { return false }
                left -= sent
            }
        }
        return true
    }

    private static func randomPlacement(experts: Int, slots: Int, ranks: Int, seed: UInt64) throws -> Placement {
        var random = SeededGenerator(seed: seed)
        let extra = (experts..<slots).map { _ in Int.random(in: 0..<experts, using: &random) }
        return try Placement(
            rows: [(Array(0..<experts) + extra).shuffled(using: &random)], logicalExperts: experts, ranks: ranks)
    }

    private static func check(_ weights: DispatchWeights, _ placement: Placement) {
        for layer in 0..<placement.layers {
            for expert in 0..<placement.logicalExperts {
                let row = Array(weights.row(layer))
                let parts = placement.replicas(layer: layer, expert: expert).map { row[Int($0)] }
                #expect(parts.allSatisfy { (0...1.000_001).contains($0) })
                #expect(abs(parts.reduce(0, +) - 1) < 1e-5)
            }
        }
    }

    @Test("on few ranks the peak is the least possible", arguments: UInt64(0)..<40)
    func optimal(seed: UInt64) throws {
        let ranks = [2, 4, 8][Int(seed % 3)]
        let load = try LoadMatrix(rows: PlanBalancedTests.randomRows(layers: 1, experts: 24, seed: seed))
        let placement = try Self.randomPlacement(experts: 24, slots: 40, ranks: ranks, seed: seed)
        let weights = try DispatchWeights(load: load, placement: placement)
        Self.check(weights, placement)
        let peak = load.rankLoads(layer: 0, in: placement, weights: weights).reduce(0, max)
        let least = Self.leastPeak(load, placement)
        #expect(peak <= least * 1.001 && peak >= least * 0.999_99)
    }

    @Test("on 32 ranks no flow is 0.1 % better", arguments: PlanLoad.all.filter { $0.name.hasPrefix("dsv3_g32") })
    func large(_ test: PlanLoad) throws {
        let load = try LoadMatrix(rows: [test.rows[0]])
        for placement in [
            try PlacementPlan.compatible(load: load, shape: test.shape).placement,
            try Self.randomPlacement(experts: 256, slots: test.slots, ranks: test.ranks, seed: 5),
        ] {
            let weights = try DispatchWeights(load: load, placement: placement)
            Self.check(weights, placement)
            let peak = load.rankLoads(layer: 0, in: placement, weights: weights).reduce(0, max)
            let mean = Double(load.values.reduce(0, +)) / Double(test.ranks)
            #expect(peak <= mean * 1.001 || !Self.isFeasible(peak * 0.999, load, placement))
            #expect(peak <= load.rankLoads(layer: 0, in: placement).reduce(0, max) * 1.000_01)
        }
    }

    @Test("a chain of replicas carries load from one end to the other")
    func chain() throws {
        // Expert e lies on ranks e and e + 1; only the first has tokens, beside a fixed load on every rank.
        let rows = (0..<8).flatMap { rank in [8 + rank, min(rank, 7), max(0, rank - 1)] }
        let placement = try Placement(rows: [rows], logicalExperts: 16, ranks: 8)
        var tokens = [Int](repeating: 10, count: 16)
        tokens[0] = 1000
        let load = try LoadMatrix(tokens, layers: 1, experts: 16)
        let weights = try DispatchWeights(load: load, placement: placement)
        Self.check(weights, placement)
        let peak = load.rankLoads(layer: 0, in: placement, weights: weights).reduce(0, max)
        #expect(peak <= Self.leastPeak(load, placement) * 1.001)
    }

    @Test("no tokens split evenly, and shapes must fit")
    func edges() throws {
        let placement = try Placement(rows: [[0, 1, 0, 0]], logicalExperts: 2, ranks: 2)
        let idle = try LoadMatrix([0, 0], layers: 1, experts: 2)
        #expect(try DispatchWeights(load: idle, placement: placement).values == [1 / 3, 1, 1 / 3, 1 / 3])
        #expect(throws: PlanError.placementMismatch(fact: "experts", placement: 2, request: 3)) {
            try DispatchWeights(load: LoadMatrix([1, 2, 3], layers: 1, experts: 3), placement: placement)
        }
        #expect(throws: PlanError.placementMismatch(fact: "layers", placement: 1, request: 2)) {
            try DispatchWeights(load: LoadMatrix([1, 2, 3, 4], layers: 2, experts: 2), placement: placement)
        }
    }
}
