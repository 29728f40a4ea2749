import Compute
import Experts
import Foundation
import Support
import Testing

@testable import Models

/// The tiny models with recorded outputs, and by what their routing weights are scaled.
let goldenModels = [
    "deepseek-v2-tiny", "deepseek-v2-grouped-tiny", "deepseek-v3-tiny", "mixtral-tiny", "olmoe-tiny", "qwen2-moe-tiny",
    "qwen2-moe-tiny-sparse", "qwen3-moe-tiny",
]

@Suite struct GoldenModelTests {
    @Test(
        "hidden states, router choices and logits equal the reference",
        arguments: goldenModels, 0..<6)
    func prefill(model: String, prompt: Int) throws {
        let golden = try GoldenTensors("models/\(model)/goldens.safetensors")
        let runner = try TestRunner(ModelFiles(directory: Golden.url("models/\(model)").path))
        defer { runner.backend.stop() }
        let ids = try golden.int64("p\(prompt).input_ids").map(Int32.init)
        let configuration = runner.model.configuration
        let layers = runner.model.decoder.layers

        try runner.withPass(ids, from: 0) { pass in
            func expectClose(_ buffer: Buffer, _ name: String, tolerance: Float = 1e-3) throws {
                let expected = try golden.float32("p\(prompt).\(name)")
                let found = (0..<ids.count).flatMap { Array(buffer[row: $0]) }
                try #require(found.count == expected.count)
                let worst = zip(found, expected).map { abs($0 - $1) }.max() ?? 0
                #expect(worst <= tolerance, "\(name) differs by \(worst)")
            }
            pass.backend.embed(pass.tokens, table: runner.model.decoder.embedding, out: pass.workspace.hidden)
            try expectClose(pass.workspace.hidden, "hidden.embed", tolerance: 0)
            for (index, layer) in layers.enumerated() {
                layer(pass)
                if index < layers.count - 1 { try expectClose(pass.workspace.hidden, "hidden.layer\(index)") }
                guard configuration.sparseLayers.contains(index) else { continue }
                try expectClose(pass.workspace.routerLogits, "layer\(index).router_logits", tolerance: 5e-4)
                let expectedIDs = try golden.int32("p\(prompt).layer\(index).topk_ids")
                let expectedWeights = try golden.float32("p\(prompt).layer\(index).topk_weights")
                let (found, weights) = runner.sortedChoice(tokens: ids.count)
                #expect(found == expectedIDs)
                #expect(zip(weights, expectedWeights).allSatisfy { abs($0 - $1) <= 1e-4 * configuration.gate.scale })
            }
            runner.model.logits(pass, rows: runner.allRows, count: ids.count)
            try expectClose(pass.workspace.final, "hidden.final_norm")
            try expectClose(pass.workspace.logits, "logits")
        }
        #expect(runner.counts == (try golden.int32("p\(prompt).prefill_expert_counts")))
    }

    @Test(
        "greedy decoding through the cache gives the reference's tokens, log-probabilities and expert counts",
        arguments: goldenModels, 0..<6)
    func greedy(model: String, prompt: Int) throws {
        let golden = try GoldenTensors("models/\(model)/goldens.safetensors")
        let runner = try TestRunner(ModelFiles(directory: Golden.url("models/\(model)").path))
        defer { runner.backend.stop() }
        let ids = try golden.int64("p\(prompt).input_ids").map(Int32.init)
        let expected = try golden.int64("p\(prompt).greedy_ids").map(Int32.init)
        let logprobs = try golden.float32("p\(prompt).greedy_logprobs")
        var logits: [[Float]] = []
        let found = runner.greedy(ids, count: expected.count) { logits.append($0) }
        #expect(found == expected)
        for (step, row) in logits.enumerated() {
            let normaliser = log(row.reduce(0.0) { $0 + exp(Double($1)) })
            #expect(abs(Double(row[Int(expected[step])]) - normaliser - Double(logprobs[step])) < 1e-3)
        }
        let prefill = try golden.int32("p\(prompt).prefill_expert_counts")
        let decode = try golden.int32("p\(prompt).decode_expert_counts")
        #expect(runner.counts == zip(prefill, decode).map(+))
    }

    @Test(
        "absorbed or expanded, a prompt gives the reference's logits and the same next token",
        arguments: goldenModels.filter { $0.hasPrefix("deepseek") }, 0..<6)
    func forms(model: String, prompt: Int) throws {
        let golden = try GoldenTensors("models/\(model)/goldens.safetensors")
        let runner = try TestRunner(ModelFiles(directory: Golden.url("models/\(model)").path))
        defer { runner.backend.stop() }
        let ids = try golden.int64("p\(prompt).input_ids").map(Int32.init)
        let expected = try golden.float32("p\(prompt).logits")
        let first = try golden.int64("p\(prompt).greedy_ids").map(Int32.init).first
        for isPrompt in [false, true] {
            let logits = runner.logits(ids, from: 0, isPrompt: isPrompt)
            let worst = zip(logits.joined(), expected).map { abs($0 - $1) }.max() ?? 0
            #expect(worst <= 1e-3, "logits differ by \(worst)")
            let last = logits.last ?? []
            #expect(last.firstIndex(of: last.max() ?? 0).map(Int32.init) == first)
        }
    }

    @Test("a prompt in chunks gives the bits of the prompt in one pass", arguments: goldenModels, [1, 3, 7, 16, 40])
    func chunks(model: String, size: Int) throws {
        let golden = try GoldenTensors("models/\(model)/goldens.safetensors")
        let ids = try golden.int64("p5.input_ids").map(Int32.init)
        let whole = try TestRunner(ModelFiles(directory: Golden.url("models/\(model)").path))
        let cut = try TestRunner(ModelFiles(directory: Golden.url("models/\(model)").path), threads: 2)
        defer {
            whole.backend.stop()
            cut.backend.stop()
        }
        let expected = whole.logits(ids, from: 0)
        var found: [[Float]] = []
        for start in stride(from: 0, to: ids.count, by: size) {
            found += cut.logits(Array(ids[start..<min(start + size, ids.count)]), from: start)
        }
        #expect(found == expected)
    }
}
