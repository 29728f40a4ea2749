// HotExpert: the experts with the largest shares of their layers. Pure functions.

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
                layer: index / experts, expert: index % experts, pairs: Int64(clamping: counts[index]),
                share: Double(counts[index]) / sums[index / experts])
        }
        return Array(
            all.sorted { ($1.share, $0.layer, $0.expert) < ($0.share, $1.layer, $1.expert) }.prefix(max(0, limit)))
    }
}
