// GateRule: which function of the router logits decides where a token goes.

internal import RouteKernels

/// How router logits become K chosen experts and their weights.
///
/// A value per model, made once from its configuration; `selectExperts` reads it for every row.
public struct GateRule: Sendable, Equatable {
    /// The function that turns a row of logits into scores.
    public enum Scoring: Sendable, Equatable {
        /// Softmax over all experts.
        case softmax
        /// Logistic function of each logit alone.
        case sigmoid
    }

    /// A first choice among contiguous groups of experts, as DeepSeek's models make it.
    ///
    /// With a correction bias a group's score is the sum of its two best choice scores, without one its best score.
    public struct Groups: Sendable, Equatable {
        /// Number of groups; divides E evenly.
        public var count: Int
        /// Number of groups a token may choose from; `1...count`.
        public var kept: Int

        /// `count` contiguous groups, of which a token keeps `kept`.
        public init(count: Int, kept: Int) {
            precondition(count > 0 && (1...count).contains(kept), "\(kept) kept of \(count) groups")
            self.count = count
            self.kept = kept
        }
    }

    /// Shared experts that ride along as one more column, so that one grouped GEMM computes them too.
    ///
    /// Their ids follow the routed experts' (the physical slots, behind a dispatch). Copies take the tokens in turn.
    public struct SharedExperts: Sendable, Equatable {
        /// How many equal copies there are.
        public var copies: Int
        /// The weight of the column: 1, or 1 / `routed_scaling_factor` when the caller scales the sum afterwards.
        public var weight: Float

        /// `copies` equal shared experts, of which each token uses one with `weight`.
        public init(copies: Int = 1, weight: Float = 1) {
            precondition(copies > 0, "\(copies) copies of the shared expert")
            self.copies = copies
            self.weight = weight
        }
    }

    /// What a score is.
    public var scoring: Scoring
    /// Whether the K weights are divided by their sum.
    public var renormalize: Bool
    /// The groups chosen first; nil when every expert competes.
    public var groups: Groups?
    /// A factor on every routed weight, after renormalisation; 1 when the caller scales the experts' output instead.
    public var scale: Float
    /// The column of fused shared experts; nil without.
    public var shared: SharedExperts?

    /// A rule from its parts.
    public init(
        scoring: Scoring, renormalize: Bool, groups: Groups? = nil, scale: Float = 1, shared: SharedExperts? = nil
    ) {
        self.scoring = scoring
        self.renormalize = renormalize
        self.groups = groups
        self.scale = scale
        self.shared = shared
    }

    /// Softmax over all experts, then the K best (Qwen2-MoE without, Qwen3-MoE and Mixtral with renormalisation).
    ///
    /// With `renormalize` this equals a softmax over the selected logits only.
    public static func softmax(renormalize: Bool) -> GateRule {
        GateRule(scoring: .softmax, renormalize: renormalize)
    }

    /// Columns of ids and weights: K routed experts, then the shared one if there is one.
    public func columns(topK: Int) -> Int { shared == nil ? topK : topK + 1 }

    /// The floats of scratch that one call of `selectExperts` needs.
    public func scratchCount(experts: Int) -> Int { route_gate_scratch(experts, groups?.count ?? 1) }
}
