// ExpertsShow: `switchyard experts show`: a recording on the terminal.

import ArgumentParser
import Experts
import Measure

/// `switchyard experts show`.
struct ExpertsShow: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Show a recording: heat map, hottest experts, evenness, and whether there is a hot set.",
        discussion: """
            entropy: 1 is even, 0 is one expert doing all. top share: of the layer's hottest expert. unused: experts without \
            any token. balancedness: mean over largest load of the GPUs; needs counts by slot, or --gpus.

            Examples:
              switchyard experts show recording.pt
              switchyard experts show recording.safetensors --mode decode --layer 12
              switchyard experts show recording.pt --gpus 8 --json
            """)

    /// Which passes to count.
    enum Passes: String, ExpressibleByArgument, CaseIterable {
        case prefill, decode, all

        func includes(_ mode: ForwardMode?) -> Bool {
            switch self {
            case .all: true
            case .prefill: mode == .extend || mode == .splitPrefill
            case .decode: mode == .decode
            }
        }
    }

    @Argument(help: ArgumentHelp("A recording: .pt, .json or .safetensors.", valueName: "file"))
    var file: String

    @Option(help: ArgumentHelp("Show this layer alone. (default: all)", valueName: "number"))
    var layer: Int?

    @Option(help: "Passes to count: prefill, decode, or all, with those that do both.")
    var mode = Passes.all

    @Option(help: ArgumentHelp("GPUs that share the slots. (default: as recorded)", valueName: "count"))
    var gpus: Int?

    @Option(help: ArgumentHelp("Hottest experts to list.", valueName: "count"))
    var top = 8

    @Option(help: ArgumentHelp("Cells per row of the heat map.", valueName: "columns"))
    var width = 64

    @Flag(help: "Print one JSON object instead.")
    var json = false

    func validate() throws {
        for (flag, value) in [("--gpus", gpus ?? 1), ("--width", width)] where !(1...1 << 16).contains(value) {
            throw ValidationError("\(flag) \(value): must be from 1 to \(1 << 16)")
        }
        guard top >= 0 else { throw ValidationError("--top \(top): must be 0 or more") }
    }

    func run() throws {
        var recording = try ExpertsInput.recording(file)
        if let gpus { recording = try recording.spread(gpus: gpus) }
        if let layer, !(0..<recording.layers).contains(layer) {
            throw ExpertsFailure("--layer \(layer): \(file) has layers 0 to \(recording.layers - 1)")
        }
        let report = RecordingReport(
            recording, file: file, counts: try counts(recording), hotSet: try hotSet(recording), mode: mode,
            layer: layer, top: top)
        json ? Terminal.print(try jsonReport(report)) : Terminal.write(report.text(width: width))
    }

    /// Pairs per expert in the passes that are asked for; `[L, E]`.
    private func counts(_ recording: Recording) throws -> [Int64] {
        guard mode != .all else { return recording.totals }
        guard recording.passes.contains(where: { $0.mode != nil }),
            let counts = recording.load(where: { mode.includes($0.mode) })
        else {
            throw ExpertsFailure(
                "--mode \(mode.rawValue): \(file) does not say what its passes did; .safetensors and mode per_token do")
        }
        return counts
    }

    private func hotSet(_ recording: Recording) throws -> HotSet {
        mode == .all ? recording.hotSet() : HotSet(try counts(recording), experts: recording.logicalExperts)
    }
}
