// `switchyard bench plan`: the report's shape, and plans within their bounds. Never a time.

import Foundation
import Testing

@Suite struct BenchPlanTests {
    /// What `--json` prints.
    private struct Report: Decodable {
        struct Case: Decodable {
            var layers: Int
            var experts: Int
            var family: String
            var plan: String
            var medianMs: Double
            var leastMs: Double
            var threadedMedianMs: Double?
            var balancedness: Double
            var leastLayer: Double
            var next: Double
            var bound: Double
            var gap: Double
            var transfersPerLayer: Double?
        }

        var machine: String
        var threads: Int
        var cases: [Case]
    }

    private func run(_ arguments: [String]) async throws -> Binary.Outcome {
        try await Binary().run("bench", options: ["plan"] + arguments)
    }

    private func report(_ arguments: [String]) async throws -> Report {
        let outcome = try await run(arguments + ["--json", "--rounds", "1"])
        #expect(outcome.status == 0, "\(outcome.errors)")
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(Report.self, from: Data(outcome.output.utf8))
    }

    @Test("every load is planned five ways, none beyond its bound")
    func families() async throws {
        let report = try await report(["--layers", "2", "--experts", "32", "--slots", "40", "--gpus", "8"])
        #expect(!report.machine.isEmpty && report.threads > 0 && report.cases.count == 35)
        #expect(Set(report.cases.map(\.family)).count == 7)
        for item in report.cases {
            #expect(item.layers == 2 && item.experts == 32 && item.medianMs > 0 && item.leastMs <= item.medianMs)
            #expect(item.balancedness <= item.bound + 1e-5 && item.leastLayer <= item.balancedness + 1e-9)
            #expect((0...1).contains(item.next) && (item.threadedMedianMs != nil) == (item.plan == "balanced"))
            #expect(
                (0...1).contains(item.gap) && (item.transfersPerLayer != nil) == (item.plan.hasPrefix("incremental")))
        }
        for family in Set(report.cases.map(\.family)) {
            let found = Dictionary(
                uniqueKeysWithValues: report.cases.filter { $0.family == family }.map { ($0.plan, $0.balancedness) })
            let (balanced, compatible) = (try #require(found["balanced"]), try #require(found["compatible"]))
            #expect(balanced >= compatible - 1e-6)
        }
    }

    @Test("the same seed gives the same loads, another one others")
    func seeds() async throws {
        func rates(_ seed: String) async throws -> [Double] {
            let shape = ["--layers", "1", "--experts", "16", "--slots", "16", "--gpus", "4", "--family", "zipf"]
            return try await report(shape + ["--seed", seed]).cases.map(\.balancedness)
        }
        let (first, again, other) = (try await rates("1"), try await rates("1"), try await rates("2"))
        #expect(first == again && first != other)
    }

    @Test("the table names machine, units and columns")
    func table() async throws {
        let outcome = try await run(
            ["--layers", "1", "--experts", "8", "--slots", "8", "--gpus", "2", "--rounds", "1", "--family", "hot"])
        #expect(outcome.status == 0 && outcome.output.hasPrefix("machine: ") && outcome.output.contains("times in ms"))
        #expect(outcome.output.contains("bound") && outcome.output.split(separator: "\n").count == 7)
    }

    @Test(
        "absurd shapes are refused with the flag and what would be possible",
        arguments: [
            (["--layers", "0"], "--layers 0: must be from 1 to 1024"),
            (["--slots", "250"], "--slots 250: must be at least --experts 256 and divide among --gpus 32; try 256"),
            (["--family", "odd"], "--family odd: must be one of zipf"),
        ])
    func refused(arguments: [String], message: String) async throws {
        let outcome = try await run(arguments)
        #expect(outcome.status != 0 && outcome.errors.contains(message), "\(outcome.errors)")
    }
}
