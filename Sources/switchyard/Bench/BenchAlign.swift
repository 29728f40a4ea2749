// BenchAlign: `switchyard bench align`: block alignment, the counts handed over in the same pass.

import ArgumentParser
import Compute
import Experts
import Foundation
import Measure

/// `switchyard bench align`.
struct BenchAlign: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "align",
        abstract: "Block alignment (moe_align_block_size): group routed ids by expert in padded blocks.",
        discussion: """
            median, p99: one alignment with its counts, ids in rotation. naive: fresh arrays, filled twice, and a sort; \
            the two take turns, and ratio is the median of their ratios. limit: the bytes that must move, at the read \
            bandwidth measured on as many bytes. equal: both ways gave the same answer for every input.
            With --device cuda: graphs of 32 launches, replayed 100 times; limit is a launch that moves as many bytes.

            Examples:
              switchyard bench align
              switchyard bench align --tokens 16384 --top-k 8 --experts 256 --threads 2 --json
              switchyard bench align --sweep
              switchyard bench align --device cuda
            """)

    @OptionGroup var shape: RoutingShape

    @Option(help: ArgumentHelp("Rows in a block.", valueName: "rows"))
    var blockSize = 128

    func validate() throws {
        try EngineOptions.check("--block-size", blockSize, in: 1...1 << 16)
        try RoutingShape.checkWork("--tokens × --top-k:", shape.size.tokens, shape.size.topK, most: 1 << 22)
        guard shape.sweep else { return }
        try RoutingShape.checkSweep([
            ("--tokens", shape.tokens != nil), ("--top-k", shape.topK != nil), ("--experts", shape.experts != nil),
        ])
    }

    func run() throws {
        let gpu = try shape.gpu()
        var cases: [RoutingReport.Case] = []
        if shape.sweep {
            let sizes = [8, 64, 512, 4096, 8192, 32768, 131_072]
            let progress = StepProgress(steps: 5 * (sizes.count + (gpu == nil && shape.threads > 1 ? 2 : 0)))
            for experts in [60, 64, 128, 256, 512] {
                for ids in sizes {
                    let topK = min(8, ids)
                    cases.append(try measure(tokens: ids / topK, topK: topK, experts: experts, threads: 1, gpu: gpu))
                    progress.advance()
                    guard gpu == nil, shape.threads > 1, ids >= BlockAlignment.threadedFrom else { continue }
                    cases.append(
                        try measure(tokens: ids / topK, topK: topK, experts: experts, threads: shape.threads, gpu: nil))
                    progress.advance()
                }
            }
            progress.finish()
        } else {
            let (tokens, topK, experts) = shape.size
            let progress = StepProgress(steps: Self.rounds)
            defer { progress.finish() }
            cases = [
                try measure(
                    tokens: tokens, topK: topK, experts: experts, threads: shape.threads, gpu: gpu,
                    progress: progress.advance)
            ]
        }
        try RoutingReport(cases: cases, on: gpu).show(json: shape.json)
    }

    /// Turns that the two ways take in a case.
    private static let rounds = 40

    private func measure(
        tokens: Int, topK: Int, experts: Int, threads: Int, gpu: GPUBench?, progress: () -> Void = {}
    ) throws -> RoutingReport.Case {
        let rule = try BlockRule(experts: experts, blockSize: blockSize)
        var random = BenchGenerator(state: shape.seed)
        let count = tokens * topK
        let inputs = (0..<8).map { _ in
            (0..<count).map { _ in Int32.random(in: 0..<Int32(experts), using: &random) }
        }
        if let gpu { return try gpu.align(inputs, rule, topK: topK) }
        let pool = WorkerPool(threads: threads)
        defer { pool.stop() }
        let workspace = BlockAlignment()
        let counts = UnsafeMutablePointer<Int32>.allocate(capacity: experts)
        defer { counts.deallocate() }
        func align(_ ids: UnsafeBufferPointer<Int32>) throws {
            try workspace.align(rule, ids: ids, countsInto: counts, lanes: threads > 1 ? pool : nil)
        }

        var isEqual = true
        var rows = 0
        for ids in inputs {
            try ids.withUnsafeBufferPointer(align)
            rows += workspace.paddedCount
            let (pairs, blocks) = workspace.fillTail()
            let found = NaiveRouting.Blocks(
                sortedPairs: Array(pairs), blockExperts: Array(blocks), paddedCount: workspace.paddedCount,
                counts: Array(UnsafeBufferPointer(start: counts, count: experts)))
            isEqual = isEqual && found == NaiveRouting.align(ids, experts: experts, blockSize: blockSize)
        }
        let padded = rows / inputs.count
        let bytes = 4 * (2 * count + padded + padded / blockSize + experts)

        // One flat buffer, so that the timed closure touches nothing but ids.
        let flat = UnsafeMutableBufferPointer<Int32>.allocate(capacity: max(1, count * inputs.count))
        defer { flat.deallocate() }
        _ = flat.update(fromContentsOf: inputs.joined())
        var turn = 0
        let comparison = Comparison(
            rounds: Self.rounds, samples: 50, repeats: max(1, 4096 / max(1, count)),
            baseline: {
                turn = (turn + 1) % inputs.count
                _ = NaiveRouting.align(inputs[turn], experts: experts, blockSize: blockSize)
            },
            change: {
                turn = (turn + 1) % inputs.count
                try? align(UnsafeBufferPointer(rebasing: flat[turn * count..<(turn + 1) * count]))
            }, progress: progress)
        let limits = Limits(threads: threads, footprint: bytes)
        return RoutingReport.Case(
            ids: count, topK: topK, experts: experts, blockSize: blockSize, threads: threads,
            median: comparison.change * 1e6, p99: comparison.changeP99 * 1e6, baseline: comparison.baseline * 1e6,
            ratio: comparison.ratio, limit: Double(bytes) / limits.readBandwidth * 1e6, isEqual: isEqual)
    }
}
