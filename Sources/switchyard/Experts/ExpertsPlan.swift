// ExpertsPlan: `switchyard experts plan`: where each expert should lie, from what was counted.

import ArgumentParser
import Experts
import Foundation
import Measure

/// `switchyard experts plan`.
struct ExpertsPlan: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan",
        abstract: "Plan where experts lie, and how many replicas each has, from recorded loads.",
        discussion: """
            LOAD is any recording, or {"logical_count": [[…]]} of [layers, experts] or [windows, layers, experts] as .json or \
            .pt. balanced: the least load on the busiest GPU. compatible: DeepSeek's EPLB, slot for slot. incremental: few \
            transfers from --from. The file is what --init-expert-location takes, here and in sglang.

            before: --from, else the recorded placement, else expert i in slot i. balancedness: mean over largest load of the \
            GPUs, mean over layers; 1 is even. bound: proven, no placement exceeds it. transfers: experts that must move.

            Examples:
              switchyard experts plan recording.pt --gpus 32 --redundant 32 -o placement.json
              switchyard experts plan load.json --gpus 32 --nodes 4 --groups 8 --slots 288 --spill
              switchyard experts plan new.pt --policy incremental --from placement.json --gpus 32 -o next.json
            """)

    /// How to plan.
    enum Policy: String, ExpressibleByArgument, CaseIterable {
        case balanced, compatible, incremental
    }

    @Argument(help: ArgumentHelp("What was counted: .pt, .json or .safetensors.", valueName: "load"))
    var file: String

    @OptionGroup(title: "Machine")
    var machine: MachineOptions

    @Option(help: "How to plan.")
    var policy = Policy.balanced

    @Option(help: ArgumentHelp("The present placement: trivial, a file, or JSON.", valueName: "placement"))
    var from: String?

    @Flag(help: "With nodes and groups: redundant replicas may leave the node of their group.")
    var spill = false

    @Option(
        help: ArgumentHelp(
            "Most experts that incremental moves in a layer. (default: \(IncrementalGoal().transfers))",
            valueName: "count"))
    var transfers: Int?

    @Option(
        name: .shortAndLong,
        help: ArgumentHelp("Where the placement goes, .json or .pt; - is standard output.", valueName: "file"))
    var output: String?

    @Flag(help: "Print one JSON object about the plan instead of text.")
    var json = false

    func validate() throws {
        if spill, policy != .balanced {
            throw ValidationError("--spill is for --policy balanced; --policy \(policy.rawValue) keeps to the nodes")
        }
        if spill, machine.nodes == 1 {
            throw ValidationError(
                "--spill: on one node replicas may lie anywhere already; give --nodes and --groups too")
        }
        if let transfers {
            guard policy == .incremental else {
                throw ValidationError(
                    "--transfers \(transfers) is for --policy incremental; --policy \(policy.rawValue) plans anew")
            }
            guard transfers >= 0 else { throw ValidationError("--transfers \(transfers): must be 0 or more") }
        }
        guard let output, output != "-" else {
            if output == "-", json { throw ValidationError("-o - and --json both want standard output; give a file") }
            return
        }
        guard output.hasSuffix(".json") || output.hasSuffix(".pt") else {
            throw ValidationError("-o \(output): a placement is written as .json or .pt; end the name in one of them")
        }
    }

    func run() throws {
        try output.map(checkAbout)
        let progress = StepProgress(steps: 3)
        let series: LoadSeries
        let report: PlanReport
        do {
            defer { progress.finish() }
            series = try ExpertsInput.load(file)
            progress.advance()
            report = try plan(series, progress)
        }
        if let warning = report.warning { Terminal.error("warning: \(warning)") }
        var places: [String] = []
        if let output {
            if output == "-" {
                Terminal.write(report.placement.json())
            } else {
                places.append(output)
                if let beside = try report.placement.write(output, about: report.about) { places.append(beside) }
            }
        }
        if json { return Terminal.print(try jsonReport(report)) }
        let text = report.text + (places.isEmpty ? "" : "\nwritten       " + places.joined(separator: ", "))
        output == "-" ? Terminal.error(text) : Terminal.print(text)
    }

    /// Refuses to replace a file beside the output that no plan wrote.
    private func checkAbout(_ output: String) throws {
        guard let path = Placement.aboutPath(output), FileManager.default.fileExists(atPath: path) else { return }
        struct About: Decodable { var format: String }
        let data = FileManager.default.contents(atPath: path) ?? Data()
        guard (try? JSONDecoder().decode(About.self, from: data))?.format == PlanReport.format else {
            throw ExpertsFailure(
                "-o \(output): \(path) would hold what is to be said about the plan, but is another file; move it away, "
                    + "or give another name")
        }
    }

    private func plan(_ series: LoadSeries, _ progress: StepProgress) throws -> PlanReport {
        let given = try from.map { value in
            try PlacementReference(value, flag: "--from").placement(
                series, ranks: machine.gpus, recorded: series.placement)
        }
        let shape = try machine.shape(experts: series.experts, present: given ?? series.placement, file: file)
        do {
            let load = try series.total()
            // Checks the shape with its reasons before anything is compared with it.
            let reference = try PlacementPlan.compatible(load: load, shape: shape).placement
            let (before, name) = try present(given, series, shape)
            let start = ContinuousClock.now
            let placement =
                switch policy {
                case .compatible: reference
                case .balanced: try PlacementPlan.balanced(load: load, shape: shape, spill: spill).placement
                case .incremental:
                    try IncrementalPlan(
                        from: before, windows: Self.windows(series),
                        nodes: shape.groups % shape.nodes == 0 ? shape.nodes : 1,
                        goal: IncrementalGoal(transfers: transfers ?? IncrementalGoal().transfers)
                    ).placement
                }
            var time = ContinuousClock.now - start
            if policy == .compatible {
                time = try ContinuousClock().measure { _ = try PlacementPlan.compatible(load: load, shape: shape) }
            }
            progress.advance()
            // An incremental plan is for the last window, which the whole load may hide.
            let judged = policy == .incremental ? try Self.windows(series).last ?? load : load
            let report = PlanReport(
                file: file, policy: policy.rawValue, load: judged, shape: shape, placement: placement,
                before: before, beforeName: name, time: time, warning: machine.warning(shape))
            progress.advance()
            return report
        } catch let error as PlanError {
            throw machine.failure(error, experts: series.experts, file: file)
        }
    }

    /// The placement to compare with, and its name; for the incremental policy the one to start from.
    private func present(_ given: Placement?, _ series: LoadSeries, _ shape: PlanShape) throws -> (Placement, String) {
        for (placement, name) in [(given, from ?? ""), (series.placement, "recorded placement")] {
            guard let placement else { continue }
            if placement.ranks == shape.ranks, policy != .incremental || placement.physicalExperts == shape.slots {
                return (placement, name)
            }
            if given != nil {
                throw ExpertsFailure(
                    "--from \(name): lies in \(placement.physicalExperts) slots on \(placement.ranks) GPUs, the plan asks for "
                        + "\(shape.slots) on \(shape.ranks); leave --slots and --redundant away to keep its number")
            }
        }
        let trivial = try Placement.trivial(
            layers: series.layers, logicalExperts: series.experts, redundant: shape.slots - series.experts,
            ranks: shape.ranks)
        return (trivial, "trivial placement")
    }

    /// The rows in at most five windows, which is what tells noise from drift.
    private static func windows(_ series: LoadSeries) throws -> [LoadMatrix] {
        let count = min(5, series.rows)
        return try (0..<count).map { try series.sum($0 * series.rows / count..<($0 + 1) * series.rows / count) }
    }
}
