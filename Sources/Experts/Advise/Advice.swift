// Advice: all policies tried on all numbers of GPUs, with a verdict for each; what `experts advise` prints.

/// What policies would have given on one number of GPUs.
public struct Advice: Sendable, Equatable {
    /// G.
    public let ranks: Int
    /// Keeping the placement.
    public let keep: ReplayOutcome
    /// All other policies, in the order tried.
    public let gains: [PolicyGain]
    /// Whether to change anything.
    public let verdict: Verdict

    /// The policies that are tried with `ranks` ranks.
    ///
    /// - Parameters:
    ///   - ranks: G.
    ///   - slots: numbers of slots to try, each divisible by `ranks`.
    ///   - experts: E.
    ///   - intervals: windows between plans.
    /// - Returns: for each number of slots: once, weighted where there are replicas, full and incremental plans.
    public static func policies(ranks: Int, slots: [Int], experts: Int, intervals: [Int]) -> [ReplayPolicy] {
        slots.flatMap { slots in
            var policies = [ReplayPolicy(.once, ranks: ranks, slots: slots)]
            if slots > experts { policies.append(ReplayPolicy(.once, ranks: ranks, slots: slots, usesWeights: true)) }
            policies += intervals.map { ReplayPolicy(.full(every: $0), ranks: ranks, slots: slots) }
            policies += intervals.map { ReplayPolicy(.incremental(every: $0), ranks: ranks, slots: slots) }
            return policies
        }
    }

    /// Tries policies.
    ///
    /// - Parameters:
    ///   - replay: the windows.
    ///   - policies: all with as many ranks.
    ///   - kept: slots of the placement that is kept; `present`'s, or the fewest that are possible.
    ///   - present: where experts lie now; nil for the trivial placement.
    ///   - costs: what turns counts into time and bytes.
    ///   - progress: called after each policy.
    /// - Throws: `PlanError` for a shape that is impossible.
    public init(
        _ replay: Replay, policies: [ReplayPolicy], kept: ReplayPolicy, present: Placement? = nil, costs: ReplayCosts,
        progress: () -> Void = {}
    ) throws(PlanError) {
        let keep = try replay.run(kept, from: present)
        progress()
        var gains: [PolicyGain] = []
        for policy in policies {
            let outcome = try replay.run(policy, from: present)
            gains.append(PolicyGain(outcome, keep: keep, replay: replay, costs: costs))
            progress()
        }
        ranks = kept.ranks
        self.keep = keep
        self.gains = gains
        verdict = Verdict(gains, keep: keep, replay: replay)
    }
}
