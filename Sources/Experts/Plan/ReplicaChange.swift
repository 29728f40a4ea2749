// ReplicaChange: gives a redundant slot to another expert when exchanges of slots no longer help.
//
// Goals in order: a way out of a local minimum, no cycles, speed.
// Method: two kinds of replacement, judged by the largest load among the ranks that they touch: a replica somewhere
//         gives way to one more of an expert on the busiest rank, or a replica on the busiest rank gives way to any
//         other expert. The loads may rise at first; exchanges of slots repair that. For some rounds an expert that
//         gained a replica loses none and one that lost gains none, after F. Glover, "Tabu search" (1989).

/// Replacements of replicas on the layers of one shape.
struct ReplicaChange: ~Copyable {
    private let experts: Int
    /// The round until which each expert gains or loses no replica; `[E]` each.
    private let gainsAfter: UnsafeMutablePointer<Int32>
    private let losesAfter: UnsafeMutablePointer<Int32>
    /// The two largest loads among the ranks of each expert; `[E]` each.
    private let fullest: UnsafeMutablePointer<Float>
    private let secondFullest: UnsafeMutablePointer<Float>

    /// Space for a layer of `experts` experts.
    init(experts: Int) {
        self.experts = experts
        gainsAfter = .allocate(capacity: experts)
        losesAfter = .allocate(capacity: experts)
        fullest = .allocate(capacity: experts)
        secondFullest = .allocate(capacity: experts)
        reset()
    }

    deinit {
        gainsAfter.deallocate()
        losesAfter.deallocate()
        fullest.deallocate()
        secondFullest.deallocate()
    }

    /// Forgets which experts gained and lost.
    func reset() {
        gainsAfter.initialize(repeating: 0, count: experts)
        losesAfter.initialize(repeating: 0, count: experts)
    }

    /// A replacement that was found.
    struct Choice {
        /// The largest load among the ranks that it touches, in units of the mean; smaller is better.
        var score = Float.infinity
        /// The slot that changes, in the padded numbering; -1 where there is none.
        var slot = -1
        /// The expert that it gets.
        var expert = -1
    }

    /// The replacement of one replica that relieves the busiest rank best.
    ///
    /// - Parameters:
    ///   - layer: left as it is.
    ///   - round: number of the change since `reset`, from 1.
    /// - Returns: the choice; slot -1 where there is none.
    func best(for layer: borrowing LayerArrangement, round: Int32) -> Choice {
        var best = Choice()
        findFullest(layer)
        for rank in 0..<layer.ranks {
            for slot in layer.slots(of: rank) {
                let old = Int(layer.expertOf[slot])
                let count = layer.counts[old]
                guard count > 1, losesAfter[old] < round, layer.maySpare(slot, of: rank) else { continue }
                // Every other rank with this expert takes over some of it.
                let loss = layer.load[old] / Float(count - 1) - layer.weight[slot]
                let others = layer.rankLoad[rank] < fullest[old] ? fullest[old] : secondFullest[old]
                let floor = max(1, others) + loss
                guard floor < best.score else { continue }
                if rank == layer.busiest {
                    replaceOnBusiest(layer, slot, floor: floor, round: round, best: &best)
                } else {
                    replaceElsewhere(layer, slot, of: rank, loss: loss, floor: floor, round: round, best: &best)
                }
            }
        }
        return best
    }

    /// Makes a replacement; its experts do not take part in the opposite for `rest` rounds.
    func make(_ choice: Choice, in layer: borrowing LayerArrangement, round: Int32, rest: Int32) {
        gainsAfter[Int(layer.expertOf[choice.slot])] = round + rest
        losesAfter[choice.expert] = round + rest
        layer.replace(choice.slot, by: choice.expert)
    }

    /// Replaces one replica to relieve the busiest rank; the peak may rise.
    ///
    /// - Returns: whether there was a replica to replace.
    func relieve(_ layer: borrowing LayerArrangement, round: Int32, rest: Int32) -> Bool {
        let choice = best(for: layer, round: round)
        guard choice.slot >= 0 else { return false }
        make(choice, in: layer, round: round, rest: rest)
        return true
    }

    /// Finds the largest loads among the ranks of each replicated expert.
    private func findFullest(_ layer: borrowing LayerArrangement) {
        fullest.update(repeating: 0, count: experts)
        secondFullest.update(repeating: 0, count: experts)
        for place in 0..<layer.ranks {
            let rank = layer.rank(at: place)
            for slot in layer.slots(of: rank) {
                let expert = Int(layer.expertOf[slot])
                secondFullest[expert] = fullest[expert]
                fullest[expert] = layer.rankLoad[rank]
            }
        }
    }

    /// Looks for the expert to replace a replica on the busiest rank.
    private func replaceOnBusiest(
        _ layer: borrowing LayerArrangement, _ slot: Int, floor: Float, round: Int32, best: inout Choice
    ) {
        let rank = layer.busiest
        let left = layer.peak - layer.weight[slot]
        let old = Int(layer.expertOf[slot])
        for new in 0..<experts where new != old && mayGain(new, in: layer, on: rank, round: round) {
            // Almost any light expert lowers this rank; the gain of its other ranks decides.
            let gain = layer.share[new] - layer.smallerShare[new]
            let score = max(floor, left + layer.smallerShare[new]) - gain / 2
            guard score < best.score, !layer.holds(rank: rank, expert: new) else { continue }
            best = Choice(score: score, slot: slot, expert: new)
        }
    }

    /// Looks for the expert on the busiest rank to replace a replica on another.
    private func replaceElsewhere(
        _ layer: borrowing LayerArrangement, _ slot: Int, of rank: Int, loss: Float, floor: Float, round: Int32,
        best: inout Choice
    ) {
        let heavy = layer.busiest
        let old = Int(layer.expertOf[slot])
        let peak = layer.holds(rank: heavy, expert: old) ? layer.peak + loss : layer.peak
        let left = layer.rankLoad[rank] - layer.weight[slot]
        for place in layer.slots(of: heavy) {
            let new = Int(layer.expertOf[place])
            guard new != old, mayGain(new, in: layer, on: rank, round: round) else { continue }
            let added = layer.smallerShare[new]
            let score = max(floor, peak - layer.weight[place] + added, left + added)
            guard score < best.score, !layer.holds(rank: rank, expert: new) else { continue }
            best = Choice(score: score, slot: slot, expert: new)
        }
    }

    @inline(__always) private func mayGain(
        _ expert: Int, in layer: borrowing LayerArrangement, on rank: Int, round: Int32
    ) -> Bool {
        gainsAfter[expert] < round && Int(layer.counts[expert]) < layer.ranks && layer.mayHold(rank, expert)
    }

    /// Gives all but one of an expert's replicas on the same rank to the expert with the largest share elsewhere.
    ///
    /// - Returns: whether there were any.
    func spreadTwins(_ layer: borrowing LayerArrangement) -> Bool {
        var found = false
        for rank in 0..<layer.ranks {
            for slot in layer.slots(of: rank) {
                let expert = Int(layer.expertOf[slot])
                guard layer.counts[expert] > 1, hasTwin(layer, slot, on: rank) else { continue }
                var heaviest = -1
                for other in 0..<experts
                where other != expert && mayGain(other, in: layer, on: rank, round: 1)
                    && (heaviest < 0 || layer.share[other] > layer.share[heaviest])
                    && !layer.holds(rank: rank, expert: other)
                {
                    heaviest = other
                }
                guard heaviest >= 0 else { continue }
                layer.replace(slot, by: heaviest)
                found = true
            }
        }
        return found
    }

    private func hasTwin(_ layer: borrowing LayerArrangement, _ slot: Int, on rank: Int) -> Bool {
        layer.slots(of: rank).contains { $0 > slot && layer.expertOf[$0] == layer.expertOf[slot] }
    }
}
