// Recording: what any file of recorded experts holds, whoever wrote it and in whatever format. A plain value.
//
// Letters: W rows (passes kept), L layers, E experts, P slots, K experts per token, N tokens of a pass.
// What a file does not say is nil or empty: files of other engines name no model, and their `stat` no passes.

/// Recorded counts, and in mode `per_token` the tokens behind them.
public struct Recording: Sendable, Equatable {
    /// Counts of all rows, row-major.
    public enum Counts: Sendable, Equatable {
        /// Pairs per slot, `[W, L, P]`; every pass says its placement.
        case physical([Int32])
        /// Pairs per expert, `[W, L, E]`.
        case logical([Int32])
    }

    /// What is known of a row's pass.
    public struct Pass: Sendable, Equatable {
        /// The pass's number; the first of a run is 1.
        public var id: Int
        /// What kind of pass it was.
        public var mode: ForwardMode?
        /// Real tokens.
        public var tokens: Int?
        /// Index into `placements`.
        public var placement: Int?
        /// How even its load was; see `Balancedness`.
        public var balancedness: Float?

        /// What is known of a pass.
        public init(
            id: Int, mode: ForwardMode? = nil, tokens: Int? = nil, placement: Int? = nil, balancedness: Float? = nil
        ) {
            self.id = id
            self.mode = mode
            self.tokens = tokens
            self.placement = placement
            self.balancedness = balancedness
        }
    }

    /// Consecutive tokens of one request.
    public struct Run: Sendable, Equatable {
        /// Index into `requests`; nil when the file does not say.
        public var request: Int?
        /// Tokens in the run.
        public var tokens: Int

        /// A run.
        public init(request: Int?, tokens: Int) {
            self.request = request
            self.tokens = tokens
        }
    }

    /// The tokens of one pass.
    public struct PassTokens: Sendable, Equatable {
        /// Token ids, `[N]`.
        public var ids: [Int32]
        /// Their positions in their sequences, `[N]`.
        public var positions: [Int32]
        /// Whose they are, in order; their tokens make N.
        public var runs: [Run]
        /// Each token's physical experts, `[N, L, K]`; -1 for none.
        public var experts: [Int16]

        /// The tokens of one pass.
        public init(ids: [Int32], positions: [Int32], runs: [Run], experts: [Int16]) {
            self.ids = ids
            self.positions = positions
            self.runs = runs
            self.experts = experts
        }
    }

    /// The round buffer that rows lay in.
    public struct Window: Sendable, Equatable {
        /// Rows of the buffer.
        public var capacity: Int
        /// The row that the next pass would take; the newest pass lies before it.
        public var nextRow: Int
    }

    /// How it was recorded.
    public var mode: RecorderMode
    /// The model's name.
    public var model: String?
    /// L.
    public var layers: Int
    /// E.
    public var logicalExperts: Int
    /// K.
    public var topK: Int?
    /// Whose counts these are, among processes that each wrote a file.
    public var rank = 0
    /// How often each routed pair was counted: 1, unless another engine's ranks all saw the same tokens.
    public var multiplicity = 1
    /// The placements of the passes, in order of appearance.
    public var placements: [Placement] = []
    /// The round buffer; nil when rows were not bounded in number.
    public var window: Window?
    /// What is known of each row's pass, oldest first: W of them, or none.
    public var passes: [Pass] = []
    /// The counts; rows oldest first if the passes are known, else in the file's order.
    public var counts: Counts
    /// Pairs per expert over all recorded passes, kept or not; `[L, E]`.
    public var totals: [Int64]
    /// All recorded passes, kept or not.
    public var recorded: PassTally?
    /// Recorded passes without a row, for want of room.
    public var dropped = PassTally()
    /// Mean balancedness over the last 1000 passes, if it was reported.
    public var averageUtilization: Double?
    /// The ids of the requests that runs name.
    public var requests: [String] = []
    /// Mode `per_token`: the tokens of each row's pass; else empty.
    public var tokens: [PassTokens] = []

    /// P; nil when no placement is known.
    public var physicalExperts: Int? { placements.first?.physicalExperts }

    /// W.
    public var rows: Int {
        switch counts {
        case .physical(let counts): counts.count / max(1, layers * (physicalExperts ?? 0))
        case .logical(let counts): counts.count / (layers * logicalExperts)
        }
    }

    /// Pairs per expert of every row, each by its own pass's placement; `[W, L, E]`.
    public func logicalCounts() -> [Int32] {
        guard case .physical(let counts) = counts else {
            if case .logical(let counts) = counts { return counts }
            return []
        }
        let width = layers * (physicalExperts ?? 0)
        var logical = [Int32](repeating: 0, count: rows * layers * logicalExperts)
        counts.withUnsafeBufferPointer { counts in
            logical.withUnsafeMutableBufferPointer { logical in
                for (row, pass) in passes.enumerated() {
                    let size = layers * logicalExperts
                    placements[pass.placement ?? 0].fold(
                        UnsafeBufferPointer(rebasing: counts[row * width..<(row + 1) * width]),
                        into: UnsafeMutableBufferPointer(rebasing: logical[row * size..<(row + 1) * size]))
                }
            }
        }
        return logical
    }

    /// Pairs per expert summed over those rows whose pass fulfils `condition`; `[L, E]`.
    ///
    /// - Returns: nil when the passes are not known.
    public func load(where condition: (Pass) -> Bool) -> [Int64]? {
        guard passes.count == rows else { return nil }
        let (logical, size) = (logicalCounts(), layers * logicalExperts)
        var sums = [Int64](repeating: 0, count: size)
        for (row, pass) in passes.enumerated() where condition(pass) {
            for index in 0..<size { sums[index] += Int64(logical[row * size + index]) }
        }
        return sums
    }

    /// Sums of `[W, L, E]` over W.
    static func sums(_ counts: [Int32], size: Int) -> [Int64] {
        var sums = [Int64](repeating: 0, count: size)
        for (index, count) in counts.enumerated() { sums[index % size] += Int64(count) }
        return sums
    }
}
