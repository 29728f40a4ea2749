// LayerSearch: improves one layer's placement until it is good enough or the effort is spent.
//
// Goals in order: never worse than the start, the same result on every machine, quality, speed.
// Method: iterated local search. An expert with more replicas than ranks gives those away that share a rank. Slots are
//         exchanged until the peak is within the target or stuck; where most experts are idle, ranks are filled anew
//         (SparseSearch). Then single replicas are replaced, each time followed by
//         exchanges. After some rounds without a new best the search returns to the best and lets its changes stand
//         for longer or shorter. Effort is counted, not timed.

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
        target: Double = 0.9996, settled: Double = 0.99902, effort: Int = 400_000, timeLimit: Duration? = nil
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
    private let layer: LayerArrangement
    private let exchange: SlotExchange
    private let sparse: SparseSearch
    private let change: ReplicaChange
    private let planner: CompatiblePlanner
    /// The load without its common divisor; `[E]`.
    private let reduced: UnsafeMutablePointer<Float>
    /// A map of experts and one of their replica ranks; `[P]` each.
    private let spareMap: UnsafeMutablePointer<Int32>
    private let spareRanks: UnsafeMutablePointer<Int32>
    private let changeCost: Int
    private let slots: Int

    /// Rounds without a new best after which the search goes back to the best.
    private static let patience = 5
    /// Returns without a new best after which the search ends, and how many where there never was one.
    private static let returns = 12
    private static let firstReturns = 4
    /// Loads carry the rounding of many steps: less than this is no gain.
    private static let leastGain: Float = 1e-5

    /// Space for layers of `experts` experts.
    init(experts: Int, shape: PlanShape, spill: Bool) {
        layer = LayerArrangement(experts: experts, shape: shape, spill: spill)
        exchange = SlotExchange(ranks: shape.ranks, room: shape.slots / shape.ranks)
        sparse = SparseSearch(ranks: shape.ranks, room: shape.slots / shape.ranks)
        change = ReplicaChange(experts: experts)
        planner = CompatiblePlanner(experts: experts, shape: shape)
        reduced = .allocate(capacity: experts)
        spareMap = .allocate(capacity: shape.slots)
        spareRanks = .allocate(capacity: shape.slots)
        changeCost = 60 * shape.slots
        slots = shape.slots
    }

    deinit {
        reduced.deallocate()
        spareMap.deallocate()
        spareRanks.deallocate()
    }

    /// Plans a layer.
    ///
    /// - Parameters:
    ///   - tokens: `[E]`.
    ///   - map: receives the expert in each slot; `[P]`.
    ///   - goal: when to stop; nil: at once, with the compatible plan.
    func plan(_ tokens: UnsafePointer<Float>, map: UnsafeMutablePointer<Int32>, goal: PlanGoal?) {
        guard let goal, layer.setLoad(tokens) else {
            planner.plan(tokens, map: map, ranks: spareRanks)
            return
        }
        // Multiples start like what they are multiples of, as float32 may decide near ties otherwise in other scales.
        let divisor = commonOddDivisor(tokens, count: layer.experts)
        for expert in 0..<layer.experts { reduced[expert] = tokens[expert] / divisor }
        planner.plan(reduced, map: map, ranks: spareRanks)
        let peak = improve(map, goal: goal)
        guard divisor > 1 else { return }
        // The compatible plan of the multiple itself might still be better.
        planner.plan(tokens, map: spareMap, ranks: spareRanks)
        layer.setSlots(spareMap)
        guard layer.peak < peak else { return }
        _ = improve(spareMap, goal: goal)
        map.update(from: spareMap, count: slots)
    }

    /// Improves a plan in place; returns its peak.
    private func improve(_ map: UnsafeMutablePointer<Int32>, goal: PlanGoal) -> Float {
        layer.setSlots(map)
        layer.settleHomes()
        // Without spill no search leads below the busiest node's mean; with it, nodes are filled one after the other.
        let least = layer.spills ? 1 : layer.peakOfNodes
        var work = min(goal.effort, 1 << 40) * (layer.spills ? layer.ranks / layer.ranksPerNode : 1)
        let settled = least * PlanGoal.peak(goal.settled)
        // Twins among more replicas than ranks cannot be parted by exchanges.
        if !layer.isSpreadable {
            var best = layer.peak
            change.reset()
            if change.spreadTwins(layer), keep(&best, map, settled, &work) { return best }
            layer.setSlots(map)
        }
        let isDone = lower(sparse.suits(layer) ? settled : least * PlanGoal.peak(goal.target), &work)
        layer.writeSlots(map)
        guard !isDone else { return layer.peak }
        return changeReplicas(map, limit: settled, work: &work)
    }

    /// Exchanges, or fills ranks with few loaded experts, until the peak is within `limit`, or near the busiest node's
    /// mean where that is above it.
    private func lower(_ limit: Float, _ work: inout Int) -> Bool {
        let reachable = layer.spills ? limit * layer.peakOfNodes : limit
        if sparse.suits(layer), sparse.lower(layer, limit: max(limit, reachable), work: &work) { return true }
        return exchange.lower(layer, limit: max(limit, reachable), work: &work) && layer.peak <= limit
    }

    /// Replaces replicas, keeping the best layer in `map`; returns its peak.
    private func changeReplicas(
        _ map: UnsafeMutablePointer<Int32>, limit: Float, work: inout Int
    ) -> Float {
        var best = layer.peak
        guard best > limit else { return best }
        let start = best
        change.reset()
        var isDone = false
        if change.spreadTwins(layer) { isDone = keep(&best, map, limit, &work) }
        var round: Int32 = 1
        var rest: Int32 = 6
        var idleRounds = 0
        var idleReturns = 0
        while !isDone, work > 0, idleReturns < (best < start ? Self.returns : Self.firstReturns) {
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
        return best
    }

    /// Exchanges, and writes the layer to `map` if it is the best so far; returns whether it is good enough.
    private func keep(
        _ best: inout Float, _ map: UnsafeMutablePointer<Int32>, _ limit: Float, _ work: inout Int
    ) -> Bool {
        _ = lower(limit, &work)
        if layer.peak < best - Self.leastGain {
            best = layer.peak
            layer.writeSlots(map)
        }
        return best <= limit
    }
}
