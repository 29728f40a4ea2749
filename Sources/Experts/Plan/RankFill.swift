// RankFill: deals loaded replicas to ranks so that each is full to the brim and none exceeds a limit.
//
// Goals in order: no rank above the limit, speed.
// Method: each rank begins with one of the heaviest replicas, the last three with experts that lie nowhere else, as two
//         copies of one could hardly be kept apart at the end. The ranks with the heaviest are filled first: the heaviest
//         one to three of what is left that bring the rank to just below the limit. Beside each two, one look tells
//         whether a third fits (LoadSet). So heavy ones are used up early, and the tighter the first ranks are filled,
//         the more room is left for the last three: one of them gets each subset of what is left that leaves the other
//         two room enough, until the rest can be split between those. Each replica that is left for them makes their
//         ways up to three times as many, so that where few would be left one or two that fill a rank go before three.
//         After E. Schreiber and R. Korf, "Improved bin completion for optimal bin packing and number partitioning" (2013).

/// Fills the ranks of layers of one shape.
struct RankFill: ~Copyable {
    /// How much of its part of the room below the limit a rank may leave, how much for being filled by two at most, and
    /// how much where nothing fits better.
    private static let tightly: Float = 1
    private static let tightlyByTwo: Float = 1.75
    private static let loosely: Float = 2
    /// If fewer replicas are left for the last three ranks, their ways are few.
    private static let few = 12
    /// Where so many subsets of one of the last three ranks leave the others no way, copies or slots stand in it.
    private static let mostSplits = 24

    private let room: Int
    /// The replicas that no rank has yet by falling load: their loads, then two zeros, and experts; `[P + 2]` each.
    private let weight: UnsafeMutablePointer<Float>
    private let expert: UnsafeMutablePointer<Int32>
    /// The loads in whole units, then two zeros, and the set of them; `[P + 2]`.
    private let wholes: UnsafeMutablePointer<Int32>
    private let listed = LoadSet()
    /// The experts that each rank has, and how many; `[G, p]` and `[G]`.
    let held: UnsafeMutablePointer<Int32>
    let counts: UnsafeMutablePointer<Int>
    /// The load of each rank; `[G]`.
    private let loads: UnsafeMutablePointer<Float>
    /// Sums of subsets of what is left for the last three ranks, and for the last two.
    private let sums = SubsetSums()
    private let lastSums = SubsetSums()

    /// Space for `ranks` ranks of `room` slots.
    init(ranks: Int, room: Int) {
        self.room = room
        let slots = ranks * room
        weight = .allocate(capacity: slots + 2)
        expert = .allocate(capacity: slots + 2)
        wholes = .allocate(capacity: slots + 2)
        held = .allocate(capacity: slots)
        counts = .allocate(capacity: ranks)
        loads = .allocate(capacity: ranks)
        held.initialize(repeating: -1, count: slots)
    }

    deinit {
        weight.deallocate()
        expert.deallocate()
        wholes.deallocate()
        held.deallocate()
        counts.deallocate()
        loads.deallocate()
    }

    /// Fills ranks.
    ///
    /// - Parameters:
    ///   - ranks: how many, at most G.
    ///   - order: keys of loads and experts, falling; `[loaded]`.
    ///   - loaded: how many.
    ///   - limit: no rank may exceed it.
    ///   - work: what may be spent, in units of about a nanosecond; counted down.
    /// - Returns: whether that was found; `held` and `counts` say how.
    func fill(
        _ ranks: Int, _ order: UnsafePointer<UInt64>, _ loaded: Int, limit: Float, _ work: inout Int
    ) -> Bool {
        guard loaded >= ranks, keyWeight(order[0]) <= limit else { return false }
        var slack = limit * Float(ranks)
        for item in 0..<loaded { slack -= keyWeight(order[item]) }
        guard slack > 0 else { return false }
        // What a rank may leave is less than a look is wide.
        let unit = min(Float(LoadSet.most) / limit, 20 * Float(ranks) / slack)
        let leavesFew = loaded &- ranks < 3 * max(0, ranks &- 3) &+ Self.few
        var left = begin(ranks, order, loaded, unit, leavesFew)
        for rank in 0..<max(0, ranks &- 3) {
            let part = slack / Float(ranks &- rank)
            let isClosed =
                leavesFew && closeByTwo(rank, ranks, limit, part, unit, &left, &work)
                || closeByThree(rank, ranks, limit, part, unit, &left, &work)
            guard isClosed else { return false }
            slack -= limit - loads[rank]
        }
        return finish(ranks, limit, leavesFew, &left, &work)
    }

    /// Gives each rank its first replica and lists the others; returns how many those are.
    private func begin(_ ranks: Int, _ order: UnsafePointer<UInt64>, _ loaded: Int, _ unit: Float, _ leavesFew: Bool)
        -> Int
    {
        listed.clear()
        counts.update(repeating: 0, count: ranks)
        loads.update(repeating: 0, count: ranks)
        let last = max(0, ranks &- 3)
        // Where few are left, one of the last three begins with none and gets more.
        let lastSingle = leavesFew ? min(ranks, last &+ 2) : ranks
        var (rank, single, left) = (0, last, 0)
        for item in 0..<loaded {
            let (its, load) = (keyIndex(order[item]), keyWeight(order[item]))
            // Copies weigh the same, so that they are neighbours.
            let isSingle =
                (item == 0 || keyIndex(order[item &- 1]) != its)
                && (item &+ 1 == loaded || keyIndex(order[item &+ 1]) != its)
            let taker = isSingle && single < lastSingle ? single : rank < last ? rank : ranks
            guard taker < ranks else {
                weight[left] = load
                wholes[left] = Int32(load * unit)
                listed.insert(wholes[left])
                expert[left] = Int32(truncatingIfNeeded: its)
                left &+= 1
                continue
            }
            held[taker &* room] = Int32(truncatingIfNeeded: its)
            counts[taker] = 1
            loads[taker] = load
            if taker < last { rank &+= 1 } else { single &+= 1 }
        }
        for place in left..<left &+ 2 { (weight[place], wholes[place], expert[place]) = (0, 0, -1) }
        listed.insert(0)
        return left
    }

    /// Fills a rank, or a later one that takes its place, by two at most.
    private func closeByTwo(
        _ rank: Int, _ ranks: Int, _ limit: Float, _ part: Float, _ unit: Float, _ left: inout Int, _ work: inout Int
    ) -> Bool {
        for candidate in rank..<ranks {
            work &-= 10 &+ left
            let open = limit - loads[candidate]
            let found = open > Self.tightly * part ? two(candidate, left, open, part, unit) : (-1, -1, -1)
            guard let found else { continue }
            hand(found, candidate, as: rank, &left)
            return true
        }
        return false
    }

    /// Fills a rank, or a later one that takes its place, by three or, where those do not suffice, by more.
    private func closeByThree(
        _ rank: Int, _ ranks: Int, _ limit: Float, _ part: Float, _ unit: Float, _ left: inout Int, _ work: inout Int
    ) -> Bool {
        repeat {
            for candidate in rank..<ranks {
                work &-= 20 &+ 10 * left
                let open = limit - loads[candidate]
                let found = open > Self.tightly * part ? three(candidate, left, open, part, unit) : (-1, -1, -1)
                guard let found else { continue }
                hand(found, candidate, as: rank, &left)
                return true
            }
            // Three do not suffice.
        } while left > 3 * (ranks &- rank) && handHeaviest(rank, limit, &left)
        return false
    }

    /// Gives the heaviest expert of the list that it can have to a rank; returns whether there was one.
    private func handHeaviest(_ rank: Int, _ limit: Float, _ left: inout Int) -> Bool {
        for item in 0..<left where counts[rank] < room &- 3 && loads[rank] + weight[item] <= limit {
            guard !holds(rank, item) else { continue }
            hand(item, rank, &left)
            return true
        }
        return false
    }

    /// Gives up to three experts of the list, -1 for none, to a rank, which then changes places with another.
    private func hand(_ items: (Int, Int, Int), _ rank: Int, as place: Int, _ left: inout Int) {
        // The last first, as those after it move up.
        if items.2 >= 0 { hand(items.2, rank, &left) }
        if items.1 >= 0 { hand(items.1, rank, &left) }
        if items.0 >= 0 { hand(items.0, rank, &left) }
        exchange(place, rank)
    }

    /// Gives an expert of the list to a rank.
    private func hand(_ item: Int, _ rank: Int, _ left: inout Int) {
        held[rank &* room &+ counts[rank]] = expert[item]
        counts[rank] &+= 1
        loads[rank] += weight[item]
        left &-= 1
        // Equal ones are neighbours, zeros at the end among them.
        if wholes[item] != wholes[item &+ 1], item == 0 || wholes[item] != wholes[item &- 1] {
            listed.remove(wholes[item])
        }
        for later in item...left {
            weight[later] = weight[later &+ 1]
            wholes[later] = wholes[later &+ 1]
            expert[later] = expert[later &+ 1]
        }
    }

    private func exchange(_ rank: Int, _ other: Int) {
        guard rank != other else { return }
        (counts[rank], counts[other]) = (counts[other], counts[rank])
        (loads[rank], loads[other]) = (loads[other], loads[rank])
        let (own, its) = (held + rank &* room, held + other &* room)
        for place in 0..<room { (own[place], its[place]) = (its[place], own[place]) }
    }

    @inline(__always) private func holds(_ rank: Int, _ item: Int) -> Bool {
        for place in rank &* room..<rank &* room &+ counts[rank] where held[place] == expert[item] { return true }
        return false
    }

    /// One or two experts of the list that fill what a rank has open tightly, -1 for none; the first that do so.
    private func two(_ rank: Int, _ left: Int, _ open: Float, _ part: Float, _ unit: Float) -> (Int, Int, Int)? {
        let most = open - Self.tightlyByTwo * part
        let range = FillRange(above: most, open, unit)
        for one in 0..<left where weight[one] <= open {
            let low = range.low &- wholes[one]
            if wholes[one &+ 1] < low { break }
            guard listed.hasLoad(from: low, range.mask), !holds(rank, one) else { continue }
            if let other = last(rank, left, one, one, weight[one], above: most, open) {
                return (one, other < left ? other : -1, -1)
            }
        }
        return nil
    }

    /// Up to three experts of the list that fill what a rank has open, -1 for none: the first that do so tightly, else
    /// the best.
    private func three(_ rank: Int, _ left: Int, _ open: Float, _ part: Float, _ unit: Float) -> (Int, Int, Int)? {
        let enough = open - Self.tightly * part
        var best: (Int, Int, Int)?
        var most = open - Self.loosely * part
        let range = FillRange(above: most, open, unit)
        for one in 0..<left where weight[one] <= open {
            // Three from here on do not suffice.
            if weight[one] + weight[one &+ 1] + weight[one &+ 2] <= most { break }
            let low = range.low &- wholes[one]
            var other = one
            while other < left {
                // The second may be none, a zero, as may the third.
                other &+= 1
                if wholes[other] &+ wholes[other &+ 1] < low { break }
                guard listed.hasLoad(from: low &- wholes[other], range.mask) else { continue }
                let two = weight[one] + weight[other]
                guard two <= open, !holds(rank, one), isNew(rank, other, beside: one),
                    let third = last(rank, left, one, other, two, above: most, open)
                else { continue }
                most = two + weight[third]
                best = (one, other < left ? other : -1, third < left ? third : -1)
                if most >= enough { return best }
            }
        }
        return best
    }

    /// The first expert of the list, or zero at its end, that fills a rank beside one or two before it, which weigh
    /// `given`, to more than `most` and at most `open`.
    private func last(
        _ rank: Int, _ left: Int, _ one: Int, _ other: Int, _ given: Float, above most: Float, _ open: Float
    ) -> Int? {
        var item = other &+ 1
        // The zeros at the end are never too heavy.
        while given + weight[item] > open { item &+= 1 }
        while item < left &+ 2, given + weight[item] > most {
            if isNew(rank, item, beside: one), item >= left || expert[item] != expert[other] { return item }
            item &+= 1
        }
        return nil
    }

    private func isNew(_ rank: Int, _ item: Int, beside one: Int) -> Bool {
        expert[item] != expert[one] && !holds(rank, item)
    }

    /// Shares what is left among the last three ranks, or as many as there are.
    private func finish(
        _ ranks: Int, _ limit: Float, _ leavesFew: Bool, _ left: inout Int, _ work: inout Int
    ) -> Bool {
        let first = max(0, ranks &- 3)
        // Of very many the heaviest are shared one by one.
        while left > SubsetSums.most &+ 3 * max(0, ranks &- first &- 2) {
            var least = -1
            for rank in first..<ranks where counts[rank] < room && !holds(rank, 0) {
                if least < 0 || loads[rank] < loads[least] { least = rank }
            }
            guard least >= 0 else { return false }
            hand(0, least, &left)
        }
        var rest: Float = 0
        for rank in first..<ranks { rest += loads[rank] }
        for item in 0..<left { rest += weight[item] }
        guard ranks > 2 else { return ranks < 2 || split(0, left, rest, without: 0, limit, &work) }
        var count = sums.sumUp(weight, left, without: 0, from: loads[first])
        let own = counts[first]
        var (place, splits) = (0, 0)
        work &-= count
        let most = leavesFew ? min(left, SubsetSums.mostExtended) : 0
        for size in SubsetSums.most...SubsetSums.mostExtended {
            while splits < Self.mostSplits, work > 0,
                let subset = sums.first(from: place, of: count, low: rest - 2 * limit, high: limit)
            {
                place = subset &+ 1
                splits &+= 1
                if deal(subset, of: sums, to: first),
                    split(first &+ 1, left, rest - sums[subset], without: subset, limit, &work)
                {
                    return true
                }
                counts[first] = own
            }
            // Where few are left, a lighter one beside the heaviest is worth twice the sums.
            guard splits < Self.mostSplits, size < most else { break }
            sums.extend(by: weight[size], size, at: size)
            place = count
            work &-= count
            count &*= 2
        }
        return false
    }

    /// Splits what is left of the list without some between two ranks.
    private func split(
        _ rank: Int, _ left: Int, _ rest: Float, without used: Int, _ limit: Float, _ work: inout Int
    ) -> Bool {
        let items = left &- used.nonzeroBitCount
        guard items <= SubsetSums.most else { return false }
        let count = lastSums.sumUp(weight, left, without: used, from: loads[rank])
        work &-= 50 &+ count / 2
        let own = (counts[rank], counts[rank &+ 1])
        var place = 0
        while let subset = lastSums.first(from: place, of: count, low: rest - limit, high: limit) {
            place = subset &+ 1
            if deal(subset, of: lastSums, to: rank), deal(~subset & (1 << items &- 1), of: lastSums, to: rank &+ 1) {
                return true
            }
            (counts[rank], counts[rank &+ 1]) = own
        }
        return false
    }

    /// Gives a subset to a rank; false where it gets an expert twice or more than it has slots for.
    private func deal(_ subset: Int, of sums: borrowing SubsetSums, to rank: Int) -> Bool {
        var subset = subset
        while subset != 0 {
            let item = sums.items[subset.trailingZeroBitCount]
            guard counts[rank] < room, !holds(rank, item) else { return false }
            held[rank &* room &+ counts[rank]] = expert[item]
            counts[rank] &+= 1
            subset &= subset &- 1
        }
        return true
    }
}

/// The sums in whole units that fill a rank.
private struct FillRange {
    let low: Int32
    /// As many ones as the range is wide.
    let mask: UInt64

    /// Sums above `most`, up to `open`; what is open and three loads are rounded down, so that up to three units may be
    /// missing.
    @inline(__always) init(above most: Float, _ open: Float, _ unit: Float) {
        let width = min(LoadSet.widest, Int((open - most) * unit) &+ 4)
        low = Int32(open * unit) &- Int32(width) &+ 1
        mask = 1 << UInt64(width) &- 1
    }
}
