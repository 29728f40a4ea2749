// TopK: gating behind the C interface.
//
// The names are the header's.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

internal import Experts
public import ExpertsHeader

/// Gating.
@c @implementation
public func switchyard_topk(
    _ request: UnsafePointer<switchyard_topk_request>?, _ message: UnsafeMutablePointer<CChar>?, _ messageSize: Int
) -> Int32 {
    answering(message, messageSize) {
        let request = try require(request, "request").pointee
        let experts = Int(request.experts)
        let topK = Int(request.top_k)
        let tokens = Int(request.tokens)
        try require(tokens >= 0 && tokens <= 1 << 40, "\(tokens) tokens")
        try require(experts > 0 && experts <= 1 << 20, "\(experts) experts: expected 1 to \(1 << 20)")
        try require((1...experts).contains(topK), "top \(topK) of \(experts) experts: expected 1 to \(experts)")
        var rule = GateRule(
            scoring: request.sigmoid ? .sigmoid : .softmax, renormalize: request.renormalize, scale: request.scale)
        if request.groups != 0 {
            let count = Int(request.groups)
            let kept = Int(request.groups_kept)
            try require(
                count > 0 && experts % count == 0 && (1...count).contains(kept),
                "\(kept) of \(count) groups of \(experts) experts: groups must divide the experts evenly, and 1 to all be kept"
            )
            rule.groups = GateRule.Groups(count: count, kept: kept)
        }
        try require(request.shared_copies >= 0, "\(request.shared_copies) copies of the shared expert")
        if request.shared_copies > 0 {
            rule.shared = GateRule.SharedExperts(copies: Int(request.shared_copies), weight: request.shared_weight)
        }
        guard tokens > 0 else { return }
        let pairs = tokens * rule.columns(topK: topK)
        let logits = try require(request.logits, "logits")
        let weights = try require(request.weights, "weights")
        let ids = try require(request.ids, "ids")
        let needed = rule.scratchCount(experts: experts)
        withUnsafeTemporaryAllocation(of: Float.self, capacity: needed) { scratch in
            selectExperts(
                rule, topK: topK, logits: UnsafeBufferPointer(start: logits, count: tokens * experts),
                experts: experts, bias: request.bias.map { UnsafeBufferPointer(start: $0, count: experts) },
                realTokens: request.real_tokens < 0 ? nil : min(tokens, Int(request.real_tokens)),
                weights: UnsafeMutableBufferPointer(start: weights, count: pairs),
                ids: UnsafeMutableBufferPointer(start: ids, count: pairs), scratch: scratch)
        }
    }
}
