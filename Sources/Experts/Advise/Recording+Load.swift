// What a recording says about load: by expert, by rank, over time. Pure functions for people's eyes.

extension Recording {
    /// Whether there is a hot set, over all recorded passes.
    public func hotSet() -> HotSet {
        let size = layers * logicalExperts
        var halves: (first: [Int64], second: [Int64])?
        // Without passes the rows may be in no order of time.
        if passes.count == rows, rows >= 2 {
            let counts = logicalCounts()
            let middle = rows / 2 * size
            halves = (
                Self.sums(Array(counts[..<middle]), size: size), Self.sums(Array(counts[middle...]), size: size)
            )
        }
        return HotSet(totals, experts: logicalExperts, halves: halves)
    }

    /// The balancedness of the last 1000 rows, layer by layer; nil when pairs are not known by slot.
    public func balancednessWindow() -> BalancednessWindow? {
        guard case .physical(let counts) = counts, let slots = physicalExperts else { return nil }
        var window = BalancednessWindow(layers: layers)
        let size = layers * slots
        for (row, pass) in passes.enumerated().suffix(BalancednessWindow.capacity) {
            let ranks = placements[pass.placement ?? 0].ranks
            counts.withUnsafeBufferPointer { counts in
                let row = UnsafeBufferPointer(rebasing: counts[row * size..<(row + 1) * size])
                _ = window.append(counts: row, ranks: ranks)
            }
        }
        return window
    }

    /// Pairs per rank, summed over rows and layers; nil when pairs are not known by slot, or ranks differ in number.
    public func rankLoads() -> [Int64]? {
        guard case .physical(let counts) = counts, let slots = physicalExperts, let ranks = placements.first?.ranks,
            placements.allSatisfy({ $0.ranks == ranks })
        else { return nil }
        var loads = [Int64](repeating: 0, count: ranks)
        for (index, count) in counts.enumerated() { loads[index % slots / (slots / ranks)] += Int64(count) }
        return loads
    }

    /// The load of a stretch of rows.
    struct Stretch: Equatable {
        var rows: Range<Int>
        /// Pairs per row, the mean over the stretch.
        var pairs: Double
        /// The mean over layers of the busiest expert's share in the stretch; nil without load.
        var topShare: Double?
    }

    /// The rows in at most `limit` equal stretches, in order.
    func stretches(limit: Int) -> [Stretch] {
        let (counts, size) = (logicalCounts(), layers * logicalExperts)
        let length = max(1, (rows + limit - 1) / limit)
        return stride(from: 0, to: rows, by: length).map { first in
            let range = first..<min(first + length, rows)
            let sums = Self.sums(Array(counts[range.lowerBound * size..<range.upperBound * size]), size: size)
            let loads = LayerLoad.layers(sums, experts: logicalExperts).filter { $0.pairs > 0 }
            return Stretch(
                rows: range, pairs: Double(sums.reduce(0, +)) / Double(range.count),
                topShare: loads.isEmpty ? nil : loads.reduce(0) { $0 + $1.topShare } / Double(loads.count))
        }
    }
}
