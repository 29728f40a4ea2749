// Replay: what a rebalancing policy would have given on load that was recorded.
//
// The rows are cut into windows. A plan is made from windows that have passed and judged, row by row, on the windows
// after them, as it would be in life; nothing is ever judged on what it was planned from. The first quarter of the
// windows only serves as history, so that all policies are judged on the same rows.

/// What to do with the placement as time goes on.
public struct ReplayPolicy: Sendable, Equatable {
    /// When to plan.
    public enum Rule: Sendable, Equatable {
        /// Never.
        case keep
        /// Once, from the history.
        case once
        /// A new plan after every so many windows.
        case full(every: Int)
        /// Few transfers after every so many windows.
        case incremental(every: Int)
    }

    /// When to plan.
    public var rule: Rule
    /// G.
    public var ranks: Int
    /// P.
    public var slots: Int
    /// Whether replicas share tokens by weight, computed with each plan.
    public var usesWeights: Bool

    /// A policy.
    public init(_ rule: Rule, ranks: Int, slots: Int, usesWeights: Bool = false) {
        self.rule = rule
        self.ranks = ranks
        self.slots = slots
        self.usesWeights = usesWeights
    }

    /// Such as `re-plan every 4 windows`.
    public var name: String {
        func every(_ count: Int) -> String { count == 1 ? "every window" : "every \(count) windows" }
        let name =
            switch rule {
            case .keep: "keep"
            case .once: "plan once"
            case .full(let count): "re-plan \(every(count))"
            case .incremental(let count): "incremental \(every(count))"
            }
        return usesWeights ? name + ", weighted" : name
    }
}

/// What a policy would have given.
public struct ReplayOutcome: Sendable, Equatable {
    /// The policy.
    public var policy: ReplayPolicy
    /// The cost of each judged window.
    public var windows: [PlacementCost]
    /// Experts that moved before the first judged window; none if a server starts with the placement.
    public var initialTransfers: Int
    /// Experts that moved later, while serving.
    public var transfers: Int

    /// The cost of all judged windows.
    public var cost: PlacementCost { windows.reduce(PlacementCost(), +) }
    /// Mean over judged rows and layers.
    public var balancedness: Double { cost.balancedness }
}

/// Recorded load cut into windows, on which policies are tried.
public struct Replay: Sendable {
    /// Pairs per expert that a window should have for a plan to see more than chance.
    public static let neededPairsPerExpert = 20.0
    /// Most windows that rows are cut into unless told otherwise.
    public static let mostWindows = 48

    /// The rows.
    public let series: LoadSeries
    /// The rows of each window, oldest first.
    public let windows: [Range<Int>]
    /// The load of each window.
    private let loads: [LoadMatrix]

    /// Cuts rows into windows.
    ///
    /// - Parameters:
    ///   - series: rows, oldest first, none idle.
    ///   - windowRows: rows per window; nil chooses so many that a window tells more than chance.
    /// - Throws: `PlanError` when a window's sums leave float32.
    public init(_ series: LoadSeries, windowRows: Int? = nil) throws(PlanError) {
        self.series = series
        let length = max(1, windowRows ?? Self.windowRows(series))
        // What is left at the end belongs to the last window.
        let count = max(1, series.rows / length)
        windows = (0..<count).map { $0 * length..<($0 == count - 1 ? series.rows : ($0 + 1) * length) }
        var loads: [LoadMatrix] = []
        for window in windows { loads.append(try series.sum(window)) }
        self.loads = loads
    }

    /// Rows per window that tell more than chance, and make not too many windows.
    private static func windowRows(_ series: LoadSeries) -> Int {
        let perExpert = pairsPerExpert(series) / Double(series.rows)
        let enough = perExpert > 0 ? (neededPairsPerExpert / perExpert).rounded(.up) : 1
        return max(1, (series.rows + mostWindows - 1) / mostWindows, Int(min(enough, Double(series.rows))))
    }

    /// Pairs per expert and layer in all rows, idle layers left out.
    static func pairsPerExpert(_ series: LoadSeries) -> Double {
        series.pairs / Double(max(1, loadedLayers(series)) * series.experts)
    }

    /// Layers that ever have load.
    static func loadedLayers(_ series: LoadSeries) -> Int {
        (0..<series.layers).count { layer in
            (0..<series.rows).contains { row in
                let first = (row * series.layers + layer) * series.experts
                return series.values[first..<first + series.experts].contains { $0 > 0 }
            }
        }
    }

    /// Windows at the beginning that are only history.
    public var history: Int { max(1, windows.count / 4) }
    /// The windows that policies are judged on.
    public var judged: Range<Int> { min(history, windows.count)..<windows.count }

    /// Tries a policy.
    ///
    /// - Parameters:
    ///   - policy: what to do.
    ///   - present: where experts lie at the beginning; nil, or one of another shape, for the trivial placement.
    /// - Throws: `PlanError` for a shape that is impossible.
    /// - Returns: costs on the judged windows, and what moved.
    public func run(_ policy: ReplayPolicy, from present: Placement? = nil) throws(PlanError) -> ReplayOutcome {
        let shape = PlanShape(slots: policy.slots, ranks: policy.ranks)
        let fitting = present.flatMap { $0.ranks == policy.ranks && $0.physicalExperts == policy.slots ? $0 : nil }
        let trivial = try Placement.trivial(for: loads[0], shape: shape)
        var placement = fitting ?? trivial
        var outcome = ReplayOutcome(policy: policy, windows: [], initialTransfers: 0, transfers: 0)
        var judge = PlacementJudge(placement)
        for window in judged {
            let isFirst = window == judged.lowerBound
            if let next = try plan(policy, shape, before: window, from: placement, hasPresent: fitting != nil) {
                let moved = next.transfers(from: placement).reduce(0, +)
                if isFirst { outcome.initialTransfers = moved } else { outcome.transfers += moved }
                placement = next
                judge = try weighted(policy, placement, before: window)
            } else if isFirst {
                judge = try weighted(policy, placement, before: window)
            }
            outcome.windows.append(judge.cost(series, rows: windows[window]))
        }
        return outcome
    }

    private func weighted(
        _ policy: ReplayPolicy, _ placement: Placement, before window: Int
    ) throws(PlanError) -> PlacementJudge {
        guard policy.usesWeights else { return PlacementJudge(placement) }
        let load = try past(window, window == judged.lowerBound ? history : 4)
        return PlacementJudge(placement, weights: try DispatchWeights(load: load, placement: placement))
    }

    /// The placement to change to before a window; nil where the policy leaves it.
    private func plan(
        _ policy: ReplayPolicy, _ shape: PlanShape, before window: Int, from placement: Placement, hasPresent: Bool
    ) throws(PlanError) -> Placement? {
        let age = window - judged.lowerBound
        switch policy.rule {
        case .keep: return nil
        case .once:
            return age == 0 ? try PlacementPlan.balanced(load: past(window, window), shape: shape).placement : nil
        case .full(let every):
            guard age % max(1, every) == 0 else { return nil }
            let span = age == 0 ? window : min(window, max(1, every))
            return try PlacementPlan.balanced(load: past(window, span), shape: shape).placement
        case .incremental(let every):
            // Without a placement of this shape there is nothing to preserve.
            if age == 0, !hasPresent {
                return try PlacementPlan.balanced(load: past(window, window), shape: shape).placement
            }
            guard age % max(1, every) == 0 else { return nil }
            let plan = try IncrementalPlan(
                from: placement, windows: Array(loads[max(0, window - 6)..<window]),
                goal: IncrementalGoal(isWeighted: policy.usesWeights))
            return plan.placement
        }
    }

    /// The load of the `count` windows before a window.
    private func past(_ window: Int, _ count: Int) throws(PlanError) -> LoadMatrix {
        try series.sum(windows[max(0, window - count)].lowerBound..<windows[window - 1].upperBound)
    }
}
