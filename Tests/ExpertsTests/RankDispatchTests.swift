// Static rank dispatch: worked examples of the contract, and nearness on any placement.

import Support
import Testing

@testable import Experts

@Suite struct RankDispatchTests {
    struct Example: Sendable {
        var slots: [Int]
        var experts: Int
        var ranks: Int
        var nodes: Int
        /// Rows of the first experts, one per rank.
        var expected: [[Int32]]
    }

    static let six = [0, 1, 2, 3, 0, 4, 5, 0]
    static let twelve = [0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3]
    static let examples = [
        Example(
            slots: [0, 1, 2, 3, 0, 1], experts: 4, ranks: 2, nodes: 1, expected: [[0, 1, 2, 3], [4, 5, 2, 3]]),
        Example(
            slots: six, experts: 6, ranks: 4, nodes: 1,
            expected: [[0, 1, 2, 3, 5, 6], [7, 1, 2, 3, 5, 6], [4, 1, 2, 3, 5, 6], [7, 1, 2, 3, 5, 6]]),
        Example(
            slots: six, experts: 6, ranks: 4, nodes: 2,
            expected: [[0, 1, 2, 3, 5, 6], [0, 1, 2, 3, 5, 6], [4, 1, 2, 3, 5, 6], [7, 1, 2, 3, 5, 6]]),
        Example(
            slots: twelve, experts: 8, ranks: 6, nodes: 1,
            expected: [[0, 1, 10, 11], [0, 9, 2, 3], [8, 1, 10, 3], [8, 1, 2, 3], [8, 9, 2, 11], [0, 9, 10, 11]]),
        Example(
            slots: twelve, experts: 8, ranks: 6, nodes: 3,
            expected: [[0, 1, 2, 3], [0, 1, 2, 3], [8, 9, 2, 11], [0, 1, 10, 3], [8, 9, 10, 11], [8, 9, 10, 11]]),
    ]

    @Test("examples", arguments: 0..<5)
    func example(index: Int) throws {
        let example = Self.examples[index]
        let placement = try Placement(rows: [example.slots], logicalExperts: example.experts, ranks: example.ranks)
        let dispatch = try RankDispatch(placement, nodes: example.nodes)
        for (rank, expected) in example.expected.enumerated() {
            #expect(Array(dispatch.row(rank: rank, layer: 0).prefix(expected.count)) == expected, "rank \(rank)")
        }
    }

    @Test("the generator draws as CPython's, and shares fairly")
    func generator() {
        var words = MersenneTwister(seed: 42)
        #expect((0..<3).map { _ in words.draw() } == [2_746_317_213, 478_163_327, 107_420_369])
        var generator = MersenneTwister(seed: 42)
        #expect(generator.fairChoices(of: [0, 5], count: 6) == [5, 5, 0, 0, 0, 5])
        #expect(generator.fairChoices(of: [1, 6, 9], count: 4) == [1, 9, 1, 6])
        #expect(generator.fairChoices(of: [2, 7], count: 3) == [2, 7, 2])
    }

    @Test("a rank uses its own replica, or one of its node, and always a replica", arguments: [1, 2, 4])
    func nearness(nodes: Int) throws {
        var random = SeededGenerator(seed: 7)
        let rows = (0..<5).map { _ in
            (Array(0..<10) + (0..<14).map { _ in Int.random(in: 0..<10, using: &random) }).shuffled(using: &random)
        }
        let placement = try Placement(rows: rows, logicalExperts: 10, ranks: 8)
        let dispatch = try RankDispatch(placement, nodes: nodes)
        for layer in 0..<5 {
            for expert in 0..<10 {
                let replicas = placement.replicas(layer: layer, expert: expert)
                let homes = Set(replicas.map { Int($0) / 3 })
                for rank in 0..<8 {
                    let slot = dispatch.row(rank: rank, layer: layer)[
                        dispatch.row(rank: rank, layer: layer).startIndex + expert]
                    #expect(replicas.contains(slot))
                    if homes.contains(rank) {
                        #expect(Int(slot) / 3 == rank)
                    } else if homes.contains(where: { $0 / (8 / nodes) == rank / (8 / nodes) }) {
                        #expect(Int(slot) / 3 / (8 / nodes) == rank / (8 / nodes))
                    }
                }
            }
        }
        #expect(throws: PlanError.ranksNotDivisible(ranks: 8, nodes: 3)) { try RankDispatch(placement, nodes: 3) }
    }
}
