// `switchyard bench model`: the report's shape, bytes that follow from what was computed, and what it refuses. Never a time.

import Foundation
import Support
import Testing

@Suite struct BenchModelTests {
    /// What `--json` prints.
    private struct Report: Decodable {
        struct Case: Decodable {
            var work: String
            var sequences: Int
            var tokens: Int
            var tokensPerSecond: Double
            var ms: Double
            var mbPerPass: Double
            var shareOfReadBandwidth: Double
            var shareOfPeak: Double
            var shareOfLimit: Double
        }

        var machine: String
        var instructionSet: String
        var threads: Int
        var cases: [Case]
    }

    @Test("each batch and each prompt is a case, and more tokens hit more experts")
    func report() async throws {
        let outcome = try await Binary().run(
            "bench",
            options: [
                "model", "--batch", "1,3", "--prompt", "5", "--context", "2", "--threads", "2", "--instruction-set",
                "baseline", "--seconds", "0.01", "--json",
            ])
        #expect(outcome.status == 0, "\(outcome.errors)")
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let report = try decoder.decode(Report.self, from: Data(outcome.output.utf8))
        #expect(report.instructionSet == "baseline" && report.threads == 2 && !report.machine.isEmpty)
        #expect(report.cases.map(\.work) == ["decode", "decode", "prompt"])
        #expect(report.cases.map(\.sequences) == [1, 3, 1] && report.cases.map(\.tokens) == [1, 3, 5])
        for found in report.cases {
            #expect(found.tokensPerSecond > 0 && found.ms > 0)
            #expect(found.shareOfReadBandwidth > 0 && found.shareOfPeak > 0)
            #expect(found.shareOfLimit > 0)
        }
        // All of the demo model is 36 MB; a token passes 4 of 16 experts.
        let megabytes = report.cases.map(\.mbPerPass)
        #expect(megabytes[0] > 10 && megabytes[0] < megabytes[1] && megabytes[1] < 45, "\(megabytes)")
    }

    @Test(
        "what cannot be measured is refused with the flag",
        arguments: [
            (["--batch", "5000"], "--batch 5000: must be from 0 to 4096"),
            (["--instruction-set", "mmx"], "--instruction-set mmx: not on this machine"),
            (["--prompt", "4000"], "--context, --prompt: the model has 2048 positions, 4000 are asked for"),
            (["--seconds", "0"], "--seconds 0.0: must be above 0"),
        ])
    func refused(arguments: [String], message: String) async throws {
        let outcome = try await Binary().run("bench", options: ["model"] + arguments)
        #expect(outcome.status != 0 && outcome.errors.contains(message), "\(outcome.errors)")
    }
}
