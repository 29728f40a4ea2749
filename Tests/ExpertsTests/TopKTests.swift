// Gating against the golden vectors, against a plain reference, and at the edges of the floating-point line.

import Experts
import Foundation
import RouteKernels
import Support
import Testing

/// Runs the gate over arrays: logits [N, E] to ids and weights [N, K].
func select(
    _ rule: GateRule, topK: Int, logits: [Float], experts: Int, bias: [Float]? = nil, realTokens: Int? = nil
) -> (ids: [Int32], weights: [Float]) {
    let count = logits.count / experts * rule.columns(topK: topK)
    var ids = [Int32](repeating: -7, count: count)
    var weights = [Float](repeating: .nan, count: count)
    var scratch = [Float](repeating: .nan, count: rule.scratchCount(experts: experts))
    logits.withUnsafeBufferPointer { logits in
        weights.withUnsafeMutableBufferPointer { weights in
            ids.withUnsafeMutableBufferPointer { ids in
                scratch.withUnsafeMutableBufferPointer { scratch in
                    if let bias {
                        bias.withUnsafeBufferPointer {
                            selectExperts(
                                rule, topK: topK, logits: logits, experts: experts, bias: $0, realTokens: realTokens,
                                weights: weights, ids: ids, scratch: scratch)
                        }
                    } else {
                        selectExperts(
                            rule, topK: topK, logits: logits, experts: experts, realTokens: realTokens,
                            weights: weights, ids: ids, scratch: scratch)
                    }
                }
            }
        }
    }
    return (ids, weights)
}

/// One golden case, as `topk.json` describes it.
private struct GateCase: Decodable, Sendable, CustomTestStringConvertible {
    var name: String
    var kind: String
    var tokens: Int
    var experts: Int
    var topK: Int
    var renormalize: Bool?
    var groups: Int?
    var groupsKept: Int?
    var factor: Float?
    var factorApplied: Bool?
    var sharedExperts: Int?
    var realTokens: Int?

    enum CodingKeys: String, CodingKey {
        case name, kind, tokens, experts, renormalize
        case topK = "top_k"
        case groups = "num_expert_group"
        case groupsKept = "topk_group"
        case factor = "routed_scaling_factor"
        case factorApplied = "apply_routed_scaling_factor_on_output"
        case sharedExperts = "num_fused_shared_experts"
        case realTokens = "num_token_non_padded"
    }

    var testDescription: String { name }

    var scale: Float { factorApplied == true ? factor ?? 1 : 1 }

    var rule: GateRule {
        let isSoftmax = ["softmax", "softmax_of_selected", "grouped_softmax"].contains(kind)
        return GateRule(
            scoring: isSoftmax ? .softmax : .sigmoid, renormalize: renormalize ?? false,
            groups: groups.flatMap { count in groupsKept.map { GateRule.Groups(count: count, kept: $0) } },
            scale: scale,
            shared: isFused ? GateRule.SharedExperts(weight: factorApplied == true ? 1 : 1 / (factor ?? 1)) : nil)
    }

    var isFused: Bool { (sharedExperts ?? 0) > 0 }

    /// K without the shared column, which the files count.
    var routedK: Int { isFused ? topK - 1 : topK }

    /// All cases but the dispatch tables.
    static let all: [GateCase] = {
        struct File: Decodable { var cases: [GateCase] }
        let file = try? Golden.decode(File.self, "topk/topk.json")
        return (file?.cases ?? []).filter { $0.kind != "logical_to_physical" }
    }()
}

private let golden = Result { try GoldenTensors("topk/topk.safetensors") }

@Suite struct TopKTests {
    @Test("every golden case was found")
    func goldenCasesExist() {
        #expect(GateCase.all.count { $0.kind.hasPrefix("softmax") } >= 34)
        #expect(Set(GateCase.all.map(\.kind)).count == 5)
        #expect(GateCase.all.count(where: \.isFused) == 15)
    }

    @Test("the golden cases hold: ids exactly, weights to 1e-5", arguments: GateCase.all)
    private func goldenCase(_ test: GateCase) throws {
        let tensors = try golden.get()
        let logits = try tensors.float32("\(test.name).logits")
        let bias = tensors.has("\(test.name).bias") ? try tensors.float32("\(test.name).bias") : nil
        let found = select(
            test.rule, topK: test.routedK, logits: logits, experts: test.experts, bias: bias,
            realTokens: test.realTokens)
        let ids = try tensors.int32("\(test.name).ids")
        let weights = try tensors.float32("\(test.name).weights")
        let real = test.realTokens ?? test.tokens
        for token in 0..<test.tokens {
            let row = token * test.topK..<(token + 1) * test.topK
            let pairs = zip(found.ids[row], found.weights[row]).sorted { $0.0 < $1.0 }
            #expect(pairs.map(\.0) == ids[row].sorted(), "token \(token)")
            guard token < real else { continue }
            for (pair, wanted) in zip(pairs, weights[row]) {
                #expect(abs(pair.1 - wanted) <= 1e-5 * test.scale, "token \(token) expert \(pair.0)")
            }
        }
        guard tensors.has("\(test.name).ids_desc") else { return }
        #expect(try found.ids == tensors.int32("\(test.name).ids_desc"))
    }

    @Test("the contract's worked rows hold to its six decimals")
    func contractRows() {
        let logits: [Float] = [5, 1, 4.95, 0, 4.8, 4.7, -1, -2]
        func close(_ rule: GateRule, bias: [Float]? = nil, _ ids: [Int32], _ weights: [Float]) {
            let found = select(rule, topK: 3, logits: logits, experts: 8, bias: bias)
            #expect(found.ids == ids)
            #expect(zip(found.weights, weights).allSatisfy { abs($0 - $1) < 1e-6 }, "\(found.weights)")
        }
        close(.softmax(renormalize: false), [0, 2, 4], [0.282548, 0.268768, 0.231331])
        close(.softmax(renormalize: true), [0, 2, 4], [0.361016, 0.343409, 0.295575])
        let twoOfFour = GateRule.Groups(count: 4, kept: 2)
        close(
            GateRule(scoring: .softmax, renormalize: true, groups: twoOfFour), [0, 2, 1],
            [0.507732, 0.482969, 0.009299])
        close(
            GateRule(scoring: .softmax, renormalize: false, groups: .init(count: 4, kept: 1)), [0, 1, 2],
            [0.282548, 0.005175, 0])
        close(
            GateRule(scoring: .sigmoid, renormalize: true, groups: twoOfFour, scale: 2.5),
            bias: [0, 0, 0, 0, 0.5, 0.4, 0.3, 0.9], [4, 5, 0], [0.833160, 0.832445, 0.834395])
    }

    @Test("ids and weights equal a sort in float64", arguments: [1, 2, 8, 16], [16, 60, 128])
    func sortedReference(topK: Int, experts: Int) {
        var random = SeededGenerator(seed: UInt64(topK * 1000 + experts))
        let logits = (0..<64 * experts).map { _ in Float.random(in: -8...8, using: &random) }
        for renormalize in [false, true] {
            let found = select(.softmax(renormalize: renormalize), topK: topK, logits: logits, experts: experts)
            for token in 0..<64 {
                let row = logits[token * experts..<(token + 1) * experts].map(Double.init)
                let order = row.indices.sorted { (-row[$0], $0) < (-row[$1], $1) }.prefix(topK)
                let total = renormalize ? order.reduce(0) { $0 + exp(row[$1]) } : row.reduce(0) { $0 + exp($1) }
                let slots = token * topK..<(token + 1) * topK
                #expect(found.ids[slots].map(Int.init) == Array(order))
                for (weight, expert) in zip(found.weights[slots], order) {
                    #expect(abs(Double(weight) - exp(row[expert]) / total) < 1e-6)
                }
            }
        }
    }

    @Test("a row's answer is the same bits alone and in a batch")
    func batchInvariance() {
        var random = SeededGenerator(seed: 5)
        let logits = (0..<40 * 60).map { _ in Float.random(in: -4...4, using: &random) }
        let together = select(.softmax(renormalize: false), topK: 4, logits: logits, experts: 60)
        for token in 0..<40 {
            let alone = select(
                .softmax(renormalize: false), topK: 4, logits: Array(logits[token * 60..<(token + 1) * 60]), experts: 60
            )
            #expect(alone.ids == Array(together.ids[token * 4..<token * 4 + 4]))
            #expect(alone.weights == Array(together.weights[token * 4..<token * 4 + 4]))
        }
    }

    @Test("ties go to the lower id")
    func ties() {
        #expect(select(.softmax(renormalize: true), topK: 3, logits: [1, 2, 2, 1, 2, 1], experts: 6).ids == [1, 2, 4])
        #expect(
            select(.softmax(renormalize: true), topK: 4, logits: [1, 2, 2, 1, 0, 1], experts: 6).ids == [1, 2, 0, 3])
    }

    @Test("NaN and infinities have the documented answer")
    func notFinite() {
        let infinity = Float.infinity
        func row(_ logits: [Float], _ renormalize: Bool = false) -> ([Int32], [Float]) {
            let found = select(.softmax(renormalize: renormalize), topK: 2, logits: logits, experts: logits.count)
            return (found.ids, found.weights)
        }
        #expect(row([.nan, 1, .nan, 1]) == ([1, 3], [0.5, 0.5]))
        #expect(row([3, .nan, .nan, .nan]) == ([0, 1], [1, 0]))
        #expect(row([0, infinity, 1, infinity]) == ([1, 3], [0.5, 0.5]))
        #expect(row([0, infinity, 1, 2]) == ([1, 3], [1, 0]))
        #expect(row([-infinity, -infinity, .nan, -infinity]) == ([0, 1], [0.25, 0.25]))
        #expect(row([.nan, .nan, .nan, .nan], true) == ([0, 1], [0.5, 0.5]))
        let rule = GateRule(scoring: .sigmoid, renormalize: true)
        let dead = select(rule, topK: 2, logits: [-infinity, .nan, -infinity], experts: 3)
        #expect(dead.ids == [0, 1] && dead.weights == [0, 0])
    }

    @Test("a NaN group is never preferred", arguments: [nil, [Float](repeating: 0.25, count: 4)])
    func notFiniteGroups(bias: [Float]?) {
        let rule = GateRule(scoring: .sigmoid, renormalize: false, groups: .init(count: 2, kept: 1))
        let found = select(rule, topK: 2, logits: [.nan, .nan, -9, -8], experts: 4, bias: bias)
        #expect(found.ids == [3, 2])
        #expect(found.weights.allSatisfy { $0 > 0 && $0 < 0.001 })
    }

    @Test("padding rows carry id -1 and weight 0")
    func padding() {
        let found = select(
            .softmax(renormalize: true), topK: 2, logits: [1, 2, 3, 3, 2, 1, 9, 9, 9], experts: 3, realTokens: 2)
        #expect(found.ids == [2, 1, 0, 1, -1, -1])
        #expect(found.weights.suffix(2) == [0, 0])
    }

    @Test("copies of a shared expert take the tokens in turn, in the last column")
    func sharedCopies() {
        let rule = GateRule(scoring: .softmax, renormalize: true, shared: .init(copies: 2, weight: 0.4))
        let found = select(rule, topK: 1, logits: [1, 2, 2, 1, 1, 2, 0, 0], experts: 2, realTokens: 3)
        #expect(found.ids == [1, 2, 0, 3, 1, 2, -1, -1])
        #expect(found.weights == [1, 0.4, 1, 0.4, 1, 0.4, 0, 0])
    }

    @Test("every E from 2 to 512 and K from 1 to 16 chooses as a sort does")
    func allSizes() {
        var random = SeededGenerator(seed: 21)
        for experts in Array(2...66) + [127, 160, 255, 256, 384, 511, 512] {
            for topK in 1...min(16, experts) {
                let logits = (0..<2 * experts).map { _ in Float.random(in: -6...6, using: &random) }
                let found = select(.softmax(renormalize: false), topK: topK, logits: logits, experts: experts)
                for token in 0..<2 {
                    let row = logits[token * experts..<(token + 1) * experts].map(Double.init)
                    let order = row.indices.sorted { (-row[$0], $0) < (-row[$1], $1) }.prefix(topK)
                    let total = row.reduce(0) { $0 + exp($1) }
                    let slots = token * topK..<(token + 1) * topK
                    #expect(found.ids[slots].map(Int.init) == Array(order), "\(experts) experts, top \(topK)")
                    #expect(
                        zip(found.weights[slots], order).allSatisfy { abs(Double($0) - exp(row[$1]) / total) < 1e-6 })
                }
            }
        }
    }

    @Test("exponentials and logistic scores stay within 1e-6 of float64 over the whole range")
    func scoreAccuracy() {
        let logits = stride(from: Float(-100), through: 100, by: 0.037).map { $0 }
        for logit in logits {
            let sigmoid = select(
                .init(scoring: .sigmoid, renormalize: false), topK: 1, logits: [logit, -.infinity], experts: 2)
            #expect(abs(Double(sigmoid.weights[0]) - 1 / (1 + exp(-Double(logit)))) < 2e-7)
            let softmax = select(.softmax(renormalize: false), topK: 2, logits: [0, logit], experts: 2)
            let share = 1 / (1 + exp(Double(logit)))
            #expect(abs(Double(softmax.weights[softmax.ids[0] == 0 ? 0 : 1]) - share) < 2e-7)
        }
    }

    @Test(
        "every instruction set gives the same bytes, also for ties, infinities and NaN",
        arguments: ["avx2", "baseline"])
    func instructionSets(name: String) throws {
        guard let best = route_kernels_named(nil), let other = route_kernels_named(name) else { return }
        var random = SeededGenerator(seed: 77)
        let odd: [Float] = [.nan, .infinity, -.infinity, 0, -0.0, .leastNonzeroMagnitude, 88, -88]
        for experts in [2, 7, 16, 33, 60, 128, 512] {
            for topK in [1, 2, 8, 16, 40] where topK <= experts {
                for style in 0..<4 {
                    let rows = 5
                    let logits = (0..<rows * experts).map { _ in
                        switch style {
                        case 0: Float.random(in: -9...9, using: &random)
                        case 1: Float(Int.random(in: 0...3, using: &random))
                        case 2: odd[Int.random(in: 0..<odd.count, using: &random)]
                        default: Float.nan
                        }
                    }
                    let bias = (0..<experts).map { _ in Float.random(in: 0...1, using: &random) }
                    for (isSigmoid, isBiased, groups) in [(false, false, 1), (true, true, 1), (false, false, 2)]
                    where experts % groups == 0 {
                        func run(_ kernels: UnsafePointer<route_kernels>) -> ([UInt32], [Int32]) {
                            var weights = [Float](repeating: 7, count: rows * topK)
                            var ids = [Int32](repeating: -7, count: rows * topK)
                            var scratch = [Float](repeating: .nan, count: route_gate_scratch(experts, groups))
                            logits.withUnsafeBufferPointer { logits in
                                bias.withUnsafeBufferPointer { bias in
                                    weights.withUnsafeMutableBufferPointer { weights in
                                        ids.withUnsafeMutableBufferPointer { ids in
                                            scratch.withUnsafeMutableBufferPointer { scratch in
                                                var arguments = route_gate_args(
                                                    logits: logits.baseAddress,
                                                    bias: isBiased ? bias.baseAddress : nil,
                                                    weights: weights.baseAddress, ids: ids.baseAddress,
                                                    scratch: scratch.baseAddress, experts: experts, top_k: topK,
                                                    columns: topK, groups: groups, groups_kept: 1,
                                                    sigmoid: isSigmoid, renormalize: style == 1, scale: 1.5)
                                                kernels.pointee.gate(&arguments, 0, rows)
                                            }
                                        }
                                    }
                                }
                            }
                            return (weights.map(\.bitPattern), ids)
                        }
                        let (wanted, found) = (run(best), run(other))
                        #expect(wanted == found, "\(experts) experts, top \(topK), style \(style)")
                        #expect(wanted.1.allSatisfy { (0..<Int32(experts)).contains($0) })
                        for row in 0..<rows { #expect(Set(wanted.1[row * topK..<(row + 1) * topK]).count == topK) }
                    }
                }
            }
        }
    }

    @Test("no tokens, no writes")
    func empty() {
        #expect(select(.softmax(renormalize: true), topK: 2, logits: [], experts: 3).ids.isEmpty)
    }
}
