// MachineOptions: the flags that say for which machine to plan, and what to answer when no plan can be made for it.

import ArgumentParser
import Experts

/// The flags that say for which machine to plan.
struct MachineOptions: ParsableArguments {
    /// More GPUs would make a plan of one model take minutes, and no model is served by so many.
    static let mostGPUs = 4096
    /// Likewise for physical experts of a layer.
    static let mostSlots = 16384

    @Option(
        help: ArgumentHelp("GPUs that share the experts. (default: as recorded, or as --from lies)", valueName: "count")
    )
    var gpus: Int?

    @Option(help: ArgumentHelp("Servers that the GPUs are in, in equal parts.", valueName: "count"))
    var nodes = 1

    @Option(
        help: ArgumentHelp(
            "Expert groups of a model that limits each token to some of them; each stays on one node.",
            valueName: "count"))
    var groups = 1

    @Option(help: ArgumentHelp("Physical experts per layer. (default: one per expert)", valueName: "count"))
    var slots: Int?

    @Option(help: ArgumentHelp("Physical experts beyond one per expert; instead of --slots.", valueName: "count"))
    var redundant: Int?

    func validate() throws {
        guard slots == nil || redundant == nil else {
            throw ValidationError("--slots and --redundant say the same thing; give one of them")
        }
        for (flag, value, range) in [
            ("--gpus", gpus, 1...Self.mostGPUs), ("--nodes", nodes, 1...Self.mostGPUs),
            ("--groups", groups, 1...Self.mostSlots), ("--slots", slots, 1...Self.mostSlots),
            ("--redundant", redundant, 0...Self.mostSlots),
        ] {
            guard let value, !range.contains(value) else { continue }
            throw ValidationError("\(flag) \(value): must be from \(range.lowerBound) to \(range.upperBound)")
        }
    }

    /// The shape to plan for.
    ///
    /// - Parameters:
    ///   - experts: E.
    ///   - present: where experts lie now, which fills in what no flag says.
    ///   - file: the load's, for messages.
    /// - Throws: `ExpertsFailure` when nothing says how many GPUs there are.
    /// - Returns: a shape; whether it is possible is for the plan to say.
    func shape(experts: Int, present: Placement?, file: String) throws -> PlanShape {
        guard let ranks = gpus ?? present.map(\.ranks), gpus != nil || ranks > 1 else {
            throw ExpertsFailure("--gpus: \(file) does not say on how many GPUs the experts lie; give --gpus COUNT")
        }
        let wanted = slots ?? redundant.map { experts + $0 } ?? present?.physicalExperts ?? experts
        return PlanShape(slots: wanted, ranks: ranks, nodes: nodes, groups: groups)
    }

    /// What to know about a shape that can be planned for; nil if nothing.
    func warning(_ shape: PlanShape) -> String? {
        guard shape.nodes > 1, shape.groups % shape.nodes != 0 else { return nil }
        return shape.groups == 1
            ? "--nodes \(shape.nodes): without --groups the nodes make no difference; planned as one"
            : "--groups \(shape.groups) do not divide among --nodes \(shape.nodes): planned as one node without groups"
    }

    /// `error` with the flag that it is about, and what to give instead.
    func failure(_ error: PlanError, experts: Int, file: String) -> ExpertsFailure {
        let flag = slots.map { "--slots \($0)" } ?? redundant.map { "--redundant \($0)" } ?? gpus.map { "--gpus \($0)" }
        let text = error.message(ranks: "GPUs")
        return switch error {
        case .slotsNotDivisible(let slots, let ranks, _):
            ExpertsFailure(
                "\(flag ?? file): \(text)" + (self.slots == nil ? redundantHint(slots, ranks, experts) : ""))
        case .tooFewSlots(_, _, let ranks):
            ExpertsFailure(
                "\(flag ?? file): \(text)" + (self.slots == nil ? redundantHint(experts, ranks, experts) : ""))
        case .tooManySlots: ExpertsFailure("\(flag ?? file): \(text)")
        case .ranksNotDivisible: ExpertsFailure("--nodes \(nodes): \(text)")
        case .expertsNotDivisible: ExpertsFailure("--groups \(groups): \(text)")
        case .placementMismatch: ExpertsFailure("--from: \(text)")
        default: ExpertsFailure("\(file): \(text)")
        }
    }

    /// The same advice in redundant experts: ` (--redundant 0 or 32)`.
    private func redundantHint(_ slots: Int, _ ranks: Int, _ experts: Int) -> String {
        let above = PlanShape.fewestSlots(experts: max(slots, experts), ranks: ranks) - experts
        let below = slots / ranks * ranks - experts
        return below >= 0 && below != above ? " (--redundant \(below) or \(above))" : " (--redundant \(above))"
    }
}
