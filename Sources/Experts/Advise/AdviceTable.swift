// AdviceTable: advice as rows of texts, the same on the terminal and on the page.

/// Advice as rows of texts.
public enum AdviceTable {
    /// The columns' names.
    public static let header = [
        "GPUs", "redundant", "policy", "balancedness", "gain", "±", "net", "transfers/h", "moved/h", "memory/GPU",
    ]

    /// One row for keeping the placement, and one for each policy; the verdict's is marked with a star.
    public static func rows(_ advice: Advice) -> [[String]] {
        let kept = advice.keep.policy
        let redundant =
            "\(kept.slots - (advice.gains.first.map { $0.outcome.policy.slots - $0.redundant } ?? kept.slots))"
        let keep = [
            "\(advice.ranks)", redundant, kept.name, rate(advice.keep.balancedness), "", "", "", "0", "", "",
        ]
        return [keep]
            + advice.gains.map { gain in
                let isBest = gain == advice.verdict.best && advice.verdict.answer == .worthIt
                return [
                    "\(advice.ranks)", "\(gain.redundant)", gain.outcome.policy.name + (isBest ? " *" : ""),
                    rate(gain.outcome.balancedness), percent(gain.gain),
                    percent(2 * gain.error), percent(gain.net),
                    SVGPlot.short(gain.transfersPerHour.rounded()), gain.bytesPerHour.map(bytes) ?? "?",
                    gain.extraBytesPerRank.map(bytes) ?? "?",
                ]
            }
    }

    /// Such as `0.987`.
    static func rate(_ value: Double) -> String {
        let thousandths = Int((min(max(value, 0), 1) * 1000).rounded())
        return "\(thousandths / 1000)." + String("\(1000 + thousandths % 1000)".dropFirst())
    }

    /// Such as `-1.2 %`.
    static func percent(_ share: Double) -> String {
        guard share.isFinite else { return "?" }
        let tenths = Int((min(max(share, -1e6), 1e6) * 1000).rounded())
        return "\(tenths < 0 ? "-" : "")\(abs(tenths) / 10).\(abs(tenths) % 10) %"
    }

    /// Such as `1.23 GB`.
    static func bytes(_ value: Double) -> String {
        guard value > 0 else { return "0" }
        let text = SVGPlot.short(value)
        guard let unit = text.last, "kMGT".contains(unit) else { return text + " B" }
        return text.dropLast() + " \(unit)B"
    }
}
