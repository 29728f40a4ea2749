// ModelRunner: a batch in, logits out. One per rank.
//
// Owner: the engine's thread. All memory is taken at start; a step allocates nothing.

internal import Compute
internal import Experts
internal import Models

/// Runs a model over batches.
final class ModelRunner {
    /// Rows of logits that are computed at once.
    static let logitRows = 64

    let backend: any Backend
    private let model: any LanguageModel
    private let cache: KVCache
    private let workspace: Workspace
    /// Nil when every expert is its own slot.
    private let dispatch: Dispatch?
    private let ids: UnsafeMutablePointer<Int32>
    private let positions: UnsafeMutablePointer<Int32>
    private let slots: UnsafeMutablePointer<Int32>
    private let rows: UnsafeMutablePointer<Int32>
    private let tables: UnsafeMutablePointer<Int32>
    private let best: UnsafeMutablePointer<Int32>
    private let maximum: UnsafeMutablePointer<Float>
    private let logSumExp: UnsafeMutablePointer<Float>
    private let tableStride: Int
    private let vocabularySize: Int

    /// One row of logits, with its statistics.
    struct LogitRow {
        /// Index of the batch entry.
        var entry: Int
        /// Position of the token whose logits these are.
        var position: Int
        /// `[vocabulary]`; may be changed.
        var logits: UnsafeMutablePointer<Float>
        var best: Int32
        var maximum: Float
        /// NaN unless the run was asked for log-probabilities.
        var logSumExp: Float
    }

    /// Room for passes of `tokens` tokens, `sequences` sequences of `contextLength` positions, and `pages` pages; the
    /// experts lie where `placement` says.
    init(
        model: any LanguageModel, backend: any Backend, placement: Placement?, tokens: Int, sequences: Int,
        contextLength: Int, pages: Int, cacheType: CacheType
    ) {
        let configuration = model.configuration
        self.model = model
        self.backend = backend
        vocabularySize = configuration.vocabularySize
        dispatch = placement.flatMap { $0.isIdentity ? nil : Dispatch(dynamic: $0) }
        workspace = Workspace(
            configuration, tokens: tokens, logitRows: Self.logitRows, slots: placement?.physicalExperts)
        cache = KVCache(layers: configuration.layers, pages: pages, shape: configuration.cacheShape(cacheType))
        tableStride = (contextLength + KVCache.pageSize - 1) / KVCache.pageSize
        ids = .allocate(capacity: tokens)
        positions = .allocate(capacity: tokens)
        slots = .allocate(capacity: tokens)
        rows = .allocate(capacity: Self.logitRows)
        tables = .allocate(capacity: sequences * tableStride)
        best = .allocate(capacity: Self.logitRows)
        maximum = .allocate(capacity: Self.logitRows)
        logSumExp = .allocate(capacity: Self.logitRows)
    }

    deinit {
        for pointer in [ids, positions, slots, rows, tables, best] { pointer.deallocate() }
        maximum.deallocate()
        logSumExp.deallocate()
    }

    /// Layers with experts.
    var sparseLayers: [Int] { model.configuration.sparseLayers }

    /// Runs the batch, then calls `body` for every row of logits that somebody wants, in order of entry and position; with
    /// what log-probabilities need if it `wantsLogprobs`.
    func run(
        _ batch: Batch, sequences: [Sequence], wantsLogprobs: Bool, counts: UnsafeMutablePointer<Int32>?,
        ids kept: UnsafeMutablePointer<Int32>?,
        _ body: (LogitRow) -> Void
    ) {
        var (token, promptStart) = (0, 0)
        for entry in batch.entries {
            let sequence = sequences[entry.sequence]
            if entry.start >= sequence.promptCount { promptStart = token + entry.count }
            updateTable(of: sequence)
            sequence.tokens.withUnsafeBufferPointer { known in
                for position in entry.start..<entry.end {
                    ids[token] = known[position]
                    positions[token] = Int32(truncatingIfNeeded: position)
                    slots[token] = Int32(truncatingIfNeeded: sequence.slot)
                    token += 1
                }
            }
        }
        let pass = ForwardPass(
            backend: backend,
            tokens: TokenLayout(
                count: token, ids: ids, positions: positions, sequences: slots, pageTables: tables,
                tableStride: tableStride, promptStart: promptStart),
            cache: cache, workspace: workspace, counts: counts, ids: kept, dispatch: dispatch)
        model.forward(pass)

        // Rows are gathered in order and computed whenever the buffer is full.
        var pending = 0
        var first = 0
        var start = (entry: 0, offset: 0)
        for (index, entry) in batch.entries.enumerated() {
            for offset in entry.firstLogit - entry.start..<entry.count {
                if pending == 0 { start = (index, offset) }
                rows[pending] = Int32(truncatingIfNeeded: first + offset)
                pending += 1
                if pending == workspace.logitRows {
                    emit(pass, batch, count: pending, from: start, wantsLogprobs: wantsLogprobs, body)
                    pending = 0
                }
            }
            first += entry.count
        }
        if pending > 0 {
            emit(pass, batch, count: pending, from: start, wantsLogprobs: wantsLogprobs, body)
        }
    }

    /// Copies the pages that have changed into the sequence's page table.
    private func updateTable(of sequence: Sequence) {
        precondition(sequence.pages.count <= tableStride, "\(sequence.pages.count) pages in a table of \(tableStride)")
        for index in sequence.firstStalePage..<sequence.pages.count {
            tables[sequence.slot * tableStride + index] = sequence.pages[index]
        }
        sequence.firstStalePage = sequence.pages.count
    }

    /// Computes `count` rows of logits and hands them out, starting from the wanted token at `start`.
    private func emit(
        _ pass: ForwardPass, _ batch: Batch, count: Int, from start: (entry: Int, offset: Int), wantsLogprobs: Bool,
        _ body: (LogitRow) -> Void
    ) {
        model.logits(pass, rows: rows, count: count)
        backend.statistics(
            workspace.logits, count: count, best: best, maximum: maximum, logSumExp: wantsLogprobs ? logSumExp : nil)
        var row = 0
        for index in start.entry..<batch.entries.count {
            let entry = batch.entries[index]
            let firstOffset = index == start.entry ? start.offset : entry.firstLogit - entry.start
            for offset in firstOffset..<entry.count {
                guard row < count else { return }
                body(
                    LogitRow(
                        entry: index, position: entry.start + offset,
                        logits: workspace.logits.floats + row * vocabularySize, best: best[row],
                        maximum: maximum[row], logSumExp: wantsLogprobs ? logSumExp[row] : .nan))
                row += 1
            }
        }
    }
}
