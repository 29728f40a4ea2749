// Snapshot: what a recorder knew at one moment; a plain value for writers, dashboards and planners.

/// Recorded logical counts, with L layers of E experts.
public struct Snapshot: Sendable, Equatable {
    /// L.
    public var layers: Int
    /// E.
    public var logicalExperts: Int
    /// Counts per pass; `[rows, L, E]`, row-major. A bounded recorder gives all its rows in storage order, unused ones
    /// zero; an unbounded one the recorded passes, oldest first.
    public var logicalCounts: [Int32]
    /// The rows that hold a pass, oldest first.
    public var rowOrder: [Int]
    /// Counts summed over all recorded passes, also those that left a bounded buffer; `[L, E]`, row-major.
    public var totals: [Int64]
    /// Recorded passes.
    public var passes: Int
    /// Tokens in those passes.
    public var tokens: Int
    /// The balancedness of the last passes.
    public var balancedness: BalancednessWindow

    /// A snapshot from its parts.
    public init(
        layers: Int, logicalExperts: Int, logicalCounts: [Int32], rowOrder: [Int], totals: [Int64], passes: Int,
        tokens: Int, balancedness: BalancednessWindow
    ) {
        self.layers = layers
        self.logicalExperts = logicalExperts
        self.logicalCounts = logicalCounts
        self.rowOrder = rowOrder
        self.totals = totals
        self.passes = passes
        self.tokens = tokens
        self.balancedness = balancedness
    }

    /// Rows in `logicalCounts`.
    public var rows: Int { logicalCounts.count / (layers * logicalExperts) }

    /// Only the rows that hold a pass, oldest first; `[rowOrder.count, L, E]`.
    public func timeOrderedCounts() -> [Int32] {
        let size = layers * logicalExperts
        return rowOrder.flatMap { logicalCounts[$0 * size..<($0 + 1) * size] }
    }
}
