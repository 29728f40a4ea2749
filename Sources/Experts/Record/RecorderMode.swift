// RecorderMode: what a recorder keeps of each pass, how many passes, and in how much memory.

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

/// How to record.
public struct RecorderSettings: Sendable, Equatable {
    /// How many passes are kept.
    public enum Capacity: Sendable, Equatable {
        /// The last `count` passes.
        case passes(Int)
        /// All passes that fit the byte budget.
        case unbounded

        /// The capacity that a buffer-size setting names: -1 is unbounded.
        ///
        /// - Returns: nil for zero and for other negative numbers.
        public init?(setting: Int) {
            guard setting > 0 || setting == -1 else { return nil }
            self = setting > 0 ? .passes(setting) : .unbounded
        }
    }

    /// What is kept of a pass.
    public var mode: RecorderMode
    /// How many passes modes `stat` and `stat_approx` keep; the detailed modes keep all that fit the budget.
    public var capacity: Capacity
    /// Bytes that passes may take unless their number is bounded. What does not fit is dropped and counted.
    public var byteBudget: Int

    /// Settings; by default the last 1000 passes' counts.
    public init(mode: RecorderMode = .stat, capacity: Capacity = .passes(1000), byteBudget: Int = 256 << 20) {
        self.mode = mode
        self.capacity = capacity
        self.byteBudget = byteBudget
    }

    /// The number of passes in the window; nil when only the budget bounds them.
    var window: Int? {
        guard !mode.isDetailed, case .passes(let count) = capacity else { return nil }
        return count
    }
}

/// A number of passes and of the tokens in them.
public struct PassTally: Sendable, Equatable {
    /// Passes.
    public var passes: Int
    /// Real tokens in those passes.
    public var tokens: Int

    /// A tally.
    public init(passes: Int = 0, tokens: Int = 0) {
        self.passes = passes
        self.tokens = tokens
    }

    /// Counts one more pass.
    mutating func count(tokens: Int) {
        passes += 1
        self.tokens += tokens
    }

    static func + (first: PassTally, second: PassTally) -> PassTally {
        PassTally(passes: first.passes + second.passes, tokens: first.tokens + second.tokens)
    }
}
