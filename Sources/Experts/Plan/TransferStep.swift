// TransferStep: the change of one or two slots that relieves the busiest rank best for the transfers that it costs.
//
// Goals in order: a lower overload with every step, few transfers, speed of one step.
// Method: the overload is the sum over ranks of the square of what exceeds the mean. It falls also where the peak stays,
//         so that a descent is not stuck at its busiest rank, and a plan with little of it keeps its balance when loads
//         tremble. Three kinds of change: a slot of the busiest rank for one of another rank; one more replica elsewhere
//         of an expert that is heavy on the busiest rank; another expert in place of a replica on the busiest rank.
//         A gain counts less the more transfers it costs; what undoes a transfer costs none.

/// Looks for changes in layers of one shape.
struct TransferStep: ~Copyable {
    /// What is left of a gain that costs so many transfers, 0 to 2.
    @inline(__always) private static func value(cost: Int) -> Float { 1 - 0.3 * Float(cost) }
    /// How much the squares of all shares count: what the next window adds to a rank grows with them.
    private static let risk: Float = 0.01
    /// Smaller gains are rounding.
    private static let leastGain: Float = 1e-6
    /// Experts to come to the busiest rank are looked for on so many ranks next to it in load.
    private static let loadedRanks = 4

    /// What looking for an exchange costs, and for a replacement beyond that, in units of about a nanosecond.
    private let exchangeCost: Int
    private let replicaCost: Int
    /// The slots of experts with several replicas, their ranks and experts; `[P]` each, the first `replicas` used.
    private let slotOf: UnsafeMutablePointer<Int32>
    private let rankOf: UnsafeMutablePointer<Int32>
    private let expertOf: UnsafeMutablePointer<Int32>
    /// How much the overload of each of these ranks falls if its expert has a replica more, and rises if it has one
    /// less and another rank loses it; `[P]` each.
    private let fall: UnsafeMutablePointer<Float>
    private let rise: UnsafeMutablePointer<Float>
    /// Their sums over the replicas of each expert with several; `[E]` each.
    private let falls: UnsafeMutablePointer<Float>
    private let rises: UnsafeMutablePointer<Float>
    /// The excess that is left of each of these ranks without the slot, and how much the overload falls by its going,
    /// before another expert lands there; `[P]` each, padded to whole vectors.
    private let room: UnsafeMutablePointer<Float>
    private let worth: UnsafeMutablePointer<Float>
    /// Value of a gain by each slot of the busiest rank, with a slot that moved and one that did not; `[stride]`.
    private let withMoved: UnsafeMutablePointer<Float>
    private let withStill: UnsafeMutablePointer<Float>

    /// Space for layers of a shape.
    init(experts: Int, slots: Int, stride: Int) {
        exchangeCost = 200 + 2 * slots
        replicaCost = 200 + 4 * slots
        fall = .allocate(capacity: slots)
        rise = .allocate(capacity: slots)
        room = .allocate(capacity: slots + 3)
        worth = .allocate(capacity: slots + 3)
        falls = .allocate(capacity: experts)
        rises = .allocate(capacity: experts)
        slotOf = .allocate(capacity: slots)
        rankOf = .allocate(capacity: slots)
        expertOf = .allocate(capacity: slots)
        withMoved = .allocate(capacity: stride)
        withStill = .allocate(capacity: stride)
        withMoved.initialize(repeating: 1, count: stride)
        withStill.initialize(repeating: 1, count: stride)
    }

    deinit {
        slotOf.deallocate()
        rankOf.deallocate()
        expertOf.deallocate()
        fall.deallocate()
        rise.deallocate()
        room.deallocate()
        worth.deallocate()
        falls.deallocate()
        rises.deallocate()
        withMoved.deallocate()
        withStill.deallocate()
    }

    /// Which kinds of change are looked for.
    enum Kinds {
        /// Exchanges of slots.
        case exchanges
        /// Exchanges, and where none helps replacements of replicas.
        case exchangesFirst
        /// Both.
        case all
    }

    /// A change that was found.
    struct Choice {
        /// By how much the overload falls, times what it is worth.
        var gain: Float
        /// The slot that changes, in the padded numbering; -1 where nothing helps.
        var slot = -1
        /// The slot whose contents it is exchanged with; -1 for a replacement.
        var other = -1
        /// The expert that a replacement puts there.
        var expert = -1

        /// Makes the change.
        func apply(to layer: borrowing LayerArrangement) {
            if other >= 0 {
                layer.swap(slot, of: slot / layer.stride, with: other, of: other / layer.stride)
            } else {
                layer.replace(slot, by: expert)
            }
        }
    }

    /// How much the load of a rank counts, which should be at most 1.
    @inline(__always) static func overload(_ load: Float) -> Float {
        let excess = max(0, load - 1)
        return excess * excess
    }

    /// The sum of what the ranks of a layer count.
    static func overload(_ layer: borrowing LayerArrangement) -> Float {
        var sum: Float = 0
        for rank in 0..<layer.ranks { sum += overload(layer.rankLoad[rank]) }
        return sum
    }

    @inline(__always) private func vector(_ values: UnsafeMutablePointer<Float>, _ index: Int) -> SIMD4<Float> {
        UnsafeRawPointer(values + index).loadUnaligned(as: SIMD4<Float>.self)
    }

    @inline(__always) private static func positive(_ values: SIMD4<Float>) -> SIMD4<Float> {
        values.replacing(with: 0, where: values .< 0)
    }

    /// The best change.
    ///
    /// - Parameters:
    ///   - layer: left as it is.
    ///   - origin: the expert in each slot before any transfer; `[G, stride]`.
    ///   - spare: transfers that are left.
    ///   - kinds: which to look for.
    ///   - work: what may be spent, in units of about a nanosecond; counted down.
    /// - Returns: the change; slot -1 where none helps.
    func best(
        for layer: borrowing LayerArrangement, origin: UnsafePointer<Int32>, spare: Int, of kinds: Kinds,
        work: inout Int
    ) -> Choice {
        var best = Choice(gain: Self.leastGain)
        work &-= exchangeCost
        exchange(layer, origin, spare, &best)
        guard kinds == .all || kinds == .exchangesFirst && best.slot < 0 else { return best }
        work &-= replicaCost
        let replicas = listReplicas(layer)
        relieve(layer, origin, spare, replicas, &best)
        replace(layer, origin, spare, replicas, &best)
        return best
    }

    /// Looks for a slot of another rank to exchange with one of the busiest rank.
    private func exchange(
        _ layer: borrowing LayerArrangement, _ origin: UnsafePointer<Int32>, _ spare: Int, _ best: inout Choice
    ) {
        let heavy = layer.busiest
        let first = layer.slots(of: heavy).lowerBound
        let chunks = layer.stride / 4
        let peak = layer.peak
        var (mostMoved, mostStill): (Float, Float) = (0, 0)
        for place in 0..<layer.room {
            let cost = layer.expertOf[first &+ place] != origin[first &+ place] ? 0 : 1
            withMoved[place] = cost <= spare ? Self.value(cost: cost) : 0
            withStill[place] = cost < spare ? Self.value(cost: cost &+ 1) : 0
            mostMoved = max(mostMoved, withMoved[place])
            mostStill = max(mostStill, withStill[place])
        }
        for place in 0..<layer.ranks - 1 {
            let partner = layer.rank(at: place)
            let load = layer.rankLoad[partner]
            let before = Self.overload(peak) + Self.overload(load)
            // What the best slots would bring; it falls from partner to partner.
            let most = before - 2 * Self.overload((peak + load) / 2)
            guard most * mostMoved > best.gain else { break }
            guard layer.node(of: partner) == layer.node(of: heavy) else { continue }
            for other in layer.slots(of: partner) {
                let hasMoved = layer.expertOf[other] != origin[other]
                guard most * (hasMoved ? mostMoved : mostStill) > best.gain else { continue }
                let values = hasMoved ? withMoved : withStill
                let its = layer.weight[other]
                for chunk in 0..<chunks {
                    let own = vector(layer.weight, first &+ 4 &* chunk)
                    let left = Self.positive(peak - 1 + its - own)
                    let right = Self.positive(load - 1 - its + own)
                    let gains = (before - left * left - right * right) * vector(values, 4 &* chunk)
                    guard any(gains .> best.gain) else { continue }
                    for lane in 0..<4 where gains[lane] > best.gain {
                        let slot = first &+ 4 &* chunk &+ lane
                        guard !layer.clashes(slot, of: heavy, other, of: partner) else { continue }
                        best = Choice(gain: gains[lane], slot: slot, other: other)
                    }
                }
            }
        }
    }

    /// Lists the slots of experts with several replicas, and what one more or less would do; returns how many.
    private func listReplicas(_ layer: borrowing LayerArrangement) -> Int {
        var count = 0
        for rank in 0..<layer.ranks {
            for slot in layer.slots(of: rank) {
                let expert = Int(layer.expertOf[slot])
                guard layer.counts[expert] > 1 else { continue }
                slotOf[count] = Int32(truncatingIfNeeded: slot)
                rankOf[count] = Int32(truncatingIfNeeded: rank)
                expertOf[count] = layer.expertOf[slot]
                let risk = Self.risk * layer.load[expert]
                falls[expert] = risk * (layer.share[expert] - layer.smallerShare[expert])
                rises[expert] = risk * (layer.largerShare[expert] - layer.share[expert])
                count &+= 1
            }
        }
        for index in 0..<count {
            let expert = Int(expertOf[index])
            let load = layer.rankLoad[Int(rankOf[index])]
            let share = layer.share[expert]
            let more = layer.largerShare[expert] - share
            fall[index] = Self.overload(load) - Self.overload(load - share + layer.smallerShare[expert])
            rise[index] = Self.overload(load + more) - Self.overload(load)
            falls[expert] += fall[index]
            rises[expert] += rise[index]
            room[index] = load - layer.weight[Int(slotOf[index])] - 1
            worth[index] = Self.overload(load) + rise[index]
        }
        for index in 0..<count { worth[index] -= rises[Int(expertOf[index])] }
        for index in count..<(count + 3) / 4 * 4 { (room[index], worth[index]) = (0, -.infinity) }
        return count
    }

    /// How much the overload falls if an expert in a slot of a rank has a replica more elsewhere.
    @inline(__always) private func relief(_ layer: borrowing LayerArrangement, _ slot: Int, of rank: Int) -> Float {
        let expert = Int(layer.expertOf[slot])
        guard layer.counts[expert] == 1 else { return falls[expert] }
        let load = layer.rankLoad[rank]
        let less = layer.weight[slot] - layer.smallerShare[expert]
        return Self.overload(load) - Self.overload(load - less) + Self.risk * layer.load[expert] * less
    }

    /// What a gain is worth if `slot` gets another expert; 0 where no transfer is left for it.
    @inline(__always) private func value(
        _ slot: Int, _ old: Int, _ new: Int, _ origin: UnsafePointer<Int32>, _ spare: Int
    ) -> Float {
        let its = Int(origin[slot])
        let cost = (its != new ? 1 : 0) - (its != old ? 1 : 0)
        return cost <= spare ? Self.value(cost: max(0, cost)) : 0
    }

    /// Looks for a replica elsewhere to give way to one of an expert that is heavy on the busiest rank.
    private func relieve(
        _ layer: borrowing LayerArrangement, _ origin: UnsafePointer<Int32>, _ spare: Int, _ replicas: Int,
        _ best: inout Choice
    ) {
        let heavy = layer.busiest
        for own in layer.slots(of: heavy) where layer.weight[own] * Float(layer.room) > 1 {
            let new = Int(layer.expertOf[own])
            guard Int(layer.counts[new]) < layer.ranks else { continue }
            let smaller = layer.smallerShare[new]
            let gain = relief(layer, own, of: heavy)
            guard gain > best.gain else { continue }
            for chunk in stride(from: 0, to: replicas, by: 4) {
                let landed = Self.positive(vector(room, chunk) + smaller)
                let totals = vector(worth, chunk) + gain - landed * landed
                guard any(totals .> best.gain) else { continue }
                for lane in 0..<min(4, replicas - chunk) where totals[lane] > best.gain {
                    let index = chunk &+ lane
                    let (slot, rank, old) = (Int(slotOf[index]), Int(rankOf[index]), Int(expertOf[index]))
                    let value = totals[lane] * value(slot, old, new, origin, spare)
                    guard value > best.gain, rank != heavy, old != new, layer.mayHold(rank, new),
                        !layer.holds(rank: rank, expert: new)
                    else { continue }
                    best = Choice(gain: value, slot: slot, expert: new)
                }
            }
        }
    }

    /// Looks for an expert to replace a replica on the busiest rank.
    private func replace(
        _ layer: borrowing LayerArrangement, _ origin: UnsafePointer<Int32>, _ spare: Int, _ replicas: Int,
        _ best: inout Choice
    ) {
        let heavy = layer.busiest
        for index in 0..<replicas where Int(rankOf[index]) == heavy {
            let (slot, old) = (Int(slotOf[index]), Int(expertOf[index]))
            let left = layer.peak - layer.weight[slot]
            let gain = Self.overload(layer.peak) - rises[old] + rise[index]
            func consider(_ new: Int, relief: Float) {
                let total = gain + relief - Self.overload(left + layer.smallerShare[new])
                guard total > best.gain, new != old, Int(layer.counts[new]) < layer.ranks else { return }
                let value = total * value(slot, old, new, origin, spare)
                guard value > best.gain, layer.mayHold(heavy, new), !layer.holds(rank: heavy, expert: new) else {
                    return
                }
                best = Choice(gain: value, slot: slot, expert: new)
            }
            consider(Int(origin[slot]), relief: 0)
            for place in max(0, layer.ranks - 1 - Self.loadedRanks)..<layer.ranks - 1 {
                let rank = layer.rank(at: place)
                for its in layer.slots(of: rank) {
                    consider(Int(layer.expertOf[its]), relief: relief(layer, its, of: rank))
                }
            }
        }
    }
}
