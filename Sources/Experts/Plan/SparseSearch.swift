// SparseSearch: balances a layer with most experts idle, where exchanges find nothing.
//
// Goals in order: a peak within the limit, or little above it where that is hard; speed.
// Method: the loaded replicas are dealt to the ranks anew (RankFill). Where that fails, one replica is given to another
//         expert, and all begins again; after some attempts it is more replicas, and the limit rises with each. Idle
//         experts take the slots that are left.

/// Search on sparse layers of one shape.
struct SparseSearch: ~Copyable {
    /// Up to so many slots per rank, exchanges of two for two reach nearly every layer.
    private static let pairedRoom = 5
    /// Attempts before the limit rises, and by which part of what it leaves above the mean it rises with each later one.
    private static let patience = 3
    private static let easing: Float = 0.04
    /// How often an attempt draws anew which experts take part.
    private static let draws = 8
    /// What rounding may add to a sum.
    private static let rounding: Float = 2e-6

    private let fill: RankFill
    /// Loaded replicas by falling load, and the same with one given to another expert; `[P]` each.
    private let sorted: UnsafeMutablePointer<UInt64>
    private let varied: UnsafeMutablePointer<UInt64>
    private let keys: UnsafeMutablePointer<UInt64>
    private let scratch: UnsafeMutablePointer<UInt32>
    /// Experts without load; `[P]`.
    private let idle: UnsafeMutablePointer<Int32>

    /// Space for `ranks` ranks of `room` slots.
    init(ranks: Int, room: Int) {
        let slots = ranks * room
        fill = RankFill(ranks: ranks, room: room)
        sorted = .allocate(capacity: slots)
        varied = .allocate(capacity: slots)
        keys = .allocate(capacity: slots)
        scratch = .allocate(capacity: descendingSortScratch)
        idle = .allocate(capacity: slots)
    }

    deinit {
        sorted.deallocate()
        varied.deallocate()
        keys.deallocate()
        scratch.deallocate()
        idle.deallocate()
    }

    /// Whether most slots are idle, so few loaded that ranks can be filled; small ranks exchange pairs as well.
    func suits(_ layer: borrowing LayerArrangement) -> Bool {
        guard layer.room > Self.pairedRoom else { return false }
        var loaded = 0
        for rank in 0..<layer.ranks {
            for slot in layer.slots(of: rank) where layer.weight[slot] > 0 { loaded &+= 1 }
        }
        return 2 * loaded <= min(layer.room, SubsetSums.most - 1) * layer.ranks
    }

    /// Fills the ranks of every node so that none exceeds `limit`, or where that is not found, little more.
    ///
    /// - Parameters:
    ///   - layer: changed; its peak never rises.
    ///   - limit: largest rank load that is good enough, in units of the mean.
    ///   - work: what may be spent, in units of about a nanosecond; counted down.
    /// - Returns: whether all nodes were filled so, or needed it not.
    func lower(_ layer: borrowing LayerArrangement, limit: Float, work: inout Int) -> Bool {
        var isFilled = true
        // Where replicas may leave their node, only all nodes together can tell who may spare one.
        let varies = !layer.spills || layer.ranksPerNode == layer.ranks
        for first in Swift.stride(from: 0, to: layer.ranks, by: layer.ranksPerNode) {
            let node = first..<first + layer.ranksPerNode
            var peak: Float = 0
            for rank in node { peak = max(peak, layer.rankLoad[rank]) }
            guard peak > limit else { continue }
            let loaded = list(layer, node)
            work &-= 200 &+ 15 * loaded
            var state: UInt64 = 0x9E37_79B9_7F4A_7C15
            var (attempt, goal, order) = (0, limit, sorted)
            var isNodeFilled = false
            while work > 0, goal < peak {
                if fill.fill(node.count, order, loaded, limit: goal - Self.rounding, &work) {
                    give(to: node, of: layer)
                    isNodeFilled = true
                    break
                }
                guard varies else { break }
                attempt += 1
                if attempt > Self.patience { goal += Self.easing * (limit - 1) }
                vary(layer, loaded, changes: Self.changes(attempt), &state)
                work &-= 100 &+ 5 * loaded
                order = varied
            }
            if !isNodeFilled { isFilled = false }
        }
        layer.countReplicas()
        return isFilled
    }

    /// Lists the loaded and the idle experts of a node; returns how many are loaded.
    private func list(_ layer: borrowing LayerArrangement, _ node: Range<Int>) -> Int {
        var (loaded, idles) = (0, 0)
        for rank in node {
            for slot in layer.slots(of: rank) {
                if layer.weight[slot] > 0 {
                    keys[loaded] = descendingKey(layer.weight[slot], Int(layer.expertOf[slot]))
                    loaded &+= 1
                } else {
                    idle[idles] = layer.expertOf[slot]
                    idles &+= 1
                }
            }
        }
        sortDescending(keys, into: sorted, count: loaded, scratch: scratch)
        return loaded
    }

    /// Puts the experts of the ranks into slots, idle ones into those that are left.
    private func give(to node: Range<Int>, of layer: borrowing LayerArrangement) {
        var idles = 0
        for rank in node {
            let its = rank &- node.lowerBound
            var place = 0
            for slot in layer.slots(of: rank) {
                if place < fill.counts[its] {
                    layer.expertOf[slot] = fill.held[its &* layer.room &+ place]
                    place &+= 1
                } else {
                    layer.expertOf[slot] = idle[idles]
                    idles &+= 1
                }
            }
        }
    }

    /// How many replicas an attempt gives to other experts: the longer nothing fits, the farther from the start.
    private static func changes(_ attempt: Int) -> Int { attempt < 2 ? 1 : attempt < 7 ? 2 : 3 }

    /// Gives replicas of experts that have several to experts that have one: `sorted` becomes `varied`.
    ///
    /// The more experts share the redundant replicas, the more loads there are to choose from.
    private func vary(_ layer: borrowing LayerArrangement, _ loaded: Int, changes: Int, _ state: inout UInt64) {
        func random() -> Int {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return keyIndex(sorted[Int(((state >> 32) &* UInt64(loaded)) >> 32)])
        }
        keys.update(from: sorted, count: loaded)
        for _ in 0..<changes {
            var (losing, gaining) = (random(), random())
            for _ in 0..<Self.draws where layer.counts[gaining] > 1 { gaining = random() }
            for _ in 0..<Self.draws where losing == gaining || layer.largerShare[losing] >= 1 { losing = random() }
            if losing != gaining { move(from: losing, to: gaining, layer, loaded) }
        }
        sortDescending(keys, into: varied, count: loaded, scratch: scratch)
    }

    /// Gives one expert's replica to another in `keys`, unless one would then be too heavy or the other have too many.
    private func move(from losing: Int, to gaining: Int, _ layer: borrowing LayerArrangement, _ loaded: Int) {
        var (losers, gainers) = (0, 0)
        for item in 0..<loaded {
            losers &+= keyIndex(keys[item]) == losing ? 1 : 0
            gainers &+= keyIndex(keys[item]) == gaining ? 1 : 0
        }
        guard losers > 1, layer.load[losing] / Float(losers - 1) < 1, gainers < layer.ranksPerNode else { return }
        let heavier = descendingKey(layer.load[losing] / Float(losers - 1), losing)
        let lighter = descendingKey(layer.load[gaining] / Float(gainers + 1), gaining)
        var hasMoved = false
        for item in 0..<loaded {
            let its = keyIndex(keys[item])
            if its == losing {
                keys[item] = hasMoved ? heavier : lighter
                hasMoved = true
            } else if its == gaining {
                keys[item] = lighter
            }
        }
    }
}
