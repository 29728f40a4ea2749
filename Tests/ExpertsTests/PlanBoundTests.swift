// The bound: never below what the best of all placements reaches, and tight where it can be.

import Experts
import Support
import Testing

@Suite struct PlanBoundTests {
    @Test("no placement of a small layer exceeds it", arguments: [(3, 4, 2), (4, 6, 3), (2, 6, 3), (5, 6, 2)])
    func exhaustive(experts: Int, slots: Int, ranks: Int) throws {
        var random = SeededGenerator(seed: UInt64(experts * 100 + slots))
        for _ in 0..<8 {
            let row = (0..<experts).map { _ in
                Int.random(in: 0...9, using: &random) * Int.random(in: 1...9, using: &random)
            }
            let load = try LoadMatrix(rows: [row])
            let bound = load.balancednessBound(layer: 0, slots: slots, ranks: ranks)
            var map = [Int](repeating: 0, count: slots)
            var best = 0.0
            while true {
                if let placement = try? Placement(rows: [map], logicalExperts: experts, ranks: ranks) {
                    best = max(best, load.balancedness(layer: 0, in: placement))
                }
                guard let next = map.firstIndex(where: { $0 < experts - 1 }) else { break }
                for index in 0..<next { map[index] = 0 }
                map[next] += 1
            }
            #expect(bound >= best - 1e-6 && bound <= 1, "\(row): bound \(bound), best \(best)")
        }
    }

    @Test("it is as tight as the vectors' and above what they reach", arguments: QualityTarget.bounded)
    func targets(_ target: QualityTarget) throws {
        let load = try target.load()
        let bound = load.balancednessBound(slots: target.slots, ranks: target.ranks)
        #expect(bound >= target.best && bound <= target.bound + 1e-5, "\(bound)")
    }

    @Test("one expert with everything is spread over its most replicas")
    func single() throws {
        let load = try LoadMatrix(rows: [[90, 0, 0]])
        #expect(abs(load.balancednessBound(layer: 0, slots: 4, ranks: 2) - 1) < 1e-6)
        #expect(abs(load.balancednessBound(layer: 0, slots: 4, ranks: 4) - 0.5) < 1e-6)
        #expect(try LoadMatrix(rows: [[0, 0]]).balancednessBound(slots: 2, ranks: 2) == 1)
    }

    @Test("two slots per rank and three equal heavy experts: one rank takes two of them")
    func pigeonhole() throws {
        let load = try LoadMatrix(rows: [[10, 10, 10, 0]])
        #expect(abs(load.balancednessBound(layer: 0, slots: 4, ranks: 2) - 0.75) < 1e-6)
    }

    @Test("two heavy experts find one light companion: the other lies beside a middling one")
    func company() throws {
        let load = try LoadMatrix(rows: [[10, 10, 7, 7, 7, 1]])
        #expect(abs(load.balancednessBound(layer: 0, slots: 6, ranks: 3) - 14.0 / 17) < 2e-4)
    }

    @Test("the balanced plan comes close on real shapes and never exceeds it")
    func reached() throws {
        var random = SeededGenerator(seed: 5)
        let rows = (0..<4).map { _ in (0..<64).map { _ in Int.random(in: 1...1000, using: &random) } }
        let load = try LoadMatrix(rows: rows)
        let plan = try PlacementPlan.balanced(load: load, shape: PlanShape(slots: 72, ranks: 8))
        let (reached, bound) = (load.balancedness(in: plan.placement), load.balancednessBound(slots: 72, ranks: 8))
        #expect(reached <= bound + 1e-6 && bound - reached < 0.01)
    }

    @Test("transfers count experts that a rank did not hold, whatever its number of slots")
    func transfers() throws {
        let old = try Placement(rows: [[0, 1, 2, 3]], logicalExperts: 4, ranks: 2)
        let swapped = try Placement(rows: [[1, 0, 2, 3]], logicalExperts: 4, ranks: 2)
        let wider = try Placement(rows: [[0, 1, 2, 3, 2, 0]], logicalExperts: 4, ranks: 2)
        #expect(swapped.transfers(from: old) == [0])
        #expect(wider.transfers(from: old) == [2])
        #expect(old.transfers(from: wider) == [0])
    }
}
