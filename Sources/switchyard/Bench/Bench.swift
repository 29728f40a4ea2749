// Bench: `switchyard bench`: how fast the parts are on this machine, against a plain way and a physical limit.

import ArgumentParser

/// `switchyard bench`.
struct Bench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Measure the parts on this machine, beside a plain way and the physical limit.",
        discussion: """
            Examples:
              switchyard bench align
              switchyard bench align --tokens 16384 --top-k 8 --experts 256 --threads 2
              switchyard bench topk --experts 128 --top-k 8 --rule renormalized --json
              switchyard bench recorder
              switchyard bench plan --sweep
            """,
        subcommands: [BenchAlign.self, BenchTopK.self, BenchRecorder.self, BenchPlan.self])
}
