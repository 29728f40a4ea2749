// WeightedTransfers: the transfers of a layer whose replicas will share tokens by weight.
//
// Goals in order: balance of the windows to come under dispatch weights, few transfers, speed.
// Method: what counts is the sum of the squares of rank loads and a part of the squares of shares (WeightedShares). It
//         falls most where ranks of little load get a replica of an expert that is heavy elsewhere, as tokens then flow
//         from all its ranks. By how much can be told without pouring: an expert whose ranks stand at one level moves
//         tokens to a new rank, or from one that it leaves, at a price that rises linearly. So the best of all such
//         replacements is taken, one after the other, and the shares poured anew. A rank without a replica that may go
//         exchanges a slot with the busiest one.

/// Steps under dispatch weights, on layers of one shape.
struct WeightedTransfers: ~Copyable {
    /// Smaller gains are rounding.
    private static let leastGain: Float = 1e-6
    /// Rounds of pouring after a step.
    private static let rounds = 3
    /// Steps in a row that may turn out to help nothing.
    private static let patience = 2
    /// How fast the price of moving tokens rises on one rank.
    private static let slope = 1 + WeightedShares.risk

    private let shares: WeightedShares
    private let stepCost: Int
    /// The best slots so far; `[G, stride]`.
    private let best: UnsafeMutablePointer<Int32>
    /// Slots that may change, what their ranks carry without them, and what their going costs elsewhere; `[P]` each,
    /// padded to whole vectors.
    private let slotOf: UnsafeMutablePointer<Int32>
    private let rest: UnsafeMutablePointer<Float>
    private let loss: UnsafeMutablePointer<Float>
    /// Experts that may gain a replica, the level of their ranks, and the slope of the price; `[P]` each.
    private let gainer: UnsafeMutablePointer<Int32>
    private let level: UnsafeMutablePointer<Float>
    private let slopes: UnsafeMutablePointer<Float>
    /// How dear the square of a share is that an expert gives up, infinite for its last; `[P]`.
    private let prices: UnsafeMutablePointer<Float>
    /// For each slot of the busiest rank: the level of its expert without the share's risk, the slope of its price, the
    /// tokens that it has elsewhere, and the part of a gain that counts, with a slot that moved and one that did not;
    /// `[stride]` each.
    private let height: UnsafeMutablePointer<Float>
    private let slopeOf: UnsafeMutablePointer<Float>
    private let left: UnsafeMutablePointer<Float>
    private let withMoved: UnsafeMutablePointer<Float>
    private let withStill: UnsafeMutablePointer<Float>

    /// Space for layers of `experts` experts in `slots` slots, `stride` apart from rank to rank.
    init(experts: Int, slots: Int, ranks: Int, stride: Int) {
        shares = WeightedShares(experts: experts, slots: slots, ranks: ranks, stride: stride)
        stepCost = 100 + 2 * slots
        best = .allocate(capacity: ranks * stride)
        slotOf = .allocate(capacity: slots)
        rest = .allocate(capacity: slots + 3)
        loss = .allocate(capacity: slots + 3)
        gainer = .allocate(capacity: 2 * slots)
        level = .allocate(capacity: 2 * slots)
        slopes = .allocate(capacity: 2 * slots)
        prices = .allocate(capacity: slots)
        height = .allocate(capacity: stride)
        slopeOf = .allocate(capacity: stride)
        left = .allocate(capacity: stride)
        withMoved = .allocate(capacity: stride)
        withStill = .allocate(capacity: stride)
        for values in [height, slopeOf, left, withMoved, withStill] { values.initialize(repeating: 1, count: stride) }
    }

    deinit {
        best.deallocate()
        slotOf.deallocate()
        rest.deallocate()
        loss.deallocate()
        gainer.deallocate()
        level.deallocate()
        slopes.deallocate()
        prices.deallocate()
        height.deallocate()
        slopeOf.deallocate()
        left.deallocate()
        withMoved.deallocate()
        withStill.deallocate()
    }

    /// Makes the loads of `layer` those under dispatch weights.
    func share(_ layer: borrowing LayerArrangement) {
        shares.share(layer)
        layer.sortRanks()
    }

    /// A change that was found.
    private struct Choice {
        var gain: Float
        var slot = -1
        /// The slot that it is exchanged with, or else the expert that it gets.
        var other = -1
        var expert = -1
    }

    /// Lowers what counts, as far as transfers and effort go.
    ///
    /// - Parameters:
    ///   - layer: changed; its loads are those under dispatch weights afterwards.
    ///   - origin: the expert in each slot before any transfer; `[G, stride]`.
    ///   - limit: largest rank load that is good enough, in units of the mean.
    ///   - most: transfers allowed.
    ///   - effort: what may be spent, in units of about a nanosecond.
    func lower(
        _ layer: borrowing LayerArrangement, origin: UnsafePointer<Int32>, limit: Float, most: Int, effort: Int
    ) {
        var work = effort
        let listed = shares.share(layer)
        var count = listed.count
        best.update(from: layer.expertOf, count: layer.ranks * layer.stride)
        var state = state(of: layer)
        var least = state.unevenness
        var idle = 0
        while idle < Self.patience, work > 0, layer.rankLoad[state.busiest] > limit {
            work &-= stepCost
            let spare = most - layer.transfers(from: origin)
            var choice = Choice(gain: Self.leastGain)
            replicate(layer, origin, spare, count, hasTwins: listed.hasTwins, to: state.busiest, &choice)
            exchange(layer, origin, spare, state, &choice)
            guard choice.slot >= 0 else { break }
            if choice.other >= 0 {
                shares.swap(choice.slot, choice.other, layer)
            } else {
                shares.replace(choice.slot, by: choice.expert, &count, layer)
            }
            for _ in 0..<Self.rounds { shares.pour(count, layer) }
            state = self.state(of: layer)
            if state.unevenness < least - Self.leastGain {
                least = state.unevenness
                best.update(from: layer.expertOf, count: layer.ranks * layer.stride)
                idle = 0
            } else {
                idle += 1
            }
        }
        if idle > 0 {
            layer.expertOf.update(from: best, count: layer.ranks * layer.stride)
            layer.countReplicas()
            shares.share(layer)
        } else {
            layer.addUpAll()
        }
        layer.sortRanks()
    }

    /// What counts, beyond a constant, and where a step begins; found without sorting the ranks.
    private struct State {
        var unevenness: Float
        var busiest = 0
        var idlest = 0
    }

    private func state(of layer: borrowing LayerArrangement) -> State {
        var state = State(unevenness: 0)
        var loads: Float = 0
        var (most, least) = (-Float.infinity, Float.infinity)
        for rank in 0..<layer.ranks {
            let load = layer.rankLoad[rank]
            if load > most { (most, state.busiest) = (load, rank) }
            if load < least { (least, state.idlest) = (load, rank) }
            loads += (load - 1) * (load - 1)
        }
        state.unevenness = loads + WeightedShares.risk * layer.squaredWeights
        return state
    }

    /// The level at which an expert's ranks stand, and on how many of them it has tokens.
    private func level(
        _ layer: borrowing LayerArrangement, of expert: Int
    ) -> (level: Float, ranks: Float, all: Float) {
        var (level, ranks, all): (Float, Float, Float) = (0, 0, 0)
        var slot = shares.slot(after: nil, of: expert)
        while let its = slot {
            if layer.weight[its] > 0 {
                level = max(level, layer.rankLoad[shares.rank(of: its)] + WeightedShares.risk * layer.weight[its])
                ranks += 1
            }
            all += 1
            slot = shares.slot(after: its, of: expert)
        }
        return (level, max(1, ranks), all)
    }

    @inline(__always) private func vector(_ values: UnsafeMutablePointer<Float>, _ index: Int) -> SIMD4<Float> {
        UnsafeRawPointer(values + index).loadUnaligned(as: SIMD4<Float>.self)
    }

    /// Looks for a replica to give way to one of another expert.
    private func replicate(
        _ layer: borrowing LayerArrangement, _ origin: UnsafePointer<Int32>, _ spare: Int, _ count: Int,
        hasTwins: Bool, to busiest: Int, _ best: inout Choice
    ) {
        var (slots, gainers) = (0, 0)
        // The highest level and the flattest slope of all.
        var (top, flattest): (Float, Float) = (0, .infinity)
        func add(_ expert: Int, level its: Float, ranks: Float) {
            gainer[gainers] = Int32(truncatingIfNeeded: expert)
            level[gainers] = its
            slopes[gainers] = Self.slope * (1 + 1 / ranks)
            top = max(top, its)
            flattest = min(flattest, slopes[gainers])
            gainers &+= 1
        }
        func add(_ slot: Int, loss its: Float) {
            // Where no transfer is left, only slots that have changed may change again.
            guard spare > 0 || layer.expertOf[slot] != origin[slot] else { return }
            // Most slots no expert could gain by, even if it had tokens enough.
            let left = layer.rankLoad[shares.rank(of: slot)] - layer.weight[slot]
            guard top > left, (top - left) * (top - left) > its * flattest else { return }
            slotOf[slots] = Int32(truncatingIfNeeded: slot)
            rest[slots] = left
            loss[slots] = its
            slots &+= 1
        }
        for place in 0..<count {
            let expert = shares.expert(at: place)
            prices[place] = .infinity
            guard layer.counts[expert] > 1 else { continue }
            let its = level(layer, of: expert)
            if its.level > 1 { add(expert, level: its.level, ranks: its.ranks) }
            if its.all > 1 { prices[place] = Self.slope * its.all / (its.all - 1) }
        }
        let peak = layer.rankLoad[busiest]
        for slot in layer.slots(of: busiest) {
            let expert = Int(layer.expertOf[slot])
            guard !shares.isSpread(expert), layer.weight[slot] * Float(layer.room) > 1 else { continue }
            add(expert, level: peak + WeightedShares.risk * layer.weight[slot], ranks: 1)
        }
        for place in 0..<count where prices[place] < .infinity {
            var slot = shares.slot(after: nil, of: shares.expert(at: place))
            while let its = slot {
                add(its, loss: prices[place] * layer.weight[its] * layer.weight[its])
                slot = shares.slot(after: its, of: shares.expert(at: place))
            }
        }
        if hasTwins {
            for rank in 0..<layer.ranks {
                for slot in layer.slots(of: rank) where shares.isTwin(slot) { add(slot, loss: 0) }
            }
        }
        for index in slots..<(slots + 3) / 4 * 4 { (rest[index], loss[index]) = (.infinity, .infinity) }
        var least = Float.infinity
        for index in 0..<slots { least = min(least, rest[index]) }
        for place in 0..<gainers {
            let new = Int(gainer[place])
            let slope = slopes[place]
            let most = layer.load[new]
            // What the idlest rank could gain without any loss.
            guard level[place] > least, (level[place] - least) * (level[place] - least) > best.gain * slope else {
                continue
            }
            for index in 0..<(slots + 3) / 4 {
                let chunk = 4 &* index
                let height = level[place] - vector(rest, chunk)
                var moved = height * (1 / slope)
                moved.replace(with: most, where: moved .> most)
                moved.replace(with: 0, where: moved .< 0)
                let gains = moved * (2 * height - slope * moved) - vector(loss, chunk)
                guard any(gains .> best.gain) else { continue }
                for lane in 0..<min(4, slots - chunk) where gains[lane] > best.gain {
                    let slot = Int(slotOf[chunk &+ lane])
                    let rank = shares.rank(of: slot)
                    guard Int(layer.expertOf[slot]) != new, layer.cost(slot, of: new, origin) <= spare,
                        layer.mayHold(rank, new), !layer.holds(rank: rank, expert: new)
                    else { continue }
                    best = Choice(gain: gains[lane], slot: slot, expert: new)
                }
            }
        }
    }

    /// Looks for a slot of the idlest rank to exchange with one of the busiest.
    private func exchange(
        _ layer: borrowing LayerArrangement, _ origin: UnsafePointer<Int32>, _ spare: Int, _ state: State,
        _ best: inout Choice
    ) {
        let (busy, partner) = (state.busiest, state.idlest)
        let gap = layer.rankLoad[busy] - layer.rankLoad[partner]
        guard gap > 0, layer.node(of: partner) == layer.node(of: busy) else { return }
        let first = layer.slots(of: busy).lowerBound
        for place in 0..<layer.room {
            let slot = first &+ place
            let expert = Int(layer.expertOf[slot])
            let isStill = layer.expertOf[slot] == origin[slot]
            withMoved[place] = isStill && spare < 1 ? 0 : 1
            withStill[place] = spare < (isStill ? 2 : 1) ? 0 : isStill ? 0.5 : 1
            left[place] = layer.load[expert] - layer.weight[slot]
            (height[place], slopeOf[place]) = (-1, 1)
            guard shares.isSpread(expert) else { continue }
            let its = level(layer, of: expert)
            height[place] = its.level - WeightedShares.risk * layer.weight[slot]
            slopeOf[place] = Self.slope * its.all / (its.all - 1)
        }
        for other in layer.slots(of: partner) {
            let values = layer.expertOf[other] == origin[other] ? withStill : withMoved
            for chunk in stride(from: 0, to: layer.stride, by: 4) {
                let moved = vector(layer.weight, first &+ chunk) - layer.weight[other]
                // More of an expert's tokens flow where it comes to.
                let height = vector(height, chunk) - layer.rankLoad[partner] - moved
                let slope = vector(slopeOf, chunk)
                var flow = height / slope
                flow.replace(with: vector(left, chunk), where: flow .> vector(left, chunk))
                flow.replace(with: 0, where: flow .< 0)
                let gains =
                    (2 * moved * (gap - moved) + flow * (2 * height - slope * flow)) * vector(values, chunk)
                guard any(gains .> best.gain) else { continue }
                for lane in 0..<min(4, layer.room - chunk) where gains[lane] > best.gain {
                    let slot = first &+ chunk &+ lane
                    guard !layer.clashes(slot, of: busy, other, of: partner) else { continue }
                    best = Choice(gain: gains[lane], slot: slot, other: other)
                }
            }
        }
    }
}
