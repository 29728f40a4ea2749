// PlanReport: what a plan is worth, as text, as JSON, and as the facts beside a placement file.

import Experts
import Measure

/// What a plan is worth.
struct PlanReport: Encodable {
    var file: String
    var policy: String
    var layers: Int
    var experts: Int
    var slots: Int
    var gpus: Int
    var nodes: Int
    var groups: Int
    /// Name of the placement before.
    var before: String
    var balancednessBefore: Double
    var balancednessAfter: Double
    var leastBefore: Double
    var leastAfter: Double
    var bound: Double
    var milliseconds: Double
    var transfers: Int
    var movedLayers: Int
    var warning: String?
    /// The plan.
    let placement: Placement

    enum CodingKeys: String, CodingKey {
        case file, policy, layers, experts, slots, gpus, nodes, groups, before, bound, transfers, warning, milliseconds
        case balancednessBefore = "balancedness_before"
        case balancednessAfter = "balancedness_after"
        case leastBefore = "least_layer_before"
        case leastAfter = "least_layer_after"
        case movedLayers = "layers_with_transfers"
    }

    init(
        file: String, policy: String, load: LoadMatrix, shape: PlanShape, placement: Placement, before: Placement,
        beforeName: String, time: Duration, warning: String?
    ) {
        let moves = placement.transfers(from: before)
        let rates = (0..<load.layers).map { load.balancedness(layer: $0, in: placement) }
        let old = (0..<load.layers).map { load.balancedness(layer: $0, in: before) }
        self.file = file
        self.policy = policy
        (layers, experts) = (load.layers, load.experts)
        (slots, gpus) = (shape.slots, shape.ranks)
        (nodes, groups) = warning == nil ? (shape.nodes, shape.groups) : (1, 1)
        self.before = beforeName
        balancednessBefore = old.reduce(0, +) / Double(load.layers)
        balancednessAfter = rates.reduce(0, +) / Double(load.layers)
        leastBefore = old.min() ?? 1
        leastAfter = rates.min() ?? 1
        bound = load.balancednessBound(slots: shape.slots, ranks: shape.ranks)
        milliseconds = time / .milliseconds(1)
        transfers = moves.reduce(0, +)
        movedLayers = moves.count { $0 > 0 }
        self.warning = warning
        self.placement = placement
    }

    /// For people.
    var text: String {
        let machine = nodes > 1 ? "\(gpus) GPUs in \(nodes) nodes" : "\(gpus) GPUs"
        let grouped = groups > 1 ? " in \(groups) groups" : ""
        return """
            \(policy) plan: \(layers) layers × \(experts) experts\(grouped), \(slots) slots, \(machine)
            balancedness  \(ExpertsInput.rate(balancednessBefore)) before (\(before)), \
            \(ExpertsInput.rate(balancednessAfter)) after; least layer \(ExpertsInput.rate(leastBefore)), \
            \(ExpertsInput.rate(leastAfter))
            bound         \(ExpertsInput.rate(bound)), gap \(ExpertsInput.percent(max(0, 1 - balancednessAfter / bound)))
            transfers     \(transfers) of \(layers * slots) experts in \(movedLayers) layers
            time          \(short(milliseconds)) ms
            """
    }

    /// What marks a file of such facts.
    static let format = "switchyard-placement"

    /// Facts to keep beside the map.
    var about: ArchiveValue {
        .dictionary([
            .init("format", .string(Self.format)), .init("version", .int(1)),
            .init("load", .string(ExpertsInput.name(file))), .init("policy", .string(policy)),
            .init("layers", .int(layers)), .init("logical_experts", .int(experts)),
            .init("physical_experts", .int(slots)), .init("gpus", .int(gpus)), .init("nodes", .int(nodes)),
            .init("groups", .int(groups)), .init("balancedness_before", .float(balancednessBefore)),
            .init("balancedness_after", .float(balancednessAfter)), .init("bound", .float(bound)),
            .init("transfers", .int(transfers)),
        ])
    }
}
