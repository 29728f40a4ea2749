// PlacementJudge: what a placement would have cost in rows that have been counted.
//
// All ranks wait for the busiest one in every layer of every pass, so the expert-compute time of a row is the sum over
// layers of the busiest rank's tokens; its mean rank is what the time would be if load were even.

/// What rows cost under a placement, in tokens.
public struct PlacementCost: Sendable, Equatable {
    /// The busiest rank's tokens, summed over rows and layers: proportional to expert-compute time.
    public var peak = 0.0
    /// The mean rank's tokens, summed likewise: the least that `peak` can be.
    public var mean = 0.0
    /// Balancedness summed over rows and layers, idle ones as 1.
    var rates = 0.0
    /// Rows times layers.
    var count = 0

    /// Mean over rows and layers of mean over busiest rank; 1 without rows.
    public var balancedness: Double { count > 0 ? rates / Double(count) : 1 }

    /// Of no rows.
    public init() {}

    /// The cost of both.
    public static func + (first: PlacementCost, second: PlacementCost) -> PlacementCost {
        var sum = first
        sum.peak += second.peak
        sum.mean += second.mean
        sum.rates += second.rates
        sum.count += second.count
        return sum
    }
}

/// Judges rows under one placement.
public struct PlacementJudge: Sendable {
    /// The placement.
    public let placement: Placement
    /// The part of its expert's tokens that each slot gets; `[L, P]`.
    private let shares: [Float]

    /// A judge for `placement`; replicas share evenly unless `weights` say otherwise.
    public init(_ placement: Placement, weights: DispatchWeights? = nil) {
        self.placement = placement
        if let weights {
            precondition(weights.physicalExperts == placement.physicalExperts, "weights of another placement")
            shares = weights.values
            return
        }
        let counts = placement.replicaCounts
        shares = placement.physicalToLogical.enumerated().map { index, expert in
            let layer = index / placement.physicalExperts
            return 1 / Float(counts[layer * placement.logicalExperts + Int(expert)])
        }
    }

    /// The cost of some rows, layer by layer.
    ///
    /// - Parameters:
    ///   - series: of as many layers and experts.
    ///   - rows: which of its rows.
    /// - Returns: `[L]`.
    /// - Complexity: O(rows · L · P).
    public func layerCosts(_ series: LoadSeries, rows: Range<Int>) -> [PlacementCost] {
        precondition(
            series.layers == placement.layers && series.experts == placement.logicalExperts, "a load of another model")
        var costs = [PlacementCost](repeating: PlacementCost(), count: series.layers)
        let (experts, slots, room) = (series.experts, placement.physicalExperts, placement.slotsPerRank)
        let ranks = Double(placement.ranks)
        series.values.withUnsafeBufferPointer { values in
            for row in rows {
                for layer in 0..<series.layers {
                    let load = UnsafeBufferPointer(
                        rebasing: values[
                            (row * series.layers + layer) * experts..<(row * series.layers + layer + 1) * experts])
                    var (busiest, total, rank) = (0 as Float, 0.0, 0 as Float)
                    for slot in 0..<slots {
                        let index = layer * slots + slot
                        rank += load[Int(placement.physicalToLogical[index])] * shares[index]
                        if (slot + 1) % room == 0 {
                            busiest = max(busiest, rank)
                            total += Double(rank)
                            rank = 0
                        }
                    }
                    let mean = total / ranks
                    costs[layer].peak += Double(busiest)
                    costs[layer].mean += mean
                    costs[layer].rates += busiest > 0 ? min(1, mean / Double(busiest)) : 1
                    costs[layer].count += 1
                }
            }
        }
        return costs
    }

    /// The cost of some rows, over all layers.
    public func cost(_ series: LoadSeries, rows: Range<Int>) -> PlacementCost {
        layerCosts(series, rows: rows).reduce(PlacementCost(), +)
    }
}
