// RankSplit: shares the loaded experts of two ranks anew between them, the best of all ways.
//
// Goals in order: a lower peak where most experts are idle and exchanges find nothing, speed of one split.
// Method: with few loaded slots all subsets of two ranks' experts can be summed up, each by one addition to an earlier
//         one. The busiest rank is split with every other. Where that does not lower it, two other ranks are split some
//         other way that exceeds no peak, which offers the busiest new partners: a walk on the plateau. Pairs of ranks
//         that have not changed since are passed over.

/// Splits on the layers of one shape.
struct RankSplit: ~Copyable {
    /// More experts of two ranks than this have too many subsets.
    private static let most = 11
    /// Up to so many slots per rank, exchanges of two for two reach nearly every split.
    private static let pairedRoom = 5
    /// Pairs of more ranks are too many to remember.
    private static let mostRanks = 256
    /// Walks without a lower peak after which it ends.
    private static let patience = 30
    /// Smaller gains are rounding.
    private static let leastGain: Float = 1e-5

    private let ranks: Int
    /// Loaded slots of two ranks that may change sides: the first rank's, then the second's; `[2 p]`.
    private let items: UnsafeMutablePointer<Int32>
    /// Loads of the first rank by the subset of items it has; `[2^(most - 1)]`, at least a vector.
    private let sums: UnsafeMutablePointer<Float>
    /// When each rank changed last, and for each pair when it was looked at last; `[G]` and `[G, G]`.
    private let changed: UnsafeMutablePointer<Int32>
    private let seen: UnsafeMutablePointer<Int32>
    /// Which of two ranks hold an expert of either: 1 the first, 2 the second, 3 both; `[E]`.
    private let holders: UnsafeMutablePointer<UInt32>

    /// Of the random numbers that choose the walks.
    private let state: UnsafeMutablePointer<UInt64>

    /// Space for layers of `experts` experts on `ranks` ranks of `room` slots.
    init(experts: Int, ranks: Int, room: Int) {
        self.ranks = ranks
        items = .allocate(capacity: 2 * room)
        sums = .allocate(capacity: 1 << (Self.most - 1))
        changed = .allocate(capacity: ranks)
        seen = .allocate(capacity: ranks <= Self.mostRanks ? ranks * ranks : 1)
        holders = .allocate(capacity: experts)
        holders.initialize(repeating: 0, count: experts)
        state = .allocate(capacity: 1)
        reset()
    }

    deinit {
        items.deallocate()
        sums.deallocate()
        changed.deallocate()
        seen.deallocate()
        holders.deallocate()
        state.deallocate()
    }

    /// Begins the same random numbers again, so that a layer's plan does not depend on other layers.
    func reset() { state.initialize(to: 0x9E37_79B9_7F4A_7C15) }

    /// Splits until no rank exceeds `limit`, nothing is found for long, or the work is used up; the peak never rises.
    ///
    /// - Parameters:
    ///   - layer: changed.
    ///   - limit: largest rank load that is good enough, in units of the mean.
    ///   - work: what may be spent, in units of about a nanosecond; counted down.
    func lower(_ layer: borrowing LayerArrangement, limit: Float, work: inout Int) {
        changed.update(repeating: 1, count: ranks)
        seen.update(repeating: 0, count: ranks * ranks)
        var now: Int32 = 1
        var walks = 0
        while layer.peak > limit, work > 0, walks < Self.patience {
            now &+= 1
            if splitBusiest(layer, limit: limit, now: now, work: &work) {
                walks = 0
            } else {
                walk(layer, limit: limit, now: now, work: &work)
                walks += 1
            }
        }
    }

    /// A number below `count`.
    private func random(_ count: Int) -> Int {
        state.pointee ^= state.pointee << 13
        state.pointee ^= state.pointee >> 7
        state.pointee ^= state.pointee << 17
        return Int(((state.pointee >> 32) &* UInt64(count)) >> 32)
    }

    /// Whether most slots are idle, so few loaded that two ranks can be split; small ranks exchange pairs as well.
    func suits(_ layer: borrowing LayerArrangement) -> Bool {
        guard layer.room > Self.pairedRoom, ranks <= Self.mostRanks else { return false }
        var loaded = 0
        for rank in 0..<ranks {
            for slot in layer.slots(of: rank) where layer.weight[slot] > 0 { loaded &+= 1 }
        }
        return 2 * loaded <= min(layer.room, Self.most - 1) * ranks
    }

    /// Two ranks whose loaded slots are listed.
    private struct Pair {
        var first: Int
        var second: Int
        /// How many items, and how many of them lie on the first rank now.
        var count = 0
        var own = 0
        /// Slots without load that may be exchanged for loaded ones.
        var ownIdle = 0
        var otherIdle = 0
        /// What the first rank carries beside the items but the first, which stays.
        var fixed: Float = 0
    }

    /// Lists what may change sides; nil where that is too little or too much.
    private func list(_ layer: borrowing LayerArrangement, _ first: Int, _ second: Int) -> Pair? {
        var pair = Pair(first: first, second: second)
        for slot in layer.slots(of: second) { holders[Int(layer.expertOf[slot])] = 0 }
        for slot in layer.slots(of: first) { holders[Int(layer.expertOf[slot])] = 1 }
        for slot in layer.slots(of: second) { holders[Int(layer.expertOf[slot])] |= 2 }
        for slot in layer.slots(of: first) {
            let expert = Int(layer.expertOf[slot])
            if layer.weight[slot] == 0 {
                pair.ownIdle &+= layer.counts[expert] == 1 ? 1 : 0
            } else if holders[expert] == 3 || pair.count == Self.most {
                pair.fixed += layer.weight[slot]
            } else {
                items[pair.count] = Int32(truncatingIfNeeded: slot)
                pair.count &+= 1
            }
        }
        pair.own = pair.count
        for slot in layer.slots(of: second) {
            let expert = Int(layer.expertOf[slot])
            if layer.weight[slot] == 0 {
                pair.otherIdle &+= layer.counts[expert] == 1 ? 1 : 0
            } else if holders[expert] != 3 {
                guard pair.count < Self.most else { return nil }
                items[pair.count] = Int32(truncatingIfNeeded: slot)
                pair.count &+= 1
            }
        }
        guard pair.own > 0, pair.count > 1 else { return nil }
        pair.fixed += layer.weight[Int(items[0])]
        return pair
    }

    /// Sums up every subset of the items but the first; returns how many.
    private func sumUp(_ layer: borrowing LayerArrangement, _ pair: Pair) -> Int {
        sums[0] = pair.fixed
        var count = 1
        for index in 1..<pair.count {
            let weight = layer.weight[Int(items[index])]
            let upper = sums + count
            if count < 4 {
                for subset in 0..<count { upper[subset] = sums[subset] + weight }
            } else {
                for subset in stride(from: 0, to: count, by: 4) {
                    let sum = UnsafeRawPointer(sums + subset).loadUnaligned(as: SIMD4<Float>.self) + weight
                    UnsafeMutableRawPointer(upper + subset).storeBytes(of: sum, as: SIMD4<Float>.self)
                }
            }
            count &*= 2
        }
        for subset in count..<max(4, count) { sums[subset] = .infinity }
        return count
    }

    /// The subset whose sum is nearest to `wanted`.
    private func nearest(_ wanted: Float, _ count: Int) -> Int {
        var least = SIMD4<Float>(repeating: .infinity)
        var place = SIMD4<Int32>(repeating: 0)
        var next: Int32 = 0
        for subset in stride(from: 0, to: count, by: 4) {
            let miss = UnsafeRawPointer(sums + subset).loadUnaligned(as: SIMD4<Float>.self) - wanted
            let size = unsafeBitCast(unsafeBitCast(miss, to: SIMD4<UInt32>.self) & 0x7FFF_FFFF, to: SIMD4<Float>.self)
            let isCloser = size .< least
            least.replace(with: size, where: isCloser)
            place.replace(with: SIMD4<Int32>(repeating: next), where: isCloser)
            next &+= 4
        }
        var lane = 0
        for other in 1..<4 where least[other] < least[lane] { lane = other }
        return Int(place[lane]) + lane
    }

    /// Splits the busiest rank with the one that lowers it most, or the first with which it is good enough.
    private func splitBusiest(
        _ layer: borrowing LayerArrangement, limit: Float, now: Int32, work: inout Int
    ) -> Bool {
        let heavy = layer.busiest
        let peak = layer.peak
        var least = peak - Self.leastGain
        var best: (partner: Int, subset: Int)?
        for place in 0..<ranks - 1 {
            let partner = layer.rank(at: place)
            let half = (peak + layer.rankLoad[partner]) / 2
            guard half < least else { break }
            let key = heavy &* ranks &+ partner
            guard layer.node(of: partner) == layer.node(of: heavy),
                seen[key] <= max(changed[heavy], changed[partner])
            else { continue }
            seen[key] = now
            work &-= 100
            guard let pair = list(layer, heavy, partner) else { continue }
            let count = sumUp(layer, pair)
            work &-= count / 2
            let subset = nearest(half, count)
            let result = half + abs(sums[subset] - half)
            guard result < least, fits(pair, subset) else { continue }
            least = result
            best = (partner, subset)
            if result <= limit { break }
        }
        guard let best, let pair = list(layer, heavy, best.partner) else { return false }
        apply(pair, best.subset, to: layer, now: now)
        return true
    }

    /// Splits two ranks, not the busiest, some way that exceeds neither peak nor limit.
    private func walk(
        _ layer: borrowing LayerArrangement, limit: Float, now: Int32, work: inout Int
    ) {
        guard ranks > 2 else { return }
        let first = layer.rank(at: random(ranks - 1))
        let second = layer.rank(at: random(ranks - 1))
        work &-= 100
        guard first != second, layer.node(of: first) == layer.node(of: second), let pair = list(layer, first, second)
        else { return }
        let count = sumUp(layer, pair)
        work &-= count / 2
        let most = max(limit, layer.peak - Self.leastGain)
        let least = layer.rankLoad[first] + layer.rankLoad[second] - most
        let start = random(count)
        for step in 0..<count {
            let subset = (start &+ step) & (count &- 1)
            guard sums[subset] <= most, sums[subset] >= least, fits(pair, subset) else { continue }
            return apply(pair, subset, to: layer, now: now)
        }
    }

    /// Whether both ranks have slots enough for a split.
    private func fits(_ pair: Pair, _ subset: Int) -> Bool {
        let surplus = (subset << 1 | 1).nonzeroBitCount - pair.own
        return surplus <= pair.ownIdle && -surplus <= pair.otherIdle
    }

    /// Makes a split: bit i - 1 of `subset` says whether item i goes to the first rank.
    private func apply(_ pair: Pair, _ subset: Int, to layer: borrowing LayerArrangement, now: Int32) {
        func mask(_ index: Int) -> Bool { index == 0 || subset >> (index - 1) & 1 == 1 }
        changed[pair.first] = now
        changed[pair.second] = now
        var (own, other) = (0, pair.own)
        while true {
            while own < pair.own, mask(own) { own += 1 }
            while other < pair.count, !mask(other) { other += 1 }
            guard own < pair.own || other < pair.count else { return }
            let slot = own < pair.own ? Int(items[own]) : idleSlot(layer, pair.first)
            let partner = other < pair.count ? Int(items[other]) : idleSlot(layer, pair.second)
            layer.swap(slot, of: pair.first, with: partner, of: pair.second)
            own += 1
            other += 1
        }
    }

    /// A slot without load whose expert lies nowhere else.
    private func idleSlot(_ layer: borrowing LayerArrangement, _ rank: Int) -> Int {
        layer.slots(of: rank).first { layer.weight[$0] == 0 && layer.counts[Int(layer.expertOf[$0])] == 1 }
            ?? layer.slots(of: rank).lowerBound
    }
}
