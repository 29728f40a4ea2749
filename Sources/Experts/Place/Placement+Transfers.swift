// What it takes to get from one placement to another: experts that a rank does not hold yet must be sent to it.

extension Placement {
    /// Slots of each layer whose expert was on another rank before.
    ///
    /// - Parameter old: a placement of as many layers, experts and ranks; it may have another number of slots.
    /// - Returns: `[L]`; moves within a rank are free.
    /// - Complexity: O(L · P).
    public func transfers(from old: Placement) -> [Int] {
        precondition(
            old.layers == layers && old.logicalExperts == logicalExperts && old.ranks == ranks,
            "placements of different models or machines")
        var holder = [Int](repeating: -1, count: logicalExperts)
        var transfers = [Int](repeating: 0, count: layers)
        for layer in 0..<layers {
            for rank in 0..<ranks {
                // Marks what the rank held before; every (layer, rank) has a mark of its own.
                let mark = layer * ranks + rank
                for slot in rank * old.slotsPerRank..<(rank + 1) * old.slotsPerRank {
                    holder[Int(old.physicalToLogical[layer * old.physicalExperts + slot])] = mark
                }
                for slot in rank * slotsPerRank..<(rank + 1) * slotsPerRank
                where holder[Int(physicalToLogical[layer * physicalExperts + slot])] != mark {
                    transfers[layer] += 1
                }
            }
        }
        return transfers
    }
}
