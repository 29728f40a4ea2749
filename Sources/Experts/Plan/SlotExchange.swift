// SlotExchange: brings down the busiest rank by exchanging one or two of its slots for another rank's.
//
// Goals in order: a lower peak with every step, few steps, speed of one step.
// Method: always the busiest rank. Partners come from idle to busy, and the first exchange after which neither of the
//         two exceeds the limit is taken, else the one with the lowest outcome. One slot for one is tried on all
//         partners by vectors; where that leads nowhere, two slots for two, in linear time on sorted lists of pair
//         sums, which are kept until a rank changes. An exchange that would put two replicas of an expert on one rank
//         is passed over, as is one across nodes. Local search on makespan schedules: after Finn and Horowitz, "A linear time approximation
//         algorithm for multiprocessor scheduling" (1979).

/// Exchanges on the layers of one shape, with the lists that they need.
struct SlotExchange: ~Copyable {
    /// Beyond this many slots per rank pairs are not looked at: single exchanges are fine enough. Nor below three.
    private static let largestPairedRoom = 64

    /// What looking for one exchange of single slots costs, in units of about a nanosecond.
    let singleCost: Int
    /// What looking for one exchange of pairs costs.
    private let pairCost: Int
    private let pairs: Int
    /// Keys of all pairs of a rank's slots by descending sum, index `first << 16 | second`; `[G, pairs]`.
    private let sums: UnsafeMutablePointer<UInt64>
    private let isCurrent: UnsafeMutablePointer<Bool>
    private let keys: UnsafeMutablePointer<UInt64>
    private let scratch: UnsafeMutablePointer<UInt32>

    /// Space for `ranks` ranks of `room` slots.
    init(ranks: Int, room: Int) {
        pairs = (3...Self.largestPairedRoom).contains(room) ? room * (room - 1) / 2 : 0
        singleCost = 10 + room * (room + 3) / 4
        pairCost = 50 + 10 * pairs
        sums = .allocate(capacity: max(1, ranks * pairs))
        isCurrent = .allocate(capacity: ranks)
        keys = .allocate(capacity: max(1, pairs))
        scratch = .allocate(capacity: descendingSortScratch)
    }

    deinit {
        sums.deallocate()
        isCurrent.deallocate()
        keys.deallocate()
        scratch.deallocate()
    }

    /// An exchange that was found.
    struct Choice {
        /// The larger of the two ranks' loads after it, in units of the mean.
        var peak: Float
        /// The rank that takes part beside the busiest; -1 where none helps.
        var partner = -1
        /// One or two slots of the busiest rank, in the padded numbering.
        var slots = (0, 0)
        /// As many of the partner.
        var others = (0, 0)
    }

    /// Exchanges until no rank exceeds `limit`, no exchange helps, or the work is used up.
    ///
    /// - Parameters:
    ///   - layer: changed; its peak never rises.
    ///   - limit: largest rank load that is good enough, in units of the mean.
    ///   - work: what may be spent, in units of about a nanosecond; counted down.
    /// - Returns: whether no rank exceeds `limit`.
    func lower(_ layer: borrowing LayerArrangement, limit: Float, work: inout Int) -> Bool {
        isCurrent.update(repeating: false, count: layer.ranks)
        while layer.peak > limit {
            guard work > 0 else { return false }
            var choice = single(layer, limit: limit, work: &work)
            if choice.partner < 0 {
                choice = pair(layer, limit: limit, work: &work)
                guard choice.partner >= 0 else { return false }
                layer.swap(choice.slots.1, of: layer.busiest, with: choice.others.1, of: choice.partner)
            }
            let heavy = choice.slots.0 / layer.stride
            layer.swap(choice.slots.0, of: heavy, with: choice.others.0, of: choice.partner)
            isCurrent[heavy] = false
            isCurrent[choice.partner] = false
        }
        return true
    }

    /// Smaller gains are not worth a step, and rounding could repeat them without end.
    private static let leastGain: Float = 1e-5

    /// The best exchange of one slot of the busiest rank.
    ///
    /// - Parameters:
    ///   - layer: left as it is.
    ///   - limit: a peak of the two ranks that is good enough to stop looking.
    ///   - work: what may be spent, counted down.
    /// - Returns: the exchange; partner -1 where none helps.
    private func single(_ layer: borrowing LayerArrangement, limit: Float, work: inout Int) -> Choice {
        let heavy = layer.busiest
        let node = layer.node(of: heavy)
        let peak = layer.peak
        let given = layer.weight + heavy &* layer.stride
        var best = Choice(peak: peak - Self.leastGain)
        for place in 0..<layer.ranks - 1 {
            let partner = layer.rank(at: place)
            guard layer.node(of: partner) == node else { continue }
            let wanted = (peak - layer.rankLoad[partner]) / 2
            guard peak - wanted < best.peak else { break }
            work &-= singleCost
            let found = nearestExchange(layer, given, layer.weight + partner &* layer.stride, wanted: wanted)
            let result = max(peak - found.moved, layer.rankLoad[partner] + found.moved)
            let slot = heavy &* layer.stride &+ found.place
            let other = partner &* layer.stride &+ found.otherPlace
            guard result < best.peak, !layer.clashes(slot, of: heavy, other, of: partner) else { continue }
            best = Choice(peak: result, partner: partner, slots: (slot, 0), others: (other, 0))
            if result <= limit { break }
        }
        return best
    }

    /// The best exchange of two slots of the busiest rank.
    private func pair(_ layer: borrowing LayerArrangement, limit: Float, work: inout Int) -> Choice {
        let heavy = layer.busiest
        let node = layer.node(of: heavy)
        let peak = layer.peak
        var best = Choice(peak: peak - Self.leastGain)
        guard pairs > 0 else { return best }
        let own = pairSums(layer, of: heavy)
        for place in 0..<layer.ranks - 1 {
            let partner = layer.rank(at: place)
            guard layer.node(of: partner) == node else { continue }
            let wanted = (peak - layer.rankLoad[partner]) / 2
            guard peak - wanted < best.peak else { break }
            work &-= pairCost
            let found = nearestPairs(own, pairSums(layer, of: partner), wanted: wanted)
            let result = max(peak - found.moved, layer.rankLoad[partner] + found.moved)
            guard result < best.peak else { continue }
            let slots = (
                heavy &* layer.stride &+ keyIndex(found.own) >> 16,
                heavy &* layer.stride &+ keyIndex(found.own) & 0xFFFF
            )
            let others = (
                partner &* layer.stride &+ keyIndex(found.other) >> 16,
                partner &* layer.stride &+ keyIndex(found.other) & 0xFFFF
            )
            if layer.clashes(slots.0, of: heavy, others.0, of: partner)
                || layer.clashes(slots.1, of: heavy, others.1, of: partner)
            {
                continue
            }
            best = Choice(peak: result, partner: partner, slots: slots, others: others)
            if result <= limit { break }
        }
        return best
    }

    /// The places in two ranks whose exchange moves a load nearest to `wanted` from the first to the second.
    ///
    /// Infinite weights take no part; where nothing is left `moved` is infinite or NaN.
    @inline(__always) private func nearestExchange(
        _ layer: borrowing LayerArrangement, _ own: UnsafePointer<Float>, _ others: UnsafePointer<Float>, wanted: Float
    ) -> (place: Int, otherPlace: Int, moved: Float) {
        let chunks = layer.stride / 4
        let vectors = UnsafeRawPointer(others)
        var best = SIMD4<Float>(repeating: .infinity)
        var code = SIMD4<Int32>(repeating: 0)  // place * chunks + chunk
        var next: Int32 = 0
        for place in 0..<layer.room {
            let fitting = SIMD4<Float>(repeating: own[place] - wanted)
            for chunk in 0..<chunks {
                let weights = vectors.loadUnaligned(fromByteOffset: 16 &* chunk, as: SIMD4<Float>.self)
                let miss = magnitude(weights - fitting)
                let isCloser = miss .< best
                best.replace(with: miss, where: isCloser)
                code.replace(with: SIMD4<Int32>(repeating: next), where: isCloser)
                next &+= 1
            }
        }
        var lane = 0
        for other in 1..<4 where best[other] < best[lane] || best[other] == best[lane] && code[other] < code[lane] {
            lane = other
        }
        let place = Int(code[lane]) / chunks
        let otherPlace = (Int(code[lane]) % chunks) &* 4 &+ lane
        return (place, otherPlace, best[lane] < .infinity ? own[place] - others[otherPlace] : .infinity)
    }

    @inline(__always) private func magnitude(_ values: SIMD4<Float>) -> SIMD4<Float> {
        unsafeBitCast(unsafeBitCast(values, to: SIMD4<UInt32>.self) & 0x7FFF_FFFF, to: SIMD4<Float>.self)
    }

    /// The pairs in two sorted lists whose exchange moves a load nearest to `wanted`.
    private func nearestPairs(
        _ own: UnsafePointer<UInt64>, _ others: UnsafePointer<UInt64>, wanted: Float
    ) -> (own: UInt64, other: UInt64, moved: Float) {
        var best = (own: own[0], other: others[0], moved: Float.infinity)
        var smallestMiss = Float.infinity
        var place = 0
        var otherPlace = 0
        while place < pairs, otherPlace < pairs {
            let moved = keyWeight(own[place]) - keyWeight(others[otherPlace])
            let miss = abs(moved - wanted)
            if miss < smallestMiss {
                smallestMiss = miss
                best = (own[place], others[otherPlace], moved)
            }
            let isShort = moved < wanted
            otherPlace &+= isShort ? 1 : 0
            place &+= isShort ? 0 : 1
        }
        return best
    }

    private func pairSums(_ layer: borrowing LayerArrangement, of rank: Int) -> UnsafePointer<UInt64> {
        let list = sums + rank &* pairs
        guard !isCurrent[rank] else { return UnsafePointer(list) }
        isCurrent[rank] = true
        let weight = layer.weight + rank &* layer.stride
        var count = 0
        for one in 0..<layer.room {
            for other in one &+ 1..<layer.room {
                keys[count] = descendingKey(weight[one] + weight[other], one << 16 | other)
                count &+= 1
            }
        }
        sortDescending(keys, into: list, count: count, scratch: scratch)
        return UnsafePointer(list)
    }
}
