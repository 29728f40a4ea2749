// `switchyard bench serve` against a server of ours: counts and shape. Never a time.

import Foundation
import NIOCore
import Support
import Testing

@testable import switchyard

@Suite struct BenchServeTests {
    /// What `--json` prints.
    private struct Report: Decodable {
        struct Spread: Decodable {
            var mean: Double
            var median: Double
            var p90: Double
            var p99: Double
            var max: Double
        }

        var completed: Int
        var failed: Int
        var totalInputTokens: Int
        var totalOutputTokens: Int
        var outputThroughput: Double
        var requestGoodput: Double?
        var ttftMs: Spread
        var e2eMs: Spread
    }

    @Test("every request and token is counted, over both APIs", arguments: ["sglang", "openai"])
    func counts(backend: String) async throws {
        let server = try await RunningServer.start(try Binary(), [])
        let outcome = try await Binary().run(
            "bench", "serve", "--base-url", server.address.absoluteString, "--backend", backend,
            options: [
                "--num-prompts", "5", "--max-concurrency", "2", "--input-len", "7", "--prefix-len", "3",
                "--output-len", "4", "--goodput", "e2e:600000", "--json",
            ])
        #expect(try await server.stop(SIGINT).status == 0)
        #expect(outcome.status == 0, "\(outcome.errors)")
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let report = try decoder.decode(Report.self, from: Data(outcome.output.utf8))
        #expect(report.completed == 5 && report.failed == 0)
        #expect(report.totalInputTokens == 50 && report.totalOutputTokens == 20)
        #expect(report.outputThroughput > 0 && report.requestGoodput ?? 0 > 0)
        #expect(report.ttftMs.median <= report.e2eMs.median && report.e2eMs.p90 <= report.e2eMs.max)
    }

    @Test(
        "what cannot be measured is one line that says why",
        arguments: [
            (["--base-url", "https://a.test"], "--base-url https://a.test: must be like"),
            (["--request-rate", "0"], "--request-rate 0.0: must be above 0"),
            (["--num-prompts", "0"], "--num-prompts 0: must be from 1"),
            (["--goodput", "ttft"], "ttft"), (["--base-url", "http://127.0.0.1:1"], "bench serve: http://127.0.0.1:1"),
        ])
    func refused(arguments: [String], message: String) async throws {
        let outcome = try await Binary().run("bench", "serve", options: arguments)
        #expect(outcome.status != 0 && outcome.errors.contains(message), "\(outcome.errors)")
    }

    @Test("events count the same wherever the bytes are cut", arguments: [1, 2, 3, 7, 1000])
    func events(size: Int) {
        let stream =
            #"data: {"text":"\"completion_tokens\":9","meta_info":{"completion_tokens":1,"prompt_tokens":6}}"# + "\n\n"
            + ": a comment\n\n" + #"data: {"meta_info":{"completion_tokens": 3,"prompt_tokens":6}}"#
            + "\n\ndata: [DONE]\n\n"
        var reader = EventReader(countsChunks: false)
        var rest = Array(stream.utf8)[...]
        while !rest.isEmpty {
            reader.append(ByteBuffer(bytes: rest.prefix(size)))
            rest = rest.dropFirst(size)
        }
        #expect(reader.tokens == 3 && reader.promptTokens == 6 && reader.problem == nil)
    }

    @Test("a stream that ends early, or with an error, is no reply")
    func broken() {
        var early = EventReader(countsChunks: true)
        early.append(ByteBuffer(string: "data: {\"choices\":[{\"text\":\"a\"}]}\n\n"))
        #expect(early.tokens == 1 && early.problem != nil)
        var failed = EventReader(countsChunks: false)
        failed.append(ByteBuffer(string: "data: {\"error\":{\"message\":\"no\"}}\n\ndata: [DONE]\n\n"))
        #expect(failed.problem?.contains("no") == true)
    }
}
