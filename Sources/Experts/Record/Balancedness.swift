// Balancedness: how evenly a load falls on the ranks. Pure arithmetic in float32, as dashboards expect it.
//
// Rate of a layer: (mean + 1e-5) / (max + 1e-5) over the ranks' pair counts, so 1 is even, 1/G is one rank doing all,
// and a layer without any load is 1. Mean and maximum are taken over ranks, never over layers; the value of a pass is
// the mean of its layers' rates. With four ranks:
//     [10, 10, 10, 10]  1.0            [30, 10, 20, 20]  0.66666675
//     [40,  0,  0,  0]  0.25000018     [ 0,  0,  0,  0]  1.0

/// How evenly pairs fall on ranks.
public enum Balancedness {
    /// The rate of one layer.
    ///
    /// - Parameters:
    ///   - counts: pairs per physical expert, `[P]`; ranks hold equal contiguous chunks.
    ///   - ranks: G; divides P.
    /// - Returns: a rate in (0, 1].
    public static func rate<Counts: RandomAccessCollection>(ofLayer counts: Counts, ranks: Int) -> Float
    where Counts.Element: BinaryInteger {
        precondition(ranks > 0 && counts.count % ranks == 0, "\(counts.count) slots on \(ranks) ranks")
        let chunk = counts.count / ranks
        var busiest = 0
        var total = 0
        var next = counts.startIndex
        for _ in 0..<ranks {
            var load = 0
            for _ in 0..<chunk {
                load += Int(counts[next])
                next = counts.index(after: next)
            }
            busiest = max(busiest, load)
            total += load
        }
        return (Float(total) / Float(ranks) + 1e-5) / (Float(busiest) + 1e-5)
    }

    /// The mean rate over all layers, dense ones included.
    ///
    /// - Parameters:
    ///   - counts: pairs per physical expert, `[L, P]`, row-major.
    ///   - layers: L.
    ///   - ranks: G; divides P.
    /// - Returns: a rate in (0, 1].
    public static func mean(_ counts: UnsafeBufferPointer<Int32>, layers: Int, ranks: Int) -> Float {
        precondition(layers > 0 && counts.count % layers == 0, "\(counts.count) counts in \(layers) layers")
        var sum: Float = 0
        eachRate(counts, layers: layers, ranks: ranks) { sum += $1 }
        return sum / Float(layers)
    }

    /// Calls `body` with each layer and its rate.
    ///
    /// - Parameters:
    ///   - counts: one pass's pairs per physical expert, `[L, P]`, row-major; a rank's sum fits 32 bits.
    ///   - layers: L.
    ///   - ranks: G; divides P.
    ///   - body: takes a layer and its rate.
    static func eachRate(
        _ counts: UnsafeBufferPointer<Int32>, layers: Int, ranks: Int, _ body: (Int, Float) -> Void
    ) {
        let width = counts.count / layers
        let chunk = width / ranks
        for layer in 0..<layers {
            var busiest: Int32 = 0
            var total = 0
            for rank in 0..<ranks {
                var load: Int32 = 0
                let first = layer * width + rank * chunk
                for slot in first..<first + chunk { load &+= counts[slot] }
                busiest = max(busiest, load)
                total += Int(load)
            }
            body(layer, (Float(total) / Float(ranks) + 1e-5) / (Float(busiest) + 1e-5))
        }
    }
}
