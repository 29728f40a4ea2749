// RecorderMode: what a recorder keeps of each pass.

/// What is kept of a pass; raw values as in settings and files.
public enum RecorderMode: String, Sendable, Equatable, CaseIterable {
    /// Counts per layer and expert, in a window of passes.
    case stat
    /// The same: counts of one's own routing are exact. A name that other engines know.
    case statApprox = "stat_approx"
    /// Counts of every pass, until the budget is used up.
    case perPass = "per_pass"
    /// Beside the counts every token: its id, position, request and experts, until the budget is used up.
    case perToken = "per_token"

    /// Whether single passes are what is wanted, not their window.
    public var isDetailed: Bool { self == .perPass || self == .perToken }
}
