// TopK: router logits in, K experts and their weights per token out.
//
// Goals in order: a defined answer for every input, the same bits for a row alone or in a batch, speed.
// Owner: the caller's thread. No state and no allocation; a range of rows may go to each of several threads.
// Method: the kernel in RouteKernels, for the widest registers of this machine; then dispatch, shared column and counts.
// Source: group selection after DeepSeek-V2 (arXiv:2405.04434) and DeepSeek-V3 (arXiv:2412.19437).

internal import RouteKernels

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
///   - scratch: at least `rule.scratchCount(experts:)` floats; contents do not matter.
/// - Complexity: O(N · E) comparisons for random logits.
public func selectExperts(
    _ rule: GateRule, topK: Int, logits: UnsafeBufferPointer<Float>, experts: Int,
    bias: UnsafeBufferPointer<Float>? = nil, realTokens: Int? = nil, dispatch: DispatchRow? = nil, firstToken: Int = 0,
    weights: UnsafeMutableBufferPointer<Float>, ids: UnsafeMutableBufferPointer<Int32>,
    counts: UnsafeMutableBufferPointer<Int32>? = nil,
    scratch: UnsafeMutableBufferPointer<Float>
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
    let needed = rule.scratchCount(experts: experts)
    precondition(scratch.count >= needed, "\(scratch.count) floats of scratch, \(needed) needed")
    let real = realTokens ?? tokens
    precondition((0...tokens).contains(real), "\(real) real tokens of \(tokens)")
    guard let logits = logits.baseAddress, let weights = weights.baseAddress, let ids = ids.baseAddress else { return }

    var arguments = route_gate_args()
    arguments.logits = logits
    arguments.bias = bias?.baseAddress
    arguments.weights = weights
    arguments.ids = ids
    arguments.scratch = scratch.baseAddress
    arguments.experts = experts
    arguments.top_k = topK
    arguments.columns = columns
    arguments.groups = groupCount
    arguments.groups_kept = rule.groups?.kept ?? 1
    arguments.sigmoid = rule.scoring == .sigmoid
    arguments.renormalize = rule.renormalize
    arguments.scale = rule.scale
    routeKernels.gate(&arguments, 0, real)

    if let dispatch {
        for token in 0..<real { dispatch.replace(ids + token * columns, count: topK, token: firstToken &+ token) }
    }
    if let shared = rule.shared {
        for token in 0..<real {
            let copy = (firstToken &+ token) % shared.copies
            ids[token * columns + topK] = Int32(truncatingIfNeeded: targets - shared.copies + copy)
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
