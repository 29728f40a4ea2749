// TopK: router logits in, K experts and their weights per token out.
//
// Goals in order: a defined answer for every input, the same bits for a row alone or in a batch, speed.
// Owner: the caller's thread. No state and no allocation; a range of rows may go to each of several threads.
// Method: one scan per row keeps the K best in the output row itself, in order (expected K · ln(E / K) insertions).
//         Softmax and the logistic function rise with the logit, so the scan compares logits, and exponentials are
//         taken only where a weight needs them: K per row when renormalising, else E.
// Source: group selection after DeepSeek-V2 (arXiv:2405.04434) and DeepSeek-V3 (arXiv:2412.19437).

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// Chooses K of E experts for every token.
///
/// Columns come in descending score (descending weight, unless a bias decides), ties go to the lower id, and a row's
/// answer does not depend on the other rows.
///
/// A NaN logit counts as -infinity: never preferred, weight 0. Experts at +infinity share the row equally. In a
/// softmax row without any logit above -infinity all experts are equal: ids 0 ..< K, weights 1/E or 1/K. Where the
/// kept groups hold fewer than K experts, the lowest other ids follow, with weight 0 (under a bias: their own score).
///
/// - Parameters:
///   - rule: the model's gating.
///   - topK: K, `1...E`.
///   - logits: `[N, E]`, row-major.
///   - experts: E.
///   - bias: `[E]`, added to the score for choosing but never part of a weight; nil without.
///   - realTokens: rows from here on are padding: ids -1, weights 0. Nil when all N rows are real.
///   - weights: `[N, K]`, written.
///   - ids: `[N, K]`, written.
///   - scratch: at least `rule.scratchCount(experts:biased:)` floats; contents do not matter.
/// - Complexity: O(N · E) comparisons for random logits.
public func selectExperts(
    _ rule: GateRule, topK: Int, logits: UnsafeBufferPointer<Float>, experts: Int,
    bias: UnsafeBufferPointer<Float>? = nil, realTokens: Int? = nil,
    weights: UnsafeMutableBufferPointer<Float>, ids: UnsafeMutableBufferPointer<Int32>,
    scratch: UnsafeMutableBufferPointer<Float> = UnsafeMutableBufferPointer(start: nil, count: 0)
) {
    precondition(experts > 0 && (1...experts).contains(topK), "top \(topK) of \(experts) experts")
    let tokens = logits.count / experts
    precondition(logits.count == tokens * experts, "\(logits.count) logits are not rows of \(experts)")
    precondition(ids.count == tokens * topK, "\(ids.count) ids for \(tokens) tokens × \(topK)")
    precondition(weights.count == tokens * topK, "\(weights.count) weights for \(tokens) tokens × \(topK)")
    precondition(bias.map { $0.count == experts } ?? true, "\(bias?.count ?? 0) biases for \(experts) experts")
    let groupCount = rule.groups?.count ?? 1
    precondition(experts % groupCount == 0, "\(experts) experts do not divide into \(groupCount) groups")
    let needed = rule.scratchCount(experts: experts, biased: bias != nil)
    precondition(scratch.count >= needed, "\(scratch.count) floats of scratch, \(needed) needed")
    let real = realTokens ?? tokens
    precondition((0...tokens).contains(real), "\(real) real tokens of \(tokens)")
    guard let logits = logits.baseAddress, let weights = weights.baseAddress, let ids = ids.baseAddress else { return }

    let gate = RowGate(rule: rule, topK: topK, experts: experts, bias: bias?.baseAddress, scratch: scratch.baseAddress)
    for token in 0..<real {
        gate.select(logits + token * experts, weights: weights + token * topK, ids: ids + token * topK)
    }
    for padding in (real * topK)..<(tokens * topK) {
        weights[padding] = 0
        ids[padding] = -1
    }
}

/// One row of logits at a time; shapes were checked by the caller.
private struct RowGate {
    let rule: GateRule
    let topK: Int
    let experts: Int
    let bias: UnsafePointer<Float>?
    /// Choice scores [E] when biased, then group scores [groups] and group marks [groups].
    let scratch: UnsafeMutablePointer<Float>?

    /// Chooses from one row: `logits` [E] to `weights` [K] and `ids` [K].
    func select(
        _ logits: UnsafePointer<Float>, weights: UnsafeMutablePointer<Float>, ids: UnsafeMutablePointer<Int32>
    ) {
        let row = ScoredRow(
            logits, experts: experts, scoring: rule.scoring, wantsTotal: !rule.renormalize || bias != nil)
        var keys = logits
        if let bias, let scratch {
            for expert in 0..<experts { scratch[expert] = row.score(expert) + bias[expert] }
            keys = UnsafePointer(scratch)
        }
        // `weights` holds the keys of the best so far until the weights themselves are known.
        var best = BestK(keys: weights, ids: ids, capacity: topK)
        var chosen = topK
        if let groups = rule.groups, groups.kept < groups.count, let scratch {
            let marks = markGroups(groups, keys: keys, scratch: scratch + (bias == nil ? 0 : experts))
            let size = experts / groups.count
            for group in 0..<groups.count where marks[group] > 0 {
                best.offer(keys, group * size..<(group + 1) * size)
            }
            chosen = best.count
            for group in 0..<groups.count where marks[group] == 0 && best.count < topK {
                best.fill(group * size..<(group + 1) * size)
            }
        } else {
            best.offer(keys, 0..<experts)
        }
        if bias != nil { chosen = topK }

        var sum: Float = 0
        for slot in 0..<topK {
            let weight = slot < chosen ? row.score(Int(ids[slot])) : 0
            weights[slot] = weight
            sum += weight
        }
        // The tiny term only matters when every score has underflowed: weights 0 instead of NaN.
        let divisor = rule.renormalize ? sum + 1e-20 : 1
        for slot in 0..<topK { weights[slot] = weights[slot] / divisor * rule.scale }
    }

    /// Marks the kept groups with 1 and all others with 0; returns the marks, [groups].
    private func markGroups(
        _ groups: GateRule.Groups, keys: UnsafePointer<Float>, scratch: UnsafeMutablePointer<Float>
    ) -> UnsafeMutablePointer<Float> {
        let size = experts / groups.count
        let scores = scratch
        let marks = scratch + groups.count
        for group in 0..<groups.count {
            var first = -Float.infinity
            var second = -Float.infinity
            for expert in group * size..<(group + 1) * size {
                let key = keys[expert]
                if key > first {
                    second = first
                    first = key
                } else if key > second {
                    second = key
                }
            }
            scores[group] = bias == nil || size == 1 ? first : first + second
            marks[group] = 0
        }
        for _ in 0..<groups.kept {
            var winner = -1
            for group in 0..<groups.count where marks[group] == 0 {
                if winner < 0 || scores[group] > scores[winner] { winner = group }
            }
            marks[winner] = 1
        }
        return marks
    }
}

/// The scores of one row, each computed when asked for.
private struct ScoredRow {
    private let logits: UnsafePointer<Float>
    private let scoring: GateRule.Scoring
    private var maximum = -Float.infinity
    private var total: Float = 1

    /// The scores of `logits` [E]; without `wantsTotal`, softmax scores lack the division by their sum over the row.
    init(_ logits: UnsafePointer<Float>, experts: Int, scoring: GateRule.Scoring, wantsTotal: Bool) {
        self.logits = logits
        self.scoring = scoring
        guard scoring == .softmax else { return }
        for expert in 0..<experts where logits[expert] > maximum { maximum = logits[expert] }
        guard wantsTotal else { return }
        var sum: Float = 0
        for expert in 0..<experts { sum += exponential(logits[expert]) }
        total = sum
    }

    @inline(__always)
    func score(_ expert: Int) -> Float {
        switch scoring {
        case .softmax: exponential(logits[expert]) / total
        case .sigmoid: logits[expert].isNaN ? 0 : 1 / (1 + expf(-logits[expert]))
        }
    }

    /// exp(logit - maximum), with infinities at their limits and NaN as -infinity.
    @inline(__always)
    private func exponential(_ logit: Float) -> Float {
        if logit == maximum { return 1 }
        return logit.isNaN ? (maximum == -.infinity ? 1 : 0) : expf(logit - maximum)
    }
}

/// The K best keys offered so far, in descending order, kept in the caller's memory.
private struct BestK {
    let keys: UnsafeMutablePointer<Float>  // [K]
    let ids: UnsafeMutablePointer<Int32>  // [K]
    let capacity: Int
    private(set) var count = 0

    init(keys: UnsafeMutablePointer<Float>, ids: UnsafeMutablePointer<Int32>, capacity: Int) {
        self.keys = keys
        self.ids = ids
        self.capacity = capacity
    }

    /// Offers the experts of `range`, ascending; an equal key never displaces an earlier one.
    @inline(__always)
    mutating func offer(_ candidates: UnsafePointer<Float>, _ range: Range<Int>) {
        var expert = range.lowerBound
        while expert < range.upperBound && count < capacity {
            let key = candidates[expert]
            insert(key.isNaN ? -.infinity : key, expert, at: count)
            count += 1
            expert += 1
        }
        guard expert < range.upperBound else { return }
        var threshold = keys[capacity - 1]
        while expert < range.upperBound {
            if candidates[expert] > threshold {
                insert(candidates[expert], expert, at: capacity - 1)
                threshold = keys[capacity - 1]
            }
            expert += 1
        }
    }

    /// Takes the experts of `range`, ascending and regardless of their keys, while there is room.
    mutating func fill(_ range: Range<Int>) {
        for expert in range.prefix(capacity - count) {
            ids[count] = Int32(truncatingIfNeeded: expert)
            count += 1
        }
    }

    @inline(__always)
    private func insert(_ key: Float, _ expert: Int, at last: Int) {
        var slot = last
        while slot > 0 && key > keys[slot - 1] {
            keys[slot] = keys[slot - 1]
            ids[slot] = ids[slot - 1]
            slot -= 1
        }
        keys[slot] = key
        ids[slot] = Int32(truncatingIfNeeded: expert)
    }
}
