// `switchyard experts` on other tools' files: unused rows, real and extreme counts.

import Foundation
import Support
import Testing

@Suite struct ExpertsFilesTests {
    private func run(_ text: String, _ command: String, _ options: String...) async throws -> Binary.Outcome {
        let folder = try TemporaryFolder()
        try folder.write(text.utf8, to: "load.json")
        return try await Binary().run("experts", options: [command, folder.path(of: "load.json")] + options)
    }

    @Test("unused rows of a round buffer are no even passes")
    func unusedRows() async throws {
        let rows = (0..<1000).map { $0 < 6 ? "[[8, 2, 0, 0]]" : "[[0, 0, 0, 0]]" }
        let text = "{\"logical_count\": [" + rows.joined(separator: ",") + "]}"
        let shown = try await run(text, "show", "--gpus", "2")
        #expect(shown.status == 0 && shown.output.contains("6 of 1000 rows used") && shown.output.contains("0.5000"))
        struct Report: Decodable {
            var rows: Int
            var passes: Int
            var balancedness: Double
        }
        let report = try JSONDecoder().decode(
            Report.self, from: Data(try await run(text, "show", "--gpus", "2", "--json").output.utf8))
        #expect(report.rows == 1000 && report.passes == 6 && abs(report.balancedness - 0.5) < 1e-6)
        let plotted = try await run(text, "plot", "--gpus", "2", "-o", "-")
        #expect(plotted.output.contains("6 of 1000 rows used"))
    }

    @Test("counts beyond 64 bits are analyzed", arguments: ["1e30", "1e38", "9223372036854775807", "0.001"])
    func realCounts(count: String) async throws {
        let outcome = try await run(
            "{\"logical_count\": [[\(count), 1, 2, 3], [1, 2, 3, 4]]}", "analyze", "--gpus", "2")
        #expect(outcome.status == 0 && outcome.output.contains("GPU time"), "\(outcome.errors)")
    }

    @Test("fractions are named where whole counts are needed")
    func fractions() async throws {
        let text = "{\"logical_count\": [[1.5, 1], [1, 2]]}"
        for command in [["show"], ["plot", "-o", "-"], ["convert", "-o", "/tmp/never.pt"]] {
            let folder = try TemporaryFolder()
            try folder.write(text.utf8, to: "load.json")
            let path = folder.path(of: "load.json")
            let outcome = try await Binary().run("experts", options: [command[0], path] + command.dropFirst())
            #expect(outcome.status == 1 && outcome.errors.contains("found 1.5 in logical_count"), "\(outcome.errors)")
        }
    }
}
