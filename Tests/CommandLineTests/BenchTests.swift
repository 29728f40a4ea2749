// `switchyard bench`: the report's shape and what it refuses. Never a time.

import Foundation
import Support
import Testing

@Suite struct BenchTests {
    /// What `--json` prints.
    private struct Report: Decodable {
        struct Case: Decodable {
            var ids: Int
            var topK: Int
            var experts: Int
            var blockSize: Int?
            var threads: Int
            var medianUs: Double
            var p99Us: Double
            var baselineUs: Double
            var ratio: Double
            var limitUs: Double
            var equal: Bool
        }

        var device: String
        var machine: String
        var cases: [Case]
    }

    private func report(_ arguments: [String]) async throws -> Report {
        let outcome = try await Binary().run("bench", options: arguments + ["--json"])
        #expect(outcome.status == 0, "\(outcome.errors)")
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(Report.self, from: Data(outcome.output.utf8))
    }

    @Test("align reports one case, equal to the naive way")
    func align() async throws {
        let report = try await report([
            "align", "--tokens", "300", "--top-k", "3", "--experts", "20", "--block-size", "7",
        ])
        #expect(report.device == "cpu" && !report.machine.isEmpty)
        let found = try #require(report.cases.first)
        #expect(report.cases.count == 1 && found.equal)
        #expect(found.ids == 900 && found.topK == 3 && found.experts == 20 && found.blockSize == 7)
        #expect(found.medianUs > 0 && found.p99Us >= found.medianUs && found.baselineUs > 0)
        #expect(found.ratio > 0 && found.limitUs > 0)
    }

    @Test(
        "topk agrees with a sort under every rule", arguments: ["softmax", "renormalized", "grouped", "biased-grouped"])
    func topK(rule: String) async throws {
        let report = try await report([
            "topk", "--tokens", "64", "--top-k", "4", "--experts", "32", "--rule", rule, "--threads", "2",
        ])
        #expect(report.cases.map(\.equal) == [true] && report.cases.first?.threads == 2)
    }

    @Test(
        "on a GPU the report is the same, and without one a line says why there is none", arguments: ["align", "topk"])
    func gpu(what: String) async throws {
        let arguments = [what, "--device", "cuda", "--tokens", "8"]
        let outcome = try await Binary().run("bench", options: arguments)
        guard outcome.status == 0 else {
            #expect(outcome.errors.hasPrefix("Error: --device cuda: "), "\(outcome.errors)")
            #expect(outcome.errors.split(separator: "\n").count == 1)
            return
        }
        let report = try await report(arguments)
        #expect(report.device == "cuda:0" && report.cases.map(\.equal) == [true])
    }

    @Test(
        "absurd shapes are refused with the flag and the range",
        arguments: [
            (["align", "--experts", "0"], "--experts 0: must be from 1 to 8192"),
            (["align", "--top-k", "65"], "--top-k 65: must be from 1 to 64"),
            (["align", "--block-size", "0"], "--block-size 0: must be from 1 to 65536"),
            (["topk", "--rule", "grouped", "--experts", "60"], "--rule grouped: needs --experts divisible by 8"),
            (["align", "--sweep", "--experts", "8"], "--sweep measures shapes of its own: leave --experts away"),
            (["topk", "--sweep", "--rule", "softmax"], "--sweep measures shapes of its own: leave --rule away"),
            (["plan", "--sweep", "--gpus", "8"], "--sweep measures shapes of its own: leave --gpus away"),
            (["align", "--tokens", "4194304", "--top-k", "64"], "at most 4194304 in all; try 65536 × 64"),
            (["topk", "--tokens", "4194304", "--experts", "256"], "at most 16777216 in all; try 65536 × 256"),
        ])
    func refused(arguments: [String], message: String) async throws {
        let outcome = try await Binary().run("bench", options: arguments)
        #expect(outcome.status != 0 && outcome.errors.contains(message), "\(outcome.errors)")
    }
}
