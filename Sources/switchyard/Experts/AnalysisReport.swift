// AnalysisReport: what `experts analyze` found, as tables and as JSON.

import Experts
import Measure

/// What imbalance costs, and what machines would change.
struct AnalysisReport: Encodable {
    /// One layer under the present placement.
    struct Layer: Encodable {
        var layer: Int
        var lost: Double
        var balancedness: Double
        var sums: Double
        var busiestGPU: Int
        var hottest: Int
        var hottestShare: Double

        enum CodingKeys: String, CodingKey {
            case layer, lost, balancedness, sums, hottest
            case busiestGPU = "busiest_gpu"
            case hottestShare = "hottest_share"
        }
    }

    /// One machine with the balanced plan for the whole load.
    struct Machine: Encodable {
        var gpus: Int
        var redundant: Int
        var slots: Int
        var balancedness: Double
        var bound: Double
        var passes: Double
        var lost: Double
    }

    var file: String
    var placement: String
    var gpus: Int
    var slots: Int
    var lost: Double
    var layers: [Layer]
    var machines: [Machine]

    /// - Parameters:
    ///   - series: the load.
    ///   - file: its path.
    ///   - present: where experts lie.
    ///   - presentName: what to call that.
    ///   - gpus: numbers of GPUs to plan for.
    ///   - redundant: numbers of redundant experts; nil chooses some for each.
    /// - Throws: `ExpertsFailure` for a number that is impossible.
    init(
        _ series: LoadSeries, file: String, present: Placement, presentName: String, gpus: [Int], redundant: [Int]?
    ) throws {
        let load = try series.total()
        let costs = PlacementJudge(present).layerCosts(series, rows: 0..<series.rows)
        self.file = file
        placement = presentName
        (self.gpus, slots) = (present.ranks, present.physicalExperts)
        lost = Self.lost(costs.reduce(PlacementCost(), +))
        layers = (0..<series.layers).compactMap { layer in
            let hot = LayerLoad(layer: layer, load.row(layer))
            guard costs[layer].peak > 0 else { return nil }
            let ranks = load.rankLoads(layer: layer, in: present)
            return Layer(
                layer: layer, lost: Self.lost(costs[layer]), balancedness: costs[layer].balancedness,
                sums: load.balancedness(layer: layer, in: present),
                busiestGPU: ranks.indices.max { ranks[$0] < ranks[$1] } ?? 0, hottest: hot.hottest,
                hottestShare: hot.topShare)
        }
        let shapes = try gpus.flatMap { ranks in
            try Self.slots(redundant, ranks: ranks, experts: series.experts).map { (ranks: ranks, slots: $0) }
        }
        let progress = StepProgress(steps: shapes.count)
        defer { progress.finish() }
        machines = []
        for shape in shapes {
            let plan: PlacementPlan
            do {
                plan = try PlacementPlan.balanced(load: load, shape: PlanShape(slots: shape.slots, ranks: shape.ranks))
            } catch {
                throw ExpertsFailure("--gpus \(shape.ranks): \(error)")
            }
            let cost = PlacementJudge(plan.placement).cost(series, rows: 0..<series.rows)
            machines.append(
                Machine(
                    gpus: shape.ranks, redundant: shape.slots - series.experts, slots: shape.slots,
                    balancedness: load.balancedness(in: plan.placement),
                    bound: load.balancednessBound(slots: shape.slots, ranks: shape.ranks), passes: cost.balancedness,
                    lost: Self.lost(cost)))
            progress.advance()
        }
    }

    /// The part of GPU time spent waiting.
    private static func lost(_ cost: PlacementCost) -> Double { cost.peak > 0 ? max(0, 1 - cost.mean / cost.peak) : 0 }

    private static func slots(_ redundant: [Int]?, ranks: Int, experts: Int) throws -> [Int] {
        let fewest = (experts + ranks - 1) / ranks * ranks
        guard let redundant else { return [0, 1, 2, 4].map { fewest + $0 * ranks } }
        // With several numbers of GPUs not every one fits each.
        let fitting = redundant.map { experts + $0 }.filter { $0 % ranks == 0 }
        guard !fitting.isEmpty else {
            let hint = (0...2).map { "\(fewest - experts + $0 * ranks)" }.joined(separator: ", ")
            throw ExpertsFailure(
                "--redundant: none of \(redundant.map(String.init).joined(separator: ", ")) beside \(experts) experts divides "
                    + "among \(ranks) GPUs; try \(hint)")
        }
        return fitting
    }

    /// Prints both tables.
    func show() {
        Terminal.print(
            "\(gpus) GPUs, \(slots) slots, \(placement): \(ExpertsInput.percent(lost)) of GPU time in experts is lost")
        Terminal.print("")
        let head = ["layer", "lost", "balancedness", "sums", "busiest GPU", "hottest"]
        Terminal.print(
            table(
                [head]
                    + layers.map { layer in
                        [
                            "\(layer.layer)", ExpertsInput.percent(layer.lost), ExpertsInput.rate(layer.balancedness),
                            ExpertsInput.rate(layer.sums), "\(layer.busiestGPU)",
                            "e\(layer.hottest) \(ExpertsInput.percent(layer.hottestShare))",
                        ]
                    }))
        Terminal.print("")
        Terminal.print("with a balanced plan for the whole load, judged on the same load:")
        let columns = ["GPUs", "redundant", "slots", "lost", "balancedness", "sums", "bound of sums"]
        Terminal.print(
            table(
                [columns]
                    + machines.map { machine in
                        [
                            "\(machine.gpus)", "\(machine.redundant)", "\(machine.slots)",
                            ExpertsInput.percent(machine.lost), ExpertsInput.rate(machine.passes),
                            ExpertsInput.rate(machine.balancedness), ExpertsInput.rate(machine.bound),
                        ]
                    }))
    }
}
