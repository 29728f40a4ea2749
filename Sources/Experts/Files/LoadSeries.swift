// LoadSeries: loads of successive passes or windows, the common ground of planning, analysis and advice.
//
// Letters: W rows, L layers, E experts. A row is what the file counts: a pass of a recording, or a window of somebody
// else's `[W, L, E]`. Checked once when made: rectangular, finite, not negative.

/// Loads of successive rows, oldest first.
public struct LoadSeries: Sendable, Equatable {
    /// L.
    public let layers: Int
    /// E: logical experts.
    public let experts: Int
    /// Pairs, `[W, L, E]`, row-major; finite, not negative.
    public private(set) var values: [Float]
    /// Where the experts lay in the latest row; nil when unknown.
    public var placement: Placement?
    /// Whether the rows are known to be in order of time.
    public var isOrdered: Bool

    /// Loads of rows.
    ///
    /// - Parameters:
    ///   - values: `[W, L, E]`, row-major.
    ///   - layers: L.
    ///   - experts: E.
    ///   - placement: where the experts lay in the latest row.
    ///   - isOrdered: whether rows are in order of time.
    /// - Throws: `PlanError` for an empty load and for the first value that is negative or not finite.
    public init(
        _ values: [Float], layers: Int, experts: Int, placement: Placement? = nil, isOrdered: Bool = true
    ) throws(PlanError) {
        guard layers > 0, experts > 0, !values.isEmpty else { throw .emptyLoad(layers: layers, experts: experts) }
        let size = layers.multipliedReportingOverflow(by: experts)
        guard !size.overflow, values.count % size.partialValue == 0 else {
            throw .loadShape(count: values.count, layers: layers, experts: experts)
        }
        for (index, value) in values.enumerated() {
            let place = index % size.partialValue
            guard value.isFinite else { throw .loadNotFinite(layer: place / experts, expert: place % experts) }
            guard value >= 0 else { throw .negativeLoad(layer: place / experts, expert: place % experts) }
        }
        self.layers = layers
        self.experts = experts
        self.values = values
        self.placement = placement
        self.isOrdered = isOrdered
    }

    /// W.
    public var rows: Int { values.count / (layers * experts) }

    /// Pairs of all rows, layers and experts.
    public var pairs: Double { values.reduce(0) { $0 + Double($1) } }

    /// The load of some rows together.
    ///
    /// - Parameter range: which rows; at least one.
    /// - Throws: `PlanError.loadNotFinite` when the sum leaves float32.
    /// - Returns: `[L, E]`.
    public func sum(_ range: Range<Int>) throws(PlanError) -> LoadMatrix {
        precondition(!range.isEmpty && range.lowerBound >= 0 && range.upperBound <= rows, "rows \(range) of \(rows)")
        let size = layers * experts
        var sums = [Double](repeating: 0, count: size)
        values.withUnsafeBufferPointer { values in
            sums.withUnsafeMutableBufferPointer { sums in
                for row in range {
                    for index in 0..<size { sums[index] += Double(values[row * size + index]) }
                }
            }
        }
        return try LoadMatrix(sums.map { Float($0) }, layers: layers, experts: experts)
    }

    /// The load of all rows together.
    public func total() throws(PlanError) -> LoadMatrix { try sum(0..<rows) }

    /// Without the rows that count nothing, such as the unused ones of another engine's round buffer.
    ///
    /// - Returns: nil when no row counts anything.
    public func withoutIdleRows() -> LoadSeries? {
        let size = layers * experts
        var kept: [Float] = []
        kept.reserveCapacity(values.count)
        for row in 0..<rows {
            let row = values[row * size..<(row + 1) * size]
            if row.contains(where: { $0 > 0 }) { kept += row }
        }
        guard !kept.isEmpty else { return nil }
        var series = self
        series.values = kept
        return series
    }

    /// Appends the rows of a later series.
    ///
    /// - Throws: `PlanError.placementMismatch` when its sizes differ.
    public mutating func append(_ later: LoadSeries) throws(PlanError) {
        guard later.layers == layers, later.experts == experts else {
            throw .loadShape(count: later.layers * later.experts, layers: layers, experts: experts)
        }
        values += later.values
        placement = later.placement ?? placement
        isOrdered = isOrdered && later.isOrdered
    }
}

extension LoadSeries {
    /// The rows of a recording.
    ///
    /// - Throws: `PlanError.emptyLoad` when it kept no pass.
    public init(_ recording: Recording) throws(PlanError) {
        let counts = recording.logicalCounts()
        // Without a kept pass the totals are all there is.
        let values = counts.isEmpty ? recording.totals.map { Float($0) } : counts.map { Float($0) }
        try self.init(
            values, layers: recording.layers, experts: recording.logicalExperts,
            placement: recording.passes.last?.placement.map { recording.placements[$0] },
            isOrdered: recording.passes.count == recording.rows)
    }
}
