// ModelBenchmarks: decode and prefill of the demo model, each instruction set against the baseline, side by side.
//
// Limits: decode reads every active weight once per token, so bytes / read bandwidth; prefill is multiply-adds / peak.

import Compute
import DemoModel
import Experts
import Foundation
import Measure
import Models
import Probes

@main
struct ModelBenchmarks {
    static func main() throws {
        let cores = Processors.threadCount
        print("machine: \(Machine.name)")
        var rows = [
            ["pass", "threads", "isa", "median", "tokens/s", "vs baseline", "of the limit", "allocations per pass"]
        ]
        for threads in Set([1, cores]).sorted() {
            let limits = Limits(threads: threads)
            print(
                "limits with \(threads) threads: read \(short(limits.readBandwidth / 1e9)) GB/s, "
                    + "multiply-add \(short(limits.peak / 1e9)) GFLOP/s")
            guard let baseline = try Session(instructionSet: "baseline", threads: threads) else { continue }
            for name in ["avx2", "avx512"] {
                guard let session = try Session(instructionSet: name, threads: threads) else { continue }
                for (pass, tokens) in [("decode, context 128", 1), ("decode of 16", 16), ("prefill of 512", 512)] {
                    baseline.prepare(tokens: tokens)
                    session.prepare(tokens: tokens)
                    let comparison = Comparison(
                        rounds: tokens == 512 ? 7 : 101, baseline: { baseline.run(tokens: tokens) },
                        change: { session.run(tokens: tokens) })
                    let before = probe_allocations()
                    session.run(tokens: tokens)
                    let allocations = probe_allocations() - before
                    let byBytes = session.activeBytes / limits.readBandwidth
                    let byOperations = session.activeBytes * Double(tokens) / limits.peak  // 2 bytes, 2 operations
                    rows.append([
                        pass, "\(threads)", name, "\(short(comparison.change * 1e3)) ms",
                        short(Double(tokens) / comparison.change), "\(short(comparison.ratio)) x",
                        "\(short(100 * max(byBytes, byOperations) / comparison.change)) %", "\(allocations)",
                    ])
                }
                session.stop()
            }
            baseline.stop()
        }
        print(table(rows))
    }
}

/// One sequence, or 16, through the demo model.
final class Session {
    private static let context = 1024
    private let backend: CPUBackend
    private let model: any LanguageModel
    private let workspace: Workspace
    private let cache: KVCache
    private let counts: UnsafeMutablePointer<Int32>
    private let integers: UnsafeMutablePointer<Int32>  // ids, positions, sequences, rows, page tables

    /// A session on `instructionSet`; nil when this machine lacks it.
    init?(instructionSet: String, threads: Int) throws {
        guard let backend = CPUBackend(threads: threads, instructionSet: instructionSet) else { return nil }
        self.backend = backend
        let configuration = try ModelConfiguration(.demo)
        model = try ModelRegistry.load(
            configuration, weights: WeightLoader(try Checkpoint(.demo), backend: backend), positions: Self.context,
            file: "config.json")
        workspace = Workspace(configuration, tokens: 512, logitRows: 16)
        let pages = 16 * Self.context / KVCache.pageSize
        cache = KVCache(layers: configuration.layers, pages: pages, shape: configuration.cacheShape(.float32))
        counts = .allocate(capacity: configuration.layers * configuration.experts)
        integers = .allocate(capacity: 4 * 512 + pages)
        for page in 0..<pages { integers[4 * 512 + page] = Int32(page) }
    }

    func stop() { backend.stop() }

    /// Weight bytes that one token reads: attention, router, K experts, the shared expert, the output projection.
    var activeBytes: Double {
        let c = model.configuration
        let attention = c.hiddenSize * c.headDimension * (2 * c.heads + 2 * c.kvHeads)
        let mlp = 3 * c.hiddenSize * (c.topK * c.expertSize + c.sharedExpertSize) + c.experts * c.hiddenSize
        return Double(2 * (c.layers * (attention + mlp) + c.vocabularySize * c.hiddenSize))
    }

    /// Fills the context that `run` reads.
    func prepare(tokens: Int) {
        guard tokens < 512 else { return }
        for sequence in 0..<tokens { pass(128, start: 0, firstSequence: sequence, spread: false) }
    }

    /// Decodes one token of each of `tokens` sequences, or computes a prompt of 512.
    func run(tokens: Int) {
        pass(tokens, start: tokens == 512 ? 0 : 128, firstSequence: 0, spread: tokens < 512)
    }

    private func pass(_ count: Int, start: Int, firstSequence: Int, spread: Bool) {
        let (ids, positions, sequences, rows) = (integers, integers + 512, integers + 1024, integers + 1536)
        for token in 0..<count {
            ids[token] = Int32(truncatingIfNeeded: (token * 7919 + 13) % 8000)
            positions[token] = Int32(truncatingIfNeeded: spread ? start : start + token)
            sequences[token] = Int32(truncatingIfNeeded: spread ? token : firstSequence)
        }
        let pass = ForwardPass(
            backend: backend,
            tokens: TokenLayout(
                count: count, ids: ids, positions: positions, sequences: sequences, pageTables: integers + 2048,
                tableStride: Self.context / KVCache.pageSize, promptStart: spread ? count : 0),
            cache: cache, workspace: workspace, counts: counts)
        model.forward(pass)
        let wanted = spread ? count : 1
        for row in 0..<wanted { rows[row] = Int32(truncatingIfNeeded: count - wanted + row) }
        model.logits(pass, rows: rows, count: wanted)
    }
}
