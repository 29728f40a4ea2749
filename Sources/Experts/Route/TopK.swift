// TopK: router logits in, K experts and their weights per token out.
//
// Goals in order: a defined answer for every input, the same bits for a row alone or in a batch, speed.
// Owner: the caller's thread. No state and no allocation; a range of rows may go to each of several threads.
// Method: one scan per row keeps the K best in the output row itself. Softmax and the logistic function rise with the
//         logit, so the scan compares logits, and exponentials are taken only where a weight needs them: K per row when
//         renormalising, else E.
// Source: group selection after DeepSeek-V2 (arXiv:2405.04434) and DeepSeek-V3 (arXiv:2412.19437).

/// Chooses K of E experts for every token.
///
/// Columns come in descending score (descending weight, unless a bias decides), ties go to the lower id, and a row's
/// choice does not depend on the other rows. With fused shared experts one more column follows.
///
/// A NaN logit counts as -infinity: never preferred, weight 0. Experts at +infinity share the row equally. In a
/// softmax row without any logit above -infinity all experts are equal: ids 0 ..< K, weights 1/E or 1/K. Where the
/// kept groups hold fewer than K experts, the lowest other ids follow, with weight 0 (under a bias: their own score).
///
/// - Parameters:
///   - rule: the model's gating.
///   - topK: K, `1...E`; a shared column does not count.
///   - logits: `[N, E]`, row-major.
///   - experts: E.
///   - bias: `[E]`, added to the score for choosing but never part of a weight; nil without.
///   - realTokens: rows from here on are padding: ids -1, weights 0. Nil when all N rows are real.
///   - dispatch: which replica of a chosen expert serves a token; ids are then physical. Nil for logical ids.
///   - firstToken: the number of the first row, for dispatch, when a call computes only part of a pass.
///   - weights: `[N, columns]`, written.
///   - ids: `[N, columns]`, written.
///   - counts: `[1 + physical + shared]`, added to: chosen pairs by id, those with id -1 first. Nil when nobody counts.
///   - scratch: at least `rule.scratchCount(experts:biased:)` floats; contents do not matter.
/// - Complexity: O(N · E) comparisons for random logits.
public func selectExperts(
    _ rule: GateRule, topK: Int, logits: UnsafeBufferPointer<Float>, experts: Int,
    bias: UnsafeBufferPointer<Float>? = nil, realTokens: Int? = nil, dispatch: DispatchRow? = nil, firstToken: Int = 0,
    weights: UnsafeMutableBufferPointer<Float>, ids: UnsafeMutableBufferPointer<Int32>,
    counts: UnsafeMutableBufferPointer<Int32>? = nil,
    scratch: UnsafeMutableBufferPointer<Float> = UnsafeMutableBufferPointer(start: nil, count: 0)
) {
    precondition(experts > 0 && (1...experts).contains(topK), "top \(topK) of \(experts) experts")
    let tokens = logits.count / experts
    let columns = rule.columns(topK: topK)
    precondition(logits.count == tokens * experts, "\(logits.count) logits are not rows of \(experts)")
    precondition(ids.count == tokens * columns, "\(ids.count) ids for \(tokens) tokens × \(columns)")
    precondition(weights.count == tokens * columns, "\(weights.count) weights for \(tokens) tokens × \(columns)")
    precondition(bias.map { $0.count == experts } ?? true, "\(bias?.count ?? 0) biases for \(experts) experts")
    precondition(dispatch.map { $0.experts == experts } ?? true, "a dispatch of other experts than \(experts)")
    let targets = (dispatch?.slots ?? experts) + (rule.shared?.copies ?? 0)
    precondition(
        counts.map { $0.count == targets + 1 } ?? true, "\(counts?.count ?? 0) counts for \(targets) ids and -1")
    let groupCount = rule.groups?.count ?? 1
    precondition(experts % groupCount == 0, "\(experts) experts do not divide into \(groupCount) groups")
    let needed = rule.scratchCount(experts: experts, biased: bias != nil)
    precondition(scratch.count >= needed, "\(scratch.count) floats of scratch, \(needed) needed")
    let real = realTokens ?? tokens
    precondition((0...tokens).contains(real), "\(real) real tokens of \(tokens)")
    guard let logits = logits.baseAddress, let weights = weights.baseAddress, let ids = ids.baseAddress else { return }

    let gate = RowGate(rule: rule, topK: topK, experts: experts, bias: bias?.baseAddress, scratch: scratch.baseAddress)
    for token in 0..<real {
        let row = ids + token * columns
        gate.select(logits + token * experts, weights: weights + token * columns, ids: row)
        if let dispatch { dispatch.replace(row, count: topK, token: firstToken &+ token) }
        if let shared = rule.shared {
            let copy = (firstToken &+ token) % shared.copies
            row[topK] = Int32(truncatingIfNeeded: targets - shared.copies + copy)
            weights[token * columns + topK] = shared.weight
        }
    }
    let padding = real * columns..<tokens * columns
    (weights + padding.lowerBound).update(repeating: 0, count: padding.count)
    (ids + padding.lowerBound).update(repeating: -1, count: padding.count)
    if let counts = counts?.baseAddress {
        for pair in 0..<padding.lowerBound { counts[Int(ids[pair]) &+ 1] &+= 1 }
        counts[0] &+= Int32(truncatingIfNeeded: padding.count)
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
    @inline(__always)
    func select(
        _ logits: UnsafePointer<Float>, weights: UnsafeMutablePointer<Float>, ids: UnsafeMutablePointer<Int32>
    ) {
        let score = RowScores(
            logits, experts: experts, scoring: rule.scoring, wantsTotal: !rule.renormalize || bias != nil)
        var keys = logits
        if let bias, let scratch {
            addBias(bias, to: score, of: logits, into: scratch)
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
            chosen = bias == nil ? best.count : topK
            for group in 0..<groups.count where marks[group] == 0 && best.count < topK {
                best.fill(group * size..<(group + 1) * size)
            }
        } else {
            best.offer(keys, 0..<experts)
        }
        weigh(score, logits: logits, chosen: chosen, weights: weights, ids: ids)
    }

    /// Choice scores: each expert's score plus its bias.
    private func addBias(
        _ bias: UnsafePointer<Float>, to score: RowScores, of logits: UnsafePointer<Float>,
        into keys: UnsafeMutablePointer<Float>
    ) {
        var expert = 0
        while expert < experts {
            let scores = score(RowScores.load(logits, expert, experts))
            for lane in 0..<min(16, experts &- expert) {
                keys[expert &+ lane] = scores[lane] + bias[expert &+ lane]
            }
            expert &+= 16
        }
    }

    /// The weights of the ids, of which the first `chosen` count, the others get 0.
    @inline(__always)
    private func weigh(
        _ score: RowScores, logits: UnsafePointer<Float>, chosen: Int, weights: UnsafeMutablePointer<Float>,
        ids: UnsafePointer<Int32>
    ) {
        var sum: Float = 0
        var first = 0
        while first < topK {
            let count = min(16, topK &- first)
            var selected = Lanes16(repeating: -.infinity)
            for lane in 0..<count { selected[lane] = logits[Int(ids[first &+ lane])] }
            let scores = score(selected)
            for lane in 0..<count {
                let weight = first &+ lane < chosen ? scores[lane] : 0
                weights[first &+ lane] = weight
                sum += weight
            }
            first &+= 16
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
