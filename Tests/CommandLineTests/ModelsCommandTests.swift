import Foundation
import Support
import Testing

@testable import switchyard

/// `switchyard models check` and made-up weights, from outside.
@Suite struct ModelsCommandTests {
    private struct Report: Decodable {
        var architecture: String
        var parameters, activeParameters, fileBytes, weightBytes, kvBytesPerToken, tokensThatFit: Int
        var fits: Bool
        var problems: [String]
    }

    private func report(_ text: String) throws -> Report {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(Report.self, from: Data(text.utf8))
    }

    private func folder(_ model: String) -> String {
        Golden.url("models/\(model)").path(percentEncoded: false)
    }

    @Test("a good folder is described, as text and as JSON", .timeLimit(.minutes(1)))
    func good() async throws {
        let binary = try Binary()
        let text = try await binary.run("models", "check", folder("deepseek-v3-tiny"))
        #expect(text.status == 0 && text.errors.isEmpty)
        let lines = text.output.split(separator: "\n").map(String.init)
        #expect(lines.first?.hasSuffix("DeepseekV3ForCausalLM, 4 layers, 3 with 16 experts, 4 per token") == true)
        #expect(lines.contains("KV cache      640 B per token"))
        #expect(lines.last == "problems      none")
        let json = try await binary.run("models", "check", folder("deepseek-v3-tiny"), "--json")
        let found = try report(json.output)
        #expect(json.status == 0 && found.fits && found.problems.isEmpty && found.tokensThatFit > 1000)
        #expect(found.architecture == "DeepseekV3ForCausalLM" && found.kvBytesPerToken == 640)
        #expect(found.activeParameters > 0 && found.activeParameters < found.parameters)
    }

    @Test("fewer bits take less memory, and the same files", .timeLimit(.minutes(1)))
    func quantized() async throws {
        let binary = try Binary()
        func found(_ flags: String...) async throws -> Report {
            let arguments = ["check", folder("qwen3-moe-tiny"), "--json"] + flags
            return try report(try await binary.run("models", options: arguments).output)
        }
        let stored = try await found()
        let eight = try await found("--quantization", "int8")
        let five = try await found("--quantization", "int5")
        #expect(stored.fileBytes == eight.fileBytes && stored.parameters == five.parameters)
        #expect(five.weightBytes < eight.weightBytes && eight.weightBytes < stored.weightBytes)
    }

    @Test("every problem is listed, and the status is 1", .timeLimit(.minutes(1)))
    func broken() async throws {
        let copy = try TemporaryFolder(copying: Golden.url("models/mixtral-tiny"))
        try copy.remove("tokenizer.json")
        try copy.remove("model-00001-of-00002.safetensors")
        let outcome = try await Binary().run("models", "check", copy.path, "--json")
        let problems = try report(outcome.output).problems
        #expect(outcome.status == 1 && problems.count == 2)
        #expect(problems.contains { $0.contains("model-00001-of-00002.safetensors: found no such file") })
        #expect(problems.contains { $0.contains("tokenizer.json: no such file") })
        // Keys of config.json are checked in the same run, whatever else is wrong.
        let config = try String(contentsOf: Golden.url("models/mixtral-tiny/config.json"), encoding: .utf8)
        let bad = config.replacing("\"hidden_act\": \"silu\"", with: "\"hidden_act\": 7")
            .replacing("\"vocab_size\": 320", with: "\"vocab_size\": -1")
        try copy.write(bad.utf8, to: "config.json")
        let keys = try await Binary().run("models", "check", copy.path)
        #expect(keys.status == 1 && keys.output.contains("problems      4\n"), "\(keys.output)")
        #expect(keys.output.contains("hidden_act: found a value of another type, expected a string"))
        #expect(keys.output.contains("vocab_size: found -1, expected a whole number from 1 to"))
        let missing = try await Binary().run("models", "check", "/no/such/folder")
        #expect(missing.status != 0 && missing.errors.contains("/no/such/folder: no such folder"))
    }

    @Test("--show-experts shows the layers that route", .timeLimit(.minutes(1)))
    func showExperts() async throws {
        let outcome = try await Binary().run(
            "generate", "--model-path", folder("deepseek-v3-tiny"), "--prompt", "a", "--max-new-tokens", "2",
            "--show-experts", "--threads", "1")
        let rows = outcome.output.split(separator: "\n").filter { $0.hasPrefix("layer ") }
        #expect(outcome.status == 0 && rows.map { $0.prefix(7) } == ["layer 1", "layer 2", "layer 3"])
        #expect(rows.allSatisfy { $0.hasSuffix("%") })
    }

    @Test("a config.json alone can be checked, and generates from made-up weights", .timeLimit(.minutes(1)))
    func dummy() async throws {
        let copy = try TemporaryFolder()
        let config = try String(contentsOf: Golden.url("models/olmoe-tiny/config.json"), encoding: .utf8)
        // Wide enough for the demo model's tokenizer.
        try copy.write(config.replacing("\"vocab_size\": 320", with: "\"vocab_size\": 9000").utf8, to: "config.json")
        let binary = try Binary()
        let check = try await binary.run("models", "check", copy.path, "--load-format", "dummy")
        #expect(check.status == 0, "\(check.output)")
        let arguments = [
            "--model-path", copy.path, "--load-format", "dummy", "--prompt", "a b", "--max-new-tokens", "4", "--json",
            "--temperature", "0", "--threads", "1",
        ]
        let first = try await binary.run("generate", options: arguments)
        #expect(first.status == 0 && first.output.contains("\"completion_tokens\" : 4"), "\(first)")
        #expect(first.errors.contains("warning") && first.errors.contains("demo model's tokenizer"))
    }
}
