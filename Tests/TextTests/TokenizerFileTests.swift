import Foundation
import Support
import Testing

@testable import Text

@Suite struct TokenizerFileTests {
    private func error(_ json: String) -> String? {
        do {
            _ = try Data(json.utf8).withUnsafeBytes { try Tokenizer(tokenizerJSON: $0) }
            return nil
        } catch {
            return "\(error)"
        }
    }

    /// The reference file with one place changed.
    private func damaged(_ change: (inout [String: Any]) -> Void) throws -> String {
        var file = try #require(
            try JSONSerialization.jsonObject(with: Golden.data("tokenizer/bpe_qwen2.json")) as? [String: Any])
        change(&file)
        return String(decoding: try JSONSerialization.data(withJSONObject: file), as: UTF8.self)
    }

    @Test("the undamaged file loads, in both spellings of merges") func whole() throws {
        #expect(error(try damaged { _ in }) == nil)
        let spaced = try damaged { file in
            var model = file["model"] as? [String: Any] ?? [:]
            model["merges"] = (model["merges"] as? [[String]] ?? []).map { $0.joined(separator: " ") }
            file["model"] = model
        }
        let tokenizer = try Data(spaced.utf8).withUnsafeBytes { try Tokenizer(tokenizerJSON: $0) }
        #expect(tokenizer.encode("hello world") == (try reference().encode("hello world")))
    }

    private func reference() throws -> Tokenizer { try tokenizer("tokenizer/bpe_qwen2.json") }

    @Test(
        "what is wrong is named",
        arguments: [
            ("{", "tokenizer.json"), ("[]", "tokenizer.json"), ("{}", "model is missing"),
            (#"{"model": {"vocab": {}, "merges": []}}"#, "vocabulary is empty"),
            (#"{"model": {"type": "Unigram", "vocab": {"a": 0}, "merges": []}}"#, "model type Unigram"),
            (#"{"model": {"vocab": {"a": -1}, "merges": []}}"#, "id -1"),
            (#"{"model": {"vocab": {"a": 2147483647}, "merges": []}}"#, "id 2147483647"),
            (#"{"model": {"vocab": {"a": 99999999999}, "merges": []}}"#, "tokenizer.json"),
            (#"{"model": {"vocab": {"a": 1, "b": 1}, "merges": []}}"#, "share id 1"),
            (#"{"model": {"vocab": {"a": "x"}, "merges": []}}"#, "model.vocab.a"),
            (#"{"model": {"vocab": {"a": 0}, "merges": []}}"#, "byte 0 has no token"),
            (#"{"model": {"vocab": {"a": 0}, "merges": ["a"]}}"#, "merge of 1 parts"),
        ])
    func hostile(json: String, message: String) {
        let found = error(json)
        #expect(found?.contains(message) == true, "\(found ?? "no error")")
    }

    @Test("unknown parts are named") func unknown() throws {
        func damagedError(_ key: String, _ value: Any) throws -> String {
            error(try damaged { $0[key] = value }) ?? "no error"
        }
        #expect(try damagedError("normalizer", ["type": "Lowercase"]).contains("normalizer Lowercase"))
        #expect(try damagedError("pre_tokenizer", ["type": "Whitespace"]).contains("pre-tokenizer Whitespace"))
        #expect(try damagedError("pre_tokenizer", NSNull()).contains("pre_tokenizer is missing"))
        #expect(
            try damagedError(
                "pre_tokenizer", ["type": "Split", "pattern": ["Regex": "x+"], "behavior": "Isolated"]
            ).contains("pattern x+"))
        #expect(try damagedError("post_processor", ["type": "BertProcessing"]).contains("BertProcessing"))
        #expect(
            try damagedError("added_tokens", [["id": -4, "content": "x"]]).contains("id -4"))
        let merges = try damaged { file in
            var model = file["model"] as? [String: Any] ?? [:]
            model["merges"] = [["a", "no such token"]]
            file["model"] = model
        }
        #expect(error(merges)?.contains("merge 0") == true)
    }

    @Test("a truncated file is an error, never a crash") func truncated() throws {
        let data = try Golden.data("tokenizer/bpe_deepseek.json")
        for length in stride(from: 0, to: data.count, by: data.count / 23) {
            #expect(error(String(decoding: data.prefix(length), as: UTF8.self)) != nil)
        }
    }
}
