// RoutingReport: what the routing benchmarks found, as a table and as JSON.

import Compute
import Foundation
import Measure

/// What the routing benchmarks found. Times are in microseconds.
struct RoutingReport: Encodable {
    /// One shape.
    struct Case: Encodable {
        var rule: String?
        var ids: Int
        var topK: Int
        var experts: Int
        var blockSize: Int?
        var threads: Int
        var median: Double
        var p99: Double
        var baseline: Double
        var ratio: Double
        var limit: Double
        var isEqual: Bool

        enum CodingKeys: String, CodingKey {
            case rule, ids, experts, threads, ratio
            case topK = "top_k"
            case blockSize = "block_size"
            case median = "median_us"
            case p99 = "p99_us"
            case baseline = "baseline_us"
            case limit = "limit_us"
            case isEqual = "equal"
        }
    }

    var device = "cpu"
    var machine = Machine.name
    var cases: [Case]

    /// A report from its cases, and where they were measured; nil is the CPU.
    init(cases: [Case], on gpu: GPUBench?) {
        self.cases = cases
        guard let gpu else { return }
        device = "cuda:\(gpu.device.description.ordinal)"
        machine = gpu.device.description.name
    }

    /// Prints the report; fails if a case's answers differ.
    func show(json: Bool) throws {
        if json {
            Terminal.print(try jsonReport(self))
        } else {
            Terminal.print("machine: \(machine); device: \(device); times in µs")
            Terminal.print(table([Self.header(blocks: cases.contains { $0.blockSize != nil })] + cases.map(\.row)))
        }
        if let wrong = cases.first(where: { !$0.isEqual }) {
            throw UnequalAnswers(ids: wrong.ids, experts: wrong.experts)
        }
    }

    private static func header(blocks: Bool) -> [String] {
        [
            blocks ? "block" : "rule", "ids", "top-k", "experts", "threads", "median", "p99", "naive", "ratio", "limit",
            "equal",
        ]
    }
}

extension RoutingReport.Case {
    fileprivate var row: [String] {
        [
            blockSize.map(String.init) ?? rule ?? "", "\(ids)", "\(topK)", "\(experts)", "\(threads)", short(median),
            short(p99), short(baseline), "\(short(ratio)) x", short(limit), isEqual ? "yes" : "NO",
        ]
    }
}

/// The fast way and the plain way disagree.
private struct UnequalAnswers: Error, CustomStringConvertible {
    var ids: Int
    var experts: Int

    var description: String { "bench: \(ids) ids of \(experts) experts: the two ways gave different answers" }
}
