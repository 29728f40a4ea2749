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
        try recording()
    }

    /// What keeping a pass costs: 24 layers of 60 experts, four tokens, and 61 layers of 256, 256 tokens.
    private static func recording() throws {
        var rows = [["mode", "layers", "experts", "tokens", "append", "allocations per pass"]]
        for (layers, experts, topK, tokens) in [(24, 60, 4, 4), (61, 256, 8, 256)] {
            let placement = try Placement.trivial(layers: layers, logicalExperts: experts)
            var pass = PassCounts(placement: placement)
            pass.begin(pass: 1, mode: .decode, tokens: tokens, placement: placement)
            let detail = PassDetail(layers: layers, topK: topK, capacity: tokens)
            detail.begin(tokens: tokens)
            [Int32](0..<Int32(tokens)).withUnsafeBufferPointer { detail.append(request: "one", start: 0, ids: $0) }
            for layer in 0..<layers { detail.row(layer: layer).update(repeating: 1) }
            for mode in [RecorderMode.stat, .perPass, .perToken] {
                let recorder = Recorder(
                    layers: layers, logicalExperts: experts, physicalExperts: experts, topK: topK,
                    settings: RecorderSettings(mode: mode, capacity: .passes(100), byteBudget: 1 << 30))
                recorder.start()
                for _ in 0..<400 { recorder.append(pass, detail: detail) }  // the window is full
                var times: [Double] = []
                times.reserveCapacity(400)
                let before = probe_allocations()
                for _ in 0..<400 {
                    let start = ContinuousClock.now
                    recorder.append(pass, detail: detail)
                    times.append((ContinuousClock.now - start) / .microseconds(1))
                }
                let allocations = Double(probe_allocations() - before) / 400
                rows.append([
                    mode.rawValue, "\(layers)", "\(experts)", "\(tokens)", "\(short(median(times))) µs",
                    "\(short(allocations))",
                ])
            }
        }
        print(table(rows))
    }
}
