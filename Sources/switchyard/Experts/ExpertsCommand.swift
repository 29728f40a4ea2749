// ExpertsCommand: `switchyard experts`: what recordings say, and where experts should lie. No model and no server.

import ArgumentParser

/// `switchyard experts`.
struct ExpertsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "experts",
        abstract: "Look at recorded expert loads, plan placements, and learn beforehand whether they pay.",
        discussion: """
            Reads the recordings of any engine that writes sglang's dumps (.pt), and .json and .safetensors; no GPU and no \
            server are needed.

            Examples:
              switchyard experts show recording.pt
              switchyard experts plot recording.pt -o recording.svg --gpus 8
              switchyard experts plan recording.pt --gpus 8 --redundant 16 -o placement.json
              switchyard experts advise recording.pt --gpus 8 --hidden 2048 --intermediate 1408
            """,
        subcommands: [
            ExpertsShow.self, ExpertsPlot.self, ExpertsConvert.self, ExpertsPlan.self, ExpertsAnalyze.self,
            ExpertsAdvise.self,
        ])
}

/// What a command of this group refuses, in one line.
struct ExpertsFailure: Error, CustomStringConvertible {
    var description: String

    init(_ description: String) { self.description = description }
}
