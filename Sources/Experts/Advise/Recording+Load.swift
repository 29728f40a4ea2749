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

    /// Pairs per slot of every row, `[W, L, P]`; nil when they are not known.
    var slotCounts: [Int32]? {
        switch counts {
        case .physical(let counts): counts
        case .logical(let counts): placements.count == 1 && placements[0].isIdentity ? counts : nil
        }
    }

    /// Calls `body` with the pass of every row, id 0 if it is not known, and the balancedness of its layers, `[L]`.
    ///
    /// - Returns: whether pairs are known by slot, without which there is no balancedness.
    @discardableResult
    func forEachRate(last limit: Int = .max, _ body: (Pass, [Float]) -> Void) -> Bool {
        guard let counts = slotCounts, let slots = physicalExperts else { return false }
        for row in rows - min(rows, limit)..<rows {
            let pass = passes.count == rows ? passes[row] : Pass(id: 0, placement: 0)
            let ranks = placements[pass.placement ?? 0].ranks
            // Sums of 64 bits: a row of a file may count more than a pass ever does.
            body(
                pass,
                (0..<layers).map { layer in
                    let first = (row * layers + layer) * slots
                    return Balancedness.rate(ofLayer: counts[first..<first + slots], ranks: ranks)
                })
        }
        return true
    }

    /// The balancedness of the last 1000 used rows, layer by layer; nil when pairs are not known by slot.
    public func balancednessWindow() -> BalancednessWindow? {
        var window = BalancednessWindow(layers: layers)
        let isKnown = withoutUnusedRows().forEachRate(last: BalancednessWindow.capacity) { window.append($1) }
        return isKnown ? window : nil
    }

    /// Pairs per rank, summed over rows and layers; nil when pairs are not known by slot, or ranks differ in number.
    public func rankLoads() -> [Int64]? {
        guard let counts = slotCounts, let slots = physicalExperts, let ranks = placements.first?.ranks,
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
