// LayerLoad: how a layer's load lies on its experts, in a few numbers for people and dashboards. Pure functions.

// Imported for log; the package has no other use for it here.
#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// The load of one layer.
public struct LayerLoad: Sendable, Equatable {
    /// The layer's index.
    public var layer: Int
    /// Pairs in all, exact below 2^53; zero in a dense layer.
    public var pairs: Double
    /// The busiest expert, the lower id on a tie.
    public var hottest: Int
    /// The busiest expert's share of the pairs, 1/E ... 1; zero without load.
    public var topShare: Double
    /// Entropy of the shares over its maximum log E: 1 is even, 0 is one expert doing all; 1 without load.
    public var entropy: Double
    /// Experts with any load.
    public var active: Int
    /// E.
    public var experts: Int

    /// The share of experts without any load.
    public var unusedShare: Double { Double(experts - active) / Double(experts) }

    /// The load of a layer.
    ///
    /// - Parameters:
    ///   - layer: its index.
    ///   - counts: pairs per expert, `[E]`, none negative.
    public init<Counts: RandomAccessCollection>(layer: Int, _ counts: Counts) where Counts.Element: BinaryInteger {
        self.init(layer: layer, counts.lazy.map { Double($0) })
    }

    /// The load of a layer, in any scale.
    ///
    /// - Parameters:
    ///   - layer: its index.
    ///   - loads: of each expert, `[E]`; not negative, with a finite sum.
    public init<Loads: RandomAccessCollection>(layer: Int, _ loads: Loads) where Loads.Element: BinaryFloatingPoint {
        precondition(!loads.isEmpty, "a layer without experts")
        var (pairs, top, hottest, active) = (0.0, 0.0, 0, 0)
        for (expert, load) in loads.enumerated() where load > 0 {
            let load = Double(load)
            pairs += load
            active += 1
            if load > top { (top, hottest) = (load, expert) }
        }
        var entropy = 0.0
        for load in loads where load > 0 {
            let share = Double(load) / pairs
            // What is too small beside the others to have a share adds nothing.
            if share > 0 { entropy -= share * log(share) }
        }
        self.layer = layer
        self.pairs = pairs
        self.hottest = hottest
        self.active = active
        experts = loads.count
        topShare = pairs > 0 ? top / pairs : 0
        self.entropy = pairs > 0 && loads.count > 1 ? min(1, entropy / log(Double(loads.count))) : 1
    }

    /// The load of every layer.
    ///
    /// - Parameters:
    ///   - counts: pairs per expert, `[L, E]`, row-major.
    ///   - experts: E.
    /// - Returns: L of them.
    public static func layers<Count: BinaryInteger>(_ counts: [Count], experts: Int) -> [LayerLoad] {
        precondition(experts > 0 && counts.count % experts == 0, "\(counts.count) counts in rows of \(experts)")
        return (0..<counts.count / experts).map {
            LayerLoad(layer: $0, counts[$0 * experts..<($0 + 1) * experts])
        }
    }
}
