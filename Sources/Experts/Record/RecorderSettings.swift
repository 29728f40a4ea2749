// RecorderSettings: how a recorder records: what it keeps, of how many passes, and in how much memory.

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
    /// Bytes that passes may take unless their number is bounded, with the ids of their requests. What does not fit is
    /// dropped and counted.
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
