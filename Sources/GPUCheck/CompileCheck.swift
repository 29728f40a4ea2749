// CompileCheck: every kernel compiles for every architecture. Needs NVRTC and no GPU.

import Compute
import Experts

enum CompileCheck {
    /// Gates of models that people run, and shapes that nobody runs.
    static let gates: [(rule: GateRule, topK: Int, experts: Int, hasBias: Bool, logits: LogitType)] = [
        (.softmax(renormalize: false), 4, 60, false, .float32),
        (.softmax(renormalize: true), 8, 128, false, .bfloat16),
        (.softmax(renormalize: true), 2, 8, false, .float16),
        (
            GateRule(scoring: .softmax, renormalize: false, groups: GateRule.Groups(count: 8, kept: 3)), 6, 160, false,
            .float32
        ),
        (
            GateRule(scoring: .sigmoid, renormalize: true, groups: GateRule.Groups(count: 8, kept: 4)), 8, 256, true,
            .float32
        ),
        (GateRule(scoring: .sigmoid, renormalize: true), 8, 384, true, .bfloat16),
        (.softmax(renormalize: false), 16, 512, true, .float32),
    ]

    /// Every way to align, with and without tables.
    static let alignments = [(0, 32, 1, 1), (1, 16, 1, 1), (1, 32, 2, 1), (2, 16, 1, 8), (2, 32, 1, 16), (3, 32, 8, 1)]
        .flatMap { team, warps, items, parts in
            (0...1).map {
                KernelSource(
                    "align.cu", ["PLAIN=\($0)", "TEAM=\(team)", "WARPS=\(warps)", "ITEMS=\(items)", "CTAS=\(parts)"])
            }
        }

    static func run(_ architectures: [String]) throws(CUDAError) {
        say("NVRTC \(try KernelCompiler.version())")
        for architecture in architectures {
            let sources =
                [KernelSource("floor.cu")] + alignments
                + gates.flatMap { gate in
                    let constants = CUDAGate.constants(
                        gate.rule, topK: gate.topK, experts: gate.experts, hasBias: gate.hasBias, logits: gate.logits)
                    return CUDAGate.lanesPerRow(gate.rule, experts: gate.experts).map {
                        KernelSource("gate.cu", constants + ["LANES=\($0)"])
                    }
                        + [(1, 32, 1), (0, 16, 8), (0, 32, 1)].map { few, warps, parts in
                            KernelSource(
                                "route.cu",
                                constants + [
                                    "PLAIN=\(few)", "FEW=\(few)", "WARPS=\(warps)", "ITEMS=1", "CTAS=\(parts)",
                                ])
                        }
                }
            var bytes = 0
            for source in sources { bytes += try KernelCompiler.compile(source, architecture: architecture).count }
            say("\(architecture): \(sources.count) modules, \(bytes) bytes")
        }
    }
}
