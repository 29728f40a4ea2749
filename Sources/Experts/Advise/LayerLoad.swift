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
    /// Pairs in all; zero in a dense layer.
    public var pairs: Int64
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
        precondition(!counts.isEmpty, "a layer without experts")
        var (pairs, top, hottest, active) = (0 as Int64, 0 as Int64, 0, 0)
        for (expert, count) in counts.enumerated() where count > 0 {
            let count = Int64(count)
            pairs += count
            active += 1
            if count > top { (top, hottest) = (count, expert) }
        }
        var entropy = 0.0
        for count in counts where count > 0 {
            let share = Double(count) / Double(pairs)
            entropy -= share * log(share)
        }
        self.layer = layer
        self.pairs = pairs
        self.hottest = hottest
        self.active = active
        experts = counts.count
        topShare = pairs > 0 ? Double(top) / Double(pairs) : 0
        self.entropy = pairs > 0 && counts.count > 1 ? min(1, entropy / log(Double(counts.count))) : 1
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

/// One expert and its load.
public struct HotExpert: Sendable, Equatable {
    /// Its layer.
    public var layer: Int
    /// Its logical id.
    public var expert: Int
    /// Its pairs.
    public var pairs: Int64
    /// Its share of the layer's pairs.
    public var share: Double

    /// The experts with the largest shares of their layers' load.
    ///
    /// - Parameters:
    ///   - counts: pairs per expert, `[L, E]`, row-major.
    ///   - experts: E.
    ///   - limit: how many at most.
    /// - Returns: by falling share, then layer and id; none without load.
    public static func hottest<Count: BinaryInteger>(_ counts: [Count], experts: Int, limit: Int) -> [HotExpert] {
        let sums = LayerLoad.layers(counts, experts: experts).map(\.pairs)
        let all = counts.indices.lazy.filter { counts[$0] > 0 }.map { index in
            HotExpert(
                layer: index / experts, expert: index % experts, pairs: Int64(counts[index]),
                share: Double(counts[index]) / Double(sums[index / experts]))
        }
        return Array(
            all.sorted { ($1.share, $0.layer, $0.expert) < ($0.share, $1.layer, $1.expert) }.prefix(max(0, limit)))
    }
}
