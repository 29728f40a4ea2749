// RankFlow: shares the tokens of replicated experts among their ranks so that the busiest rank gets least.
//
// Goals in order: within a known factor of the optimum of the linear program, speed, even loads below the peak too.
// Method: replicated experts pour their tokens, one after the other and for a few rounds, over their ranks to an equal
//         level. Then augmenting paths carry what exceeds a level, at first the mean, from the busiest rank to ranks
//         below the level; each path goes through experts with tokens on one rank and a replica on the next. Where no
//         path is left, the ranks reached hold only tokens that cannot leave them: their mean is a proven lower bound
//         and becomes the level. The end is reached when no rank exceeds the level by more than a tolerance.
// Source: maximum flow by augmenting paths, Edmonds and Karp (1972), with the level found by cuts as in Dinkelbach's
//         method for fractional programs (1967).

/// Shares the tokens of one layer after the other; for placements of one shape.
struct RankFlow: ~Copyable {
    /// How far above the proven lower bound the busiest rank may stay, relative.
    private static let tolerance = 5e-4
    private static let rounds = 4

    private let experts: Int
    private let ranks: Int
    private let room: Int
    /// Tokens on each rank; `[G]`.
    private let rankLoad: UnsafeMutablePointer<Double>
    /// The rank of each slot, as dividing takes long; `[P]`.
    private let rankOf: UnsafeMutablePointer<Int32>
    /// Experts on several ranks that have tokens; at most P / 2.
    private let spread: UnsafeMutablePointer<Int32>
    /// Edges are (such expert, rank) pairs, in order of experts, at most P. Experts go by their place in `spread`.
    private let edgeRank: UnsafeMutablePointer<Int32>
    private let edgePlace: UnsafeMutablePointer<Int32>
    /// Replicas of the expert on that rank.
    private let edgeReplicas: UnsafeMutablePointer<Int32>
    /// Tokens that the expert sends there.
    private let flow: UnsafeMutablePointer<Double>
    /// The edges of the expert at a place: `firstEdge[place] ..< firstEdge[place + 1]`; `[P / 2 + 1]`.
    private let firstEdge: UnsafeMutablePointer<Int32>
    /// The edges of rank r: `rankEdges[r * room ..< r * room + rankEdgeCount[r]]`.
    private let rankEdges: UnsafeMutablePointer<Int32>
    private let rankEdgeCount: UnsafeMutablePointer<Int32>
    /// Search state: ranks in order of discovery, the edges by which each was reached, and who was visited.
    private let queue: UnsafeMutablePointer<Int32>
    private let leavingEdge: UnsafeMutablePointer<Int32>
    private let enteringEdge: UnsafeMutablePointer<Int32>
    private let isReached: UnsafeMutablePointer<Bool>
    private let isOpened: UnsafeMutablePointer<Bool>

    /// Space for layers of `experts` experts in `slots` slots on `ranks` ranks.
    init(experts: Int, slots: Int, ranks: Int) {
        self.experts = experts
        self.ranks = ranks
        room = slots / ranks
        rankLoad = .allocate(capacity: ranks)
        rankOf = .allocate(capacity: slots)
        for slot in 0..<slots { rankOf[slot] = Int32(truncatingIfNeeded: slot / room) }
        spread = .allocate(capacity: slots / 2)
        edgeRank = .allocate(capacity: slots)
        edgePlace = .allocate(capacity: slots)
        edgeReplicas = .allocate(capacity: slots)
        flow = .allocate(capacity: slots)
        firstEdge = .allocate(capacity: slots / 2 + 1)
        rankEdges = .allocate(capacity: slots)
        rankEdgeCount = .allocate(capacity: ranks)
        queue = .allocate(capacity: ranks)
        leavingEdge = .allocate(capacity: ranks)
        enteringEdge = .allocate(capacity: ranks)
        isReached = .allocate(capacity: ranks)
        isOpened = .allocate(capacity: slots / 2)
    }

    deinit {
        rankLoad.deallocate()
        rankOf.deallocate()
        spread.deallocate()
        edgeRank.deallocate()
        edgePlace.deallocate()
        edgeReplicas.deallocate()
        flow.deallocate()
        firstEdge.deallocate()
        rankEdges.deallocate()
        rankEdgeCount.deallocate()
        queue.deallocate()
        leavingEdge.deallocate()
        enteringEdge.deallocate()
        isReached.deallocate()
        isOpened.deallocate()
    }

    /// Shares a layer's tokens.
    ///
    /// - Parameters:
    ///   - layer: which one.
    ///   - placement: where its experts lie; of this shape.
    ///   - tokens: per expert, `[E]`.
    ///   - weights: receives the part of its expert's tokens that goes to each slot; `[P]`.
    func share(
        layer: Int, of placement: Placement, tokens: UnsafePointer<Float>, weights: UnsafeMutablePointer<Float>
    ) {
        var total = 0.0
        for expert in 0..<experts { total += Double(tokens[expert]) }
        let count = connect(layer: layer, of: placement, tokens: tokens, weights: weights)
        guard count > 0 else { return }
        for _ in 0..<Self.rounds { pour(count, tokens) }
        level(from: total / Double(ranks), least: total * 1e-9, count)
        write(count, layer: layer, of: placement, tokens: tokens, weights: weights)
    }

    /// Splits all tokens evenly, which every later step can only improve on, and lists experts and edges.
    ///
    /// - Returns: how many experts there is a choice for.
    private func connect(
        layer: Int, of placement: Placement, tokens: UnsafePointer<Float>, weights: UnsafeMutablePointer<Float>
    ) -> Int {
        rankLoad.update(repeating: 0, count: ranks)
        rankEdgeCount.update(repeating: 0, count: ranks)
        firstEdge[0] = 0
        var (count, edges) = (0, 0)
        for expert in 0..<experts {
            let slots = placement.replicas(layer: layer, expert: expert)
            if slots.count == 1 {
                let slot = Int(slots[slots.startIndex])
                weights[slot] = 1
                rankLoad[Int(rankOf[slot])] += Double(tokens[expert])
                continue
            }
            let part = Double(tokens[expert]) / Double(slots.count)
            let first = edges
            var lastRank: Int32 = -1
            for slot in slots {
                let rank = rankOf[Int(slot)]
                weights[Int(slot)] = 1 / Float(slots.count)
                rankLoad[Int(rank)] += part
                if rank != lastRank {
                    edgeRank[edges] = rank
                    edgePlace[edges] = Int32(truncatingIfNeeded: count)
                    edgeReplicas[edges] = 0
                    flow[edges] = 0
                    edges += 1
                    lastRank = rank
                }
                edgeReplicas[edges - 1] += 1
                flow[edges - 1] += part
            }
            guard edges > first + 1, tokens[expert] > 0 else {
                edges = first
                continue
            }
            for edge in first..<edges {
                let rank = Int(edgeRank[edge])
                rankEdges[rank * room + Int(rankEdgeCount[rank])] = Int32(truncatingIfNeeded: edge)
                rankEdgeCount[rank] += 1
            }
            spread[count] = Int32(truncatingIfNeeded: expert)
            count += 1
            firstEdge[count] = Int32(truncatingIfNeeded: edges)
        }
        return count
    }

    @inline(__always) private func edges(at place: Int) -> Range<Int> {
        Int(firstEdge[place])..<Int(firstEdge[place + 1])
    }

    /// Lets every listed expert fill its ranks to an equal level, given what the others put there.
    private func pour(_ count: Int, _ tokens: UnsafePointer<Float>) {
        for place in 0..<count {
            let edges = edges(at: place)
            let load = Double(tokens[Int(spread[place])])
            for edge in edges {
                rankLoad[Int(edgeRank[edge])] -= flow[edge]
                flow[edge] = -1
            }
            // Ranks above the level drop out, which lowers it, until all that are left lie below.
            var level = Double.infinity
            while true {
                var sum = load
                var open = 0.0
                for edge in edges where rankLoad[Int(edgeRank[edge])] < level {
                    sum += rankLoad[Int(edgeRank[edge])]
                    open += 1
                }
                let next = sum / open
                guard next < level else { break }
                level = next
            }
            for edge in edges {
                let rank = Int(edgeRank[edge])
                flow[edge] = max(0, level - rankLoad[rank])
                rankLoad[rank] += flow[edge]
            }
        }
    }

    /// Carries tokens from the busiest ranks until none exceeds a proven lower bound by more than the tolerance.
    ///
    /// - Parameters:
    ///   - mean: a lower bound on the peak.
    ///   - least: smaller flows count as none.
    ///   - count: how many experts are listed.
    private func level(from mean: Double, least: Double, _ count: Int) {
        var level = mean
        // Every path ends at a rank that becomes full or empties an edge; the limit is far above what occurs.
        for _ in 0..<100 * ranks {
            var (source, most) = (0, -Double.infinity)
            for rank in 0..<ranks where rankLoad[rank] > most { (source, most) = (rank, rankLoad[rank]) }
            guard most > level * (1 + Self.tolerance) else { return }
            let (carried, reached) = relieve(source, level: level, least: least, count)
            guard carried == 0 else { continue }
            var sum = 0.0
            for place in 0..<reached { sum += rankLoad[Int(queue[place])] }
            let mean = sum / Double(reached)
            guard mean > level else { return }
            level = mean
        }
    }

    /// Searches ranks that tokens of `source` can go to, and carries some to each that lies clearly below the level, until
    /// the source has no more above it or an edge of the tree is empty.
    ///
    /// - Returns: what was carried, and how many ranks were reached.
    private func relieve(_ source: Int, level: Double, least: Double, _ count: Int) -> (carried: Double, reached: Int) {
        isReached.update(repeating: false, count: ranks)
        isOpened.update(repeating: false, count: count)
        queue[0] = Int32(truncatingIfNeeded: source)
        isReached[source] = true
        var reached = 1
        var next = 0
        var carried = 0.0
        while next < reached {
            let rank = Int(queue[next])
            next += 1
            for index in rank * room..<rank * room + Int(rankEdgeCount[rank]) {
                let leaving = Int(rankEdges[index])
                let place = Int(edgePlace[leaving])
                guard flow[leaving] > least, !isOpened[place] else { continue }
                isOpened[place] = true
                for entering in edges(at: place) where !isReached[Int(edgeRank[entering])] {
                    let other = Int(edgeRank[entering])
                    isReached[other] = true
                    leavingEdge[other] = Int32(truncatingIfNeeded: leaving)
                    enteringEdge[other] = Int32(truncatingIfNeeded: entering)
                    queue[reached] = Int32(truncatingIfNeeded: other)
                    reached += 1
                    guard rankLoad[other] < level * (1 - 1e-6) else { continue }
                    let room = level - rankLoad[other]
                    let amount = push(from: source, to: other, level: level)
                    carried += amount
                    if amount < room { return (carried, reached) }
                }
            }
        }
        return (carried, reached)
    }

    /// Moves along the path that was found what the source has too much, the target has room for, and the path carries;
    /// returns how much.
    private func push(from source: Int, to target: Int, level: Double) -> Double {
        var amount = min(rankLoad[source] - level, level - rankLoad[target])
        var rank = target
        while rank != source {
            amount = min(amount, flow[Int(leavingEdge[rank])])
            rank = Int(edgeRank[Int(leavingEdge[rank])])
        }
        rank = target
        while rank != source {
            flow[Int(leavingEdge[rank])] -= amount
            flow[Int(enteringEdge[rank])] += amount
            rank = Int(edgeRank[Int(leavingEdge[rank])])
        }
        rankLoad[source] -= amount
        rankLoad[target] += amount
        return amount
    }

    /// Writes flows as parts of each listed expert's tokens.
    private func write(
        _ count: Int, layer: Int, of placement: Placement, tokens: UnsafePointer<Float>,
        weights: UnsafeMutablePointer<Float>
    ) {
        for place in 0..<count {
            let expert = Int(spread[place])
            var edge = Int(firstEdge[place])
            for slot in placement.replicas(layer: layer, expert: expert) {
                if rankOf[Int(slot)] != edgeRank[edge] { edge += 1 }
                weights[Int(slot)] = Float(flow[edge] / Double(tokens[expert]) / Double(edgeReplicas[edge]))
            }
        }
    }
}
