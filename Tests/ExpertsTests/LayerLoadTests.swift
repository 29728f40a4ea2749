// Load statistics against plain references, the hot-set verdict, and what recordings say.

import Experts
import Foundation
import Support
import Testing

@Suite struct LayerLoadTests {
    @Test("numbers equal plain references on random loads", arguments: 0..<20 as Range<UInt64>)
    func references(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let experts = Int.random(in: 2...70, using: &random)
        let counts = (0..<4 * experts).map { _ in
            Bool.random(using: &random) ? 0 : Int64.random(in: 1...1000, using: &random)
        }
        for load in LayerLoad.layers(counts, experts: experts) {
            let row = Array(counts[load.layer * experts..<(load.layer + 1) * experts])
            let total = row.reduce(0, +)
            let shares = row.map { Double($0) / Double(total) }
            let bits = shares.filter { $0 > 0 }.reduce(0) { $0 - $1 * Foundation.log2($1) }
            #expect(
                load.pairs == Double(total) && load.topShare == shares.max()
                    && load.hottest == row.firstIndex(of: row.max() ?? 0))
            #expect(abs(load.entropy - bits / Foundation.log2(Double(experts))) < 1e-12)
            #expect(load.active == row.count { $0 > 0 })
            #expect(load.unusedShare == Double(row.count { $0 == 0 }) / Double(experts))
        }
        let hottest = HotExpert.hottest(counts, experts: experts, limit: 7)
        let shares = counts.indices.map { index in
            Double(counts[index])
                / Double(counts[index / experts * experts..<(index / experts + 1) * experts].reduce(0, +))
        }
        #expect(hottest.map(\.share) == Array(shares.filter { $0 > 0 }.sorted(by: >).prefix(7)))
        #expect(hottest.allSatisfy { shares[$0.layer * experts + $0.expert] == $0.share })
    }

    @Test("extremes: even, one expert, no load, one expert in all")
    func extremes() {
        let even = LayerLoad(layer: 0, [5, 5, 5, 5])
        #expect(even.entropy == 1 && even.topShare == 0.25 && even.hottest == 0 && even.unusedShare == 0)
        let single = LayerLoad(layer: 1, [0, 0, 9, 0])
        #expect(single.entropy == 0 && single.topShare == 1 && single.hottest == 2 && single.unusedShare == 0.75)
        let idle = LayerLoad(layer: 2, [0, 0])
        #expect(idle.entropy == 1 && idle.topShare == 0 && idle.active == 0 && idle.pairs == 0)
        #expect(LayerLoad(layer: 3, [7]).entropy == 1)
        #expect(HotExpert.hottest([0, 0], experts: 2, limit: 3).isEmpty)
    }

    @Test("loads of any size and scale, also beyond 64 bits")
    func scales() {
        let loads: [Float] = [1e30, 1e30, 2e30, 0]
        let load = LayerLoad(layer: 0, loads)
        #expect(load.topShare == 0.5 && load.hottest == 2 && load.active == 3)
        #expect(abs(load.pairs / 4e30 - 1) < 1e-6)
        #expect(abs(load.entropy - 0.75) < 1e-12)
        let counts = [Int64](repeating: .max, count: 4)
        #expect(LayerLoad(layer: 0, counts).entropy == 1)
        #expect(HotExpert.hottest(counts, experts: 2, limit: 1).first?.share == 0.5)
        #expect(HotSet(counts, experts: 2).verdict == .absent)
        #expect(TerminalHeatMap().text(counts, experts: 2).contains("50.0 %"))
        let tiny = LayerLoad(layer: 0, [Double.leastNonzeroMagnitude, 1e300])
        #expect(tiny.entropy == 0 && tiny.topShare == 1)
    }

    @Test("the verdict follows the load's shape")
    func verdicts() {
        func load(_ weight: (Int) -> Double) -> [Int64] {
            (0..<3).flatMap { _ in (0..<100).map { Int64(1000 * weight($0)) } }
        }
        let even = HotSet(load { _ in 1 }, experts: 100)
        #expect(even.verdict == .absent && even.size == 50)
        let few = load { $0 < 10 ? 20 : 1 }
        let strong = HotSet(few, experts: 100, halves: (few, few))
        #expect(strong.verdict == .strong && strong.size == 8 && strong.stability == 1)
        let others = load { $0 >= 90 ? 20 : 1 }
        #expect(HotSet(few, experts: 100, halves: (few, others)).stability == 0)
        #expect(HotSet(load { $0 < 25 ? 4 : 1 }, experts: 100).verdict == .mild)
        let little = HotSet([Int64](repeating: 1, count: 300), experts: 100)
        #expect(little.verdict == .insufficient && little.summary.contains("too few"))
        #expect(HotSet([0, 0, 0, 0], experts: 2).verdict == .insufficient)
        for verdict in [even, strong, little] {
            #expect(!verdict.summary.contains("\n") && verdict.summary.hasPrefix("A hot set: "))
        }
    }

    @Test(
        "a recording's windows and rank loads equal the golden balancedness",
        arguments: ["redundant_8_to_12", "window_12_passes"])
    func golden(name: String) throws {
        struct Expected: Decodable {
            var ranks: [[[Int64]]]
            var rates: [[Float]]
            enum CodingKeys: String, CodingKey {
                case ranks = "gpu_physical_count_per_pass"
                case rates = "utilization_rate_per_pass_per_layer"
            }
        }
        let expected = try Golden.decode(Expected.self, "recorder/\(name)/expected.json")
        var recording = try Recording.read(Golden.url("recorder/\(name)/per_pass.pt").path())
        // Such files do not say the number of ranks.
        recording.placements = try recording.placements.map {
            try Placement(
                physicalToLogical: $0.physicalToLogical, layers: $0.layers, logicalExperts: $0.logicalExperts,
                ranks: expected.ranks[0][0].count)
        }
        let window = try #require(recording.balancednessWindow())
        for passes in [1, 3, 10] {
            let used = expected.rates.suffix(passes)
            for (layer, mean) in window.layerMeans(last: passes).enumerated() {
                #expect(abs(mean - used.reduce(0) { $0 + $1[layer] } / Float(used.count)) <= 1e-6)
            }
        }
        let sums = expected.ranks[0][0].indices.map { rank in
            expected.ranks.reduce(0) { $0 + $1.reduce(0) { $0 + $1[rank] } }
        }
        #expect(recording.rankLoads() == sums)
        let stat = try Recording.read(Golden.url("recorder/\(name)/stat.pt").path())
        #expect(stat.rankLoads() == nil && stat.balancednessWindow() == nil && stat.hotSet().stability == nil)
    }
}
