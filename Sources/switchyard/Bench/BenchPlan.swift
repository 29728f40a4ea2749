// BenchPlan: `switchyard bench plan`: planners' time, balance, and distance from what is provably impossible.

import ArgumentParser
import Compute
import Experts
import Foundation
import Measure

/// `switchyard bench plan`.
struct BenchPlan: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan",
        abstract: "Placement planning: time, balancedness, and the gap to the proven bound.",
        discussion: """
            median, least: one plan of all layers on one core. threads: the median on as many threads as the process may \
            use, one plan right after the other, so that none sleeps. balancedness: mean over largest GPU load, mean and \
            minimum over layers. bound: proven, no placement exceeds it; gap: how far below the mean stays. compatible: \
            DeepSeek's EPLB, slot for slot. incremental: starts from the balanced plan of the load eight steps before. next: \
            balancedness on the load one step after that which the plan was made from. weights: how tokens are split over the \
            replicas of the compatible plan; the bound is that of the linear program. incremental+weights: transfers that \
            are chosen for such a split, and the split. transfers: experts that move, per layer.

            Examples:
              switchyard bench plan
              switchyard bench plan --layers 26 --experts 64 --slots 72 --gpus 8 --family hot
              switchyard bench plan --sweep --json
            """)

    @Option(help: ArgumentHelp("Layers. (default: 58)", valueName: "count"))
    var layers: Int?

    @Option(help: ArgumentHelp("Logical experts of a layer. (default: 256)", valueName: "count"))
    var experts: Int?

    @Option(help: ArgumentHelp("Physical experts of a layer. (default: 288)", valueName: "count"))
    var slots: Int?

    @Option(help: ArgumentHelp("GPUs. (default: 32)", valueName: "count"))
    var gpus: Int?

    @Option(
        help: ArgumentHelp(
            "Kind of load: \(LoadFamily.allCases.map(\.rawValue).joined(separator: ", ")). (default: all)",
            valueName: "name"))
    var family: String?

    @Option(help: ArgumentHelp("Plans that are timed in each case.", valueName: "count"))
    var rounds = 15

    @Option(help: ArgumentHelp("Seed of the loads.", valueName: "number"))
    var seed: UInt64 = 1

    @Flag(help: "Print one JSON object instead of a table.")
    var json = false

    @Flag(help: "Measure the table of shapes in the README instead of one shape.")
    var sweep = false

    /// The shape that the flags name.
    private var shape: Shape {
        Shape(layers: layers ?? 58, experts: experts ?? 256, slots: slots ?? 288, gpus: gpus ?? 32)
    }

    func validate() throws {
        if sweep {
            try RoutingShape.checkSweep([
                ("--layers", layers != nil), ("--experts", experts != nil), ("--slots", slots != nil),
                ("--gpus", gpus != nil),
            ])
        }
        let (layers, experts, slots, gpus) = (shape.layers, shape.experts, shape.slots, shape.gpus)
        for (flag, value, most) in [
            ("--layers", layers, 1024), ("--experts", experts, 8192), ("--slots", slots, MachineOptions.mostSlots),
            ("--gpus", gpus, MachineOptions.mostGPUs),
            ("--rounds", rounds, 10_000),
        ] where !(1...most).contains(value) {
            throw ValidationError("\(flag) \(value): must be from 1 to \(most)")
        }
        if let family, LoadFamily(rawValue: family) == nil {
            let names = LoadFamily.allCases.map(\.rawValue).joined(separator: ", ")
            throw ValidationError("--family \(family): must be one of \(names)")
        }
        guard slots % gpus == 0, slots >= experts else {
            let fewest = PlanShape.fewestSlots(experts: experts, ranks: gpus)
            throw ValidationError(
                "--slots \(slots): must be at least --experts \(experts) and divide among --gpus \(gpus); try \(fewest)"
            )
        }
    }

    func run() throws {
        let shapes = sweep ? Self.shapes : [shape]
        let families = family.flatMap(LoadFamily.init).map { [$0] } ?? LoadFamily.allCases
        let progress = StepProgress(steps: shapes.count * families.count)
        let pool = WorkerPool(threads: Processors.threadCount, pinsThreads: true)
        defer { pool.stop() }
        var cases: [PlanBenchReport.Case] = []
        do {
            defer { progress.finish() }
            for shape in shapes {
                for family in families {
                    cases += try measure(shape, family, pool)
                    progress.advance()
                }
            }
        }
        try PlanBenchReport(threads: pool.threadCount, cases: cases).show(json: json)
    }

    /// The size of a model and its machine.
    struct Shape {
        var layers: Int
        var experts: Int
        var slots: Int
        var gpus: Int
    }

    /// DeepSeek-V3, Qwen1.5-MoE, DeepSeek-V2-Lite and Qwen3-MoE.
    private static let shapes = [
        Shape(layers: 58, experts: 256, slots: 288, gpus: 32), Shape(layers: 24, experts: 60, slots: 64, gpus: 4),
        Shape(layers: 26, experts: 64, slots: 72, gpus: 8), Shape(layers: 48, experts: 128, slots: 144, gpus: 16),
    ]

    private func measure(
        _ shape: Shape, _ family: LoadFamily, _ pool: WorkerPool
    ) throws -> [PlanBenchReport.Case] {
        func load(step: Int) throws -> LoadMatrix {
            try LoadMatrix(
                family.load(layers: shape.layers, experts: shape.experts, seed: seed, step: step), layers: shape.layers,
                experts: shape.experts)
        }
        let plan = PlanShape(slots: shape.slots, ranks: shape.gpus)
        let (now, later) = (try load(step: 9), try load(step: 10))
        let bounds = (0..<shape.layers).map {
            now.balancednessBound(layer: $0, slots: shape.slots, ranks: shape.gpus)
        }
        func times(_ body: () throws -> Void) rethrows -> [Double] {
            try body()
            return try (0..<rounds).map { _ in
                let start = ContinuousClock.now
                try body()
                return (ContinuousClock.now - start) / .milliseconds(1)
            }
        }
        func report(
            _ name: String, rates: [Double], next: [Double], bounds: [Double], moved: Int? = nil,
            _ body: () throws -> Void
        ) rethrows -> PlanBenchReport.Case {
            let times = try times(body)
            let (rate, bound) = (mean(rates), mean(bounds))
            return PlanBenchReport.Case(
                layers: shape.layers, experts: shape.experts, slots: shape.slots, gpus: shape.gpus,
                family: family.rawValue, plan: name, median: median(times), least: times.min() ?? .nan,
                balancedness: rate, leastLayer: rates.min() ?? 1, next: mean(next), bound: bound,
                gap: max(0, 1 - rate / bound),
                transfers: moved.map { Double($0) / Double(shape.layers) })
        }
        func rates(_ placement: Placement, _ load: LoadMatrix) -> [Double] {
            (0..<shape.layers).map { load.balancedness(layer: $0, in: placement) }
        }
        let compatible = try PlacementPlan.compatible(load: now, shape: plan).placement
        let balanced = try PlacementPlan.balanced(load: now, shape: plan).placement
        let present = try PlacementPlan.balanced(load: try load(step: 1), shape: plan).placement
        let few = try IncrementalPlan(from: present, windows: [now])
        func shared(_ load: LoadMatrix, _ placement: Placement, _ weights: DispatchWeights) -> [Double] {
            (0..<shape.layers).map { load.balancedness(layer: $0, in: placement, weights: weights) }
        }
        let weights = try DispatchWeights(load: now, placement: compatible)
        let weighted = shared(now, compatible, weights)
        func fewForWeights() throws -> (plan: IncrementalPlan, weights: DispatchWeights) {
            let plan = try IncrementalPlan(from: present, windows: [now], goal: IncrementalGoal(isWeighted: true))
            return (plan, try DispatchWeights(load: now, placement: plan.placement))
        }
        let split = try fewForWeights()
        var full = try report("balanced", rates: rates(balanced, now), next: rates(balanced, later), bounds: bounds) {
            _ = try PlacementPlan.balanced(load: now, shape: plan)
        }
        func planOnThreads() throws { _ = try PlacementPlan.balanced(load: now, shape: plan, lanes: pool) }
        // It takes the system some milliseconds to part threads that woke on one core.
        let end = ContinuousClock.now + .milliseconds(50)
        while ContinuousClock.now < end { try planOnThreads() }
        full.threaded = median(try times(planOnThreads))
        return [
            try report("compatible", rates: rates(compatible, now), next: rates(compatible, later), bounds: bounds) {
                _ = try PlacementPlan.compatible(load: now, shape: plan)
            },
            full,
            try report(
                "incremental", rates: rates(few.placement, now), next: rates(few.placement, later), bounds: bounds,
                moved: few.transfers.reduce(0, +)
            ) { _ = try IncrementalPlan(from: present, windows: [now]) },
            // The search ends once no split can be more than a thousandth better.
            try report(
                "weights", rates: weighted, next: shared(later, compatible, weights),
                bounds: weighted.map { min(1, $0 * 1.001) }
            ) {
                _ = try DispatchWeights(load: now, placement: compatible)
            },
            // No split of tokens is more even than even.
            try report(
                "incremental+weights", rates: shared(now, split.plan.placement, split.weights),
                next: shared(later, split.plan.placement, split.weights), bounds: bounds.map { _ in 1 },
                moved: split.plan.transfers.reduce(0, +)
            ) { _ = try fewForWeights() },
        ]
    }

    private func mean(_ values: [Double]) -> Double { values.reduce(0, +) / Double(values.count) }
}
