// Recorder: keeps what passes counted, between start and dump.
//
// Owner: the Engine actor. Not thread-safe; control calls land between passes.
// Goals, in order: counts that are right, an append that costs next to nothing, bounded memory, a simple file.
//   - Each routed (token, slot) counts once, under the placement of its own pass; conversion to experts is the
//     snapshot's affair, so a dump that spans a rebalance is exact.
//   - Passes are copied into chunks (see PassChunk). A window of passes gives its oldest chunk to the newest passes,
//     so steady recording allocates nothing; a dump hands the chunks over, so neither it nor a reset copies or clears.
//   - Without a window passes are kept until the byte budget is used up. Then recording of rows ends and what comes
//     later is counted as dropped, so that the rows form an unbroken beginning; sums and balancedness go on.
//   - Sums and balancedness are made for many passes at once, or when somebody asks: right after a pass neither their
//     code nor their data are in the cache.

/// Keeps the counts, and if wanted the tokens, of recorded passes.
public final class Recorder {
    /// Bytes of a chunk at most, unless a single pass takes more.
    private static let chunkSize = 1 << 20

    /// The largest P.
    public static let mostSlots = Int(Int16.max)

    /// How it records.
    public let settings: RecorderSettings
    /// L.
    public let layers: Int
    /// E.
    public let logicalExperts: Int
    /// P.
    public let physicalExperts: Int
    /// K.
    public let topK: Int
    /// Whether `append` keeps what it is given.
    public private(set) var isRecording = false
    /// Whether `append` needs the pass's tokens now.
    public var wantsDetail: Bool { isRecording && settings.mode == .perToken }
    /// Passes recorded since the last reset, kept or not.
    public private(set) var recorded = PassTally()
    /// Those of them that did not fit the byte budget.
    public private(set) var dropped = PassTally()
    /// The balancedness of the recorded passes.
    public var balancedness: BalancednessWindow {
        settle()
        return rates
    }

    private var rates: BalancednessWindow
    private var evenness: [ForwardMode: BalancednessTotal] = [:]
    private var sums: [ForwardMode: LoadSum] = [:]
    /// Oldest first; passes go to the last.
    private var chunks: [PassChunk] = []
    /// Passes of the last chunk that are in `sums` and `rates`; those of the others all are.
    private var settled = 0
    /// Passes in `chunks`; a window may hold some more than it shows.
    private var kept = 0
    /// Bytes that the chunks before the last take.
    private var earlierBytes = 0
    /// Whether the last chunk may be written to: a restored one may be shared.
    private var isOpen = false
    /// Cleared chunks for later.
    private var spares: [PassChunk] = []
    /// The row of the window that the next pass takes, as existing readers know the round form.
    private var nextRow = 0

    /// A recorder at rest.
    ///
    /// - Parameters:
    ///   - layers: L.
    ///   - logicalExperts: E.
    ///   - physicalExperts: P, the same in every placement.
    ///   - topK: K.
    ///   - settings: what is kept, and in how much memory.
    public init(layers: Int, logicalExperts: Int, physicalExperts: Int, topK: Int, settings: RecorderSettings) {
        precondition(
            layers > 0 && logicalExperts > 0 && physicalExperts >= logicalExperts && topK > 0,
            "\(layers) layers of \(logicalExperts) experts in \(physicalExperts) slots, top \(topK)")
        precondition(physicalExperts <= Self.mostSlots, "\(physicalExperts) slots do not fit 16 bits")
        if let window = settings.window { precondition(window > 0, "a window of \(window) passes") }
        self.layers = layers
        self.logicalExperts = logicalExperts
        self.physicalExperts = physicalExperts
        self.topK = topK
        self.settings = settings
        rates = BalancednessWindow(layers: layers)
    }

    // MARK: Control

    /// Forgets everything, then records.
    ///
    /// - Returns: whether it was recording already.
    @discardableResult
    public func start() -> Bool {
        reset()
        defer { isRecording = true }
        return isRecording
    }

    /// Stops recording and keeps the data.
    ///
    /// - Returns: whether it was recording.
    @discardableResult
    public func stop() -> Bool {
        defer { isRecording = false }
        return isRecording
    }

    /// Hands out the data and forgets it; recording goes on or stays off as it was.
    public func dump() -> Snapshot {
        let snapshot = snapshot()
        chunks = []
        reset()
        return snapshot
    }

    /// The data so far, kept.
    public func snapshot() -> Snapshot {
        settle()
        return Snapshot(
            settings: settings, layers: layers, logicalExperts: logicalExperts, physicalExperts: physicalExperts,
            topK: topK, recorded: recorded, dropped: dropped, balancedness: rates, balancednessTotals: evenness,
            chunks: chunks,
            skipped: settings.window.map { max(0, kept - $0) } ?? 0, nextRow: nextRow, sums: sums)
    }

    /// Puts back what `dump` handed out, before what has been recorded since: for a dump that could not be written.
    public func restore(_ snapshot: Snapshot) {
        precondition(
            snapshot.layers == layers && snapshot.logicalExperts == logicalExperts
                && snapshot.physicalExperts == physicalExperts, "a snapshot of another recorder")
        settle()
        let restoredBytes = snapshot.chunks.reduce(0) { $0 + $1.cost }
        // What the budget cannot hold beside the older rows goes, and so does what would follow a gap.
        while settings.window == nil, let newest = chunks.last,
            snapshot.dropped.passes > 0 || restoredBytes + earlierBytes + newest.cost > settings.byteBudget
        {
            dropNewestChunk()
        }
        isOpen = isOpen && !chunks.isEmpty
        chunks.insert(contentsOf: snapshot.chunks, at: 0)
        earlierBytes = chunks.dropLast().reduce(0) { $0 + $1.cost }
        settled = chunks.last?.passes.count ?? 0
        kept += snapshot.chunks.reduce(0) { $0 + $1.passes.count }
        for (mode, sum) in snapshot.sums { add(sum, to: mode) }
        recorded = snapshot.recorded + recorded
        dropped = snapshot.dropped + dropped
        var window = snapshot.balancedness
        window.append(contentsOf: rates)
        rates = window
    }

    /// Counts the passes of the newest chunk as dropped.
    private func dropNewestChunk() {
        let passes = chunks.removeLast().passes
        for pass in passes { dropped.count(tokens: pass.tokens) }
        kept -= passes.count
        earlierBytes -= chunks.last?.cost ?? 0
    }

    private func add(_ sum: LoadSum, to mode: ForwardMode) {
        sums[mode, default: LoadSum(layers: layers, logicalExperts: logicalExperts)].add(sum)
    }

    /// Forgets the data. Not the next row of a window: readers of the round form know it that way.
    private func reset() {
        if settings.window != nil {
            while !chunks.isEmpty { recycle(chunks.removeLast()) }
        }
        chunks.removeAll(keepingCapacity: true)
        kept = 0
        earlierBytes = 0
        settled = 0
        sums.removeAll(keepingCapacity: true)
        rates.removeAll()
        recorded = PassTally()
        dropped = PassTally()
    }

    // MARK: Recording

    /// Keeps one pass, if recording.
    ///
    /// - Parameters:
    ///   - pass: its counts.
    ///   - detail: its tokens; only mode `per_token` needs and looks at it.
    /// - Complexity: O(L · P), and O(L · N · K) with detail; a window allocates nothing once it is full.
    public func append(_ pass: PassCounts, detail: PassDetail? = nil) {
        guard isRecording else { return }
        let placement = pass.placement
        precondition(
            placement.layers == layers && placement.logicalExperts == logicalExperts
                && placement.physicalExperts == physicalExperts,
            "counts of \(placement.layers) × \(placement.physicalExperts) in a recorder of \(layers) × \(physicalExperts)"
        )
        recorded.count(tokens: pass.tokens)
        let detail = settings.mode == .perToken ? detail : nil
        var size = PassChunk.size(counts: pass.counts.count)
        if let detail {
            precondition(
                detail.layers == layers && detail.topK == topK,
                "details of \(detail.layers) layers, top \(detail.topK), in a recorder of \(layers), top \(topK)")
            size = PassChunk.size(
                counts: pass.counts.count, runs: detail.runs.count, rows: detail.tokens,
                ids: layers * detail.tokens * topK)
        } else {
            precondition(settings.mode != .perToken, "mode per_token needs the pass's tokens")
        }
        // What has once been dropped leaves a gap that nothing after it may hide.
        guard dropped.passes == 0, makeRoom(size, requestBytes: detail?.requestBytes ?? 0) else {
            settle()
            _ = pass.counts.withUnsafeBufferPointer { sum($0, mode: pass.mode, placement) }
            return dropped.count(tokens: pass.tokens)
        }
        chunks[chunks.count - 1].append(pass, detail: detail)
        kept += 1
        if let window = settings.window { nextRow = (nextRow + 1) % window }
        if chunks[chunks.count - 1].passes.count - settled >= Self.settledAtOnce { settle() }
    }

    /// Passes whose sums wait at most.
    private static let settledAtOnce = 32

    /// Brings sums and balancedness up to date.
    private func settle() {
        guard let last = chunks.indices.last else { return }
        while settled < chunks[last].passes.count {
            let pass = chunks[last].passes[settled]
            let rate = sum(chunks[last].counts(pass), mode: pass.mode, chunks[last].placements[pass.placement])
            chunks[last].rate(settled, as: rate)
            settled += 1
        }
    }

    /// Adds the counts of one pass to sums and balancedness. Returns its rate.
    private func sum(_ counts: UnsafeBufferPointer<Int32>, mode: ForwardMode, _ placement: Placement) -> Float {
        sums[mode, default: LoadSum(layers: layers, logicalExperts: logicalExperts)].add(counts, placement)
        let rate = rates.append(counts: counts, ranks: placement.ranks)
        evenness[mode, default: BalancednessTotal()].add(rate)
        return rate
    }

    /// Sees to it that the last chunk has room for a pass of `size` bytes. Returns whether the budget allows it, with
    /// what the ids of its requests take.
    private func makeRoom(_ size: Int, requestBytes: Int) -> Bool {
        if isOpen, let last = chunks.last, let growth = last.cost(ofPass: size, requestBytes: requestBytes) {
            return settings.window != nil || growth <= settings.byteBudget - earlierBytes - last.cost
        }
        settle()
        if let window = settings.window {
            // Chunks of which no pass will be in the window with the next one.
            while let oldest = chunks.first?.passes.count, kept - oldest + 1 >= window {
                kept -= oldest
                recycle(chunks.removeFirst())
            }
            let perChunk = max(1, min(window / 4, Self.chunkSize / size))
            chunks.append(spares.popLast() ?? PassChunk(capacity: perChunk * size, passes: perChunk))
        } else {
            let listed = size + PassRecord.size
            let used = earlierBytes + (chunks.last?.cost ?? 0)
            let passes = min(
                max(16, Self.chunkSize / listed), (settings.byteBudget - used) / (listed + requestBytes))
            guard passes > 0 else { return false }
            earlierBytes = used
            chunks.append(PassChunk(capacity: passes * size, passes: passes))
        }
        settled = 0
        isOpen = true
        return true
    }

    /// Chunks whose memory is held, in use or spare.
    var chunksInHand: Int { chunks.count + spares.count }

    /// Bytes that the passes in hand take.
    var bytesInHand: Int { chunks.reduce(0) { $0 + $1.cost } }

    /// Keeps the memory of a window's chunk for later, if no snapshot reads it.
    private func recycle(_ chunk: consuming PassChunk) {
        guard isKnownUniquelyReferenced(&chunk.memory) else { return }
        chunk.clear()
        spares.append(chunk)
    }
}
