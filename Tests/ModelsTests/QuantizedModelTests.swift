// What quantization costs: the demo model's perplexity, measured; and that it saves the memory that it should.

import Compute
import DemoModel
import Foundation
import Support
import Testing

@testable import Models

@Suite struct QuantizedModelTests {
    /// Perplexity of the reference prompts and what follows them.
    private static func perplexity(_ precision: WeightPrecision) throws -> Double {
        let runner = try TestRunner(
            .demo, threads: 2, precision: precision, cacheType: precision == .stored ? .float32 : .bfloat16)
        defer { runner.backend.stop() }
        var sum = 0.0
        var count = 0
        for golden in DemoModelTests.cases {
            let ids = golden.prompt + golden.greedy
            let logits = runner.logits(ids, from: 0)
            for position in 1..<ids.count {
                let row = logits[position - 1]
                let largest = Double(row.max() ?? 0)
                let total = row.reduce(0.0) { $0 + exp(Double($1) - largest) }
                sum += largest + log(total) - Double(row[Int(ids[position])])
                count += 1
            }
        }
        return exp(sum / Double(count))
    }

    @Test(
        "perplexity rises by no more than 0.1 % with inputs in bfloat16 and with 8 bits, and 3 % with 5, keys and values in bfloat16"
    )
    func perplexity() throws {
        let exact = try Self.perplexity(.stored)
        let rounded = try Self.perplexity(.bfloat16) / exact
        let eight = try Self.perplexity(.int8) / exact
        let five = try Self.perplexity(.int5) / exact
        print("perplexity \(exact); bfloat16 \(rounded) times that, int8 \(eight) times that, int5 \(five) times")
        #expect(rounded <= 1.001 && rounded != 1)
        #expect(eight <= 1.001)
        #expect(five <= 1.03)
    }

    /// How far logits of a golden model's prompts move.
    private struct Change {
        /// The largest change, up to the first token of a prompt for which a router chose other experts.
        var routedAlike: Float = 0
        /// The largest change of all.
        var overall: Float = 0
        /// The largest magnitude of a logit.
        var size: Float = 0
        /// Tokens up to that first one, and all.
        var (alike, tokens) = (0, 0)
    }

    private static func change(_ model: String, _ precision: WeightPrecision) throws -> Change {
        let files = try ModelFiles(directory: Golden.url("models/\(model)").path)
        let golden = try GoldenTensors("models/\(model)/goldens.safetensors")
        let exact = try TestRunner(files)
        let quantized = try TestRunner(files, precision: precision)
        defer {
            exact.backend.stop()
            quantized.backend.stop()
        }
        var change = Change()
        for prompt in 0..<6 {
            let ids = try golden.int64("p\(prompt).input_ids").map(Int32.init)
            var isAlike = true
            let start = zip(quantized.counts, exact.counts).map { $0 - $1 }
            // Token by token, so that the counts say what each of them chose.
            for (position, id) in ids.enumerated() {
                let expected = exact.logits([id], from: position)[0]
                let found = quantized.logits([id], from: position)[0]
                let largest = zip(found, expected).reduce(Float(0)) { max($0, abs($1.0 - $1.1)) }
                isAlike = isAlike && zip(quantized.counts, exact.counts).map { $0 - $1 } == start
                if isAlike {
                    change.routedAlike = max(change.routedAlike, largest)
                    change.alike += 1
                }
                change.tokens += 1
                change.overall = max(change.overall, largest)
                change.size = expected.reduce(change.size) { max($0, abs($1)) }
            }
        }
        return change
    }

    @Test(
        "while routers choose as before, no logit of a golden model changes by more than 3 % of the largest in bfloat16, 7 % in 8 bits, 20 % in 5",
        arguments: goldenModels)
    func logits(model: String) throws {
        for (precision, bound) in [(WeightPrecision.bfloat16, Float(0.03)), (.int8, 0.07), (.int5, 0.2)] {
            let found = try Self.change(model, precision)
            print(
                "\(model) \(precision): largest logit \(found.size), changes by \(found.routedAlike) in \(found.alike) of "
                    + "\(found.tokens) tokens, by \(found.overall) in all")
            #expect(found.alike > 0 && found.routedAlike > 0 && found.routedAlike <= bound * found.size)
            #expect(found.overall.isFinite && found.overall <= found.size)
        }
    }

    @Test("8.5 bits for a weight of experts, or 5.25 and 32 for each output")
    func memory() throws {
        func loader(_ precision: WeightPrecision) throws -> WeightLoader {
            let backend = try #require(CPUBackend(threads: 1))
            defer { backend.stop() }
            let loader = WeightLoader(try Checkpoint(.demo), backend: backend, precision: precision)
            _ = try ModelRegistry.load(
                try ModelConfiguration(.demo), weights: loader, positions: 16, file: "demo")
            return loader
        }
        let configuration = try ModelConfiguration(.demo)
        let outputs = 2 * configuration.expertSize + configuration.hiddenSize
        let heads = 4 * configuration.layers * configuration.experts * outputs
        let (eight, five) = (try loader(.int8), try loader(.int5))
        #expect(eight.expertBytes * 16 == eight.expertParameters * 17)
        #expect((five.expertBytes - heads) * 32 == five.expertParameters * 21)
    }
}
