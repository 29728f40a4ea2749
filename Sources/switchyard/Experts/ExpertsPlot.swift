// ExpertsPlot: `switchyard experts plot`: a recording as a picture.

import ArgumentParser
import Experts

/// `switchyard experts plot`.
struct ExpertsPlot: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plot",
        abstract: "Draw a recording as SVG: heat map of layers and experts, load per GPU, load over time.",
        discussion: """
            Examples:
              switchyard experts plot recording.pt -o recording.svg
              switchyard experts plot recording.pt --gpus 8 -o recording.svg
              switchyard experts plot recording.pt -o - | rsvg-convert > recording.png
            """)

    @Argument(help: ArgumentHelp("A recording: .pt, .json or .safetensors.", valueName: "file"))
    var file: String

    @Option(
        name: .shortAndLong, help: ArgumentHelp("Where the picture goes; - is standard output.", valueName: "out.svg"))
    var output: String

    @Option(help: ArgumentHelp("GPUs that share the slots. (default: as recorded)", valueName: "count"))
    var gpus: Int?

    func run() throws {
        let progress = StepProgress(steps: 2)
        defer { progress.finish() }
        var recording = try ExpertsInput.recording(file)
        if let gpus { recording = try recording.spread(gpus: gpus) }
        progress.advance()
        let picture = SVGPlot(recording, name: ExpertsInput.name(file)).svg()
        progress.advance()
        try ExpertsOutput.write(picture, to: output, flag: "-o")
    }
}
