// HotSet: is there a small set of experts that takes most of the load, and does it stay the same?
//
// Measure: for each layer, the fewest experts that together take half of its pairs, as a share of all experts. Even
// load needs half of them. The answer is that of the median layer. Whether the set stays is the share of the first
// half's hot experts that are hot in the second half too, again in the median layer. Few pairs look uneven by chance
// alone, so below 20 pairs per expert there is no answer.

/// Whether a few experts take most of the load.
public struct HotSet: Sendable, Equatable {
    /// The answer.
    public enum Verdict: String, Sendable, Equatable {
        /// At most 15 % of the experts take half of the load.
        case strong
        /// At most 30 % of them do.
        case mild
        /// It takes more.
        case absent
        /// Too few pairs to tell.
        case insufficient
    }

    /// Pairs per expert that an answer needs.
    public static let neededPairsPerExpert = 20

    /// The answer.
    public var verdict: Verdict
    /// Experts that take half of the median layer's load.
    public var size: Int
    /// E.
    public var experts: Int
    /// The share of them that are hot in both halves of the passes; nil when the passes are not known.
    public var stability: Double?
    /// Pairs per expert in the layer with the least load that is not idle.
    public var pairsPerExpert: Int

    /// Looks for a hot set.
    ///
    /// - Parameters:
    ///   - counts: pairs per expert, `[L, E]`, row-major.
    ///   - experts: E.
    ///   - halves: the same of the first and of the second half of the passes, if known.
    public init(_ counts: [Int64], experts: Int, halves: (first: [Int64], second: [Int64])? = nil) {
        let loads = LayerLoad.layers(counts, experts: experts).filter { $0.pairs > 0 }
        let layers = loads.map(\.layer)
        let sets = layers.map { Self.hottest(counts, layer: $0, experts: experts) }
        self.experts = experts
        size = Self.median(sets.map(\.count)) ?? 0
        pairsPerExpert = Int(min((loads.map(\.pairs).min() ?? 0) / Double(experts), 0x1p62))
        stability = halves.flatMap { halves in
            let overlaps = layers.compactMap { layer -> Double? in
                let first = Self.hottest(halves.first, layer: layer, experts: experts)
                let second = Self.hottest(halves.second, layer: layer, experts: experts)
                guard !first.isEmpty, !second.isEmpty else { return nil }
                return Double(first.intersection(second).count) / Double(max(first.count, second.count))
            }
            return Self.median(overlaps)
        }
        let share = Double(size) / Double(max(1, experts))
        verdict =
            if pairsPerExpert < Self.neededPairsPerExpert {
                .insufficient
            } else if share <= 0.15 {
                .strong
            } else {
                share <= 0.3 ? .mild : .absent
            }
    }

    /// The answer in one line.
    public var summary: String {
        let half = "half of the median layer's load goes to \(size) of \(experts) experts"
        let stays =
            stability.map { "; \(Int(($0 * 100).rounded())) % of them are hot in both halves of the passes" } ?? ""
        return switch verdict {
        case .strong: "A hot set: yes, \(half)\(stays)."
        case .mild: "A hot set: a mild one, \(half)\(stays)."
        case .absent: "A hot set: no, \(half); even load would need \((experts + 1) / 2)."
        case .insufficient:
            "A hot set: too few pairs to tell, \(pairsPerExpert) per expert in the quietest layer; "
                + "record until there are \(Self.neededPairsPerExpert)."
        }
    }

    /// The fewest experts that take half of a layer's load, the lower id first on a tie.
    private static func hottest(_ counts: [Int64], layer: Int, experts: Int) -> Set<Int> {
        let row = counts[layer * experts..<(layer + 1) * experts]
        let total = row.reduce(0) { $0 + Double($1) }
        var taken = 0.0
        var set: Set<Int> = []
        for (expert, count) in row.enumerated().sorted(by: { ($1.element, $0.offset) < ($0.element, $1.offset) }) {
            guard 2 * taken < total else { break }
            taken += Double(count)
            set.insert(expert)
        }
        return set
    }

    /// The upper one of two middle values.
    private static func median<Value: Comparable>(_ values: [Value]) -> Value? {
        values.isEmpty ? nil : values.sorted()[values.count / 2]
    }
}
