// LayerSearch: improves one layer's placement until it is good enough or the effort is spent.
//
// Goals in order: never worse than the start, the same result on every machine, quality, speed.
// Method: iterated local search. Slots are exchanged until the peak is within the target or stuck; then single
//         replicas are replaced, each time followed by exchanges. After some rounds without a new best the search
//         returns to the best and lets its changes stand for longer or shorter. Effort is counted, not timed.

/// How good a plan should be, and what may be spent on it.
public struct PlanGoal: Sendable, Equatable {
    /// Balancedness that ends the search of a layer, (0, 1]; the part of rank time that is not waiting.
    public var target: Double
    /// Balancedness that ends the search of a layer once exchanging slots no longer helps, at most `target`.
    public var settled: Double
    /// Most to spend on a layer, in units of about a nanosecond. Counted, so that plans do not depend on the clock.
    public var effort: Int
    /// Most to spend on a plan by the clock; layers that it does not reach keep the compatible plan. Nil: no limit.
    public var timeLimit: Duration?

    /// A goal; the defaults plan 58 layers of 256 experts in one to ten milliseconds.
    public init(
        target: Double = 0.9996, settled: Double = 0.9988, effort: Int = 400_000, timeLimit: Duration? = nil
    ) {
        self.target = target
        self.settled = settled
        self.effort = effort
        self.timeLimit = timeLimit
    }

    /// The peak that a balancedness allows, in units of the mean.
    static func peak(_ balancedness: Double) -> Float { Float(1 / max(balancedness, 1e-6)) }
}

/// Search on the layers of one shape.
struct LayerSearch: ~Copyable {
    /// The layer under change.
    let layer: LayerArrangement
    let exchange: SlotExchange
    private let change: ReplicaChange
    private let changeCost: Int

    /// Rounds without a new best after which the search goes back to the best.
    private static let patience = 5
    /// Returns without a new best after which the search ends.
    private static let returns = 12

    /// Space for layers of `experts` experts.
    init(experts: Int, shape: PlanShape, spill: Bool) {
        layer = LayerArrangement(experts: experts, shape: shape, spill: spill)
        exchange = SlotExchange(ranks: shape.ranks, room: shape.slots / shape.ranks)
        change = ReplicaChange(experts: experts)
        changeCost = 60 * shape.slots
    }

    /// Improves a layer.
    ///
    /// - Parameters:
    ///   - map: the expert in each slot, a plan of the same shape; improved in place; `[P]`.
    ///   - tokens: `[E]`.
    ///   - goal: when to stop.
    func improve(_ map: UnsafeMutablePointer<Int32>, tokens: UnsafePointer<Float>, goal: PlanGoal) {
        guard layer.setLoad(tokens) else { return }
        layer.setSlots(map)
        layer.settleHomes()
        // Without spill no search leads below the busiest node's mean; with it, nodes are filled one after the other.
        let least = layer.spills ? 1 : layer.peakOfNodes
        var work = layer.spills ? goal.effort * (layer.ranks / layer.ranksPerNode) : goal.effort
        let isDone = lower(least * PlanGoal.peak(goal.target), &work)
        layer.writeSlots(map)
        if !isDone { changeReplicas(map, limit: least * PlanGoal.peak(goal.settled), work: &work) }
    }

    /// Exchanges until the peak is within `limit`, or near the busiest node's mean where that is above it.
    private func lower(_ limit: Float, _ work: inout Int) -> Bool {
        let reachable = layer.spills ? limit * layer.peakOfNodes : limit
        _ = exchange.lower(layer, limit: max(limit, reachable), work: &work)
        return layer.peak <= limit
    }

    /// Replaces replicas, keeping the best layer in `map`.
    private func changeReplicas(_ map: UnsafeMutablePointer<Int32>, limit: Float, work: inout Int) {
        var best = layer.peak
        guard best > limit else { return }
        change.reset()
        var isDone = false
        if change.spreadTwins(layer) { isDone = keep(&best, map, limit, &work) }
        var round: Int32 = 1
        var rest: Int32 = 6
        var idleRounds = 0
        var idleReturns = 0
        while !isDone, work > 0, idleReturns < Self.returns {
            work &-= changeCost
            if change.relieve(layer, round: round, rest: rest) {
                let previous = best
                isDone = keep(&best, map, limit, &work)
                idleRounds = best < previous ? 0 : idleRounds + 1
                idleReturns = best < previous ? 0 : idleReturns
            } else {
                idleRounds = .max
                change.reset()
            }
            round += 1
            guard idleRounds > Self.patience else { continue }
            idleRounds = 0
            idleReturns += 1
            rest = 4 + Int32(idleReturns * 5 % 17)
            layer.setSlots(map)
        }
    }

    /// Exchanges, and writes the layer to `map` if it is the best so far; returns whether it is good enough.
    private func keep(
        _ best: inout Float, _ map: UnsafeMutablePointer<Int32>, _ limit: Float, _ work: inout Int
    ) -> Bool {
        _ = lower(limit, &work)
        // Loads carry the rounding of many steps: less than this is no gain.
        if layer.peak < best - 1e-5 {
            best = layer.peak
            layer.writeSlots(map)
        }
        return best <= limit
    }
}
