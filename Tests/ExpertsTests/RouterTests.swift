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

    @Test("few logits with many ids: lanes that did not count do not place")
    func fewLogits() throws {
        // Below the gate's limit for lanes, above the alignment's.
        let (tokens, experts) = (10_000, 2)
        #expect(tokens * experts < Router.threadedFrom && tokens * experts >= BlockAlignment.threadedFrom)
        var random = SeededGenerator(seed: 9)
        let logits = (0..<tokens * experts).map { _ in Float.random(in: -4...4, using: &random) }
        func routed(_ lanes: (any Lanes)?) throws -> Routed {
            let router = try Router(
                gate: .softmax(renormalize: true), topK: 2, experts: experts,
                blocks: BlockRule(experts: experts, blockSize: 16), tokens: tokens)
            return try Self.route(router, logits, bias: nil, realTokens: nil, dispatch: nil, lanes: lanes)
        }
        #expect(try routed(ThreadLanes(laneCount: 4)) == routed(nil))
    }

    @Test("weights are realised over passes of any size", arguments: [1, 3, 64])
    func weightedOverPasses(tokens: Int) throws {
        let placement = try Placement(rows: [[0, 1, 0, 1]], logicalExperts: 2)
        let dispatch = try Dispatch(weighted: placement, weights: [3, 1, 1, 1])
        let router = try Router(
            gate: .softmax(renormalize: true), topK: 1, experts: 2, blocks: BlockRule(experts: 4, blockSize: 4),
            tokens: tokens)
        // Every token wants expert 0, which has three quarters in slot 0.
        let logits = (0..<tokens * 2).map { Float(1 - $0 % 2) }
        var counts = [Int32](repeating: 0, count: 4)
        var routed = 0
        while routed < 960 {
            try logits.withUnsafeBufferPointer { logits in
                try dispatch.withRow(layer: 0) { try router.route(logits, dispatch: $0, firstToken: routed) }
            }
            for slot in 0..<4 { counts[slot] += router.alignment.counts[slot] }
            routed += tokens
        }
        #expect(counts[1] == 0 && counts[3] == 0 && abs(counts[0] - 720) <= 4 && counts[0] + counts[2] == 960)
    }

    /// The slot of a logical or shared id.
    private static func physical(_ id: Int32, token: Int, experts: Int, dispatch: Dispatch?) -> Int32 {
        guard let placement = dispatch?.placement, id >= 0 else { return id }
        guard id < experts else { return id + Int32(placement.physicalExperts - experts) }
        let replicas = Array(placement.replicas(layer: 0, expert: Int(id)))
        return replicas[token % replicas.count]
    }
}
