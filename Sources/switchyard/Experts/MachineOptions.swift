// MachineOptions: the flags that say for which machine to plan, and what to answer when no plan can be made for it.

import ArgumentParser
import Experts

/// The flags that say for which machine to plan.
struct MachineOptions: ParsableArguments {
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
        for (flag, value) in [("--gpus", gpus), ("--nodes", nodes), ("--groups", groups), ("--slots", slots)] {
            guard let value, !(1...1 << 20).contains(value) else { continue }
            throw ValidationError("\(flag) \(value): must be from 1 to \(1 << 20)")
        }
        if let redundant, !(0...1 << 20).contains(redundant) {
            throw ValidationError("--redundant \(redundant): must be from 0 to \(1 << 20)")
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
        return switch error {
        case .slotsNotDivisible(let slots, let ranks, _):
            ExpertsFailure(
                "\(flag ?? file): \(error)" + (self.slots == nil ? redundantHint(slots, ranks, experts) : ""))
        case .tooFewSlots(_, _, let ranks):
            ExpertsFailure(
                "\(flag ?? file): \(error)" + (self.slots == nil ? redundantHint(experts, ranks, experts) : ""))
        case .tooManySlots: ExpertsFailure("\(flag ?? file): \(error)")
        case .ranksNotDivisible: ExpertsFailure("--nodes \(nodes): \(error)")
        case .expertsNotDivisible: ExpertsFailure("--groups \(groups): \(error)")
        case .placementMismatch: ExpertsFailure("--from: \(error)")
        default: ExpertsFailure("\(file): \(error)")
        }
    }

    /// The same advice in redundant experts: ` (--redundant 0 or 32)`.
    private func redundantHint(_ slots: Int, _ ranks: Int, _ experts: Int) -> String {
        let above = (max(slots, experts) + ranks - 1) / ranks * ranks - experts
        let below = slots / ranks * ranks - experts
        return below >= 0 && below != above ? " (--redundant \(below) or \(above))" : " (--redundant \(above))"
    }
}
