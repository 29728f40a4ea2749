// PlanBenchReport: what `bench plan` found, as a table and as JSON.

import Foundation
import Measure

/// What `bench plan` found. Times are in milliseconds.
struct PlanBenchReport: Encodable {
    /// One planner on one load.
    struct Case: Encodable {
        var layers: Int
        var experts: Int
        var slots: Int
        var gpus: Int
        var family: String
        var plan: String
        var median: Double
        var least: Double
        /// The median on the report's threads; nil where a plan uses only one.
        var threaded: Double?
        var balancedness: Double
        var leastLayer: Double
        /// Mean balancedness on the load one step later.
        var next: Double
        var bound: Double
        var gap: Double
        /// Experts that move, per layer; nil where the plan starts from nothing.
        var transfers: Double?

        enum CodingKeys: String, CodingKey {
            case layers, experts, slots, gpus, family, plan, balancedness, next, bound, gap
            case median = "median_ms"
            case least = "least_ms"
            case threaded = "threaded_median_ms"
            case leastLayer = "least_layer"
            case transfers = "transfers_per_layer"
        }
    }

    var machine = Machine.name
    /// Threads of the plans that use several.
    var threads: Int
    var cases: [Case]

    /// Prints the report.
    func show(json: Bool) throws {
        if json {
            return Terminal.print(try jsonReport(self))
        }
        Terminal.print("machine: \(machine); one core, or \(threads) threads; times in ms")
        let header = [
            "layers", "experts", "slots", "GPUs", "load", "plan", "median", "least", "threads", "balancedness",
            "least layer", "bound", "gap", "next", "transfers",
        ]
        Terminal.print(table([header] + cases.map(\.row)))
    }
}

extension PlanBenchReport.Case {
    fileprivate var row: [String] {
        func rate(_ value: Double) -> String { String(format: "%.5f", value) }
        return [
            "\(layers)", "\(experts)", "\(slots)", "\(gpus)", family, plan, short(median), short(least),
            threaded.map(short) ?? "", rate(balancedness), rate(leastLayer), rate(bound),
            String(format: "%.3f %%", gap * 100), rate(next), transfers.map(short) ?? "",
        ]
    }
}
