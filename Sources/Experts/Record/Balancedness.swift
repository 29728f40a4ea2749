// Balancedness: how evenly a load falls on the ranks. Pure arithmetic in float32, as dashboards expect it.
//
// Rate of a layer: (mean + 1e-5) / (max + 1e-5) over the ranks' pair counts, so 1 is even, 1/G is one rank doing all,
// and a layer without any load is 1.

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
        let width = counts.count / layers
        var sum: Float = 0
        for layer in 0..<layers {
            sum += rate(
                ofLayer: UnsafeBufferPointer(rebasing: counts[layer * width..<(layer + 1) * width]), ranks: ranks)
        }
        return sum / Float(layers)
    }
}

/// The balancedness of the last 1000 passes.
public struct BalancednessWindow: Sendable, Equatable {
    /// How many passes are remembered.
    public static let capacity = 1000

    private var values = [Float](repeating: 0, count: capacity)
    private var next = 0
    /// Passes remembered so far; at most `capacity`.
    public private(set) var count = 0

    /// An empty window.
    public init() {}

    /// Remembers the value of one more pass, forgetting the oldest when full.
    public mutating func append(_ value: Float) {
        values[next] = value
        next = (next + 1) % Self.capacity
        count = min(count + 1, Self.capacity)
    }

    /// Remembers the passes of `newer`, oldest first.
    public mutating func append(contentsOf newer: BalancednessWindow) {
        for age in (0..<newer.count).reversed() {
            append(newer.values[(newer.next - 1 - age + Self.capacity) % Self.capacity])
        }
    }

    /// Forgets all passes.
    public mutating func removeAll() { count = 0 }

    /// The mean over the last `passes` passes, or over those there are.
    ///
    /// - Parameter passes: usually 10, 100 or 1000.
    /// - Returns: nil when no pass is remembered.
    public func mean(last passes: Int) -> Float? {
        let used = min(passes, count)
        guard used > 0 else { return nil }
        var sum = 0.0
        for age in 1...used { sum += Double(values[(next - age + Self.capacity) % Self.capacity]) }
        return Float(sum / Double(used))
    }
}
