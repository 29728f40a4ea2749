// Rows that count something. A window that another engine dumped has all rows of its round buffer, unused ones zero;
// taken for passes without load they would look perfectly even.

extension Recording {
    /// W, less the rows that count nothing where passes are not known; a known pass without load is a row of its own.
    public var usedRows: Int { withoutUnusedRows().rows }

    /// The recording with `usedRows` alone.
    public func withoutUnusedRows() -> Recording {
        guard passes.count != rows, case .logical(let counts) = counts else { return self }
        let size = layers * logicalExperts
        var used: [Int32] = []
        used.reserveCapacity(counts.count)
        for first in stride(from: 0, to: counts.count, by: size) {
            let row = counts[first..<first + size]
            if row.contains(where: { $0 > 0 }) { used += row }
        }
        var recording = self
        recording.counts = .logical(used)
        return recording
    }

    /// How many rows there are, such as `12 passes` or `6 of 1000 rows used`.
    public var extent: String {
        let used = usedRows
        return used == rows ? "\(rows) passes" : "\(used) of \(rows) rows used"
    }
}
