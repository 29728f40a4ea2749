// ExpertsAnalyze: `switchyard experts analyze`: what imbalance costs, layer by layer, and what machines would change.

import ArgumentParser
import Experts
import Measure

/// `switchyard experts analyze`.
struct ExpertsAnalyze: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "analyze",
        abstract: "Show what imbalance costs in each layer, and what other numbers of GPUs and replicas would give.",
        discussion: """
            lost: the part of GPU time in the layer's experts spent waiting for the busiest GPU, pass by pass, under the \
            present placement. sums: balancedness of all passes together; what a placement can mend. hottest: the busiest \
            expert's share; with more than one GPU's part of it no placement without replicas is even.

            The second table plans for the whole load and judges on the same: an upper end. experts advise judges plans \
            on later load.

            Examples:
              switchyard experts analyze recording.pt --gpus 8
              switchyard experts analyze recording.pt --gpus 8,16,32 --redundant 0,32,64 --from placement.json
            """)

    @Argument(help: ArgumentHelp("What was counted: .pt, .json or .safetensors.", valueName: "load"))
    var file: String

    @Option(
        help: ArgumentHelp(
            "Numbers of GPUs; the layers are those of the first. (default: as recorded)", valueName: "list"))
    var gpus: CountList?

    @Option(
        help: ArgumentHelp(
            "Numbers of redundant experts. (default: the fewest, and one, two and four more per GPU)", valueName: "list"
        ))
    var redundant: CountList?

    @Option(help: ArgumentHelp("The present placement. (default: as recorded, else trivial)", valueName: "placement"))
    var from: String?

    @Flag(help: "Print one JSON object instead of tables.")
    var json = false

    func validate() throws {
        try gpus?.check("--gpus", in: 1...MachineOptions.mostGPUs)
        try redundant?.check("--redundant", in: 0...MachineOptions.mostSlots)
    }

    func run() throws {
        let series = try ExpertsInput.load(file)
        guard let counts = gpus?.values ?? series.placement.flatMap({ $0.ranks > 1 ? [$0.ranks] : nil }),
            let first = counts.first
        else {
            throw ExpertsFailure(
                "--gpus: \(file) does not say on how many GPUs the experts lie; give --gpus 8, or 8,16")
        }
        let given = try from.map {
            try PlacementReference($0, flag: "--from").placement(series, ranks: first, recorded: nil)
        }
        let recorded = series.placement.flatMap { $0.ranks == first ? $0 : nil }
        let fewest = PlanShape.fewestSlots(experts: series.experts, ranks: first)
        let trivial = try Placement.trivial(
            layers: series.layers, logicalExperts: series.experts, redundant: fewest - series.experts, ranks: first)
        let name = from ?? (recorded == nil ? "trivial placement" : "recorded placement")
        let report = try AnalysisReport(
            series, file: file, present: given ?? recorded ?? trivial, presentName: name, gpus: counts,
            redundant: redundant?.values)
        if json { return Terminal.print(try jsonReport(report)) }
        report.show()
    }
}
