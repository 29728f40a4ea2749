// A recording as if its slots lay on another number of GPUs: for files that do not say, and for what-if.

extension Recording {
    /// The same counts with the slots on `ranks` ranks; counts by expert are given the trivial placement.
    ///
    /// - Parameter ranks: G; must divide the number of slots.
    /// - Throws: `PlanError` with what would be possible.
    /// - Returns: a recording with counts by slot.
    public func spread(over ranks: Int) throws(PlanError) -> Recording {
        let slots = physicalExperts ?? logicalExperts
        guard ranks > 0 else { throw .notPositive(size: "ranks", value: ranks) }
        guard slots % ranks == 0 else {
            throw .slotsNotDivisible(slots: slots, ranks: ranks, experts: logicalExperts)
        }
        var spread = self
        do {
            if case .logical(let counts) = counts {
                spread.placements = [
                    try Placement.trivial(layers: layers, logicalExperts: logicalExperts, ranks: ranks)
                ]
                if passes.count != rows { spread.passes = (0..<rows).map { Pass(id: $0 + 1) } }
                for row in spread.passes.indices { spread.passes[row].placement = 0 }
                spread.counts = .physical(counts)
            } else {
                spread.placements = []
                for old in placements {
                    spread.placements.append(
                        try Placement(
                            physicalToLogical: old.physicalToLogical, layers: layers, logicalExperts: logicalExperts,
                            ranks: ranks, epoch: old.epoch))
                }
            }
        } catch {
            throw .slotsNotDivisible(slots: slots, ranks: ranks, experts: logicalExperts)
        }
        for row in spread.passes.indices { spread.passes[row].balancedness = nil }
        return spread
    }

    /// The mean balancedness of each layer over the passes that fulfil `condition`.
    ///
    /// - Returns: `[L]`; nil when pairs are not known by slot, or no such pass was kept.
    public func balancedness(where condition: (Pass) -> Bool) -> [Double]? {
        guard case .physical(let counts) = counts, let slots = physicalExperts else { return nil }
        var sums = [Double](repeating: 0, count: layers)
        var count = 0
        let size = layers * slots
        counts.withUnsafeBufferPointer { counts in
            for (row, pass) in passes.enumerated() where condition(pass) {
                count += 1
                Balancedness.eachRate(
                    UnsafeBufferPointer(rebasing: counts[row * size..<(row + 1) * size]), layers: layers,
                    ranks: placements[pass.placement ?? 0].ranks
                ) { sums[$0] += Double($1) }
            }
        }
        return count == 0 ? nil : sums.map { $0 / Double(count) }
    }
}
