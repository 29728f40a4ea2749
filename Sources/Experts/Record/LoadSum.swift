// LoadSum: counts summed over passes of changing placements. Adding a pass is one run over `[L, P]`; physical counts
// are folded to experts only when the placement changes, or when somebody asks.

/// Pairs per expert, summed over passes.
struct LoadSum: Sendable {
    /// Of earlier placements; `[L, E]`.
    private var logical: [Int64]
    /// Of the latest one; `[L, P]`.
    private var physical: [Int64] = []
    private var placement: Placement?

    /// A sum of nothing.
    init(layers: Int, logicalExperts: Int) {
        logical = [Int64](repeating: 0, count: layers * logicalExperts)
    }

    /// Adds the counts of one pass.
    ///
    /// - Parameters:
    ///   - counts: pairs per physical expert, `[L, P]`.
    ///   - placement: under which they were made.
    mutating func add(_ counts: UnsafeBufferPointer<Int32>, _ placement: Placement) {
        if self.placement != placement {
            logical = folded
            physical = [Int64](repeating: 0, count: counts.count)
            self.placement = placement
        }
        physical.withUnsafeMutableBufferPointer { sums in
            for index in 0..<sums.count { sums[index] &+= Int64(counts[index]) }
        }
    }

    /// Adds another sum.
    mutating func add(_ other: LoadSum) {
        let others = other.folded
        for index in logical.indices { logical[index] += others[index] }
    }

    /// The sums by expert; `[L, E]`.
    var folded: [Int64] {
        guard let placement else { return logical }
        var sums = logical
        let (width, experts) = (placement.physicalExperts, placement.logicalExperts)
        for layer in 0..<placement.layers {
            for slot in 0..<width {
                let expert = Int(placement.physicalToLogical[layer * width + slot])
                sums[layer * experts + expert] += physical[layer * width + slot]
            }
        }
        return sums
    }
}
