// Rows that count something. A window that another engine dumped has all rows of its round buffer, unused ones zero;
// taken for passes without load they would look perfectly even.

extension Recording {
    /// W, less the rows that count nothing where passes are not known; a known pass without load is a row of its own.
    public var usedRows: Int { usedRanges?.count ?? rows }

    /// The recording with `usedRows` alone.
    public func withoutUnusedRows() -> Recording {
        guard case .logical(let counts) = counts, let ranges = usedRanges, ranges.count < rows else { return self }
        var recording = self
        recording.counts = .logical(ranges.flatMap { counts[$0] })
        return recording
    }

    /// Where the rows lie that count something; nil where all rows are used.
    private var usedRanges: [Range<Int>]? {
        guard passes.count != rows, case .logical(let counts) = counts else { return nil }
        let size = layers * logicalExperts
        return (0..<rows).map { $0 * size..<($0 + 1) * size }.filter { counts[$0].contains { $0 > 0 } }
    }

    /// How many rows there are, such as `12 passes` or `6 of 1000 rows used`.
    public var extent: String {
        let used = usedRows
        return used == rows ? "\(rows) passes" : "\(used) of \(rows) rows used"
    }
}
