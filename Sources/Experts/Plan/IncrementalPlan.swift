// IncrementalPlan: from the present placement to a balanced one with few transfers, or none.
//
// Goals in order: nothing moves on noise, balance of the windows to come, few transfers, speed.
// Method: a layer is left alone unless its imbalance is more than noise (WindowNoise) and more than the goal allows.
//         A layer that moves is balanced closely at once (TransferSearch), because what is left of the imbalance adds
//         to the noise of every later window: the threshold to start is high, the one to stop low.

/// What an incremental plan may do.
public struct IncrementalGoal: Sendable, Equatable {
    /// Balancedness, (0, 1], that a layer is brought to, and above which it is left alone.
    public var target: Double
    /// Most experts that may move in a layer.
    public var transfers: Int
    /// How much an expert's tokens differ between windows anyway, relative; counts less the more windows
    /// there are to measure it from.
    public var noise: Double
    /// Most to spend on a layer per slot, in units of about a nanosecond. Counted, so that plans do not depend on the
    /// clock. After a jump of the load more of it buys balance where replicas share evenly; after a drift, or by weight,
    /// the default is enough.
    public var effort: Int

    /// Whether replicas will share tokens by `DispatchWeights`, whose peak then counts; else evenly.
    public var isWeighted: Bool

    /// A goal.
    public init(
        target: Double = 0.995, transfers: Int = 30, noise: Double = 0.05, effort: Int = 60,
        isWeighted: Bool = false
    ) {
        self.target = target
        self.transfers = transfers
        self.noise = noise
        self.effort = effort
        self.isWeighted = isWeighted
    }
}

/// A placement made from another, and what it takes to get there.
public struct IncrementalPlan: Sendable, Equatable {
    /// The new placement.
    public let placement: Placement
    /// Slots of each layer whose expert was on another rank before; `[L]`.
    public let transfers: [Int]
    /// Layers whose load has drifted from the present placement.
    public let driftedLayers: [Int]

    /// The plan that moves few experts.
    ///
    /// - Parameters:
    ///   - present: the placement to start from.
    ///   - windows: loads of successive windows, oldest first, at least one; `[W]` of `[L, E]`. The last is
    ///     planned for; with several, their differences say what is noise.
    ///   - nodes: server nodes; where there are several, experts stay on theirs.
    ///   - goal: when to move, and how much.
    ///   - epoch: which placement of this run; nil: the next after the present one.
    /// - Throws: `PlanError` where windows and placement do not fit each other.
    public init(
        from present: Placement, windows: [LoadMatrix], nodes: Int = 1, goal: IncrementalGoal = IncrementalGoal(),
        epoch: Int? = nil
    ) throws(PlanError) {
        guard let last = windows.last else { throw .emptyLoad(layers: 0, experts: 0) }
        for load in windows {
            guard load.layers == present.layers else {
                throw .placementMismatch(fact: "layers", placement: present.layers, request: load.layers)
            }
            guard load.experts == present.logicalExperts else {
                throw .placementMismatch(fact: "experts", placement: present.logicalExperts, request: load.experts)
            }
        }
        let shape = try PlanShape(
            slots: present.physicalExperts, ranks: present.ranks, nodes: nodes, groups: nodes
        ).resolved(for: last, grouped: false)
        let search = TransferSearch(experts: last.experts, shape: shape)
        var map = present.physicalToLogical
        var drifted: [Int] = []
        map.withUnsafeMutableBufferPointer { map in
            guard let map = map.baseAddress else { return }
            let noise = Self.noise(of: windows, search.layer, map: map, assumed: Float(goal.noise))
            let limit = PlanGoal.peak(goal.target)
            let effort = min(max(0, goal.effort), 1 << 30) * shape.slots
            for layer in 0..<present.layers {
                let row = map + layer * shape.slots
                guard Self.fill(search.layer, with: last, layer: layer, map: row) else { continue }
                if goal.isWeighted { search.share() }
                let before = search.layer.peak
                guard before > limit, search.layer.hasDrifted(noise: noise) else { continue }
                drifted.append(layer)
                search.improve(
                    limit: limit, most: goal.transfers, effort: effort, isWeighted: goal.isWeighted)
                if search.layer.peak < before { search.layer.writeSlots(row) }
            }
        }
        placement = Placement(planned: map, load: last, shape: shape, epoch: epoch ?? present.epoch + 1)
        transfers = placement.transfers(from: present)
        driftedLayers = drifted
    }

    /// Loads a layer of a window and its present slots; false where it has no load.
    private static func fill(
        _ arrangement: borrowing LayerArrangement, with window: LoadMatrix, layer: Int, map: UnsafePointer<Int32>
    ) -> Bool {
        let isLoaded = window.values.withUnsafeBufferPointer { values in
            values.baseAddress.map { arrangement.setLoad($0 + layer * window.experts) } ?? false
        }
        if isLoaded { arrangement.setSlots(map) }
        return isLoaded
    }

    /// The relative noise that the windows show under the present slots.
    private static func noise(
        of windows: [LoadMatrix], _ arrangement: borrowing LayerArrangement, map: UnsafePointer<Int32>,
        assumed: Float
    ) -> Float {
        guard windows.count > 1 else { return assumed }
        var noise = WindowNoise()
        let slots = arrangement.ranks * arrangement.room
        // Sixteen layers tell the median well enough.
        let layers = windows[0].layers
        for layer in stride(from: 0, to: layers, by: (layers + 15) / 16) {
            var rankLoads: [Float] = []
            for window in windows where fill(arrangement, with: window, layer: layer, map: map + layer * slots) {
                for rank in 0..<arrangement.ranks { rankLoads.append(arrangement.rankLoad[rank]) }
            }
            noise.add(rankLoads, ranks: arrangement.ranks, unit: arrangement.noiseUnit)
        }
        return noise.estimate(windows: windows.count, assumed: assumed)
    }
}
