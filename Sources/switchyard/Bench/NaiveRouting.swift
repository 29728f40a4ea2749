// NaiveRouting: routing as one writes it first: fresh arrays, filled and filled again, and sorts. The benchmarks' baseline,
// and a second opinion on every answer.

import Experts
import Foundation

/// Routing as one writes it first.
enum NaiveRouting {
    /// What alignment answers, up to capacity.
    struct Blocks: Equatable {
        var sortedPairs: [Int32]
        var blockExperts: [Int32]
        var paddedCount: Int
        var counts: [Int32]
    }

    /// Groups ids by sorting them with their places.
    static func align(_ ids: [Int32], experts: Int, blockSize: Int) -> Blocks {
        let capacity = ids.count + experts * (blockSize - 1)
        var sorted = [Int32](repeating: 0, count: capacity)
        for row in sorted.indices { sorted[row] = Int32(ids.count) }
        var blocks = [Int32](repeating: 0, count: (capacity + blockSize - 1) / blockSize)
        for block in blocks.indices { blocks[block] = -1 }
        var counts = [Int32](repeating: 0, count: experts)
        let order = ids.enumerated().map { Int64($1) << 32 | Int64($0) }.sorted()
        var row = 0
        var last = -1
        for entry in order {
            let expert = Int(entry >> 32)
            if expert != last { row = (row + blockSize - 1) / blockSize * blockSize }
            last = expert
            sorted[row] = Int32(truncatingIfNeeded: entry)
            blocks[row / blockSize] = Int32(expert)
            counts[expert] += 1
            row += 1
        }
        let padded = (row + blockSize - 1) / blockSize * blockSize
        return Blocks(sortedPairs: sorted, blockExperts: blocks, paddedCount: padded, counts: counts)
    }

    /// Chooses experts by sorting every row's scores.
    static func topK(
        _ rule: GateRule, topK: Int, logits: [Float], experts: Int, bias: [Float]?
    ) -> (ids: [Int32], weights: [Float]) {
        var ids: [Int32] = []
        var weights: [Float] = []
        for start in stride(from: 0, to: logits.count, by: experts) {
            let (scores, choice) = score(rule, Array(logits[start..<start + experts]), bias: bias)
            let chosen = choice.indices.sorted { (-choice[$0], $0) < (-choice[$1], $1) }.prefix(topK)
            ids += chosen.map { Int32($0) }
            weights += weigh(rule, chosen.map { scores[$0] })
        }
        return (ids, weights)
    }

    /// Whether ids and weights are a right answer: that of `topK`, or one that differs only where choice scores are equal
    /// up to rounding.
    static func accepts(
        ids: [Int32], weights: [Float], _ rule: GateRule, topK: Int, logits: [Float], experts: Int, bias: [Float]?
    ) -> Bool {
        let naive = Self.topK(rule, topK: topK, logits: logits, experts: experts, bias: bias)
        return (0..<logits.count / experts).allSatisfy { token in
            let row = token * topK..<(token + 1) * topK
            var wanted = Array(naive.weights[row])
            if ids[row] != naive.ids[row] {
                let (scores, choice) = score(
                    rule, Array(logits[token * experts..<(token + 1) * experts]), bias: bias)
                let isTie = zip(ids[row], naive.ids[row]).allSatisfy {
                    $0 == $1 || abs(choice[Int($0)] - choice[Int($1)]) <= 1e-6
                }
                guard isTie, Set(ids[row]).count == topK else { return false }
                wanted = weigh(rule, ids[row].map { scores[Int($0)] })
            }
            return zip(weights[row], wanted).allSatisfy { abs($0 - $1) <= 1e-5 * rule.scale }
        }
    }

    /// Scores, and what decides: with the bias, and without the groups that are not kept.
    private static func score(
        _ rule: GateRule, _ row: [Float], bias: [Float]?
    ) -> (scores: [Float], choice: [Float]) {
        var scores: [Float]
        switch rule.scoring {
        case .softmax:
            let maximum = row.max() ?? 0
            let powers = row.map { exp($0 - maximum) }
            let total = powers.reduce(0, +)
            scores = powers.map { $0 / total }
        case .sigmoid: scores = row.map { 1 / (1 + exp(-$0)) }
        }
        var choice = bias.map { bias in zip(scores, bias).map { $0 + $1 } } ?? scores
        guard let groups = rule.groups else { return (scores, choice) }
        let size = row.count / groups.count
        let best = (0..<groups.count).map { group in
            choice[group * size..<(group + 1) * size].sorted(by: >).prefix(bias == nil ? 1 : 2).reduce(0, +)
        }
        let kept = Set(best.indices.sorted { (-best[$0], $0) < (-best[$1], $1) }.prefix(groups.kept))
        for expert in choice.indices where !kept.contains(expert / size) { choice[expert] = -.infinity }
        return (scores, choice)
    }

    private static func weigh(_ rule: GateRule, _ scores: [Float]) -> [Float] {
        let divisor = rule.renormalize ? scores.reduce(0, +) + 1e-20 : 1
        return scores.map { $0 / divisor * rule.scale }
    }
}
