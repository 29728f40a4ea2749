// AdviceReport: advice as JSON.

import Experts

/// Advice as JSON.
struct AdviceReport: Encodable {
    /// One policy.
    struct Policy: Encodable {
        var policy: String
        var slots: Int
        var redundant: Int
        var balancedness: Double
        var gain: Double
        var error: Double?
        var net: Double
        var initialTransfers: Int
        var transfersPerHour: Double
        var bytesPerHour: Double?
        var extraBytesPerGPU: Double?

        enum CodingKeys: String, CodingKey {
            case policy, slots, redundant, balancedness, gain, net
            case error = "standard_error"
            case initialTransfers = "initial_transfers"
            case transfersPerHour = "transfers_per_hour"
            case bytesPerHour = "bytes_per_hour"
            case extraBytesPerGPU = "extra_bytes_per_gpu"
        }
    }

    /// One number of GPUs.
    struct Case: Encodable {
        var gpus: Int
        var balancedness: Double
        var verdict: String
        var best: String?
        var reason: String
        var policies: [Policy]
    }

    var facts: [String]
    var cases: [Case]

    init(_ advices: [Advice], facts: [String]) {
        self.facts = facts
        cases = advices.map { advice in
            Case(
                gpus: advice.ranks, balancedness: advice.keep.balancedness, verdict: advice.verdict.answer.rawValue,
                best: advice.verdict.best?.outcome.policy.name, reason: advice.verdict.reason,
                policies: advice.gains.map { gain in
                    Policy(
                        policy: gain.outcome.policy.name, slots: gain.outcome.policy.slots, redundant: gain.redundant,
                        balancedness: gain.outcome.balancedness, gain: gain.gain,
                        error: gain.error.isFinite ? gain.error : nil, net: gain.net,
                        initialTransfers: gain.outcome.initialTransfers, transfersPerHour: gain.transfersPerHour,
                        bytesPerHour: gain.bytesPerHour, extraBytesPerGPU: gain.extraBytesPerRank)
                })
        }
    }
}
