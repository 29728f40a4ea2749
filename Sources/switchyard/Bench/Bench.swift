// Bench: `switchyard bench`: how fast the parts are on this machine, against a plain way and a physical limit; and load on a
// server.

import ArgumentParser

/// `switchyard bench`.
struct Bench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Measure the parts on this machine, beside a plain way and the limit; or a server under load.",
        discussion: """
            Examples:
              switchyard bench model
              switchyard bench align
              switchyard bench align --tokens 16384 --top-k 8 --experts 256 --threads 2
              switchyard bench topk --experts 128 --top-k 8 --rule renormalized --json
              switchyard bench recorder
              switchyard bench plan --sweep
              switchyard bench serve --num-prompts 100 --max-concurrency 32
            """,
        subcommands: [
            BenchModel.self, BenchAlign.self, BenchTopK.self, BenchRecorder.self, BenchPlan.self, BenchServe.self,
        ])
}
