// TestRunner: one sequence through a model, without the engine.

import Compute
import Experts
import Foundation
import Models

@testable import Compute
@testable import Models

final class TestRunner {
    let backend: CPUBackend
    let model: any LanguageModel
    let workspace: Workspace
    let cache: KVCache
    let allRows: UnsafeMutablePointer<Int32>
    private(set) var counts: [Int32]
    private let pages: [Int32]
    private let limit: Int

    init(
        _ files: ModelFiles, weights: Checkpoint? = nil, threads: Int = 1, instructionSet: String? = nil,
        precision: WeightPrecision = .stored, cacheType: CacheType = .float32, limit: Int = 256,
        layout: (CPUBackend) throws -> (any WeightLayout, completed: () -> Void) = { ($0, {}) }
    ) throws {
        let configuration = try ModelConfiguration(files)
        guard let backend = CPUBackend(threads: threads, instructionSet: instructionSet) else {
            throw CocoaError(.featureUnsupported)
        }
        self.backend = backend
        let (layout, completed) = try layout(backend)
        let loader = WeightLoader(try weights ?? Checkpoint(files), backend: layout, precision: precision)
        model = try ModelRegistry.load(configuration, weights: loader, positions: limit, file: files.path)
        completed()
        workspace = Workspace(configuration, tokens: limit, logitRows: limit)
        // Pages in descending order, so that a page's number and place differ.
        let pageCount = (limit + KVCache.pageSize - 1) / KVCache.pageSize
        pages = (0..<pageCount).reversed().map(Int32.init)
        cache = KVCache(layers: configuration.layers, pages: pageCount, shape: configuration.cacheShape(cacheType))
        counts = [Int32](repeating: 0, count: configuration.layers * configuration.experts)
        allRows = .allocate(capacity: limit)
        for row in 0..<limit { allRows[row] = Int32(row) }
        self.limit = limit
    }

    deinit { allRows.deallocate() }

    /// Calls `body` with a pass over `ids` at positions from `start` on, and adds up its counts. They are of the prompt,
    /// or else were generated.
    func withPass<Result>(
        _ ids: [Int32], from start: Int, isPrompt: Bool = true, _ body: (ForwardPass) throws -> Result
    ) rethrows -> Result {
        let positions = (start..<start + ids.count).map(Int32.init)
        let sequences = [Int32](repeating: 0, count: ids.count)
        var passCounts = [Int32](repeating: 0, count: counts.count)
        defer { for index in counts.indices { counts[index] += passCounts[index] } }
        return try ids.withUnsafeBufferPointer { ids in
            try positions.withUnsafeBufferPointer { positions in
                try sequences.withUnsafeBufferPointer { sequences in
                    try pages.withUnsafeBufferPointer { pages in
                        try passCounts.withUnsafeMutableBufferPointer { counts in
                            let tokens = TokenLayout(
                                count: ids.count, ids: ids.baseAddress!, positions: positions.baseAddress!,
                                sequences: sequences.baseAddress!, pageTables: pages.baseAddress!,
                                tableStride: pages.count, promptStart: isPrompt ? 0 : ids.count)
                            return try body(
                                ForwardPass(
                                    backend: backend, tokens: tokens, cache: cache, workspace: workspace,
                                    counts: counts.baseAddress))
                        }
                    }
                }
            }
        }
    }

    /// Logits at every position of `ids`.
    func logits(_ ids: [Int32], from start: Int, isPrompt: Bool = true) -> [[Float]] {
        withPass(ids, from: start, isPrompt: isPrompt) { pass in
            model.forward(pass)
            model.logits(pass, rows: allRows, count: ids.count)
            return (0..<ids.count).map { Array(workspace.logits[row: $0]) }
        }
    }

    /// The most probable continuation; `observe` gets the logits of every step.
    func greedy(_ prompt: [Int32], count: Int, observe: ([Float]) -> Void = { _ in }) -> [Int32] {
        var next = prompt
        var position = 0
        var output: [Int32] = []
        while output.count < count {
            let row = logits(next, from: position, isPrompt: position == 0).last ?? []
            observe(row)
            position += next.count
            let best = row.indices.max { (row[$0], -$0) < (row[$1], -$1) } ?? 0
            next = [Int32(best)]
            output.append(Int32(best))
        }
        return output
    }

    /// The last layer's choice with ids ascending, as the reference stores it.
    func sortedChoice(tokens: Int) -> (ids: [Int32], weights: [Float]) {
        let topK = workspace.routing.topK
        var ids: [Int32] = []
        var weights: [Float] = []
        for token in 0..<tokens {
            let order = (0..<topK).map { token * topK + $0 }.sorted {
                workspace.routing.ids[$0] < workspace.routing.ids[$1]
            }
            ids += order.map { workspace.routing.ids[$0] }
            weights += order.map { workspace.routing.weights[$0] }
        }
        return (ids, weights)
    }
}
