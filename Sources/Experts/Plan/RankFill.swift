// RankFill: deals loaded replicas to ranks so that each is full to the brim and none exceeds a limit.
//
// Goals in order: no rank above the limit, speed.
// Method: each rank begins with one of the heaviest replicas, the last three with experts that lie nowhere else, as two
//         copies of one could hardly be kept apart at the end. The ranks with the heaviest are filled first: the heaviest
//         one to three of what is left that bring the rank to just below the limit. Beside each two, one look tells
//         whether a third fits (LoadSet). So heavy ones are used up early, and the tighter the first ranks are filled,
//         the more room is left for the last three: one of them gets each subset of what is left that leaves the other
//         two room enough, until the rest can be split between those. After
//         E. Schreiber and R. Korf, "Improved bin completion for optimal bin packing and number partitioning" (2013).

/// Fills the ranks of layers of one shape.
struct RankFill: ~Copyable {
    /// How much of its part of the room below the limit a rank may leave, and how much where nothing fits better.
    private static let tightly: Float = 1
    private static let loosely: Float = 2

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
        var left = begin(ranks, order, loaded, unit)
        for rank in 0..<max(0, ranks &- 3) {
            guard close(rank, ranks, limit, slack / Float(ranks &- rank), unit, &left, &work) else { return false }
            slack -= limit - loads[rank]
        }
        return finish(ranks, limit, &left, &work)
    }

    /// Gives each rank its first replica and lists the others; returns how many those are.
    private func begin(_ ranks: Int, _ order: UnsafePointer<UInt64>, _ loaded: Int, _ unit: Float) -> Int {
        listed.clear()
        counts.update(repeating: 0, count: ranks)
        loads.update(repeating: 0, count: ranks)
        let last = max(0, ranks &- 3)
        var (rank, single, left) = (0, last, 0)
        for item in 0..<loaded {
            let (its, load) = (keyIndex(order[item]), keyWeight(order[item]))
            // Copies weigh the same, so that they are neighbours.
            let isSingle =
                (item == 0 || keyIndex(order[item &- 1]) != its)
                && (item &+ 1 == loaded || keyIndex(order[item &+ 1]) != its)
            let taker = isSingle && single < ranks ? single : rank < last ? rank : ranks
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

    /// Fills a rank, or a later one that takes its place.
    private func close(
        _ rank: Int, _ ranks: Int, _ limit: Float, _ part: Float, _ unit: Float, _ left: inout Int,
        _ work: inout Int
    ) -> Bool {
        repeat {
            for candidate in rank..<ranks {
                work &-= 20 &+ 10 * left
                let open = limit - loads[candidate]
                if open > Self.tightly * part {
                    let found = fitting(candidate, left, open, part, unit)
                    guard found.0 >= 0 else { continue }
                    // The last first, as those after it move up.
                    if found.2 >= 0 { hand(found.2, candidate, &left) }
                    if found.1 >= 0 { hand(found.1, candidate, &left) }
                    hand(found.0, candidate, &left)
                }
                exchange(rank, candidate)
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

    /// Up to three experts of the list that fill what a rank has open, -1 for none: the first that do so tightly, else
    /// the best.
    private func fitting(
        _ rank: Int, _ left: Int, _ open: Float, _ part: Float, _ unit: Float
    ) -> (Int, Int, Int) {
        let enough = open - Self.tightly * part
        var best = (-1, -1, -1)
        var most = open - Self.loosely * part
        // What is open and three loads are rounded down: up to three units may be missing.
        let width = min(LoadSet.widest, Int((open - most) * unit) &+ 4)
        let least = Int32(open * unit) &- Int32(width) &+ 1
        let mask: UInt64 = 1 << UInt64(width) &- 1
        for one in 0..<left where weight[one] <= open {
            // Three from here on do not suffice.
            if weight[one] + weight[one &+ 1] + weight[one &+ 2] <= most { break }
            let low = least &- wholes[one]
            var other = one
            while other < left {
                // The second may be none, a zero, as may the third.
                other &+= 1
                if wholes[other] &+ wholes[other &+ 1] < low { break }
                guard listed.hasLoad(from: low &- wholes[other], mask) else { continue }
                guard let third = third(rank, left, one, other, above: most, open) else { continue }
                most = weight[one] + weight[other] + weight[third]
                best = (one, other < left ? other : -1, third < left ? third : -1)
                if most >= enough { return best }
            }
        }
        return best
    }

    /// The first expert of the list that fills a rank beside two before it, to more than `most` and at most `open`.
    private func third(
        _ rank: Int, _ left: Int, _ one: Int, _ other: Int, above most: Float, _ open: Float
    ) -> Int? {
        let two = weight[one] + weight[other]
        guard two <= open, !holds(rank, one), isNew(rank, other, beside: one) else { return nil }
        var item = other &+ 1
        // The zeros at the end are never too heavy.
        while two + weight[item] > open { item &+= 1 }
        while item < left &+ 2, two + weight[item] > most {
            if isNew(rank, item, beside: one), item >= left || expert[item] != expert[other] { return item }
            item &+= 1
        }
        return nil
    }

    private func isNew(_ rank: Int, _ item: Int, beside one: Int) -> Bool {
        expert[item] != expert[one] && !holds(rank, item)
    }

    /// Shares what is left among the last three ranks, or as many as there are.
    private func finish(_ ranks: Int, _ limit: Float, _ left: inout Int, _ work: inout Int) -> Bool {
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
        let count = sums.sumUp(weight, left, without: 0, from: loads[first])
        work &-= count
        let own = counts[first]
        var place = 0
        while work > 0, let subset = sums.first(from: place, of: count, low: rest - 2 * limit, high: limit) {
            place = subset &+ 1
            if deal(subset, of: sums, to: first),
                split(first &+ 1, left, rest - sums[subset], without: subset, limit, &work)
            {
                return true
            }
            counts[first] = own
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
