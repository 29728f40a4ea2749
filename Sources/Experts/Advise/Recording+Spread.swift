// A recording as if its slots lay on another number of GPUs: for files that do not say, and for what-if.

extension Recording {
    /// The same counts with the slots on `ranks` ranks; counts by expert are given the trivial placement,
    /// where each expert is its own slot.
    ///
    /// - Parameter ranks: G; must divide the number of slots.
    /// - Throws: `PlanError` with what would be possible.
    /// - Returns: a recording with counts that are known by slot.
    public func spread(over ranks: Int) throws(PlanError) -> Recording {
        let slots = if case .logical = counts { logicalExperts } else { physicalExperts ?? logicalExperts }
        guard ranks > 0 else { throw .notPositive(size: "ranks", value: ranks) }
        guard slots % ranks == 0 else {
            throw .slotsNotDivisible(slots: slots, ranks: ranks, experts: logicalExperts)
        }
        var spread = self
        do {
            if case .logical = counts {
                spread.placements = [
                    try Placement.trivial(layers: layers, logicalExperts: logicalExperts, ranks: ranks)
                ]
                for row in passes.indices { spread.passes[row].placement = 0 }
            } else {
                spread.placements = try placements.map {
                    try Placement(
                        physicalToLogical: $0.physicalToLogical, layers: layers, logicalExperts: logicalExperts,
                        ranks: ranks, epoch: $0.epoch)
                }
            }
        } catch {
            throw .slotsNotDivisible(slots: slots, ranks: ranks, experts: logicalExperts)
        }
        for row in passes.indices { spread.passes[row].balancedness = nil }
        return spread
    }

    /// The mean balancedness of each layer over the used rows whose pass fulfils `condition`.
    ///
    /// - Parameter condition: of a pass; one that is not known has the id 0 and no mode.
    /// - Returns: `[L]`; nil when pairs are not known by slot, or no such pass was kept.
    public func balancedness(where condition: (Pass) -> Bool) -> [Double]? {
        let used = withoutUnusedRows()
        var sums = [Double](repeating: 0, count: layers)
        var count = 0
        let isKnown = used.forEachRate { pass, rates in
            guard condition(pass) else { return }
            count += 1
            for layer in 0..<layers { sums[layer] += Double(rates[layer]) }
        }
        return isKnown && count > 0 ? sums.map { $0 / Double(count) } : nil
    }
}
