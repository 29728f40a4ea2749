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
    /// Edges are (replicated expert, rank) pairs, in order of experts, at most P.
    private let edgeRank: UnsafeMutablePointer<Int32>
    private let edgeExpert: UnsafeMutablePointer<Int32>
    /// Replicas of the expert on that rank.
    private let edgeReplicas: UnsafeMutablePointer<Int32>
    /// Tokens that the expert sends there.
    private let flow: UnsafeMutablePointer<Double>
    /// The edges of expert e: `firstEdge[e] ..< firstEdge[e + 1]`, none for one rank; `[E + 1]`.
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
        edgeRank = .allocate(capacity: slots)
        edgeExpert = .allocate(capacity: slots)
        edgeReplicas = .allocate(capacity: slots)
        flow = .allocate(capacity: slots)
        firstEdge = .allocate(capacity: experts + 1)
        rankEdges = .allocate(capacity: slots)
        rankEdgeCount = .allocate(capacity: ranks)
        queue = .allocate(capacity: ranks)
        leavingEdge = .allocate(capacity: ranks)
        enteringEdge = .allocate(capacity: ranks)
        isReached = .allocate(capacity: ranks)
        isOpened = .allocate(capacity: experts)
    }

    deinit {
        rankLoad.deallocate()
        edgeRank.deallocate()
        edgeExpert.deallocate()
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
        connect(layer: layer, of: placement, tokens: tokens)
        if total > 0 {
            for _ in 0..<Self.rounds { pour(tokens) }
            level(from: total / Double(ranks), least: total * 1e-9)
        }
        write(layer: layer, of: placement, tokens: tokens, weights: weights)
    }

    /// Lists the edges and splits all tokens evenly, which every later step can only improve on.
    private func connect(layer: Int, of placement: Placement, tokens: UnsafePointer<Float>) {
        rankLoad.update(repeating: 0, count: ranks)
        rankEdgeCount.update(repeating: 0, count: ranks)
        var edges = 0
        for expert in 0..<experts {
            firstEdge[expert] = Int32(truncatingIfNeeded: edges)
            let first = edges
            let slots = placement.replicas(layer: layer, expert: expert)
            let part = Double(tokens[expert]) / Double(slots.count)
            var lastRank = -1
            for slot in slots {
                let rank = Int(slot) / room
                rankLoad[rank] += part
                if rank != lastRank {
                    edgeRank[edges] = Int32(truncatingIfNeeded: rank)
                    edgeExpert[edges] = Int32(truncatingIfNeeded: expert)
                    edgeReplicas[edges] = 0
                    flow[edges] = 0
                    edges += 1
                    lastRank = rank
                }
                edgeReplicas[edges - 1] += 1
                flow[edges - 1] += part
            }
            if edges == first + 1 { edges = first }  // one rank: no choice
            for edge in first..<edges {
                let rank = Int(edgeRank[edge])
                rankEdges[rank * room + Int(rankEdgeCount[rank])] = Int32(truncatingIfNeeded: edge)
                rankEdgeCount[rank] += 1
            }
        }
        firstEdge[experts] = Int32(truncatingIfNeeded: edges)
    }

    @inline(__always) private func edges(of expert: Int) -> Range<Int> {
        Int(firstEdge[expert])..<Int(firstEdge[expert + 1])
    }

    /// Lets every replicated expert fill its ranks to an equal level, given what the others put there.
    private func pour(_ tokens: UnsafePointer<Float>) {
        for expert in 0..<experts where !edges(of: expert).isEmpty && tokens[expert] > 0 {
            let edges = edges(of: expert)
            for edge in edges {
                rankLoad[Int(edgeRank[edge])] -= flow[edge]
                flow[edge] = -1
            }
            // Ranks above the level drop out, which lowers it, until all that are left lie below.
            var level = Double.infinity
            while true {
                var sum = Double(tokens[expert])
                var count = 0.0
                for edge in edges where rankLoad[Int(edgeRank[edge])] < level {
                    sum += rankLoad[Int(edgeRank[edge])]
                    count += 1
                }
                let next = sum / count
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
    private func level(from mean: Double, least: Double) {
        var level = mean
        // Every path ends at a rank that becomes full or empties an edge; the limit is far above what occurs.
        for _ in 0..<100 * ranks {
            var source = 0
            for rank in 1..<max(1, ranks) where rankLoad[rank] > rankLoad[source] { source = rank }
            guard rankLoad[source] > level * (1 + Self.tolerance) else { return }
            let (target, reached) = search(from: source, level: level, least: least)
            if target >= 0 {
                push(from: source, to: target, level: level)
            } else {
                var sum = 0.0
                for place in 0..<reached { sum += rankLoad[Int(queue[place])] }
                let mean = sum / Double(reached)
                guard mean > level else { return }
                level = mean
            }
        }
    }

    /// Searches ranks that tokens of `source` can go to, until one lies clearly below the level.
    ///
    /// - Returns: that rank or -1, and how many ranks were reached.
    private func search(from source: Int, level: Double, least: Double) -> (target: Int, reached: Int) {
        isReached.update(repeating: false, count: ranks)
        isOpened.update(repeating: false, count: experts)
        queue[0] = Int32(truncatingIfNeeded: source)
        isReached[source] = true
        var reached = 1
        var next = 0
        while next < reached {
            let rank = Int(queue[next])
            next += 1
            for index in rank * room..<rank * room + Int(rankEdgeCount[rank]) {
                let leaving = Int(rankEdges[index])
                let expert = Int(edgeExpert[leaving])
                guard flow[leaving] > least, !isOpened[expert] else { continue }
                isOpened[expert] = true
                for entering in edges(of: expert) where !isReached[Int(edgeRank[entering])] {
                    let other = Int(edgeRank[entering])
                    isReached[other] = true
                    leavingEdge[other] = Int32(truncatingIfNeeded: leaving)
                    enteringEdge[other] = Int32(truncatingIfNeeded: entering)
                    queue[reached] = Int32(truncatingIfNeeded: other)
                    reached += 1
                    if rankLoad[other] < level * (1 - 1e-6) { return (other, reached) }
                }
            }
        }
        return (-1, reached)
    }

    /// Moves along the path that `search` found what the source has too much, the target has room for, and the path
    /// carries.
    private func push(from source: Int, to target: Int, level: Double) {
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
    }

    /// Writes flows as parts of each expert's tokens; an expert without tokens is split evenly.
    private func write(
        layer: Int, of placement: Placement, tokens: UnsafePointer<Float>, weights: UnsafeMutablePointer<Float>
    ) {
        for expert in 0..<experts {
            let slots = placement.replicas(layer: layer, expert: expert)
            let edges = edges(of: expert)
            guard tokens[expert] > 0, !edges.isEmpty else {
                for slot in slots { weights[Int(slot)] = 1 / Float(slots.count) }
                continue
            }
            var edge = edges.lowerBound
            for slot in slots {
                if Int(slot) / room != Int(edgeRank[edge]) { edge += 1 }
                weights[Int(slot)] = Float(flow[edge] / Double(tokens[expert]) / Double(edgeReplicas[edge]))
            }
        }
    }
}
