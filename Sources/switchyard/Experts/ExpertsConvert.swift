// ExpertsConvert: `switchyard experts convert`: a recording from one format to another.

import ArgumentParser
import Experts

/// `switchyard experts convert`.
struct ExpertsConvert: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "convert",
        abstract: "Convert a recording between .pt, .json and .safetensors, by the extension.",
        discussion: """
            .safetensors holds all there is. .pt is what existing tools read, and .json the same as text; both carry the rest \
            beside it for switchyard. What a format cannot hold is said.

            Examples:
              switchyard experts convert recording.pt -o recording.safetensors
              switchyard experts convert recording.safetensors -o recording.pt --order time
            """)

    /// How rows lie in a `.pt` file.
    enum Order: String, ExpressibleByArgument, CaseIterable {
        case stored, time
    }

    @Argument(help: ArgumentHelp("A recording: .pt, .json or .safetensors.", valueName: "in"))
    var file: String

    @Option(name: .shortAndLong, help: ArgumentHelp("The file to write.", valueName: "out"))
    var output: String

    @Option(
        help: "Rows of a .pt file in mode stat: as they lay in the round buffer, or oldest first without unused ones.")
    var order = Order.stored

    func validate() throws {
        guard Recording.Format(path: output) != nil else {
            throw ValidationError("-o \(output): the format goes by the name; end it in .pt, .json or .safetensors")
        }
    }

    func run() throws {
        let progress = StepProgress(steps: 2)
        let recording: Recording
        do {
            defer { progress.finish() }
            recording = try ExpertsInput.recording(file)
            progress.advance()
            try recording.write(output, order: order == .stored ? .stored : .time)
            progress.advance()
        } catch let error as RecordingError {
            let text = "\(error)"
            throw ExpertsFailure("-o " + (text.hasPrefix(output) ? text : "\(output): \(text)"))
        }
        for loss in losses(recording) { Terminal.error("note: \(loss)") }
        Terminal.print(
            "\(output): mode \(recording.mode.rawValue), \(recording.extent), \(recording.layers) layers, "
                + "\(recording.logicalExperts) experts")
    }

    /// What the target cannot hold, or shows to nobody but switchyard.
    private func losses(_ recording: Recording) -> [String] {
        guard let format = Recording.Format(path: output), format != .safetensors else { return [] }
        var losses: [String] = []
        if format == .pt, !recording.mode.isDetailed, case .physical = recording.counts {
            losses.append(
                ".pt holds pairs per expert in mode \(recording.mode.rawValue), not per slot; .safetensors and .json hold both"
            )
        }
        let name = "other tools than switchyard do not see"
        if !recording.mode.isDetailed, recording.passes.contains(where: { $0.mode != nil }) {
            losses.append("\(name) which passes were prefill and which decode in .\(format.rawValue)")
        }
        if recording.mode.isDetailed, recording.placements.count > 1 {
            losses.append(
                "\(name) the \(recording.placements.count - 1) earlier placements in .\(format.rawValue), only the last"
            )
        }
        if recording.mode == .perToken, !recording.requests.isEmpty {
            losses.append("\(name) the request ids in .\(format.rawValue)")
        }
        if recording.dropped.passes > 0 {
            losses.append("\(name) that \(recording.dropped.passes) passes were dropped, in .\(format.rawValue)")
        }
        return losses
    }
}
