// RoutingBenchmarks: that routing allocates nothing in steady state, and what it saves that gating counts. Speed against the
// plain way and the limit: `switchyard bench align` and `bench topk`.

import Compute
import Experts
import Foundation
import Measure
import Probes

@main
struct RoutingBenchmarks {
    static func main() throws {
        let threads = ProcessInfo.processInfo.activeProcessorCount
        print("machine: \(Machine.name)")
        let pool = WorkerPool(threads: threads)
        var rows = [
            ["tokens", "top-k", "experts", "threads", "gate, then align", "route", "saved", "allocations per pass"]
        ]
        for (tokens, topK, experts) in [(1, 4, 60), (16, 8, 128), (4096, 2, 64), (16384, 8, 256)] {
            for threads in Set([1, threads]).sorted() {
                let lanes = threads > 1 ? pool : nil
                let logits = (0..<tokens * experts).map { _ in Float.random(in: -4...4) }
                let blocks = try BlockRule(experts: experts, blockSize: 128)
                let router = Router(
                    gate: .softmax(renormalize: true), topK: topK, experts: experts, blocks: blocks, tokens: tokens)
                let alignment = BlockAlignment()
                logits.withUnsafeBufferPointer { logits in
                    let comparison = Comparison(
                        rounds: 200, repeats: max(1, 1000 / tokens),
                        baseline: {
                            for _ in 0..<max(1, 1000 / tokens) {
                                router.choose(logits, lanes: lanes)
                                try? alignment.align(blocks, ids: router.ids, lanes: lanes)
                            }
                        },
                        change: { try? router.route(logits, lanes: lanes) })
                    let before = probe_allocations()
                    for _ in 0..<100 {
                        try? router.route(logits, lanes: lanes)
                        try? alignment.align(blocks, ids: router.ids, lanes: lanes)
                    }
                    let allocations = Double(probe_allocations() - before) / 100
                    let parts = comparison.baseline / Double(max(1, 1000 / tokens))
                    rows.append([
                        "\(tokens)", "\(topK)", "\(experts)", "\(threads)", "\(short(parts * 1e6)) µs",
                        "\(short(comparison.change * 1e6)) µs",
                        "\(short((parts - comparison.change) * 1e6)) µs", "\(short(allocations))",
                    ])
                }
            }
        }
        pool.stop()
        print(table(rows))
    }
}
