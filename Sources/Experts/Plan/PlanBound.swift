// PlanBound: what no plan can exceed. With it a plan's distance from the best possible one is known, not guessed.
//
// Method: a peak M is impossible if some k in 0 ..< S (S slots per rank) shows a contradiction: at most k replicas
//         heavier than M / (k + 1) fit on a rank, so at most k · G of them may exist. An expert of load w makes one
//         such replica at least, or none once it has so many replicas that each is light, which costs
//         ceil(w (k + 1) / M) - 1 of the redundant slots. Making the cheapest ones light first leaves the fewest heavy
//         ones; are they still too many, M is impossible. k = 0 says that no replica may exceed M. The bound is the
//         largest impossible M, found by bisection from the mean upwards; below the mean every M is impossible.
//         For replicas that share evenly; nodes and groups can only lower what is reached.

extension LoadMatrix {
    /// The balancedness that no placement of one layer exceeds, with tokens shared evenly among replicas.
    ///
    /// - Parameters:
    ///   - layer: which layer.
    ///   - slots: P.
    ///   - ranks: G; divides P.
    /// - Returns: at most 1, from below never less than what is possible; 1 without load.
    /// - Complexity: O(S · E log E), some twenty times.
    public func balancednessBound(layer: Int, slots: Int, ranks: Int) -> Double {
        precondition(ranks > 0 && slots % ranks == 0 && slots >= experts, "\(slots) slots on \(ranks) ranks")
        let loads = row(layer).filter { $0 > 0 }.map { Double($0) }.sorted(by: >)
        let mean = loads.reduce(0, +) / Double(ranks)
        guard mean > 0, let largest = loads.first, Self.isImpossible(mean, loads, slots, ranks, experts) else {
            return 1
        }
        var (low, high) = (mean, max(mean, largest) + mean)
        while high - low > mean * 1e-7 {
            let middle = (low + high) / 2
            if Self.isImpossible(middle, loads, slots, ranks, experts) { low = middle } else { high = middle }
        }
        return mean / low
    }

    /// The mean of the layers' bounds.
    public func balancednessBound(slots: Int, ranks: Int) -> Double {
        (0..<layers).reduce(0) { $0 + balancednessBound(layer: $1, slots: slots, ranks: ranks) } / Double(layers)
    }

    /// Whether no placement keeps every rank at `peak`.
    private static func isImpossible(
        _ peak: Double, _ loads: [Double], _ slots: Int, _ ranks: Int, _ experts: Int
    ) -> Bool {
        let perRank = slots / ranks
        // Rounding must never make a possible peak look impossible.
        let peak = peak * (1 + 1e-9)
        for limit in 0..<min(perRank, 64) {
            let threshold = peak / Double(limit + 1)
            var spare = Double(slots - experts)
            var heavy = 0
            // Loads fall, so costs do: the cheapest to make light come last.
            let count = loads.firstIndex { $0 <= threshold } ?? loads.count
            for index in (0..<count).reversed() {
                let cost = (loads[index] / threshold).rounded(.up) - 1
                guard cost <= spare else {
                    heavy = index + 1
                    break
                }
                spare -= cost
            }
            if heavy > limit * ranks { return true }
        }
        return false
    }
}
