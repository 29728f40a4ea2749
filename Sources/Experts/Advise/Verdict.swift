// Verdict: whether rebalancing pays, from what policies gave on recorded load. Pure arithmetic on replay outcomes.
//
// Gain: the part of expert-compute time that a policy saves against keeping the placement, over all judged windows; its
// error is that of the mean over windows. Net: the gain times the part of a pass that expert layers take, less the part
// of time that transfers take. Among policies whose net is within a hundredth of the best, the one with the fewest
// transfers and then with the least memory is chosen: what is hardly worse and simpler is better.

/// What turns counts into time and bytes.
public struct ReplayCosts: Sendable, Equatable {
    /// Bytes of one expert's weights; nil when unknown.
    public var bytesPerExpert: Double?
    /// Bytes per second that a GPU receives during transfers.
    public var bandwidth: Double
    /// Seconds from one row to the next.
    public var rowSeconds: Double
    /// The part of a pass that expert layers take, 0...1.
    public var expertShare: Double

    /// Costs; by default of 50 ms passes, half of them in expert layers, and 50 GB/s.
    public init(
        bytesPerExpert: Double? = nil, bandwidth: Double = 50e9, rowSeconds: Double = 0.05, expertShare: Double = 0.5
    ) {
        self.bytesPerExpert = bytesPerExpert
        self.bandwidth = bandwidth
        self.rowSeconds = rowSeconds
        self.expertShare = expertShare
    }
}

/// A policy's outcome beside that of keeping the placement.
public struct PolicyGain: Sendable, Equatable {
    /// What the policy gave.
    public let outcome: ReplayOutcome
    /// The part of expert-compute time saved; negative where the policy is worse.
    public let gain: Double
    /// Standard error of `gain`; infinite with one window.
    public let error: Double
    /// Transfers while serving, per hour.
    public let transfersPerHour: Double
    /// Bytes that they move; nil when an expert's size is unknown.
    public let bytesPerHour: Double?
    /// Bytes per GPU beyond one slot per expert; nil when an expert's size is unknown.
    public let extraBytesPerRank: Double?
    /// Slots of a layer beyond one per expert.
    public let redundant: Int
    /// The part of all time saved, transfers paid for.
    public let net: Double

    /// Compares an outcome with that of keeping the placement, of as many ranks.
    public init(_ outcome: ReplayOutcome, keep: ReplayOutcome, replay: Replay, costs: ReplayCosts) {
        self.outcome = outcome
        let (peak, kept) = (outcome.cost.peak, keep.cost.peak)
        gain = kept > 0 ? 1 - peak / kept : 0
        let gains = zip(outcome.windows, keep.windows).map { $1.peak > 0 ? 1 - $0.peak / $1.peak : 0 }
        let mean = gains.reduce(0, +) / Double(max(1, gains.count))
        let variance = gains.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(max(1, gains.count - 1))
        error = gains.count > 1 ? (variance / Double(gains.count)).squareRoot() : .infinity

        let later = replay.judged.dropFirst().reduce(0) { $0 + replay.windows[$1].count }
        let hours = Double(later) * costs.rowSeconds / 3600
        transfersPerHour = hours > 0 ? Double(outcome.transfers) / hours : 0
        redundant = outcome.policy.slots - replay.series.experts
        bytesPerHour = costs.bytesPerExpert.map { [transfersPerHour] in $0 * transfersPerHour }
        extraBytesPerRank = costs.bytesPerExpert.map { [redundant] in
            $0 * Double(redundant * Replay.loadedLayers(replay.series)) / Double(outcome.policy.ranks)
        }
        let moving = (bytesPerHour ?? 0) / Double(outcome.policy.ranks) / costs.bandwidth / 3600
        net = gain * costs.expertShare - moving
    }
}

/// Whether rebalancing pays on one number of GPUs.
public struct Verdict: Sendable, Equatable {
    /// The answer.
    public enum Answer: String, Sendable, Equatable {
        case worthIt = "worth it"
        case notNow = "not now"
        case recordMore = "record more"
    }

    /// Windows to judge on that an answer needs.
    public static let neededWindows = 4
    /// The part of expert-compute time below which rebalancing is not worth its trouble.
    public static let neededGain = 0.03

    /// The answer.
    public let answer: Answer
    /// The policy to take, or the best one that is not worth it; nil when nothing was tried.
    public let best: PolicyGain?
    /// Why, in one or two sentences.
    public let reason: String

    /// Judges policies that were tried on the same windows and as many ranks.
    ///
    /// - Parameters:
    ///   - gains: of all policies but keeping the placement.
    ///   - keep: the outcome of keeping it.
    ///   - replay: the windows.
    public init(_ gains: [PolicyGain], keep: ReplayOutcome, replay: Replay) {
        let best = Self.best(gains)
        self.best = best
        let missing = Self.missing(replay)
        guard missing == nil, let best else {
            answer = .recordMore
            reason = missing ?? "No policy was tried."
            return
        }
        let (percent, rate) = (AdviceTable.percent, AdviceTable.rate)
        let policy = Self.name(best)
        let saved = "\(percent(best.gain)) ± \(percent(2 * best.error)) of expert-compute time"
        let now = "balancedness is \(rate(keep.balancedness)) now, \(rate(best.outcome.balancedness)) with it"
        if best.gain - 2 * best.error >= Self.neededGain, best.net > 0 {
            answer = .worthIt
            let moves =
                best.outcome.transfers == 0
                ? "nothing moves while serving"
                : "\(SVGPlot.short(best.transfersPerHour.rounded())) experts move per hour"
            reason = "\(policy) saves \(saved) on the windows after those it planned from; \(now), and \(moves)."
        } else if best.gain + 2 * best.error < Self.neededGain || best.net <= 0 || best.gain <= best.error {
            answer = .notNow
            reason =
                best.gain <= 0
                ? "No policy saves expert-compute time on the windows after those it planned from; \(now)."
                : "The best policy, \(policy), saves \(saved), "
                    + (best.net <= 0 && best.gain > 0
                        ? "and its transfers cost more" : "less than the \(percent(Self.neededGain)) that pay")
                    + "; \(now)."
        } else {
            answer = .recordMore
            reason =
                "\(policy) saves \(saved), too uncertain to say whether it is more than \(percent(Self.neededGain)): "
                + "the windows differ. Record about four times as long."
        }
    }

    /// What is missing for an answer; nil if nothing is.
    private static func missing(_ replay: Replay) -> String? {
        let (rows, windows) = (replay.series.rows, replay.judged.count)
        let pairs = Replay.pairsPerExpert(replay.series) / Double(replay.windows.count)
        guard windows >= neededWindows else {
            // History takes a quarter, and a window so many rows that it tells more than chance.
            let needed =
                Double(neededWindows + 1) * replay.windows.map { Double($0.count) }.reduce(0, +)
                / Double(replay.windows.count)
            return
                "\(rows) recorded passes make \(replay.windows.count == 1 ? "1 window" : "\(replay.windows.count) windows"), of which \(windows) can be judged on: "
                + "\(neededWindows) are needed. Record \(Int(max(Double(rows) + 1, needed.rounded(.up)))) passes or more."
        }
        guard pairs >= Replay.neededPairsPerExpert / 2 else {
            return "A window has \(Int(pairs)) tokens per expert, mostly chance: "
                + "\(Int(Replay.neededPairsPerExpert)) are needed. Record longer, or make windows longer."
        }
        return nil
    }

    /// The simplest of the policies whose net is within a hundredth of the best.
    private static func best(_ gains: [PolicyGain]) -> PolicyGain? {
        guard let top = gains.map(\.net).max() else { return nil }
        return gains.filter { $0.net >= top - 0.01 }.min {
            ($0.outcome.transfers, $0.redundant, -$0.net) < ($1.outcome.transfers, $1.redundant, -$1.net)
        }
    }

    private static func name(_ gain: PolicyGain) -> String {
        "\"\(gain.outcome.policy.name)\" with \(gain.redundant) redundant experts"
    }
}
