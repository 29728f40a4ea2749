// The router against its parts: the gate, the dispatch and the alignment one after the other.

import Experts
import Support
import Testing

@Suite struct RouterTests {
    /// What a pass decided.
    private struct Routed: Equatable {
        var ids: [Int32]
        var weights: [Float]
        var sortedPairs: [Int32]
        var blockExperts: [Int32]
        var counts: [Int32]
    }

    private static func route(
        _ router: Router, _ logits: [Float], bias: [Float]?, realTokens: Int?, dispatch: Dispatch?,
        lanes: (any Lanes)? = nil
    ) throws -> Routed {
        func run(_ row: DispatchRow?, _ bias: UnsafeBufferPointer<Float>?) throws {
            try logits.withUnsafeBufferPointer {
                try router.route($0, bias: bias, realTokens: realTokens, dispatch: row, lanes: lanes)
            }
        }
        func biased(_ row: DispatchRow?) throws {
            if let bias { try bias.withUnsafeBufferPointer { try run(row, $0) } } else { try run(row, nil) }
        }
        if let dispatch { try dispatch.withRow(layer: 0) { try biased($0) } } else { try biased(nil) }
        return Routed(
            ids: Array(router.ids), weights: Array(router.weights), sortedPairs: Array(router.alignment.sortedPairs),
            blockExperts: Array(router.alignment.blockExperts), counts: Array(router.alignment.counts))
    }

    @Test("one call equals gate, dispatch and alignment in turn; lanes change nothing", arguments: [1, 2, 5])
    func equalsItsParts(lanes: Int) throws {
        let experts = 48
        let topK = 4
        var random = SeededGenerator(seed: UInt64(lanes))
        let placement = try Placement.trivial(layers: 1, logicalExperts: experts, redundant: 16)
        let rules: [(GateRule, Bool)] = [
            (.softmax(renormalize: false), false), (.softmax(renormalize: true), false),
            (GateRule(scoring: .sigmoid, renormalize: true, groups: .init(count: 8, kept: 3), scale: 2.5), true),
            (GateRule(scoring: .softmax, renormalize: true, shared: .init(copies: 2)), false),
        ]
        for (rule, isBiased) in rules {
            for dispatch in [Dispatch(dynamic: placement), nil] {
                let shared = rule.shared?.copies ?? 0
                let slots = (dispatch == nil ? experts : experts + 16) + shared
                let router = try Router(
                    gate: rule, topK: topK, experts: experts, blocks: BlockRule(experts: slots, blockSize: 16),
                    tokens: 900)
                for tokens in [900, 3] {
                    let logits = (0..<tokens * experts).map { _ in Float.random(in: -4...4, using: &random) }
                    let bias = isBiased ? (0..<experts).map { _ in Float.random(in: 0...1, using: &random) } : nil
                    let real = tokens - 2
                    let found = try Self.route(
                        router, logits, bias: bias, realTokens: real, dispatch: dispatch,
                        lanes: lanes == 1 ? nil : ThreadLanes(laneCount: lanes))
                    let columns = rule.columns(topK: topK)
                    let (ids, weights) = select(
                        rule, topK: topK, logits: logits, experts: experts, bias: bias, realTokens: real)
                    #expect(found.weights == weights)
                    for token in 0..<tokens {
                        for column in 0..<columns {
                            let pair = token * columns + column
                            #expect(
                                found.ids[pair]
                                    == Self.physical(ids[pair], token: token, experts: experts, dispatch: dispatch))
                        }
                    }
                    let workspace = BlockAlignment()
                    try found.ids.withUnsafeBufferPointer { try workspace.align(router.blocks, ids: $0) }
                    #expect(found.sortedPairs == Array(workspace.sortedPairs))
                    #expect(found.blockExperts == Array(workspace.blockExperts))
                    #expect(found.counts == Array(workspace.counts))
                    #expect(found.counts.reduce(0, +) == Int32(real * columns))
                }
            }
        }
    }

    /// The slot of a logical or shared id.
    private static func physical(_ id: Int32, token: Int, experts: Int, dispatch: Dispatch?) -> Int32 {
        guard let placement = dispatch?.placement, id >= 0 else { return id }
        guard id < experts else { return id + Int32(placement.physicalExperts - experts) }
        let replicas = Array(placement.replicas(layer: 0, expert: Int(id)))
        return replicas[token % replicas.count]
    }
}
