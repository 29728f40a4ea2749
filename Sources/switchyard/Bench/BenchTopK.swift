// BenchTopK: `switchyard bench topk`: gating, from router logits to experts and weights.

import ArgumentParser
import Compute
import Experts
import Foundation
import Measure

/// `switchyard bench topk`.
struct BenchTopK: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "topk",
        abstract: "Gating: choose every token's experts and their weights from router logits.",
        discussion: """
            median, p99: one pass, logits in rotation. naive: fresh arrays and a sort of every row; the two take turns, \
            and ratio is the median of their ratios. limit: the bytes that must move, at the read bandwidth measured on \
            as many bytes. equal: the same experts, and weights within 1e-5.
            With --device cuda: graphs of 32 launches, replayed 100 times; limit is a launch that moves as many bytes.

            Examples:
              switchyard bench topk
              switchyard bench topk --experts 256 --top-k 8 --rule biased-grouped --json
              switchyard bench topk --sweep --threads 2
              switchyard bench topk --device cuda
            """)

    /// A model family's gating.
    enum Rule: String, ExpressibleByArgument, CaseIterable {
        case softmax, renormalized, grouped
        case biasedGrouped = "biased-grouped"
    }

    @OptionGroup var shape: RoutingShape

    @Option(
        help: """
            softmax (Qwen2-MoE), renormalized (Qwen3-MoE, Mixtral), grouped (DeepSeek-V2), biased-grouped (DeepSeek-V3); \
            groups: 8, of which 4 are kept. (default: softmax)
            """)
    var rule: Rule?

    func validate() throws {
        let (tokens, topK, experts) = shape.size
        try RoutingShape.checkWork("--tokens × --experts:", tokens, shape.sweep ? 256 : experts, most: 1 << 24)
        if shape.sweep {
            try RoutingShape.checkSweep([
                ("--top-k", shape.topK != nil), ("--experts", shape.experts != nil), ("--rule", rule != nil),
            ])
        }
        guard let rule, rule == .grouped || rule == .biasedGrouped else { return }
        guard experts % 8 == 0, topK <= experts / 2 else {
            throw ValidationError(
                "--rule \(rule.rawValue): needs --experts divisible by 8 and --top-k at most half of them")
        }
    }

    func run() throws {
        let gpu = try shape.gpu()
        var cases: [RoutingReport.Case] = []
        if shape.sweep {
            let shapes = [(64, 8), (128, 8), (256, 8)]
            let progress = StepProgress(steps: Rule.allCases.count * shapes.count)
            for rule in Rule.allCases {
                for (experts, topK) in shapes {
                    cases.append(try measure(rule, tokens: shape.size.tokens, topK: topK, experts: experts, gpu: gpu))
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
                    rule ?? .softmax, tokens: tokens, topK: topK, experts: experts, gpu: gpu,
                    progress: progress.advance)
            ]
        }
        try RoutingReport(cases: cases, on: gpu).show(json: shape.json)
    }

    /// Turns that the two ways take in a case.
    private static let rounds = 10

    private func measure(
        _ kind: Rule, tokens: Int, topK: Int, experts: Int, gpu: GPUBench?, progress: () -> Void = {}
    ) throws -> RoutingReport.Case {
        let groups = GateRule.Groups(count: 8, kept: 4)
        let rule =
            switch kind {
            case .softmax: GateRule.softmax(renormalize: false)
            case .renormalized: GateRule.softmax(renormalize: true)
            case .grouped: GateRule(scoring: .softmax, renormalize: false, groups: groups)
            case .biasedGrouped: GateRule(scoring: .sigmoid, renormalize: true, groups: groups, scale: 2.5)
            }
        var random = BenchGenerator(state: shape.seed)
        let size = tokens * experts
        let inputs = (0..<4).map { _ in (0..<size).map { _ in Float.random(in: -4...4, using: &random) } }
        let bias =
            kind == .biasedGrouped ? (0..<experts).map { _ in Float.random(in: 0...0.5, using: &random) } : nil
        if let gpu {
            return try gpu.choose(
                inputs, rule, name: kind.rawValue, tokens: tokens, topK: topK, experts: experts, bias: bias)
        }
        let pool = WorkerPool(threads: shape.threads)
        defer { pool.stop() }
        let router = Router(
            gate: rule, topK: topK, experts: experts, blocks: try BlockRule(experts: experts, blockSize: 1),
            tokens: tokens)
        let lent = UnsafeMutableBufferPointer<Float>.allocate(capacity: experts)
        defer { lent.deallocate() }
        _ = lent.update(fromContentsOf: bias ?? [Float](repeating: 0, count: experts))
        func choose(_ logits: UnsafeBufferPointer<Float>) {
            router.choose(
                logits, bias: bias == nil ? nil : UnsafeBufferPointer(lent), lanes: shape.threads > 1 ? pool : nil)
        }

        var isEqual = true
        for logits in inputs {
            logits.withUnsafeBufferPointer(choose)
            isEqual =
                isEqual
                && NaiveRouting.accepts(
                    ids: Array(router.ids), weights: Array(router.weights), rule, topK: topK, logits: logits,
                    experts: experts, bias: bias)
        }
        var turn = 0
        let comparison = Comparison(
            rounds: Self.rounds, samples: 20, repeats: max(1, 16384 / max(1, size)),
            baseline: {
                turn = (turn + 1) % inputs.count
                _ = NaiveRouting.topK(rule, topK: topK, logits: inputs[turn], experts: experts, bias: bias)
            },
            change: {
                turn = (turn + 1) % inputs.count
                inputs[turn].withUnsafeBufferPointer(choose)
            }, progress: progress)
        let bytes = 4 * size + 8 * tokens * topK
        let limits = Limits(threads: shape.threads, footprint: bytes)
        return RoutingReport.Case(
            rule: kind.rawValue, ids: tokens * topK, topK: topK, experts: experts, threads: shape.threads,
            median: comparison.change * 1e6, p99: comparison.changeP99 * 1e6, baseline: comparison.baseline * 1e6,
            ratio: comparison.ratio, limit: Double(bytes) / limits.readBandwidth * 1e6, isEqual: isEqual)
    }
}
