// PlanBound: what no plan can exceed. With it a plan's distance from the best possible one is known, not guessed.
//
// Method: a peak M is impossible if every replication leaves too many heavy replicas for the ranks.
//         First, no replica may exceed M, so an expert of load w has c = ceil(w / M) replicas at least.
//         (a) At most k replicas heavier than M / (k + 1) fit on a rank, so at most k · G of them may exist.
//         (b) With S slots on a rank and t <= M / 2, a replica heavier than M - t lies beside S - 1 replicas lighter than
//         t, so there are S - 1 times as many of the latter.
//         Slots beyond the c of each expert can only help by making an expert's replicas lighter. How much they can help
//         at most is a fractional knapsack: the largest gain per slot first. What helps too little even then proves M
//         impossible. The bound is the largest impossible M, by bisection from the mean upwards; below the mean every M
//         is impossible. For replicas that share evenly; nodes and groups can only lower what is reached.

extension LoadMatrix {
    /// The balancedness that no placement of one layer exceeds, with tokens shared evenly among replicas.
    ///
    /// - Parameters:
    ///   - layer: which layer.
    ///   - slots: P.
    ///   - ranks: G; divides P.
    /// - Returns: at most 1, from below never less than what is possible; 1 without load.
    /// - Complexity: O(S · E log E), some twenty times; O(E² log E) for up to four slots per rank.
    public func balancednessBound(layer: Int, slots: Int, ranks: Int) -> Double {
        precondition(ranks > 0 && slots % ranks == 0 && slots >= experts, "\(slots) slots on \(ranks) ranks")
        let loads = row(layer).filter { $0 > 0 }.map { Double($0) }.sorted(by: >)
        let mean = loads.reduce(0, +) / Double(ranks)
        guard mean > 0 else { return 1 }
        let layer = BoundedLayer(loads: loads, idle: experts - loads.count, slots: slots, ranks: ranks)
        var low = layer.leastPossible(from: mean) { $0.hasTooManyHeavy }
        if layer.room <= BoundedLayer.pairedRoom {
            low = layer.leastPossible(from: low, precision: 1e-4) { $0.hasTooFewLight }
        }
        return mean / low
    }

    /// The mean of the layers' bounds.
    public func balancednessBound(slots: Int, ranks: Int) -> Double {
        (0..<layers).reduce(0) { $0 + balancednessBound(layer: $1, slots: slots, ranks: ranks) } / Double(layers)
    }
}

/// A layer whose peak is bounded.
private struct BoundedLayer {
    /// Up to so many slots per rank case (b) is looked at; beyond, it never says more than (a).
    static let pairedRoom = 4

    /// Loads above zero, falling.
    let loads: [Double]
    /// Experts without load; each has one replica.
    let idle: Int
    let slots: Int
    let ranks: Int

    var room: Int { slots / ranks }

    /// A peak that is proven impossible, within `precision` of the largest; `low` if that is not.
    func leastPossible(
        from low: Double, precision: Double = 1e-7, _ isImpossible: (BoundedPeak) -> Bool
    ) -> Double {
        func check(_ peak: Double) -> Bool { BoundedPeak(peak, of: self).map(isImpossible) ?? true }
        guard check(low), let largest = loads.first else { return low }
        var (low, high) = (low, max(low, largest) + low)
        while high - low > low * precision {
            let middle = (low + high) / 2
            if check(middle) { low = middle } else { high = middle }
        }
        return low
    }
}

/// A peak that may turn out impossible.
private struct BoundedPeak {
    private let layer: BoundedLayer
    private let peak: Double
    /// Fewest replicas of each expert with load.
    private let least: [Double]
    /// Slots that are left.
    private let spare: Double

    /// Nil if there are not enough slots for replicas of at most `peak`.
    init?(_ peak: Double, of layer: BoundedLayer) {
        // Rounding must never make a possible peak look impossible.
        let peak = peak * (1 + 1e-9)
        self.peak = peak
        self.layer = layer
        least = layer.loads.map { ($0 / peak).rounded(.up) }
        spare = Double(layer.slots - layer.idle) - least.reduce(0, +)
        if spare < 0 { return nil }
    }

    /// Case (a).
    var hasTooManyHeavy: Bool {
        (1..<max(1, min(layer.room, 64))).contains { limit in
            let threshold = peak / Double(limit + 1)
            var heavy = 0.0
            var gains: [(gain: Double, cost: Double)] = []
            for (load, count) in zip(layer.loads, least) where load / count > threshold {
                heavy += count
                gains.append((count, (load / threshold).rounded(.up) - count))
            }
            let excess = heavy - Double(limit * layer.ranks)
            return excess > 0 && Self.most(gains, spare) < excess
        }
    }

    /// Case (b).
    var hasTooFewLight: Bool {
        guard layer.room > 1 else { return false }
        // Any choice of t is a proof; so many, evenly over the shares, come close to the best.
        let shares = zip(layer.loads, least).map { $0 / $1 }.filter { $0 <= peak / 2 }
        let step = max(1, shares.count / 96)
        return stride(from: 0, to: shares.count, by: step).contains { lacksLight(below: shares[$0]) }
    }

    /// Whether there cannot be enough replicas lighter than `light` for those heavier than `peak - light`.
    private func lacksLight(below light: Double) -> Bool {
        let beside = Double(layer.room - 1)
        // An expert's heavy replicas want company, its light ones give it; a slot that is left gives one light replica.
        var lack = -Double(layer.idle) - spare
        var gains: [(gain: Double, cost: Double)] = []
        for (load, count) in zip(layer.loads, least) {
            let share = load / count
            guard share >= light else {
                lack -= count
                continue
            }
            // Enough replicas that each is light, at least one more; what that gains beyond light replicas elsewhere.
            let wanted = share > peak - light ? count * beside : 0
            lack += wanted
            let enough = max((load / light).rounded(.down) + 1, count + 1)
            let all = (gain: wanted + count, cost: enough - count)
            // Some replicas fewer make heavy ones neither heavy nor light, which may be the better bargain.
            let some = (load / (peak - light)).rounded(.up) - count
            if wanted > some, some > 0, some < all.cost, (wanted - some) * all.cost > all.gain * some {
                gains.append((wanted - some, some))
                gains.append((all.gain - wanted + some, all.cost - some))
            } else {
                gains.append(all)
            }
        }
        return lack > 0 && Self.most(gains, spare) < lack
    }

    /// The largest sum of gains for `spare` slots, if parts of each could be taken.
    private static func most(_ gains: [(gain: Double, cost: Double)], _ spare: Double) -> Double {
        var (sum, left) = (0.0, spare)
        for (gain, cost) in gains.sorted(by: { $0.gain * $1.cost > $1.gain * $0.cost }) {
            guard cost < left else { return sum + gain * left / cost }
            sum += gain
            left -= cost
        }
        return sum
    }
}
