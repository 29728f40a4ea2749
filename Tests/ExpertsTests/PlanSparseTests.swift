// Plans of layers with most experts idle: near even, no expert twice on a rank, and the sums that they are made of.

import Support
import Testing

@testable import Experts

@Suite struct PlanSparseTests {
    /// Loads over two orders of magnitude for two of five experts, none for the others.
    private static func rows(layers: Int, experts: Int, seed: UInt64) -> [[Int]] {
        var random = SeededGenerator(seed: seed)
        return (0..<layers).map { _ in
            let busy = Set((0..<experts).shuffled(using: &random).prefix(experts * 2 / 5))
            return (0..<experts).map { expert in
                let factor = Double.random(in: 0.2..<1, using: &random)
                return busy.contains(expert) ? Int(factor * factor * factor * 1e6) : 0
            }
        }
    }

    @Test(
        "whole layers come near even, with every expert and none twice on a rank",
        arguments: [(64, 72, 8, 1), (128, 144, 16, 1), (120, 144, 16, 2), (256, 288, 32, 1)], UInt64(1)...3)
    func layers(size: (experts: Int, slots: Int, ranks: Int, nodes: Int), seed: UInt64) throws {
        let load = try LoadMatrix(rows: Self.rows(layers: 12, experts: size.experts, seed: seed))
        let shape = PlanShape(slots: size.slots, ranks: size.ranks, nodes: size.nodes, groups: size.nodes)
        let plan = try PlacementPlan.balanced(load: load, shape: shape).placement
        let reference = try PlacementPlan.compatible(load: load, shape: shape).placement
        let room = size.slots / size.ranks
        for layer in 0..<load.layers {
            let found = load.balancedness(layer: layer, in: plan)
            #expect(found >= load.balancedness(layer: layer, in: reference) - 1e-6)
            if size.nodes == 1 { #expect(found >= 0.995, "layer \(layer): \(found)") }
            var all: Set<Int> = []
            for rank in 0..<size.ranks {
                let its = (0..<room).map { plan.logical(layer: layer, slot: rank * room + $0) }
                if size.nodes == 1 { #expect(Set(its).count == room, "layer \(layer), rank \(rank): \(its)") }
                all.formUnion(its)
            }
            #expect(all.count == size.experts)
        }
    }

    @Test("two experts with most of the load, for which the start has no room, come near even")
    func twoHeavy() throws {
        let loaded = [
            111_145, 55_488, 12_726, 9416, 9026, 7721, 7240, 6754, 5020, 4610, 3873, 3297, 2983, 2721, 2702, 2238, 2237,
            1944, 1898, 1779, 1724, 1535, 1510, 1359, 821, 366,
        ]
        let load = try LoadMatrix(loaded + Array(repeating: 0, count: 38), layers: 1, experts: 64)
        let plan = try PlacementPlan.balanced(load: load, shape: PlanShape(slots: 72, ranks: 8)).placement
        #expect(load.balancedness(layer: 0, in: plan) >= 0.998)
    }

    @Test("sums of subsets are those of a plain loop, and every one in a range is found in order", arguments: 0..<20)
    func subsets(seed: Int) throws {
        var random = SeededGenerator(seed: UInt64(seed))
        let size = Int.random(in: 0...14, using: &random)
        // Sixteenths add up without rounding.
        let loads = (0..<size).map { _ in Float(Int.random(in: 1...64, using: &random)) / 16 }
        let used = Int.random(in: 0..<1 << size, using: &random)
        let items = Array((0..<size).filter { used >> $0 & 1 == 0 }.prefix(SubsetSums.most))
        let sums = SubsetSums()
        let count = loads.withUnsafeBufferPointer { loads in
            loads.baseAddress.map { sums.sumUp($0, size, without: used, from: 0.5) } ?? 0
        }
        guard size > 0 else { return }
        #expect(count == max(4, 1 << items.count))
        let expected = (0..<1 << items.count).map { subset in
            items.indices.reduce(Float(0.5)) { $0 + (subset >> $1 & 1 == 1 ? loads[items[$1]] : 0) }
        }
        for (place, item) in items.enumerated() { #expect(sums.items[place] == item) }
        for (subset, sum) in expected.enumerated() { #expect(sums[subset] == sum) }
        let (low, high): (Float, Float) = (2, 3.5)
        var found: [Int] = []
        while let next = sums.first(from: (found.last ?? -1) + 1, of: count, low: low, high: high) {
            found.append(next)
        }
        #expect(found == expected.indices.filter { (low...high).contains(expected[$0]) })
        guard count == 1 << SubsetSums.most else { return }
        sums.extend(by: 0.75, size, at: SubsetSums.most)
        #expect(sums.items[SubsetSums.most] == size)
        for (subset, sum) in expected.enumerated() {
            #expect(sums[subset] == sum)
            #expect(sums[count + subset] == sum + 0.75)
        }
    }

    @Test("a look finds the loads of a range and no others, also below zero", arguments: UInt64(0)..<20)
    func looks(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let set = LoadSet()
        var loads: Set = [0, LoadSet.most]
        for _ in 0..<26 { loads.insert(.random(in: 0...LoadSet.most, using: &random)) }
        for load in loads { set.insert(load) }
        for load in loads.shuffled(using: &random).prefix(5) {
            set.remove(load)
            loads.remove(load)
        }
        for _ in 0..<2000 {
            let width = Int32.random(in: 1...Int32(LoadSet.widest), using: &random)
            let low = Int32.random(in: -LoadSet.most - 64...LoadSet.most, using: &random)
            let found = set.hasLoad(from: low, 1 << UInt64(width) &- 1)
            #expect(found == loads.contains { (low..<low + width).contains($0) }, "\(width) from \(low)")
        }
        set.clear()
        let isEmpty = !set.hasLoad(from: 0, 1)
        #expect(isEmpty)
    }
}
