// ExpertsPlot: `switchyard experts plot`: a recording as a picture.

import ArgumentParser
import Experts
import Foundation

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

/// Text that goes to a file or to standard output.
enum ExpertsOutput {
    /// Writes `text` to the file `path`, or to standard output for `-`.
    static func write(_ text: String, to path: String, flag: String) throws {
        guard path != "-" else { return Terminal.write(text) }
        do {
            try Data(text.utf8).write(to: URL(filePath: path), options: .atomic)
        } catch {
            let reason = (error as NSError).localizedDescription
            throw ExpertsFailure("\(flag) \(path): cannot be written (\(reason)); is there such a folder?")
        }
    }
}

extension Recording {
    /// `spread(over:)` with errors that name the flag.
    func spread(gpus: Int) throws -> Recording {
        do {
            return try spread(over: gpus)
        } catch PlanError.slotsNotDivisible(let slots, _, _) {
            let fits = (1...slots).filter { slots % $0 == 0 }
            let near = fits.filter { $0 < gpus }.suffix(2) + fits.filter { $0 > gpus }.prefix(1)
            throw ExpertsFailure(
                "--gpus \(gpus): \(slots) slots do not divide among them; "
                    + "try \(near.map(String.init).joined(separator: ", "))")
        } catch {
            throw ExpertsFailure("--gpus \(gpus): \(error)")
        }
    }
}
