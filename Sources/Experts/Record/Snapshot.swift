// Snapshot: what a recorder knew at one moment, for writers, dashboards and planners.
//
// Taking one copies references only. Its conversions walk over all recorded passes: call them off the engine's thread.

/// Recorded passes, with L layers of E experts in P slots.
public struct Snapshot: Sendable {
    /// How it was recorded.
    public let settings: RecorderSettings
    /// L.
    public let layers: Int
    /// E.
    public let logicalExperts: Int
    /// P.
    public let physicalExperts: Int
    /// K.
    public let topK: Int
    /// All recorded passes, also those that left the window or were dropped.
    public let recorded: PassTally
    /// Recorded passes that are not here because the byte budget was used up.
    public let dropped: PassTally
    /// The balancedness of the last passes.
    public let balancedness: BalancednessWindow
    /// The balancedness of all passes that the recorder ever saw, whatever was reset in between.
    public let balancednessTotals: [ForwardMode: BalancednessTotal]

    let chunks: [PassChunk]
    /// Passes at the beginning of `chunks` that have left the window.
    let skipped: Int
    /// The row of the window that the next pass will take.
    let nextRow: Int
    let sums: [ForwardMode: LoadSum]

    /// Passes recorded.
    public var passes: Int { recorded.passes }
    /// Tokens in the passes recorded.
    public var tokens: Int { recorded.tokens }
    /// Passes whose counts are here.
    public var kept: Int { chunks.reduce(0) { $0 + $1.passes.count } - skipped }

    /// Number and routed pairs of the newest kept pass; nil when none is kept.
    public var newest: (id: Int, pairs: Int)? {
        guard kept > 0, let chunk = chunks.last, let record = chunk.passes.last else { return nil }
        return withExtendedLifetime(chunk) { (record.id, chunk.counts(record).reduce(0) { $0 + Int($1) }) }
    }

    /// Counts summed over all recorded passes, kept or not; `[L, E]`, row-major.
    public var totals: [Int64] {
        sums.values.reduce(into: LoadSum(layers: layers, logicalExperts: logicalExperts)) { $0.add($1) }.folded
    }

    /// Counts summed over the recorded passes of one kind; `[L, E]`, row-major.
    public func totals(of mode: ForwardMode) -> [Int64] {
        sums[mode]?.folded ?? [Int64](repeating: 0, count: layers * logicalExperts)
    }

    /// The kept passes' logical counts, oldest first, each by the placement of its own pass; `[kept, L, E]`.
    public func timeOrderedCounts() -> [Int32] {
        var counts: [Int32] = []
        counts.reserveCapacity(kept * layers * logicalExperts)
        forEachPass { chunk, record in
            let placement = chunk.placements[record.placement]
            var row = [Int32](repeating: 0, count: layers * logicalExperts)
            row.withUnsafeMutableBufferPointer { placement.fold(chunk.counts(record), into: $0) }
            counts += row
        }
        return counts
    }

    /// Calls `body` with each kept pass and the chunk it lies in, oldest first.
    func forEachPass(_ body: (PassChunk, PassRecord) throws -> Void) rethrows {
        var left = skipped
        for chunk in chunks {
            try withExtendedLifetime(chunk.memory) {
                for record in chunk.passes.dropFirst(left) { try body(chunk, record) }
            }
            left = max(0, left - chunk.passes.count)
        }
    }
}
